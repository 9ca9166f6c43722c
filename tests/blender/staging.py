# SPDX-License-Identifier: GPL-3.0-or-later
"""Staged copies of the add-on for tests: as it ships, or with the stub in the worker's place."""

from __future__ import annotations

import importlib.util
import json
import shutil
import struct
import sys
from pathlib import Path
from types import ModuleType

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]


def builder() -> ModuleType:
    """Return build_addon.py as a module."""
    spec = importlib.util.spec_from_file_location("build_addon", ROOT / "build_addon.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["build_addon"] = module
    spec.loader.exec_module(module)
    return module


def stage(folder: Path, stub: bool) -> Path:
    """Stage the add-on into `folder`; returns the package's path."""
    package = builder().stage(folder)
    if stub:
        shutil.copyfile(HERE / "stub_worker.py", package / "run_worker.py")
        write_model(package / "assets" / "models" / "default-next3d.safetensors")
    return package


def write_model(path: Path, **metadata: str) -> None:
    """Write weights that hold nothing but a header: enough to be listed."""
    header = json.dumps({"__metadata__": {"licence": "CC0-1.0", "use": "any", **metadata}}).encode()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(struct.pack("<Q", len(header)) + header)


def write_face(path: Path, joints: int) -> None:
    """Write a face model that holds nothing but a header, with skinning weights for so many joints."""
    weights = {"dtype": "F32", "shape": [0, joints], "data_offsets": [0, 0]}
    header = json.dumps({"__metadata__": {"format": "neural-portrait"}, "weights": weights}).encode()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(struct.pack("<Q", len(header)) + header)
