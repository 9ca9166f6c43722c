# SPDX-License-Identifier: GPL-3.0-or-later
"""Motion that is laid over the user's own: a new action on an NLA track, which can be moved, muted and taken away.

What the user has keyed, and goes on to key, adds to it: layers and the rig's own action are combined.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import bpy
import numpy as np
from mathutils import Quaternion

from . import curves, unfinished

_STRAIGHT = 1e-6


def add(rig: bpy.types.Object, name: str, frames: np.ndarray, tracks: Mapping[str, np.ndarray]) -> bpy.types.NlaTrack:
    """Add a layer of a name: values [n] at frames [n] of the rig's sliders and of curves.HEAD (radians).

    The first frame is a whole number. What the rig does not have is left out.
    """
    return unfinished.at_once(adding(rig, name, frames, tracks))


def adding(
    rig: bpy.types.Object, name: str, frames: np.ndarray, tracks: Mapping[str, np.ndarray], silences: str = ""
) -> unfinished.Pieces[bpy.types.NlaTrack]:
    """Do what `add` does piece by piece; the rig has the layer with the last.

    With `silences`, layers of the same time whose names begin so are muted then.
    """
    with unfinished.action(name) as action:
        slot = curves.new_slot(rig, action)

        def bag() -> Any:
            # Asked of the action in each piece: Blender tells when that was removed, and crashes where its curves were.
            return curves.channels(action, slot, ensure=True)

        for slider, values in tracks.items():
            if slider in rig and slider not in curves.HEAD:
                curves.write(bag(), curves.path_of(slider), *_corners(frames, values))
                yield
        turns = [np.asarray(tracks.get(turn, np.zeros(len(frames)))) for turn in curves.HEAD]
        if any(turn.any() for turn in turns):
            rotations = curves.half_turns(*turns)
            yield
            for bone in (rig.pose.bones.get(bone) for bone in curves.HEAD_BONES):
                if bone is not None:
                    _turn(bag(), bone, frames, rotations)
                    yield
        if silences:
            mute(rig, silences, frames[0], frames[-1])
        return _track(rig, name, frames, action, slot)


def _track(
    rig: bpy.types.Object, name: str, frames: np.ndarray, action: bpy.types.Action, slot: Any
) -> bpy.types.NlaTrack:
    """Lay an action over the rig's own motion."""
    data = rig.animation_data or rig.animation_data_create()
    track = data.nla_tracks.new()
    track.name = name
    strip = track.strips.new(name, round(frames[0]), action)
    if slot is not None:
        strip.action_slot = slot
    strip.blend_type, strip.extrapolation = "COMBINE", "NOTHING"
    data.action_blend_type = "COMBINE"
    rig.update_tag()
    return track


def mute(rig: bpy.types.Object, prefix: str, first: float = -math.inf, last: float = math.inf) -> None:
    """Silence the layers whose name begins so, as far as they reach into some frames.

    What is made anew would add to what was made before.
    """
    for track in rig.animation_data.nla_tracks if rig.animation_data is not None else ():
        if track.name.startswith(prefix) and any(s.frame_start <= last and s.frame_end >= first for s in track.strips):
            track.mute = True


def _turn(bag: object, bone: bpy.types.PoseBone, frames: np.ndarray, rotations: list[Quaternion]) -> None:
    """Write the bone's share of the head's turns, in whichever way the bone keeps its rotation."""
    path = f'pose.bones["{bone.name}"].'
    if bone.rotation_mode == "QUATERNION":
        path, keys = f"{path}rotation_quaternion", np.array(rotations)
    elif bone.rotation_mode == "AXIS_ANGLE":
        axes = [rotation.to_axis_angle() for rotation in rotations]
        path, keys = f"{path}rotation_axis_angle", np.array([(angle, *axis) for axis, angle in axes])
    else:
        path, keys = f"{path}rotation_euler", np.array([turn.to_euler(bone.rotation_mode) for turn in rotations])
    for index, values in enumerate(keys.T):
        curves.write(bag, path, frames, values, index)


def _corners(frames: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return only the keys at which a curve of straight pieces bends, and its ends."""
    if len(frames) < 3:
        return frames, values
    slopes = np.diff(values) / np.diff(frames)
    kept = np.concatenate([[True], np.abs(np.diff(slopes)) > _STRAIGHT, [True]])
    return frames[kept], values[kept]
