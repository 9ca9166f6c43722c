# SPDX-License-Identifier: GPL-3.0-or-later
"""Expression curves: keys on the rig's properties, one at a time or in bulk, and files of format portrait-curves/1.

A curves file is JSON: {"format": "portrait-curves/1", "fps": 25, "curves": {"jawOpen": [0.0, ...], ...}}. Besides the
52 actions it may turn the head, in radians (HEAD): neck and head bone take half of the turn each.
"""

from __future__ import annotations

import difflib
import json
import math
from pathlib import Path
from typing import Any, TypeGuard

import bpy
import numpy as np
from mathutils import Quaternion

from ..expressions import NAMES
from ..neural_core import errors

FORMAT = "portrait-curves/1"
GROUP = "Expression"
HEAD = ("headYaw", "headPitch", "headRoll")
"""Towards the subject's left, then upwards, then the crown towards the subject's left shoulder."""
HEAD_BONES = ("neck", "head")


def path_of(name: str) -> str:
    """Return the animation path of an expression slider."""
    return f'["{name}"]'


def key(rig: bpy.types.Object, name: str, frame: float) -> None:
    """Set a key at the slider's present value."""
    rig.keyframe_insert(path_of(name), frame=frame, group=GROUP)


def key_bone(bone: bpy.types.PoseBone, frame: float) -> None:
    """Set keys at the bone's present place and rotation, in whichever way it keeps the rotation."""
    rotation = {"QUATERNION": "rotation_quaternion", "AXIS_ANGLE": "rotation_axis_angle"}
    for path in ("location", rotation.get(bone.rotation_mode, "rotation_euler")):
        bone.keyframe_insert(path, frame=frame, group=bone.name)


def key_if_wanted(scene: bpy.types.Scene, rig: bpy.types.Object, sliders: list[str], bones: list[str]) -> None:
    """Key what a button has moved at this frame, if auto-keying is on; the rig is brought up to date in any case."""
    if scene.tool_settings.use_keyframe_insert_auto:
        for name in sliders:
            key(rig, name, scene.frame_current)
        for name in bones:
            key_bone(rig.pose.bones[name], scene.frame_current)
    rig.update_tag()


def changed(rig: bpy.types.Object, names: list[str], frame: float) -> list[str]:
    """Return the sliders whose value is not what their keys and layers (or, without any, 0) say at the frame."""
    return [name for name in names if abs(rig[name] - _animated(rig, path_of(name), frame)) > 1e-5]


def set_curve(
    rig: bpy.types.Object,
    path: str,
    frames: np.ndarray,
    values: np.ndarray,
    index: int = 0,
    interpolation: str = "LINEAR",
) -> None:
    """Replace the curve of an animation path by keys, linear or CONSTANT; far faster than a key at a time.

    Call `rig.update_tag()` afterwards.
    """
    write(_channels(rig, ensure=True), path, frames, values, index, interpolation)


def write(
    bag: Any, path: str, frames: np.ndarray, values: np.ndarray, index: int = 0, interpolation: str = "LINEAR"
) -> None:
    """Write keys into what holds an action's curves, in the place of those that were there."""
    curve = bag.fcurves.find(path, index=index)
    if curve is None:
        curve = bag.fcurves.new(path, index=index)
        curve.group = bag.groups.get(GROUP) or bag.groups.new(GROUP)
    points = curve.keyframe_points
    points.clear()
    points.add(len(frames))
    points.foreach_set("co", np.stack([frames, values], axis=1).astype(np.float32).ravel())
    kind = bpy.types.Keyframe.bl_rna.properties["interpolation"].enum_items[interpolation].value
    points.foreach_set("interpolation", np.full(len(frames), kind, np.int32))
    curve.update()


def apply_file(rig: bpy.types.Object, path: Path, scene: bpy.types.Scene, start: int) -> int:
    """Put a curves file on the rig, resampled to the scene's frame rate by time; returns the last frame.

    Raises:
        InputError: if the file is no curves file, or moves what this rig does not have.
    """
    fps, tracks = read_file(path)
    per_sample = scene.render.fps / scene.render.fps_base / fps
    frames = start + np.arange(max((len(values) for values in tracks.values()), default=1)) * per_sample
    for name, values in tracks.items():
        if name in HEAD:
            continue
        if name not in rig:
            raise errors.InputError(f'"{path.name}" moves "{name}", which this rig does not have.')
        set_curve(rig, path_of(name), frames[: len(values)], values)
    turns = [tracks.get(name, np.zeros(1)) for name in HEAD]
    if any(turn.any() for turn in turns):
        if not set(HEAD_BONES) <= set(rig.pose.bones.keys()):
            raise errors.InputError(f'"{path.name}" turns the head, which this rig cannot do.')
        _turn_head(rig, frames, *turns)
    rig.update_tag()
    return math.ceil(frames[-1])


def _turn_head(rig: bpy.types.Object, frames: np.ndarray, yaw: np.ndarray, pitch: np.ndarray, roll: np.ndarray) -> None:
    """Key the bones of neck and head; a shorter curve keeps its end."""
    columns = [np.pad(angles, (0, len(frames) - len(angles)), mode="edge") for angles in (yaw, pitch, roll)]
    keys = np.array(half_turns(*columns))
    for name in HEAD_BONES:
        rig.pose.bones[name].rotation_mode = "QUATERNION"
        for index, values in enumerate(keys.T):
            set_curve(rig, f'pose.bones["{name}"].rotation_quaternion', frames, values, index)


