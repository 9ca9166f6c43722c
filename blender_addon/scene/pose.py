# SPDX-License-Identifier: GPL-3.0-or-later
"""What a rig does at this frame, in the engine's words: controls, and where the head is. Reads, never writes."""

from __future__ import annotations

from typing import Any

import bpy
from mathutils import Matrix

from ..requests import Shot
from . import camera as cameras
from . import find, rig

JOINTS = ("neck", "head", "jaw", "left_eye", "right_eye")
"""Bones whose rotations the engine is told. The others carry the head as a whole, which only moves the camera."""

_DECIMALS = 5


def shot(root: bpy.types.Object, camera: bpy.types.Object, scene: bpy.types.Scene, background: str = "") -> Shot:
    """Return what the engine needs to draw a portrait as it is now; matrices must be up to date.

    What is behind the head is not read from the scene: `backgrounds` says how it is written.

    Raises:
        UsageError: if the camera is no perspective camera.
    """
    label = cameras.read(camera, head_space(root), scene)
    return Shot(label, controls(root), background)


def at(ob: bpy.types.Object, depsgraph: bpy.types.Depsgraph | None) -> bpy.types.Object:
    """Return an object as it is at the instant that `depsgraph` has evaluated; without one, as it is now."""
    return ob.evaluated_get(depsgraph) if depsgraph is not None else ob


def controls(root: bpy.types.Object, depsgraph: bpy.types.Depsgraph | None = None) -> dict[str, Any]:
    """Return what the face of a portrait does; {} for a neutral face, and for a model that shows no other."""
    armature = find.part(root, "RIG")
    moves = armature is not None and find.identity_of(root).animatable
    return motion(at(armature, depsgraph)) if moves else {}


def motion(armature: bpy.types.Object) -> dict[str, Any]:
    """Return the sliders and joints of a rig that are not at rest: {"actions": {...}, "joints": {...}}."""
    actions = {name: round(armature[name], _DECIMALS) for name in rig.expressions(armature)}
    joints = {name: _turn(armature.pose.bones[name]) for name in JOINTS if name in armature.pose.bones}
    moving = {
        "actions": {name: value for name, value in actions.items() if value},
        "joints": {name: turn for name, turn in joints.items() if any(turn)},
    }
    return {name: values for name, values in moving.items() if values}


def head_space(root: bpy.types.Object, depsgraph: bpy.types.Depsgraph | None = None) -> Matrix:
    """Return the matrix of head space, which is fixed to the skull: it follows the rig's head bone."""
    armature = find.part(root, "RIG")
    if armature is None or "head" not in armature.pose.bones:
        return at(root, depsgraph).matrix_world.copy()
    armature = at(armature, depsgraph)
    bone = armature.pose.bones["head"]
    return armature.matrix_world @ bone.matrix @ bone.bone.matrix_local.inverted()


def _turn(bone: bpy.types.PoseBone) -> list[float]:
    """Return a bone's rotation relative to its parent, axis-angle, what constraints ask of it included."""
    turn = rig.turn(bone)
    if turn.w < 0:
        turn.negate()
    return [round(number, _DECIMALS) for number in turn.to_exponential_map()]
