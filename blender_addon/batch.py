# SPDX-License-Identifier: GPL-3.0-or-later
"""Run a job file without a window.

    blender -b [scene.blend] -P batch.py -- job.toml [--dry-run] [--frames 1-50] [--resume] [--set render.size=512]
    python batch.py job.toml ...                     # with the bpy wheel

This file is run by its path: from a clone, from a staged package, or from the installed extension. It finds its own
package, and leaves the work to `headless.py`; what a job file may say stands in `job.py`.

Exit codes: 0 done, 1 our bug, 2 the job is wrong, or what it names cannot be read or written, 3 the engine, a model or
a licence is missing, 4 the engine failed, 5 cancelled or out of time, 6 done but for skipped frames.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import os
import shutil
import sys
import traceback
from pathlib import Path
from types import ModuleType

import bpy

HERE = Path(__file__).resolve().parent
PACKAGE = "neural_portrait"


def package_folder() -> Path:
    """Return the folder of the complete package; a clone is staged into a cache folder of the user first."""
    if (HERE / "neural_core").is_dir():
        return HERE
    builder = _load("neural_portrait_build_addon", HERE.parent / "build_addon.py")
    state = hashlib.sha256()
    for source, name in builder._sources():
        facts = source.stat()
        state.update(f"{source} {name} {facts.st_size} {facts.st_mtime_ns}\n".encode())
    cache = Path(bpy.utils.user_resource("DATAFILES", path="neural_portrait_stage", create=True))
    folder = cache / state.hexdigest()[:16]
    if not (folder / PACKAGE).is_dir():
        for old in cache.iterdir():
            shutil.rmtree(old, ignore_errors=True)
        builder.stage(folder)
    return folder / PACKAGE


def load_package(folder: Path) -> tuple[ModuleType, bool]:
    """Return the package, and whether it is registered already: as the extension that is enabled in this Blender.

    Another copy of the add-on that is enabled is switched off for this process.
    """
    import addon_utils

    for name in list(bpy.context.preferences.addons.keys()):
        if name.rpartition(".")[2] != PACKAGE:
            continue
        module = sys.modules.get(name)
        if module is not None and module.__file__ and Path(module.__file__).resolve().parent == folder:
            return module, True
        addon_utils.disable(name)
    return _load(PACKAGE, folder / "__init__.py", [str(folder)]), False


def _load(name: str, path: Path, search: list[str] | None = None) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, path, submodule_search_locations=search)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def main() -> int:
    """Run the command line; returns the exit code."""
    arguments = sys.argv[sys.argv.index("--") + 1 :] if "--" in sys.argv else sys.argv[1:]
    try:
        package, registered = load_package(package_folder())
        headless = importlib.import_module(f"{package.__name__}.headless")
        return headless.main(arguments, registered)
    except KeyboardInterrupt:
        print("batch: cancelled.", file=sys.stderr)
        return 5
    except SystemExit as leaving:  # argparse: 2 for a wrong command line, 0 for --help
        return leaving.code if isinstance(leaving.code, int) else 1
    except Exception:
        traceback.print_exc()
        return 1


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    sys.stderr.flush()
    if not bpy.app.binary_path:  # the wheels 4.2 and 4.5 crash or hang in their exit handlers
        os._exit(code)
    sys.exit(code)
