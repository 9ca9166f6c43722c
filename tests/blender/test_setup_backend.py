# SPDX-License-Identifier: GPL-3.0-or-later
"""Setting up the engine: finding a Python, installing by a real pip from tiny wheels, cancelling, and what fails."""

import importlib
import json
import re
import sys
import tempfile
import time
import tomllib
import zipfile
from pathlib import Path

import pretend_python
import pytest
from staging import ROOT


@pytest.fixture(scope="module")
def addon(stub_stage):
    """Modules of the staged package by name."""
    sys.path.insert(0, str(stub_stage))
    yield lambda name: importlib.import_module(f"neural_portrait.{name}")
    sys.path.remove(str(stub_stage))


@pytest.fixture
def choose(addon, tmp_path):
    """Make a Choice with an environment in tmp_path."""

    def choice(**changes):
        values = {"folder": tmp_path / "engine", "python": str(pretend_python.write(tmp_path / "py" / "python3.12"))}
        return addon("setup_backend").Choice(**{**values, **changes})

    return choice


@pytest.fixture
def failed(addon):
    """Run a set-up that is to fail, and return its error and the job."""

    def run(choice):
        job = addon("setup_backend").set_up(choice)
        job.run()
        assert job.state == "failed", (job.state, list(job.log))
        return job.error, job

    return run


# Packages -------------------------------------------------------------------------------------------------------------


def project():
    return tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def test_the_engine_gets_what_the_project_needs(addon):
    asked = {one.name for one in addon("packages").requirements((3, 11))}
    of_project = {re.match(r"[\w-]+", text)[0] for text in project()["dependencies"]}
    assert of_project < asked
    assert {"mediapipe", "transformers", "soxr"} == asked - of_project


def test_every_package_has_one_tested_version(addon):
    pins = dict(re.findall(r"^([\w.-]+)==([\w.]+)$", (ROOT / "constraints.txt").read_text().lower(), re.M))
    for one in addon("packages").requirements((3, 11)):
        assert one.allows(pins[one.name.lower()]), one


def test_python_3_13_goes_without_what_has_no_wheels(addon):
    packages = addon("packages")
    lost = {one.name for one in packages.requirements((3, 11))} - {one.name for one in packages.requirements((3, 13))}
    assert lost == {"mediapipe", "PyMCubes"} == set(packages.WITHOUT_WHEELS)


@pytest.mark.parametrize(
    ("bounds", "version", "fits"),
    [
        ((), "0", True),
        (((">=", "2.11"),), "2.13.0+cpu", True),
        (((">=", "2.11"),), "2.9.1", False),
        (((">=", "0.6.2"), ("<", "0.7")), "0.7.0", False),
        (((">=", "0.6.2"), ("<", "0.7")), "0.6.9", True),
        ((("==", "0.10.21"),), "0.10.21", True),
        ((("==", "0.10.21"),), "0.10.22", False),
    ],
)
def test_versions_within_bounds(addon, bounds, version, fits):
    assert addon("packages").Requirement("x", bounds).allows(version) is fits


# Finding a Python -----------------------------------------------------------------------------------------------------


def test_a_real_python_says_what_it_is(addon):
    found = addon("interpreters").probe([sys.executable])
    assert found.version == tuple(sys.version_info[:3])
    assert (found.bits, found.implementation, found.problem) == (64, "CPython", "")
    assert Path(found.path).samefile(sys.executable)


@pytest.mark.parametrize("command", [["/nowhere/python"], ["/bin/true"], ["/bin/cat"], ["/bin/echo", "{}"]])
def test_what_is_no_python_is_none(addon, command):
    assert addon("interpreters").probe(command, timeout_s=5) is None


def test_a_python_that_never_answers_is_none(addon, tmp_path):
    program = tmp_path / "python"
    program.write_text("#!/bin/sh\nexec sleep 60\n")
    program.chmod(0o755)
    started = time.monotonic()
    assert addon("interpreters").probe([str(program)], timeout_s=0.5) is None
    assert time.monotonic() - started < 5


