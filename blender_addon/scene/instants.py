# SPDX-License-Identifier: GPL-3.0-or-later
"""What the card of a portrait should show at other frames than the one that the user looks at.

A second scene is evaluated beside the user's: it links the few objects that decide the picture (what they depend on
comes with them), goes through the frames, and is removed. Nothing of the user's scene moves, and a frame costs
thousandths of a second, because the heads themselves are not evaluated.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import bpy

from ..neural_core import errors
from . import find, framing, pose

_RENDER = ("resolution_x", "resolution_y", "pixel_aspect_x", "pixel_aspect_y", "fps", "fps_base")


@dataclass(frozen=True)
class Instant:
    """A frame, the picture that belongs on the card then, and the card's matrix in the world, row by row."""

    frame: int
    framing: framing.Framing
    world: tuple[tuple[float, ...], ...]


def read(root: bpy.types.Object, scene: bpy.types.Scene, frames: Iterable[int]) -> list[Instant]:
    """Return the instants of some frames.

    Raises:
        UsageError: that says at which frame there is no picture, and why.
    """
    result = []
    with _second(root, scene) as second:
        for frame in frames:
            second.frame_set(frame)
            depsgraph = second.view_layers[0].depsgraph
            try:
                found = framing.of(root, second, depsgraph)
            except errors.UsageError as error:
                raise errors.UsageError(f"Frame {frame}: {error.message}", error.hint) from error
            result.append(Instant(frame, found, framing.world(found, depsgraph)))
    return result


def controls(root: bpy.types.Object, scene: bpy.types.Scene, frames: Iterable[int]) -> list[tuple[int, dict[str, Any]]]:
    """Return what the face does at some frames, as `pose.controls` says."""
    result = []
    with _second(root, scene) as second:
        for frame in frames:
            second.frame_set(frame)
            result.append((frame, pose.controls(root, second.view_layers[0].depsgraph)))
    return result


def is_second(scene: bpy.types.Scene) -> bool:
    """Return whether a scene is the one that `read` goes through: handlers of frame changes leave it alone."""
    return "portrait_second" in scene


@contextmanager
def _second(root: bpy.types.Object, scene: bpy.types.Scene) -> Iterator[bpy.types.Scene]:
    second = bpy.data.scenes.new("portrait instants")
    try:
        second["portrait_second"] = True
        for name in _RENDER:
            setattr(second.render, name, getattr(scene.render, name))
        second.camera = scene.camera
        cameras = [marker.camera for marker in scene.timeline_markers if marker.camera is not None]
        for marker in scene.timeline_markers:
            second.timeline_markers.new(marker.name, frame=marker.frame).camera = marker.camera
        objects = [root, find.part(root, "RIG"), find.part(root, "CAMERA"), scene.camera, *cameras]
        for ob in {ob.name: ob for ob in objects if ob is not None}.values():
            second.collection.objects.link(ob)
        yield second
    finally:
        bpy.data.scenes.remove(second)
