# SPDX-License-Identifier: GPL-3.0-or-later
"""What the portrait's card should show at this instant, and where it should stand. Reads, never writes."""

from __future__ import annotations

from dataclasses import dataclass

import bpy
from mathutils import Matrix

from .. import sentences
from ..requests import Shot
from . import camera as cameras
from . import find, image_plane, pose


@dataclass(frozen=True)
class Framing:
    """A picture of the network, and the place of the card that shows it.

    Attributes:
        shot: what the engine is asked to draw.
        label: the camera of the shot in the space of the portrait's root.
        parent: name of the object that carries the card: the scene's camera, or the root.
        place: the card's matrix in the parent's space, row by row.
    """

    shot: Shot
    label: tuple[float, ...]
    parent: str
    place: tuple[tuple[float, ...], ...]


def of(root: bpy.types.Object, scene: bpy.types.Scene, depsgraph: bpy.types.Depsgraph | None = None) -> Framing:
    """Return the picture that belongs on the card of a portrait now, or at the instant that `depsgraph` has evaluated.

    A card that follows the camera shows the crop of the head that the scene's camera sees. It stands before that camera
    at the head's depth, and then covers the head exactly at any focal length and shift; or beside the head. A card that
    follows the head shows what the portrait's own camera sees, and stands where the head is, or beside it. Without a
    `depsgraph` matrices must be up to date.

    Raises:
        UsageError: if there is no such camera, it is no perspective camera, or it does not see the head.
    """
    plane, own = find.part(root, "PLANE"), find.part(root, "CAMERA")
    controls, skull = pose.controls(root, depsgraph), pose.head_space(root, depsgraph)
    behind = image_plane.background_of(plane)
    space = pose.at(root, depsgraph).matrix_world
    if plane is not None and plane.portrait.follow == "HEAD" and own is not None:
        seen = pose.at(own, depsgraph)
        label, shot = cameras.read_own(seen, space), Shot(cameras.read_own(seen, skull), controls, behind)
    elif scene.camera is None:
        raise sentences.no_camera()
    else:
        seen = pose.at(scene.camera, depsgraph)
        crop = cameras.crop(cameras.read(seen, skull, scene))
        label, shot = cameras.with_intrinsics(cameras.read(seen, space, scene), crop), Shot(crop, controls, behind)
        if plane is None or not plane.portrait.beside:
            location, rotation, _ = seen.matrix_world.decompose()
            looks = Matrix.LocRotScale(location, rotation, None)
            place = seen.matrix_world.inverted() @ looks @ image_plane.before_camera(crop, skull.median_scale)
            return Framing(shot, label, scene.camera.name, _rows(place))
    place = image_plane.beside_head(label) if plane and plane.portrait.beside else image_plane.at_head(label)
    return Framing(shot, label, root.name, _rows(place))


def world(framing: Framing, depsgraph: bpy.types.Depsgraph) -> tuple[tuple[float, ...], ...]:
    """Return the card's matrix in the world, row by row, at the instant that `depsgraph` has evaluated."""
    return _rows(pose.at(bpy.data.objects[framing.parent], depsgraph).matrix_world @ Matrix(framing.place))


def _rows(matrix: Matrix) -> tuple[tuple[float, ...], ...]:
    return tuple(tuple(row) for row in matrix)
