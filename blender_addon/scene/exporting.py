# SPDX-License-Identifier: GPL-3.0-or-later
"""A portrait as a file for other programs, by Blender's own exporters."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import bpy

from ..neural_core import errors, files
from . import find, portrait

ROLES = {"surface": "SURFACE", "head": "DRIVER"}


def write(root: bpy.types.Object, path: Path, what: str) -> None:
    """Write a portrait as it is at this frame; of formats that can with rig and animation.

    Args:
        root: the portrait.
        path: the file; its suffix is the format.
        what: "surface" or "head"; a .portrait file has neither, but the person.

    Raises:
        InputError: if the portrait has no such part.
        PortraitError: kind "usage" if this Blender has no such exporter, "output" if the file cannot be written.
    """
    if path.suffix.lower() == ".portrait":
        files.write_bytes(path, portrait.kept_bytes(root))
        return
    check(path)
    mesh = find.part(root, ROLES[what])
    if mesh is None:
        missing = "mesh" if what == "surface" else "rig"
        raise errors.InputError(f'"{root.name}" has no {what} to export.', f'Add "{missing}" to portrait.create.make.')
    parts = [mesh] if path.suffix.lower() in _STILL else [part for part in (mesh, find.part(root, "RIG")) if part]
    with files.replacing(path) as partial, _selected(parts):
        try:
            _EXPORTERS[path.suffix.lower()](str(partial))
        except RuntimeError as error:
            if "KeyboardInterrupt" in str(error):  # Blender makes one error of whatever a Python exporter raises
                raise KeyboardInterrupt from error
            said = [line for line in str(error).strip().splitlines() if not line.startswith("Location")]
            raise errors.PortraitError(f'Cannot write "{path}": {said[-1] if said else ""}', kind="output") from error
        if not partial.is_file():
            raise errors.PortraitError(f'Blender did not write "{path}".', "Is the disk full?", kind="output")


def check(path: Path) -> None:
    """Raise PortraitError of kind "usage" if this Blender cannot write such a file."""
    suffix = path.suffix.lower()
    group, name = _OPERATORS.get(suffix, ("", ""))
    if group and name not in dir(getattr(bpy.ops, group)):
        raise errors.UsageError(f'This Blender cannot export {suffix} files ("{path.name}").')


def _gltf(path: str) -> None:
    bpy.ops.export_scene.gltf(
        filepath=path,
        export_format="GLB",
        use_selection=True,
        export_vertex_color="ACTIVE",  # the other choice looks for it in the material, and finds another
        export_morph_normal=False,
    )


def _usd(path: str) -> None:
    bpy.ops.wm.usd_export(filepath=path, selected_objects_only=True, export_animation=True, export_shapekeys=True)


def _obj(path: str) -> None:
    bpy.ops.wm.obj_export(filepath=path, export_selected_objects=True, export_colors=True, export_materials=False)


def _ply(path: str) -> None:
    bpy.ops.wm.ply_export(filepath=path, export_selected_objects=True, export_colors="SRGB")


def _stl(path: str) -> None:
    bpy.ops.wm.stl_export(filepath=path, export_selected_objects=True)


_STILL = (".obj", ".ply", ".stl")
_EXPORTERS: dict[str, Callable[[str], Any]] = {
    ".glb": _gltf,
    **dict.fromkeys((".usd", ".usda", ".usdc"), _usd),
    ".obj": _obj,
    ".ply": _ply,
    ".stl": _stl,
}
_OPERATORS = {
    ".glb": ("export_scene", "gltf"),
    **dict.fromkeys((".usd", ".usda", ".usdc"), ("wm", "usd_export")),
    **{suffix: ("wm", f"{suffix[1:]}_export") for suffix in _STILL},
}


@contextmanager
def _selected(parts: list[bpy.types.Object]) -> Iterator[None]:
    """Have only these objects selected, and visible: what is hidden is exported by nobody.

    Since Blender 5.2 some exporters see what a render would.
    """
    layer = bpy.context.view_layer
    objects = layer.objects
    before = objects.active, find.selected(layer), [(part, part.hide_get(), part.hide_render) for part in parts]
    try:
        for ob in before[1]:
            ob.select_set(False)
        for part in parts:
            part.hide_set(False)
            part.hide_render = False
            part.select_set(True)
        objects.active = parts[0]
        yield
    finally:
        for part, hidden, not_rendered in before[2]:
            part.select_set(False)
            part.hide_set(hidden)
            part.hide_render = not_rendered
        for ob in before[1]:
            ob.select_set(True)
        objects.active = before[0]
