# SPDX-License-Identifier: Apache-2.0
"""Stage the add-on, check it, and zip it so that the same sources always give the same bytes. Standard library only.

    python build_addon.py --out dist        # dist/neural_portrait-<version>.zip, to drag into Blender
    python build_addon.py --stage build     # build/neural_portrait/, the same files as a package

The package is `blender_addon/` with `neural_core/` and the default assets inside it: Blender's side imports
`.neural_core.protocol`, the worker runs the rest with another Python.
"""

from __future__ import annotations

import argparse
import ast
import re
import shutil
import sys
import tempfile
import tomllib
import zipfile
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent
PACKAGE = "neural_portrait"
ASSETS = (
    "assets/face/*",
    "assets/models/default-*",
    "assets/models/lipsync*",
    "assets/LICENCES.md",
    *("pyproject.toml", "constraints.txt"),
)
LICENCES = ("LICENSES/Apache-2.0.txt", "LICENSES/CC0-1.0.txt", "LICENSES/GPL-3.0-or-later.txt")
MAX_MEGABYTES = 25
SHARED_MODULES = {"protocol", "messages", "errors", "files", "__version__"}
"""What Blender's side may take from neural_core: its standard-library part."""
BLENDER_MODULES = {"_cycles", "addon_utils", "blf", "bpy", "bpy_extras", "gpu", "mathutils", "numpy"}
_ZIP_TIME = (1980, 1, 1, 0, 0, 0)


class BuildError(Exception):
    """The package would not be fit to ship; the text says why."""


def stage(folder: Path) -> Path:
    """Copy the package to `folder`/neural_portrait, replacing what was there; returns that path."""
    target = folder / PACKAGE
    folder.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(dir=folder, prefix=".stage-"))
    try:
        for source, name in _sources():
            (partial / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, partial / name)
        partial.chmod(0o755)
        if target.exists():
            shutil.rmtree(target)
        partial.replace(target)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return target


def verify(package: Path) -> None:
    """Check a staged package: manifest, imports, licences, size.

    Raises:
        BuildError: with one sentence about the first thing that is wrong.
    """
    manifest = _read_manifest(package / "blender_manifest.toml")
    version = re.search(r'^__version__ = "(.+)"$', (package / "neural_core/__init__.py").read_text("utf-8"), re.M)
    if version is None or version[1] != manifest["version"]:
        raise BuildError(f"The manifest says version {manifest['version']}, neural_core {version and version[1]}.")
    for path in sorted(package.rglob("*.py")):
        name = path.relative_to(package).as_posix()
        first = path.read_text("utf-8").split("\n", 1)[0]
        if not first.startswith("# SPDX-License-Identifier: "):
            raise BuildError(f"{name} does not begin with its licence (SPDX-License-Identifier).")
        if not name.startswith("neural_core/"):
            _check_addon_imports(path, name)
    for module in sorted(SHARED_MODULES - {"__version__"}):
        _check_standard_library(package / "neural_core" / f"{module}.py")
    for name in LICENCES:
        if not (package / name).is_file():
            raise BuildError(f"The licence {name} is missing.")
    size = sum(path.stat().st_size for path in package.rglob("*") if path.is_file()) / 1e6
    if size > MAX_MEGABYTES:
        raise BuildError(f"The package has {size:.1f} MB, more than {MAX_MEGABYTES}.")


def build(out: Path) -> Path:
    """Stage, verify and zip into folder `out`; returns the ZIP's path."""
    with tempfile.TemporaryDirectory() as scratch:
        package = stage(Path(scratch))
        verify(package)
        version = _read_manifest(package / "blender_manifest.toml")["version"]
        out.mkdir(parents=True, exist_ok=True)
        target = out / f"{PACKAGE}-{version}.zip"
        partial = target.with_suffix(".zip.part")
        _write_zip(package, partial)
        partial.replace(target)
    return target


def _sources() -> Iterator[tuple[Path, str]]:
    """Yield each file of the package and its name there, in order of name."""
    found: dict[str, Path] = {}
    for path in _files(ROOT / "blender_addon"):
        found[path.relative_to(ROOT / "blender_addon").as_posix()] = path
    for path in _files(ROOT / "neural_core"):
        found[path.relative_to(ROOT).as_posix()] = path
    for pattern in (*ASSETS, *LICENCES):
        for path in ROOT.glob(pattern):
            if path.is_file():
                found[path.relative_to(ROOT).as_posix()] = path
    yield from ((found[name], name) for name in sorted(found))


