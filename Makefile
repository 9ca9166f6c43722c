# SPDX-License-Identifier: Apache-2.0
# Two commands: `make demo` and `make test`. Each makes .venv and installs what it needs, once.
#
#   PYTHON       Python 3.11 (the bpy wheel is built for it)
#   TORCH_INDEX  where to find another build of torch, for example PyTorch's index of CPU wheels:
#                make demo TORCH_INDEX=https://download.pytorch.org/whl/cpu
#   OUT          folder of the demo's files
#   JOBS         processes that tests are shared among, a file to one of them; each takes up to 3 GB
PYTHON ?= python3.11
TORCH_INDEX ?=
OUT ?= out/demo
JOBS ?= 2

BIN := .venv/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-warn-script-location
STAMPS := .venv/.stamps

.PHONY: demo test clean
.DELETE_ON_ERROR:

demo: $(STAMPS)/demo
	$(BIN)/neural-portrait demo --out $(OUT)

# PYTEST_ARGS: more options, for example PYTEST_ARGS="-k eg3d -x".
test: $(STAMPS)/test
	mkdir -p build
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(JOBS) --dist loadfile --junitxml=build/junit.xml $(PYTEST_ARGS)

clean:
	rm -rf .venv build out

$(BIN)/python:
	@command -v $(PYTHON) >/dev/null || { echo "$(PYTHON) was not found. Install Python 3.11, or name it: make PYTHON=..." >&2; exit 1; }
	$(PYTHON) -m venv .venv

# torch first: later steps then find their requirement met, whatever the build.
$(STAMPS)/torch: constraints.txt | $(BIN)/python
	@mkdir -p $(STAMPS)
	@echo "Installing torch: a few minutes the first time ..."
	$(PIP) -c constraints.txt torch $(if $(TORCH_INDEX),--extra-index-url $(TORCH_INDEX))
	@touch $@

$(STAMPS)/demo: pyproject.toml constraints.txt $(STAMPS)/torch
	@echo "Installing what the demo needs, Blender as a Python package among it ..."
	$(PIP) -c constraints.txt -e ".[blender]"
	@touch $@

$(STAMPS)/test: pyproject.toml constraints.txt $(STAMPS)/torch
	@echo "Installing what the tests need ..."
	$(PIP) -c constraints.txt -e ".[blender,capture,train,dev]"
	@touch $@
