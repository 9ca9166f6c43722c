# SPDX-License-Identifier: GPL-3.0-or-later
"""Baked frames on a portrait's card: where they lie, how the card shows them, and how it shows this moment again.

They are a sequence of PNG files beside the .blend, found by a relative path. With keys for the card's place, the file
plays and renders on a machine that has neither this add-on nor an engine.
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import bpy
import numpy as np
from mathutils import Matrix

from ..frame_record import FrameRecord
from ..neural_core import errors, files
from . import curves, find, image_plane, portrait
from .instants import Instant

FOLDER = "portrait_cache"
_PATHS = {"location": 3, "rotation_quaternion": 4, "scale": 3}


def base() -> Path:
    """Return the folder of all caches: beside the .blend, or in Blender's temporary folder while it is not saved."""
    beside = Path(bpy.data.filepath).parent if bpy.data.filepath else Path(bpy.app.tempdir)
    return beside / FOLDER


def folder(root: bpy.types.Object, quality: str) -> Path:
    """Return where the frames of a portrait belong; `quality` is DRAFT, PREVIEW or FULL, or says what else they are."""
    return base() / re.sub(r"[^\w .-]", "_", root.name) / quality.lower()


def frame_file(place: Path, frame: int) -> Path:
    """Return the file of a frame. Raises UsageError for frames before 0, which Blender's sequences do not have."""
    if frame < 0:
        raise errors.UsageError(f"Frame {frame} cannot be baked.", "Let the scene begin at frame 0 or later.")
    return place / f"f_{frame:04d}.png"


def show_sequence(root: bpy.types.Object, place: Path, instants: list[Instant]) -> None:
    """Show baked frames on the portrait's card, at each frame where they belong; `instants` follow one another."""
    plane = find.part(root, "PLANE")
    if plane is None:
        return
    portrait.live_image(plane)  # is remembered before another takes its place
    first, last = instants[0].frame, instants[-1].frame
    path = str(frame_file(place, first))
    image = plane.portrait.baked_image
    if image is None:
        image = plane.portrait.baked_image = bpy.data.images.load(path, check_existing=False)
        image.name = f"{plane.name} baked"
    image.filepath = bpy.path.relpath(path) if bpy.data.filepath else path
    image.source = "SEQUENCE"
    image.reload()
    image_plane.show_image(plane, image)
    user = image_plane.node_of(plane).image_user
    user.frame_start, user.frame_duration, user.frame_offset = first, last - first + 1, first - 1
    user.use_auto_refresh = True
    _carry(plane, instants)


def is_shown(plane: bpy.types.Object | None) -> bool:
    """Return whether a card shows baked frames."""
    return plane is not None and (image := image_plane.image_of(plane)) is not None and image.source == "SEQUENCE"


def shows(plane: bpy.types.Object | None, frame: int, key: str) -> bool:
    """Return whether a card shows the file of this frame, and that was made from `key`."""
    if plane is None or not is_shown(plane):
        return False
    user = image_plane.node_of(plane).image_user
    place = folder_shown(plane)
    there = user.frame_start <= frame < user.frame_start + user.frame_duration
    return there and FrameRecord(place).holds(frame_file(place, frame), key)


def show_live(root: bpy.types.Object) -> None:
    """Show the picture of this moment again; the card loses the keys that baking gave it."""
    plane = find.part(root, "PLANE")
    if not is_shown(plane):
        return
    image_plane.show_image(plane, portrait.live_image(plane))
    _drop_keys(plane)


def folder_shown(plane: bpy.types.Object) -> Path:
    """Return where the frames on a card lie."""
    return Path(bpy.path.abspath(image_plane.image_of(plane).filepath)).parent


def check_writable(place: Path) -> None:
    """Make the folder of baked frames. Raises PortraitError of kind "output" if frames cannot be written there."""
    files.make_folder(place)
    files.check_folder_of(place / "f_0001.png")


def follow_file(place: Path) -> Path:
    """Copy frames that were baked while the .blend lay elsewhere to where it lies now; returns their new folder.

    Raises:
        PortraitError: kind "output", if they cannot be written there.
    """
    target = base().joinpath(*place.parts[-2:])
    if target != place:
        copy(place, target)
    return target


def copy(place: Path, target: Path) -> None:
    """Copy a folder of frames with its record; what is there under the same names is replaced."""
    files.make_folder(target)
    try:
        shutil.copytree(place, target, dirs_exist_ok=True)
    except (OSError, shutil.Error) as error:
        reason = error if isinstance(error, OSError) and error.errno else OSError(0, str(error))
        raise files.output_error(target, reason) from error


def clear(place: Path) -> None:
    """Delete baked frames. Raises PortraitError of kind "output" if that is refused."""
    try:
        if place.is_dir():
            shutil.rmtree(place)
    except OSError as error:
        raise files.output_error(place, error) from error


def _carry(plane: bpy.types.Object, instants: list[Instant]) -> None:
    """Let the card be where its picture belongs at each frame: without keys if it never moves in its parent's space."""
    _drop_keys(plane)
    parents = {one.framing.parent for one in instants}
    if len(parents) == 1:
        matrices = [Matrix(one.framing.place) for one in instants]
        image_plane.place(plane, bpy.data.objects[parents.pop()], matrices[0])
    else:  # the scene's camera changes between the frames
        matrices = [Matrix(one.world) for one in instants]
        plane.parent = None
        plane.matrix_world = matrices[0]
    if all(matrix == matrices[0] for matrix in matrices):
        return
    plane.rotation_mode = "QUATERNION"
    parts = [matrix.decompose() for matrix in matrices]
    for after, before in zip(parts[1:], parts, strict=False):
        after[1].make_compatible(before[1])  # else the card would turn around between two frames
    frames = np.array([one.frame for one in instants], np.float64)
    for column, (path, count) in enumerate(_PATHS.items()):
        values = np.array([part[column] for part in parts], np.float64)
        for index in range(count):
            curves.set_curve(plane, path, frames, values[:, index], index)
    plane.update_tag()


def _drop_keys(plane: bpy.types.Object) -> None:
    data = plane.animation_data
    action = data.action if data is not None else None
    plane.animation_data_clear()
    if action is not None and not action.users:
        bpy.data.actions.remove(action)