@pytest.mark.parametrize(
    ("facts", "problem"),
    [
        ({"version": [3, 10, 4]}, "too old"),
        ({"version": [3, 14, 0]}, "too new"),
        ({"implementation": "PyPy"}, "PyPy"),
        ({"bits": 32, "machine": "AMD64"}, "32 bits"),
        ({"machine": "riscv64"}, "riscv64"),
        ({"lacks": ["ensurepip"]}, "lacks ensurepip (Debian and Ubuntu: the package python3.12-venv)"),
    ],
)
def test_a_python_that_does_not_do_says_why(addon, tmp_path, facts, problem):
    found = addon("interpreters").probe([str(pretend_python.write(tmp_path / "python", **facts))])
    assert problem in found.problem
    assert not found.suits


def test_candidates_in_their_order(addon, tmp_path):
    folder, home = tmp_path / "bin", tmp_path / "home"
    versions = {"python3.11": [3, 11, 2], "python3.13": [3, 13, 0], "python3": [3, 9, 1]}
    for name, version in versions.items():
        pretend_python.write(folder / name, version=version)
    pretend_python.write(home / ".pyenv" / "versions" / "3.12.7" / "bin" / "python3.12")
    environment = {"PATH": str(folder), "HOME": str(home)}
    commands = list(addon("interpreters").candidates(host="/blender/python", environment=environment, platform="linux"))
    named = [Path(command[0]) for command in commands]
    ours = [path.name for path in named if path.is_relative_to(tmp_path)]
    assert ours == ["python3.12", "python3.11", "python3.13", "python3"]
    assert str(named[-1]) == "/blender/python"
    only = list(addon("interpreters").candidates("/my/python", "/blender/python", environment, "linux"))
    assert only == [["/my/python"]]


def test_windows_asks_the_launcher_and_looks_where_installers_put_it(addon, tmp_path):
    (tmp_path / "py").write_text("#!/bin/sh\n")
    (tmp_path / "py").chmod(0o755)
    local = tmp_path / "local"
    installed = local / "Programs" / "Python" / "Python312" / "python.exe"
    installed.parent.mkdir(parents=True)
    installed.write_text("")
    environment = {"PATH": str(tmp_path), "LOCALAPPDATA": str(local), "USERPROFILE": str(tmp_path)}
    commands = list(addon("interpreters").candidates(environment=environment, platform="win32"))
    assert commands == [["py", "-3.12"], [str(installed)], ["py", "-3.11"], ["py", "-3.13"]]


def test_3_12_or_3_11_before_3_13(addon):
    interpreters = addon("interpreters")
    old, new, good = (interpreters.Interpreter("/p", (3, minor, 0), "arm64") for minor in (10, 13, 11))
    assert interpreters.choose([old, new, good]) is good
    assert interpreters.choose([old, new]) is new
    assert interpreters.choose([old]) is None


# Setting up -----------------------------------------------------------------------------------------------------------


