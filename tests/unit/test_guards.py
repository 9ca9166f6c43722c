# SPDX-License-Identifier: Apache-2.0
"""The checks that guard the project can fail: each is broken here on purpose, and must say so."""

import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
BIN = Path(sys.executable).parent


def copy_of_the_tree(folder: Path) -> Path:
    """Copy what the import contracts look at, without the assets."""
    for name in ("neural_core", "training"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", folder)
    return folder


def contracts(folder: Path) -> subprocess.CompletedProcess[str]:
    """Run import-linter on a copy; the environment's own path entry to the clone must not win."""
    program = (
        f"import sys; sys.path.insert(0, {str(folder)!r}); from importlinter.cli import lint_imports_command as c; c()"
    )
    arguments = ["--config", str(folder / "pyproject.toml"), "--no-cache"]
    return subprocess.run([sys.executable, "-c", program, *arguments], cwd=folder, capture_output=True, text=True)


# Each contract of pyproject.toml by its id: a module, and the import that it must not have.
FORBIDDEN = {
    "library-knows-neither-training-nor-blender": ("neural_core/mesh.py", "import training.config"),
    "protocol-is-stdlib": ("neural_core/protocol.py", "import numpy"),
    "ops-and-nn-are-plain": ("neural_core/ops/bias_act.py", "from .. import checkpoints"),
    "rendering-knows-no-network": ("neural_core/rendering/rays.py", "from ..nn import stylegan2"),
    "systems-are-independent": ("neural_core/systems/eg3d/config.py", "import neural_core.systems.other.config"),
    "training-leaves-the-add-on-alone": ("training/trainer.py", "import bpy"),
}


def settings() -> dict:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())


def test_every_contract_is_broken_below():
    ids = {contract["id"] for contract in settings()["tool"]["importlinter"]["contracts"]}
    assert ids == set(FORBIDDEN)


@pytest.mark.slow
def test_a_forbidden_import_breaks_its_contract_and_no_other(tmp_path):
    tree = copy_of_the_tree(tmp_path)
    assert contracts(tree).returncode == 0, "the contracts hold before anything is broken"
    other = tree / "neural_core" / "systems" / "other"
    other.mkdir()
    (other / "__init__.py").write_text("")
    (other / "config.py").write_text("")
    config = tree / "pyproject.toml"
    config.write_text(
        config.read_text().replace(
            '"neural_core.systems.next3d"]', '"neural_core.systems.next3d", "neural_core.systems.other"]'
        )
    )
    names = {c["id"]: c["name"] for c in settings()["tool"]["importlinter"]["contracts"]}
    for contract, (file, line) in FORBIDDEN.items():
        original = (tree / file).read_text()
        (tree / file).write_text(f"{original}\n{line}\n")
        done = contracts(tree)
        (tree / file).write_text(original)
        assert done.returncode != 0, contract
        assert f"{names[contract]} BROKEN" in done.stdout.replace("\n", " "), done.stdout


def test_the_contract_of_systems_names_every_system():
    systems = {p.parent.name for p in (ROOT / "neural_core" / "systems").glob("*/__init__.py")}
    contract = next(c for c in settings()["tool"]["importlinter"]["contracts"] if c["id"] == "systems-are-independent")
    assert set(contract["modules"]) == {f"neural_core.systems.{name}" for name in systems}


def members(package: str) -> set[str]:
    """The modules and packages directly inside a package."""
    folder = ROOT / package
    packages = {path.parent.name for path in folder.glob("*/__init__.py")}
    return packages | {path.stem for path in folder.glob("*.py")} - {"__init__", "__main__"}


def test_the_contract_of_the_add_on_forgets_no_module():
    contract = tomllib.loads((ROOT / ".ci" / "contracts-stage.toml").read_text())["tool"]["importlinter"]["contracts"][
        0
    ]
    light = {"protocol", "messages", "errors", "files"}
    assert set(contract["source_modules"]) == {
        f"neural_portrait.{n}" for n in members("blender_addon") - {"run_worker"}
    }
    forbidden = {name for name in contract["forbidden_modules"] if ".neural_core." in name}
    assert forbidden == {f"neural_portrait.neural_core.{name}" for name in members("neural_core") - light}


REPORT = "<testsuites><testsuite>{}</testsuite></testsuites>"
PASSED, SKIPPED, FAILED = (
    '<testcase classname="a" name="b"/>',
    '<testcase classname="a" name="c"><skipped message="no arrays"/></testcase>',
    '<testcase classname="a" name="d"><failure message="wrong"/></testcase>',
)


