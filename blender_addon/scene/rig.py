# SPDX-License-Identifier: GPL-3.0-or-later
"""The armature, its 52 expression properties, and the drivers that carry them to shape keys.

The properties are plain custom properties of the armature object and the drivers are sums: a saved file animates in a
Blender without this add-on and with scripts switched off.
"""

from __future__ import annotations

import bpy
import numpy as np

from ..expressions import NAMES

SOFT_RANGE = (0.0, 1.0)
HARD_RANGE = (-1.0, 2.0)
BONE_LENGTH_M = 0.03


def make_armature(
    name: str, collection: bpy.types.Collection, names: list[str], joints: np.ndarray, parents: np.ndarray
) -> bpy.types.Object:
    """Return an armature object in `collection`, one bone a joint: joints [j, 3], parents [j] (-1: none).

    Every bone points along +Y with no roll, so bone axes are the axes of head space.
    """
    armature = bpy.data.armatures.new(name)
    armature.display_type = "STICK"
    ob = bpy.data.objects.new(name, armature)
    ob.show_in_front = True
    collection.objects.link(ob)
    view_layer = bpy.context.view_layer
    active = view_layer.objects.active
    if active is not None and active.mode != "OBJECT":
        bpy.ops.object.mode_set(mode="OBJECT")
    view_layer.objects.active = ob
    bpy.ops.object.mode_set(mode="EDIT")
    bones = []
    for index, bone_name in enumerate(names):
        bone = armature.edit_bones.new(bone_name)
        bone.head = joints[index].tolist()
        bone.tail = (joints[index] + np.array([0.0, BONE_LENGTH_M, 0.0])).tolist()
        bone.roll = 0.0
        if parents[index] >= 0:
            bone.parent = bones[parents[index]]
        bones.append(bone)
    bpy.ops.object.mode_set(mode="OBJECT")
    return ob


def add_expression_properties(ob: bpy.types.Object, actions: list[str]) -> None:
    """Give the armature object one keyable slider an action, at 0."""
    for action in actions:
        ob[action] = 0.0
        ob.id_properties_ui(action).update(
            min=HARD_RANGE[0],
            max=HARD_RANGE[1],
            soft_min=SOFT_RANGE[0],
            soft_max=SOFT_RANGE[1],
            default=0.0,
            description=f"Strength of the facial action {action}",
        )


def drive_shape_keys(ob: bpy.types.Object, rig: bpy.types.Object, actions: list[str]) -> None:
    """Let the rig's properties set the shape keys of the same names."""
    for action in actions:
        drive(ob.data.shape_keys.key_blocks[action].driver_add("value").driver, rig, action)


def drive(driver: bpy.types.Driver, rig: bpy.types.Object, action: str, gain: float = 1.0) -> None:
    """Let a driver follow one of the rig's properties, times `gain`; Blender runs both forms without scripts."""
    variable = driver.variables.new()
    variable.name = "value"
    variable.type = "SINGLE_PROP"
    variable.targets[0].id = rig
    variable.targets[0].data_path = f'["{action}"]'
    driver.type = "SUM" if gain == 1.0 else "SCRIPTED"
    if gain != 1.0:
        driver.expression = f"{gain} * value"


def bind(ob: bpy.types.Object, rig: bpy.types.Object) -> None:
    """Let the armature deform the object through its vertex groups."""
    ob.parent = rig
    modifier = ob.modifiers.new("Armature", "ARMATURE")
    modifier.object = rig


def expressions(rig: bpy.types.Object) -> list[str]:
    """Return the names of the facial actions that this rig has sliders for."""
    return [name for name in NAMES if name in rig]