def wheel(folder, name, version, text=""):
    """Write a wheel with one module, as small as they get."""
    module = name.lower().replace("-", "_")
    info = f"{module}-{version}.dist-info"
    files = {
        f"{module}.py": text,
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "".join(f"{path},,\n" for path in [*files, f"{info}/RECORD"])
    with zipfile.ZipFile(folder / f"{module}-{version}-py3-none-any.whl", "w") as archive:
        for path, content in {**files, f"{info}/RECORD": record}.items():
            archive.writestr(path, content)


@pytest.fixture
def tiny_project(addon, tmp_path, monkeypatch):
    """A project that needs PyTorch and one package more, and a folder with wheels of both."""
    wheels = tmp_path / "my wheels"
    wheels.mkdir()
    wheel(wheels, "torch", "2.13.0", "def get_num_threads():\n    return 3\n\nclass version:\n    cuda = None\n")
    wheel(wheels, "portrait-tiny", "1.5")
    wheel(wheels, "portrait-tiny", "1.9")
    (tmp_path / "pyproject.toml").write_text(
        '[project]\ndependencies = ["torch>=2.11", "portrait-tiny>=1"]\n'
        "[project.optional-dependencies]\naudio = []\ncapture = []\nstyle = []\n"
    )
    (tmp_path / "constraints.txt").write_text("torch==2.13.0\nportrait-tiny==1.5\n")
    monkeypatch.setattr(addon("packages"), "PROJECT", tmp_path / "pyproject.toml")
    monkeypatch.setattr(addon("setup_backend"), "CONSTRAINTS", tmp_path / "constraints.txt")
    return wheels


@pytest.mark.slow
def test_set_up_from_a_folder_of_wheels(addon, tiny_project, tmp_path):
    """A real environment by a real pip, without a network; the tested version is taken, not the newest."""
    setup = addon("setup_backend")
    folder = tmp_path / "some where" / "engine"
    choice = setup.Choice(folder, python=sys.executable, wheels=str(tiny_project), online=False)
    job = setup.set_up(choice)
    stages = []
    job.start()
    while not job.wait(0.01):
        if job.stage not in stages:
            stages.append(job.stage)
    assert job.state == "done", (job.error, list(job.log))
    assert job.result.packages == {"torch": "2.13.0", "portrait-tiny": "1.5"}
    assert job.result.threads == 3
    assert Path(job.result.interpreter.path) == setup.environment_python(folder)
    assert addon("packages").missing(job.result) == []
    assert json.loads((folder / setup.MARKER).read_text())["state"] == "ready"
    assert {"Making the environment", "Importing its packages"} <= set(stages)
    assert any("--no-index" in line for line in job.log)
    assert any(line.startswith("Successfully installed") for line in job.log)
    # What is missing is named with the command that brings it.
    wheel(tiny_project, "other", "1")
    text = (tmp_path / "pyproject.toml").read_text()
    (tmp_path / "pyproject.toml").write_text(text.replace("portrait-tiny>=1", 'portrait-tiny>=1.7", "other>=1'))
    job = setup.inspect(str(setup.environment_python(folder)))
    job.run()
    assert addon("packages").missing(job.result) == [
        "portrait-tiny 1.5 is there, portrait-tiny>=1.7 is needed",
        "other is not installed",
    ]
    command = addon("packages").install_missing(job.result)
    assert command.startswith(f"'{setup.environment_python(folder)}' -m pip install")
    assert command.endswith("'portrait-tiny>=1.7' 'other>=1'")


def test_commands_of_a_set_up(addon, choose):
    setup = addon("setup_backend")
    python = addon("interpreters").Interpreter("/py", (3, 12, 1), "x86_64")
    (_, venv), (_, torch), (_, rest) = setup.steps(python, choose(), "https://download.pytorch.org/whl/cpu")
    assert venv[:3] == ["/py", "-m", "venv"]
    assert torch[-1].startswith("torch>=")
    assert "--no-deps" in torch
    assert torch[torch.index("--index-url") + 1] == "https://download.pytorch.org/whl/cpu"
    assert "--index-url" not in rest
    assert "--constraint" in rest
    assert {"mediapipe==0.10.21", torch[-1]} <= set(rest)
    newer = addon("interpreters").Interpreter("/py", (3, 13, 0), "x86_64")
    assert "--constraint" not in setup.steps(newer, choose(), "")[2][1]
    offline = setup.steps(python, choose(wheels="/w"), "https://download.pytorch.org/whl/cpu")[1][1]
    assert "--no-index" in offline
    assert "--index-url" not in offline


def test_pretended_set_up_works_and_again(addon, choose):
    """Again: what was there and is ours is replaced."""
    setup = addon("setup_backend")
    for _ in range(2):
        job = setup.set_up(choose())
        job.run()
        assert job.state == "done", (job.error, list(job.log))
    assert job.fraction == pytest.approx(0.95)
    assert addon("packages").report(job.result)[1:] == [
        "PyTorch 2.13.0: CPU, 2 threads",
        "Memory of this computer: 16 GB",
        f"All {len(addon('packages').requirements((3, 12)))} packages are there",
    ]


def test_cancel_kills_pip_with_its_children_and_leaves_nothing(addon, choose, tmp_path):
    python = pretend_python.write(tmp_path / "hanging" / "python", pip="hangs")
    choice = choose(python=str(python))
    job = addon("setup_backend").set_up(choice)
    job.start()
    child = choice.folder / "bin" / "python.child"
    told = Path(json.loads(re.search(r"json.loads\('(.*)'\)", python.read_text())[1])["child"])
    end = time.monotonic() + 30
    while not (told.exists() and told.read_text()):
        assert time.monotonic() < end, list(job.log)
        time.sleep(0.02)
    assert "torch" in job.stage
    asked = time.monotonic()
    job.cancel()
    assert job.wait(10)
    assert time.monotonic() - asked < 5
    assert (job.state, job.error.kind) == ("cancelled", "cancelled")
    assert not choice.folder.exists()
    assert not child.exists()
    assert not alive(int(told.read_text()))


def alive(pid):
    """Whether a process runs; one that ended and waits for its parent does not."""
    for _ in range(50):
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
        except OSError:
            return False
        if state == "Z":
            return False
        time.sleep(0.05)
    return True


def test_cancel_before_anything_runs(addon, choose):
    job = addon("setup_backend").set_up(choose())
    job.cancel()
    job.run()
    assert job.state == "cancelled"


@pytest.mark.parametrize(
    ("pip", "said"),
    [
        ("lacks", "Installing PyTorch failed: there is no mediapipe==0.10.21 for this Python."),
        ("full", "Installing PyTorch failed: the disk is full."),
        ("away", "Installing PyTorch failed: the packages' server cannot be reached."),
        ("odd", "Installing PyTorch failed: exit code 1: ERROR: the moon is in the wrong house."),
    ],
)
def test_what_pip_cannot_do_is_one_sentence(failed, choose, tmp_path, pip, said):
    choice = choose(python=str(pretend_python.write(tmp_path / "p" / "python", pip=pip)))
    error, job = failed(choice)
    assert error.message == said
    assert error.hint
    assert error.kind == "setup"
    assert any(line.startswith("$ ") and "pip install" in line for line in job.log)
    assert not choice.folder.exists()


def test_an_environment_that_is_not_whole_is_no_success(failed, choose, tmp_path):
    python = pretend_python.write(tmp_path / "p" / "python", packages={"torch": ""}, broken={"scipy": "OSError: no"})
    error, _ = failed(choose(python=str(python)))
    assert error.message == (
        "The new environment is not whole: scipy cannot be imported (OSError: no), torch is not installed."
    )


def test_online_access_is_asked(failed, choose):
    error, job = failed(choose(online=False))
    assert error.message == "Blender's online access is off; nothing was downloaded."
    assert "Preferences > System > Network" in error.hint
    assert "-m venv" in error.hint
    assert "-m pip install" in error.hint
    assert not [line for line in job.log if line.startswith("$")]


def test_a_folder_without_wheels(failed, choose, tmp_path):
    error, _ = failed(choose(wheels=str(tmp_path)))
    assert "There are no wheels (.whl) in" in error.message


def test_only_3_13_says_what_would_be_missing(addon, failed, choose, tmp_path):
    python = str(pretend_python.write(tmp_path / "p" / "python", version=[3, 13, 0]))
    error, _ = failed(choose(python=python))
    assert error.kind == "newer python"
    assert "Only Python 3.13.0 was found." in error.message
    assert "mediapipe (photos and clips) and PyMCubes (surface meshes)" in error.message
    assert "Python 3.12" in error.hint
    job = addon("setup_backend").set_up(choose(python=python, newer=True))
    job.run()
    assert job.state == "done"
    assert any("has no wheels of mediapipe" in line for line in addon("packages").report(job.result))


@pytest.mark.parametrize(("platform", "way"), [("win32", "python.org"), ("darwin", "brew"), ("linux", "pyenv")])
def test_how_to_get_a_python(addon, platform, way):
    assert way in addon("setup_backend").how_to_get_python(platform)


def test_no_python_at_all(addon, failed, choose, monkeypatch):
    monkeypatch.setattr(addon("interpreters"), "candidates", lambda *_: iter([["/nowhere/python"]]))
    error, _ = failed(choose(python=""))
    assert error.message == "No Python 3.12 or 3.11 was found."


def test_the_python_that_was_named_does_not_do(failed, choose, tmp_path):
    old = str(pretend_python.write(tmp_path / "p" / "python", version=[3, 9, 1]))
    error, _ = failed(choose(python=old))
    assert error.message == f'"{old}" cannot run the engine: Python 3.9.1 is too old.'
    error, _ = failed(choose(python="/bin/true"))
    assert error.message == '"/bin/true" cannot run the engine: it does not answer as a Python does.'


def test_a_folder_of_the_users_is_never_touched(addon, failed, choose, tmp_path):
    folder = tmp_path / "precious"
    folder.mkdir()
    (folder / "thesis.txt").write_text("years")
    error, _ = failed(choose(folder=folder))
    assert "already holds something else" in error.message
    with pytest.raises(addon("neural_core.errors").PortraitError, match="was not made by Neural Portrait"):
        addon("setup_backend").remove(folder)
    assert (folder / "thesis.txt").read_text() == "years"


def test_a_folder_that_cannot_be_made(failed, choose, tmp_path):
    (tmp_path / "file").write_text("")
    error, _ = failed(choose(folder=tmp_path / "file" / "engine"))
    assert "cannot be made" in error.message
    assert error.kind == "output"


def test_a_full_disk_is_seen_before(addon, failed, choose, monkeypatch):
    usage = type("Usage", (), {"free": 10**9})
    monkeypatch.setattr(addon("setup_backend").shutil, "disk_usage", lambda _: usage)
    choice = choose()
    error, job = failed(choice)
    assert "needs 2.7 GB" in error.message
    assert "only 1.0 GB are free" in error.message
    assert not choice.folder.exists()
    assert not [line for line in job.log if "pip" in line]


def test_cuda_without_a_driver(addon, failed, choose, monkeypatch):
    monkeypatch.setenv("PATH", "")
    error, _ = failed(choose(compute="cuda"))
    assert error.message == "No NVIDIA driver answers on this computer."


@pytest.mark.parametrize(("driver", "index"), [("580.65.06", "cu130"), ("550.54", "cu126")])
def test_the_driver_decides_the_build(addon, choose, tmp_path, monkeypatch, driver, index):
    program = tmp_path / "bin" / "nvidia-smi"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\necho {driver}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(program.parent))
    job = addon("setup_backend").set_up(choose(compute="cuda"))
    job.run()
    assert job.state == "done", job.error
    assert any(line.startswith("$ ") and f"whl/{index}" in line for line in job.log)


# An existing Python ---------------------------------------------------------------------------------------------------


def test_a_gpu_is_named(addon, tmp_path):
    python = pretend_python.write(tmp_path / "python", torch={"cuda": "13.0", "gpu": "RTX", "gpu_memory": 24 * 10**9})
    job = addon("setup_backend").inspect(str(python))
    job.run()
    assert "PyTorch 2.13.0: RTX, 24 GB" in addon("packages").report(job.result)


def test_a_cuda_build_without_a_gpu_says_so(addon, tmp_path):
    job = addon("setup_backend").inspect(str(pretend_python.write(tmp_path / "python", torch={"cuda": "13.0"})))
    job.run()
    assert "PyTorch 2.13.0: CPU, 2 threads (made for CUDA, but no GPU answers)" in addon("packages").report(job.result)


@pytest.mark.parametrize("python", ["/nowhere/python", "/bin/true", tempfile.gettempdir()])
def test_a_file_that_is_no_python(addon, python):
    job = addon("setup_backend").inspect(python)
    job.run()
    assert job.state == "failed"
    assert job.error.message == f'"{python}" does not answer as a Python does.'