@pytest.fixture
def counter(tmp_path):
    """Run the counter with bounds of 3 passed and 1 skipped on a report of some test cases."""
    shutil.copy(ROOT / ".ci" / "counts.py", tmp_path)
    (tmp_path / "counts.toml").write_text("[core]\npassed = 3\nskipped = 1\n")

    def run(*cases: str) -> subprocess.CompletedProcess[str]:
        report = tmp_path / "junit.xml"
        report.write_text(REPORT.format("".join(cases)))
        command = [sys.executable, tmp_path / "counts.py", report, "core"]
        return subprocess.run(command, capture_output=True, text=True)

    return run


def test_the_counter_accepts_what_is_on_record(counter):
    done = counter(PASSED, PASSED, PASSED, SKIPPED)
    assert done.returncode == 0
    assert "3 passed, 0 failed, 1 skipped" in done.stdout
    assert "no arrays" in done.stdout


def test_the_counter_fails_when_skips_grow(counter):
    done = counter(PASSED, PASSED, PASSED, SKIPPED, SKIPPED)
    assert done.returncode == 1
    assert "2 were skipped; 1 is the number on record" in done.stderr


def test_the_counter_fails_when_nothing_runs(counter):
    done = counter()
    assert done.returncode == 1
    assert "only 0 passed" in done.stderr


def test_the_counter_fails_when_a_test_does(counter):
    assert counter(PASSED, PASSED, PASSED, FAILED).returncode == 1


def test_pytest_is_strict(tmp_path):
    """A warning, a marker that nobody declared, and a test that was to fail and passes: each is a failure."""
    for name, test in {
        "warning": "import warnings\ndef test_it():\n    warnings.warn('old')\n",
        "marker": "import pytest\n@pytest.mark.gpuu\ndef test_it():\n    pass\n",
        "pass": "import pytest\n@pytest.mark.xfail(reason='x')\ndef test_it():\n    pass\n",
    }.items():
        (tmp_path / f"test_{name}.py").write_text(test)
    command = [sys.executable, "-m", "pytest", "-c", ROOT / "pyproject.toml", "--rootdir", tmp_path]
    more = ["-p", "no:cacheprovider", "--continue-on-collection-errors", tmp_path]
    done = subprocess.run([*command, *more], cwd=tmp_path, capture_output=True, text=True)
    for says in ("UserWarning: old", "'gpuu' not found in `markers`", "XPASS(strict)", "2 failed, 1 error in"):
        assert says in done.stdout + done.stderr


def test_shapes_are_checked_in_tests():
    """The hook of --jaxtyping-packages is in place: a wrong shape is an error, not an odd result."""
    import torch

    from neural_core.human.lbs import rotation_matrices

    with pytest.raises(Exception, match="axis_angle"):
        rotation_matrices(torch.zeros(2, 4))


def test_ruff_and_pyright_look_at_our_files(tmp_path):
    """A type error and an unused import are seen with the project's own settings."""
    bad = tmp_path / "bad.py"
    bad.write_text('# SPDX-License-Identifier: Apache-2.0\n"""Bad."""\nimport os\n\nx: int = "a"\n')
    ruff = subprocess.run(
        [BIN / "ruff", "check", "--config", ROOT / "pyproject.toml", bad], capture_output=True, text=True
    )
    assert ruff.returncode == 1
    assert "F401" in ruff.stdout
    include = settings()["tool"]["pyright"]["include"]
    assert {"neural_core", "training"} <= set(include)
    pyright = subprocess.run([BIN / "pyright", bad], capture_output=True, text=True)
    assert pyright.returncode == 1
    assert "reportAssignmentType" in pyright.stdout


def test_every_source_file_names_its_licence():
    listed = subprocess.run(
        ["git", "ls-files", "*.py"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.split()
    assert len(listed) > 50
    for name in listed:
        first = (ROOT / name).read_text(encoding="utf-8").split("\n", 1)[0]
        gpl = name.startswith(("blender_addon/", "tests/blender/"))
        gpl |= name in ("training/synthetic/cycles.py", "training/synthetic/shaders.py")  # they import bpy
        if name == "tests/blender/stub_worker.py":  # stands in for the worker, which is not Blender's side
            gpl = False
        licence = "GPL-3.0-or-later" if gpl else "Apache-2.0"
        assert first == f"# SPDX-License-Identifier: {licence}", name