def _files(folder: Path) -> Iterator[Path]:
    for path in folder.rglob("*"):
        parts = path.relative_to(folder).parts
        if path.is_file() and not any(part == "__pycache__" or part.startswith(".") for part in parts):
            yield path


def _read_manifest(path: Path) -> dict[str, str]:
    """Return the manifest if Blender would take it."""
    try:
        manifest = tomllib.loads(path.read_text("utf-8"))
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise BuildError(f"The manifest cannot be read: {error}.") from error
    needed = (
        *("schema_version", "id", "version", "name", "tagline", "maintainer", "type", "blender_version_min", "license"),
    )
    missing = [key for key in needed if key not in manifest]
    if missing:
        raise BuildError(f"The manifest lacks {', '.join(missing)}.")
    if manifest["id"] != PACKAGE or len(manifest["tagline"]) > 64 or manifest["tagline"][-1] in ".!":
        raise BuildError("The manifest's id or tagline is not what Blender accepts.")
    return manifest


def _check_addon_imports(path: Path, name: str) -> None:
    """Blender's side may import Blender, numpy, the standard library, itself and the shared part of neural_core."""
    for module, level, names in _imports(path):
        top = module.split(".")[0]
        if level == 0 and name == "run_worker.py" and module == "neural_core.worker":
            continue  # runs in the worker's interpreter
        if level == 0 and top not in BLENDER_MODULES and top not in sys.stdlib_module_names:
            raise BuildError(f'{name} imports "{module}", which Blender does not have.')
        if level and "neural_core" in module.split("."):
            inner = module.split("neural_core", 1)[1].strip(".").split(".")[0]
            for taken in [inner] if inner else names:
                if taken not in SHARED_MODULES:
                    raise BuildError(f'{name} imports "neural_core.{taken}", which may need torch.')


def _check_standard_library(path: Path) -> None:
    for module, level, names in _imports(path):
        if level == 0 and module.split(".")[0] not in sys.stdlib_module_names:
            raise BuildError(f'neural_core/{path.name} imports "{module}", which is not in the standard library.')
        for taken in ([module.split(".")[0]] if module else names) if level else ():
            if taken not in SHARED_MODULES:
                raise BuildError(f'neural_core/{path.name} imports ".{taken}", which may need torch.')


def _imports(path: Path) -> Iterator[tuple[str, int, list[str]]]:
    """Yield module, level (0: absolute) and names of each import of a file, those inside functions too."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"), str(path))):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, 0, []
        elif isinstance(node, ast.ImportFrom):
            yield node.module or "", node.level, [alias.name for alias in node.names]


def _write_zip(package: Path, target: Path) -> None:
    """Write the files in order of name with a fixed time and mode."""
    with zipfile.ZipFile(target, "w") as archive:
        for path in sorted(package.rglob("*"), key=lambda path: path.relative_to(package).as_posix()):
            if not path.is_file() or "__pycache__" in path.parts:
                continue
            info = zipfile.ZipInfo(path.relative_to(package).as_posix(), _ZIP_TIME)
            info.compress_type = zipfile.ZIP_DEFLATED
            info.create_system = 3
            info.external_attr = 0o100644 << 16
            archive.writestr(info, path.read_bytes(), compresslevel=9)


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    parser = argparse.ArgumentParser(description="Build the Blender extension.")
    parser.add_argument("--stage", type=Path, metavar="DIR", help=f"only make DIR/{PACKAGE} and check it")
    parser.add_argument("--out", type=Path, default=Path("dist"), metavar="DIR", help="where the ZIP goes (dist)")
    options = parser.parse_args(arguments)
    try:
        if options.stage is not None:
            package = stage(options.stage)
            verify(package)
            print(f"{package}: the add-on as a package")
        else:
            target = build(options.out)
            print(f"{target}: {target.stat().st_size / 1e6:.1f} MB, install it in Blender 4.2 or later")
    except BuildError as error:
        print(f"build_addon: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        print(f'build_addon: cannot write "{error.filename}": {error.strerror}', file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
