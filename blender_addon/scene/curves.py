# SPDX-License-Identifier: GPL-3.0-or-later
"""Expression curves: keys on the rig's properties, one at a time or in bulk, and files of format portrait-curves/1.

A curves file is JSON: {"format": "portrait-curves/1", "fps": 25, "curves": {"jawOpen": [0.0, ...], ...}}.
"""

from __future__ import annotations

import difflib
import json
import math
from pathlib import Path
from typing import Any, TypeGuard

import bpy
import numpy as np

from ..expressions import NAMES
from ..neural_core import errors

FORMAT = "portrait-curves/1"
GROUP = "Expression"


def path_of(name: str) -> str:
    """Return the animation path of an expression slider."""
    return f'["{name}"]'


def key(rig: bpy.types.Object, name: str, frame: float) -> None:
    """Set a key at the slider's present value."""
    rig.keyframe_insert(path_of(name), frame=frame, group=GROUP)


def changed(rig: bpy.types.Object, names: list[str], frame: float) -> list[str]:
    """Return the sliders whose value is not what their curve (or, without one, 0) says at the frame."""
    result = []
    for name in names:
        curve = _find_curve(rig, path_of(name))
        expected = curve.evaluate(frame) if curve is not None else 0.0
        if abs(rig[name] - expected) > 1e-5:
            result.append(name)
    return result


def set_curve(rig: bpy.types.Object, name: str, frames: np.ndarray, values: np.ndarray) -> None:
    """Replace a slider's curve by linear keys; far faster than a key at a time. Call `rig.update_tag()` afterwards."""
    points = _ensure_curve(rig, path_of(name)).keyframe_points
    points.clear()
    points.add(len(frames))
    points.foreach_set("co", np.stack([frames, values], axis=1).astype(np.float32).ravel())
    linear = bpy.types.Keyframe.bl_rna.properties["interpolation"].enum_items["LINEAR"].value
    points.foreach_set("interpolation", np.full(len(frames), linear, np.int32))
    _find_curve(rig, path_of(name)).update()


def apply_file(rig: bpy.types.Object, path: Path, scene: bpy.types.Scene, start: int) -> int:
    """Put a curves file on the rig, resampled to the scene's frame rate by time; returns the last frame.

    Raises:
        InputError: if the file is no curves file, or names an action that this rig does not have.
    """
    fps, tracks = read_file(path)
    per_sample = scene.render.fps / scene.render.fps_base / fps
    last = start
    for name, values in tracks.items():
        if name not in rig:
            raise errors.InputError(f'"{path.name}" moves "{name}", which this rig does not have.')
        frames = start + np.arange(len(values)) * per_sample
        set_curve(rig, name, frames, values)
        last = max(last, math.ceil(frames[-1]))
    rig.update_tag()
    return last


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
        if action not in NAMES:
            close = difflib.get_close_matches(action, NAMES, 1)
            raise errors.InputError(
                f'"{name}" moves "{action}", which is no facial action.', f'Did you mean "{close[0]}"?' if close else ""
            )
        if not isinstance(values, list) or not values or not all(_is_number(value) for value in values):
            raise errors.InputError(f'The curve "{action}" of "{name}" is no list of numbers.')
    return float(fps), {action: np.asarray(values, np.float64) for action, values in tracks.items()}


def _is_number(value: object) -> TypeGuard[float]:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _channels(ob: bpy.types.Object, ensure: bool) -> Any:
    """Return what holds the F-curves of the object: a channel bag since Blender 4.4, the action itself before."""
    data = ob.animation_data
    if data is None or data.action is None:
        if not ensure:
            return None
        data = ob.animation_data_create()
        data.action = bpy.data.actions.new(f"{ob.name} action")
    action = data.action
    if not hasattr(action, "slots"):
        return action
    if data.action_slot is None:
        if not ensure:
            return None
        data.action_slot = action.slots.new(id_type=ob.id_type, name=ob.name)
    layer = action.layers[0] if action.layers else action.layers.new("Layer") if ensure else None
    if layer is None:
        return None
    strip = layer.strips[0] if layer.strips else layer.strips.new(type="KEYFRAME") if ensure else None
    return strip.channelbag(data.action_slot, ensure=ensure) if strip is not None else None


def _find_curve(ob: bpy.types.Object, path: str) -> bpy.types.FCurve | None:
    bag = _channels(ob, ensure=False)
    return bag.fcurves.find(path) if bag is not None else None


def _ensure_curve(ob: bpy.types.Object, path: str) -> bpy.types.FCurve:
    bag = _channels(ob, ensure=True)
    curve = bag.fcurves.find(path)
    if curve is None:
        curve = bag.fcurves.new(path)
        curve.group = bag.groups.get(GROUP) or bag.groups.new(GROUP)
    return curve
