# SPDX-License-Identifier: GPL-3.0-or-later
"""Poses as assets of Blender: actions with one key on each slider that a pose sets, marked for the Asset Browser.

Blender's own pose library puts them on a rig in Pose Mode: it plays all curves of an action, not those of bones alone.
Our menus list the assets of the file beside the poses that come with the add-on. Deleting, renaming and tagging is done
in the Asset Browser.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from typing import Any

import bpy
import numpy as np

from .. import poses
from ..expressions import NAMES
from ..neural_core import __version__, errors
from . import curves

PREFIX = "OWN "
"""Before the name of an action, in the identifier of its pose."""
PREVIEW_SIDE = 128
AUTHOR = "Neural Portrait"
_PATHS = {curves.path_of(name): name for name in NAMES}
_FRAME = 1.0
_OWN_NUMBERS = 1 << 16
"""Numbers of own poses in menus begin here: .blend files keep the number of what is chosen."""

# Blender wants the strings of a menu kept for as long as it is shown.
_items: list[tuple[str, str, str, int]] = []


def save(name: str, values: Mapping[str, float], tags: tuple[str, ...] = (), description: str = "") -> bpy.types.Action:
    """Make an asset of a pose, in the place of the one of the same name.

    Args:
        name: of the pose.
        values: of the sliders that it sets, 0 among them.
        tags: for the Asset Browser.
        description: for its tooltip.

    Raises:
        UsageError: if the pose has no name, or an action of that name is no pose.
    """
    name = name.strip()
    if not name:
        raise errors.UsageError("The pose has no name.", "Give it one.")
    action = bpy.data.actions.get((name, None))  # not one that is linked from another file
    if action is not None:
        if not _values(action):
            raise errors.UsageError(f'There is an action "{name}" already, and it is no pose.', "Choose another name.")
        bpy.data.actions.remove(action)
    action = bpy.data.actions.new(name)
    bag = _new_bag(action)
    for slider, value in values.items():
        curves.write(bag, curves.path_of(slider), np.array([_FRAME]), np.array([value]))
    action.asset_mark()
    action.asset_data.author, action.asset_data.description = AUTHOR, description
    for tag in (AUTHOR, *tags):
        action.asset_data.tags.new(tag, skip_if_exists=True)
    return action


def add_library() -> list[bpy.types.Action]:
    """Make assets of the poses that come with the add-on, but for those that the file has; returns the new ones."""
    added = []
    for pose in poses.LIBRARY.values():
        if bpy.data.actions.get((pose.name, None)) is not None:
            continue
        values = {name: pose.actions.get(name, 0.0) for name in NAMES if name in pose.region}
        kind = "expression" if len(pose.region) == len(NAMES) else "mouth"
        added.append(save(pose.name, values, (kind,), f"Made with Neural Portrait {__version__}"))
    return added


def find(identifier: str) -> poses.Pose:
    """Return a pose of the library or of the file. Raises UsageError if it is gone."""
    if identifier in poses.LIBRARY:
        return poses.LIBRARY[identifier]
    name = identifier.removeprefix(PREFIX)
    for action in bpy.data.actions:
        if action.name == name and action.asset_data is not None and (values := _values(action)):
            return poses.Pose(name, values, frozenset(values))
    raise errors.UsageError(f'There is no pose "{name}" in this file.', "Choose another one.")


def items(_self: Any, _context: bpy.types.Context | None) -> list[tuple[str, str, str, int]]:
    """Return all poses as Blender's menus want them: those of the library, then those of the file."""
    found = [(*item, number) for number, item in enumerate(poses.ITEMS)]
    for name in own():
        number = _OWN_NUMBERS + zlib.crc32(name.encode()) % (1 << 30)
        found.append((PREFIX + name, name, "A pose of this file", number))
    _items[:] = found
    return _items


def own() -> list[str]:
    """Return the names of the file's poses that are not those of the library, in the order of the alphabet."""
    shipped = {pose.name for pose in poses.LIBRARY.values()}
    assets = (action for action in bpy.data.actions if action.asset_data is not None)
    return sorted({action.name for action in assets if action.name not in shipped and _is_pose(action)})


def set_preview(action: bpy.types.Action, pixels: np.ndarray) -> None:
    """Let the Asset Browser show a picture [h, w, 4] uint8 for a pose."""
    step = max(1, max(pixels.shape[:2]) // PREVIEW_SIDE)
    small = pixels[::step, ::step]
    preview = action.preview_ensure()
    preview.image_size = small.shape[1::-1]
    preview.image_pixels_float.foreach_set((small[::-1].astype(np.float32) / 255.0).ravel())


def _is_pose(action: bpy.types.Action) -> bool:
    """Return whether an action sets sliders at one frame and does not move them."""
    first, last = action.frame_range
    return first == last and any(curve.data_path in _PATHS for bag in _bags(action) for curve in bag.fcurves)


def _values(action: bpy.types.Action) -> dict[str, float]:
    """Return the sliders that an action sets, with their values at its first frame."""
    frame = action.frame_range[0]
    return {
        _PATHS[curve.data_path]: curve.evaluate(frame)
        for bag in _bags(action)
        for curve in bag.fcurves
        if curve.data_path in _PATHS
    }


def _bags(action: bpy.types.Action) -> list[Any]:
    """Return all that holds curves of an action: since Blender 4.4 a bag for each slot, before the action itself."""
    slots = action.slots if hasattr(action, "slots") else (None,)
    found = (curves.channels(action, slot, ensure=False) for slot in slots)
    return [bag for bag in found if bag is not None]


def _new_bag(action: bpy.types.Action) -> Any:
    slot = action.slots.new(id_type="OBJECT", name="Rig") if hasattr(action, "slots") else None
    return curves.channels(action, slot, ensure=True)