def half_turns(yaw: np.ndarray, pitch: np.ndarray, roll: np.ndarray) -> list[Quaternion]:
    """Return what each of HEAD_BONES does when the head turns by angles [n] as in HEAD.

    The bones' axes at rest are those of head space.
    """
    keys = []
    for left, up, tilt in zip(yaw, pitch, roll, strict=True):
        # A positive angle about +Y turns to the subject's left, about +X it looks down, about +Z it tilts to the right.
        turn = Quaternion((0, 1, 0), left) @ Quaternion((1, 0, 0), -up) @ Quaternion((0, 0, 1), -tilt)
        keys.append(Quaternion((1.0 + turn.w, turn.x, turn.y, turn.z)).normalized())  # half-way to no turn
    return keys


def read_file(path: Path) -> tuple[float, dict[str, np.ndarray]]:
    """Return frames a second and the values of each action.

    Raises:
        InputError: with one sentence about what is wrong.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise errors.InputError(f'The curves file "{path}" cannot be read: {error.strerror}.') from error
    except ValueError as error:
        raise errors.InputError(f'"{path.name}" is no JSON: {error}.') from error
    return _checked(path.name, content)


def _checked(name: str, content: Any) -> tuple[float, dict[str, np.ndarray]]:
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise errors.InputError(f'"{name}" is no curves file.', f'It lacks "format": "{FORMAT}".')
    fps, tracks = content.get("fps"), content.get("curves")
    if not _is_number(fps) or fps <= 0:
        raise errors.InputError(f'"{name}" has no frame rate: fps is {fps!r}.')
    if not isinstance(tracks, dict):
        raise errors.InputError(f'"{name}" has no curves.')
    for action, values in tracks.items():
        if action not in (*NAMES, *HEAD):
            close = difflib.get_close_matches(action, (*NAMES, *HEAD), 1)
            raise errors.InputError(
                f'"{name}" moves "{action}", which is no facial action.', f'Did you mean "{close[0]}"?' if close else ""
            )
        if not isinstance(values, list) or not values or not all(_is_number(value) for value in values):
            raise errors.InputError(f'The curve "{action}" of "{name}" is no list of numbers.')
    return float(fps), {action: np.asarray(values, np.float64) for action, values in tracks.items()}


def _is_number(value: object) -> TypeGuard[float]:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def channels(action: bpy.types.Action, slot: Any, ensure: bool) -> Any:
    """Return what holds an action's F-curves: since Blender 4.4 the channel bag of a slot, before the action itself."""
    if not hasattr(action, "slots"):
        return action
    if slot is None:
        return None
    layer = action.layers[0] if action.layers else action.layers.new("Layer") if ensure else None
    if layer is None:
        return None
    strip = layer.strips[0] if layer.strips else layer.strips.new(type="KEYFRAME") if ensure else None
    return strip.channelbag(slot, ensure=ensure) if strip is not None else None


def new_slot(ob: bpy.types.Object, action: bpy.types.Action) -> Any:
    """Return a new slot of an action for the object; None before Blender 4.4, which has none."""
    return action.slots.new(id_type=ob.id_type, name=ob.name) if hasattr(action, "slots") else None


def _channels(ob: bpy.types.Object, ensure: bool) -> Any:
    """Return what holds the F-curves of the object's own action; None where there is none."""
    data = ob.animation_data
    if data is None or data.action is None:
        if not ensure:
            return None
        data = ob.animation_data_create()
        data.action = bpy.data.actions.new(f"{ob.name} action")
    if ensure and hasattr(data.action, "slots") and data.action_slot is None:
        data.action_slot = new_slot(ob, data.action)
    return channels(data.action, getattr(data, "action_slot", None), ensure)


def _animated(ob: bpy.types.Object, path: str, frame: float) -> float:
    """Return the value that layers and the object's own action give a path together; 0 where nothing moves it."""
    value, data = 0.0, ob.animation_data
    for track in data.nla_tracks if data is not None else ():
        for strip in track.strips if not track.mute else ():
            if strip.mute or strip.type != "CLIP" or not strip.frame_start <= frame <= strip.frame_end:
                continue
            bag = channels(strip.action, getattr(strip, "action_slot", None), ensure=False)
            time = strip.action_frame_start + (frame - strip.frame_start) / strip.scale
            value = _blended(value, bag, path, time, strip.blend_type, strip.influence)
    if data is not None:
        bag = _channels(ob, ensure=False)
        value = _blended(value, bag, path, frame, data.action_blend_type, data.action_influence)
    return value


def _blended(below: float, bag: Any, path: str, frame: float, blend: str, influence: float) -> float:
    """Return a value with a curve laid over it: in its place, else added."""
    curve = bag.fcurves.find(path) if bag is not None else None
    if curve is None:
        return below
    above = curve.evaluate(frame)
    return below + influence * (above - below if blend == "REPLACE" else above)
