# SPDX-License-Identifier: GPL-3.0-or-later
"""The armature, its 52 expression properties, and the drivers that carry them to shape keys.

The properties are plain custom properties of the armature object and the drivers are sums: a saved file animates in a
Blender without this add-on and with scripts switched off. So does the gaze: eyes track a target by a constraint.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import bpy
import numpy as np
from mathutils import Matrix, Quaternion, Vector

from ..expressions import NAMES

SOFT_RANGE = (0.0, 1.0)
HARD_RANGE = (-1.0, 2.0)
BONE_LENGTH_M = 0.03
LOOK_AT = "look_at"
"""The bone that both eyes may follow, and the slider that says how much they do."""
TARGETS = {"left_eye": "left_look_at", "right_eye": "right_look_at"}
"""What each eye follows: a bone of its own under the common one, so that eyes may stay parallel, or squint."""
GAZE_M = 0.5
"""Metres before the eyes at which a new target stands."""

_MIRROR = Matrix.Diagonal((-1.0, 1.0, 1.0, 1.0))
"""Left is right; bones have the axes of head space, so it is the same for all of them."""


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
    with editing(ob) as bones:
        made = [_new_bone(bones, bone_name, joint) for bone_name, joint in zip(names, joints, strict=True)]
        for bone, parent in zip(made, parents, strict=True):
            if parent >= 0:
                bone.parent = made[parent]
    return ob


def add_look_at(ob: bpy.types.Object) -> None:
    """Give a rig with eyes a target for them: the bone and the slider LOOK_AT, at first without influence."""
    if not set(TARGETS) <= set(ob.data.bones.keys()):
        return
    places = _gaze({eye: np.array(ob.data.bones[eye].head_local) for eye in TARGETS})
    with editing(ob) as bones:
        common = _new_bone(bones, LOOK_AT, places[LOOK_AT])
        common.use_deform = False
        for target in TARGETS.values():
            bone = _new_bone(bones, target, places[target])
            bone.parent, bone.use_deform = common, False
    add_slider(ob, LOOK_AT, (0.0, 1.0), (0.0, 1.0), f'How much the eyes follow the bone "{LOOK_AT}"')
    for eye, target in TARGETS.items():
        constraint = ob.pose.bones[eye].constraints.new("DAMPED_TRACK")
        constraint.name = "Look at"
        constraint.target, constraint.subtarget = ob, target
        constraint.track_axis = "TRACK_Z"  # eyes look along +Z of head space, the axes of all bones
        drive(constraint.driver_add("influence").driver, ob, LOOK_AT)
    ob.update_tag()


def move_joints(ob: bpy.types.Object, names: Sequence[str], joints: np.ndarray) -> None:
    """Let the bones of an armature rest at other places: joints [j, 3]. Poses, keys and constraints stay as they are.

    What the eyes follow goes along with them, and bones that are not ours with those that they hang on.
    """
    places = dict(zip(names, joints, strict=True))
    if set(TARGETS) <= set(places):
        places |= _gaze({eye: places[eye] for eye in TARGETS})
    with editing(ob) as bones, _without_mirror(ob.data):
        moved: dict[str, Vector] = {}
        for bone in sorted(bones, key=lambda bone: len(bone.parent_recursive)):
            if bone.name in places:
                moved[bone.name] = Vector(places[bone.name]) - bone.head
            else:
                moved[bone.name] = moved[bone.parent.name] if bone.parent else Vector()
        ends = [(bone, bone.head + moved[bone.name], bone.tail + moved[bone.name]) for bone in bones]
        for bone, head, tail in ends:
            bone.head, bone.tail = head, tail
    ob.update_tag()


def set_look_at(ob: bpy.types.Object, follow: bool) -> None:
    """Let the eyes follow their target, or no more, without a jump; matrices must be up to date.

    The target is put where the eyes look; eyes that are let go keep the way they look.
    """
    bones = ob.pose.bones
    if follow:
        seen = {eye: bones[eye].matrix @ Vector((0.0, 0.0, GAZE_M)) for eye in TARGETS}
        shift = sum(seen.values(), Vector()) / len(seen) - bones[LOOK_AT].bone.head_local
        bones[LOOK_AT].matrix_basis = Matrix.Translation(shift)
        for eye, target in TARGETS.items():
            own = seen[eye] - bones[target].bone.head_local - shift
            bones[target].matrix_basis = Matrix.Translation(own)
    else:
        turns = {eye: turn(bones[eye]) for eye in TARGETS}
        for eye, rotation in turns.items():
            location, _, scale = bones[eye].matrix_basis.decompose()
            bones[eye].matrix_basis = Matrix.LocRotScale(location, rotation, scale)
    ob[LOOK_AT] = float(follow)
    ob.update_tag()


def mirror(ob: bpy.types.Object) -> tuple[list[str], list[str]]:
    """Let the left side do what the right side does and the other way round; returns the sliders and bones that moved.

    Works on what is set by hand or key, as all posing does; constraints follow.
    """
    sliders = {name: ob[name] for name in expressions(ob)}
    bones = {bone.name: bone.matrix_basis.copy() for bone in ob.pose.bones}
    mirrored = {name: sliders.get(bpy.utils.flip_name(name), value) for name, value in sliders.items()}
    moved = [name for name, value in mirrored.items() if value != sliders[name]]
    for name in moved:
        ob[name] = mirrored[name]
    moved_bones = []
    for bone in ob.pose.bones:
        other = _MIRROR @ bones.get(bpy.utils.flip_name(bone.name), bones[bone.name]) @ _MIRROR
        if not np.allclose(other, bones[bone.name], atol=1e-6):
            bone.matrix_basis = other
            moved_bones.append(bone.name)
    ob.update_tag()
    return moved, moved_bones


def turn(bone: bpy.types.PoseBone) -> Quaternion:
    """Return a bone's rotation relative to its parent, constraints included; matrices must be up to date.

    At rest all bones have the axes of head space.
    """
    own = bone.matrix.to_quaternion()
    return bone.parent.matrix.to_quaternion().inverted() @ own if bone.parent else own


def add_expression_properties(ob: bpy.types.Object, actions: list[str]) -> None:
    """Give the armature object one keyable slider an action, at 0."""
    for action in actions:
        add_slider(ob, action, SOFT_RANGE, HARD_RANGE, f"Strength of the facial action {action}")


def add_slider(
    ob: bpy.types.Object, name: str, soft: tuple[float, float], hard: tuple[float, float], description: str
) -> None:
    """Give the armature object a keyable slider, at 0."""
    ob[name] = 0.0
    ob.id_properties_ui(name).update(
        min=hard[0], max=hard[1], soft_min=soft[0], soft_max=soft[1], default=0.0, description=description
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


@contextmanager
def editing(ob: bpy.types.Object) -> Iterator[bpy.types.ArmatureEditBones]:
    """Give the edit bones of an armature, which exist in edit mode only; then it is back in the mode that it was in.

    The mode is changed in a scene of its own: what the user sees and has active stays as it is, an armature that is in
    no scene yet can be edited, and Blender does not bring the user's whole scene up to date for it.
    """
    mode, alone = ob.mode, bpy.data.scenes.new("Portrait bones")
    try:
        alone.collection.objects.link(ob)
        layer = alone.view_layers[0]
        layer.objects.active = ob
        with bpy.context.temp_override(
            scene=alone, view_layer=layer, active_object=ob, object=ob, edit_object=ob if mode == "EDIT" else None
        ):
            bpy.ops.object.mode_set(mode="EDIT")
            try:
                yield ob.data.edit_bones
            finally:
                bpy.ops.object.mode_set(mode="OBJECT")
                if mode != "OBJECT":
                    bpy.ops.object.mode_set(mode=mode)
    finally:
        bpy.data.scenes.remove(alone)


@contextmanager
def _without_mirror(armature: bpy.types.Armature) -> Iterator[None]:
    """Let what is done to the bones of one side leave the other side alone."""
    before, armature.use_mirror_x = armature.use_mirror_x, False
    try:
        yield
    finally:
        armature.use_mirror_x = before


def _gaze(eyes: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return where what the eyes follow stands, by bone: before each eye, and the common one between."""
    places = {TARGETS[eye]: place + np.array([0.0, 0.0, GAZE_M]) for eye, place in eyes.items()}
    return {LOOK_AT: np.mean(list(places.values()), axis=0), **places}


def _new_bone(bones: bpy.types.ArmatureEditBones, name: str, place: np.ndarray) -> bpy.types.EditBone:
    """Return a bone at `place` [3] that has the axes of the armature."""
    bone = bones.new(name)
    bone.head = place.tolist()
    bone.tail = (place + np.array([0.0, BONE_LENGTH_M, 0.0])).tolist()
    bone.roll = 0.0
    return bone
