# SPDX-License-Identifier: GPL-3.0-or-later
"""FLAME and SMPL as Blender rigs: a mesh whose shape, expressions and pose correctives are shape keys, and an armature.

Linear blend skinning as the models define it (Loper et al. 2015): shape and expression keys follow sliders of the
armature; the correctives follow the rotations of its bones, entry by entry of R - I; the armature modifier does the
rest. All drivers are sums or plain arithmetic on quaternions, which Blender runs with scripts switched off.

Joints depend on shape and expression, but bones rest where they rest. So each joint has three bones: one that carries
it to its place, the one that is posed, and one that deforms, from which the way to the place is taken back. The ways
are vertices of a small mesh with the same sliders, which bones can follow by a constraint.
"""

from __future__ import annotations

import math

import bpy
import numpy as np
from mathutils import Matrix, Quaternion, Vector

from ..expressions import NAMES
from ..poses import Pose
from ..tasks import FaceRig
from . import find, materials, mesh, rig

WEIGHT_LEVELS = 65535
"""A body is larger than a head: 255 levels of weights would be off by a millimetre at the end of an arm."""
SOFT_RANGE, HARD_RANGE = (-3.0, 3.0), (-10.0, 10.0)
KIND, JOINTS = "face_model", "joint_names"
PLACE, DEFORM = "place", "deform"
"""Ends of the names of the bones before and after a joint's own."""
ACTION_EXPRESSIONS, ACTION_TURNS = "action_expressions", "action_turns"
"""Custom properties of the armature's data: what the rig is, names with spaces between, and flat lists of numbers."""

_ENTRIES = (
    *("-2*(y*y+z*z)", "2*(x*y-w*z)", "2*(x*z+w*y)"),
    *("2*(x*y+w*z)", "-2*(x*x+z*z)", "2*(y*z-w*x)"),
    *("2*(x*z-w*y)", "2*(y*z+w*x)", "-2*(x*x+y*y)"),
)
"""The nine entries of R - I, row by row, of a rotation by the unit quaternion w, x, y, z."""
_CORRECTIVE_RANGE = (-2.0, 2.0)


def build(scene: bpy.types.Scene, face: FaceRig) -> bpy.types.Object:
    """Bring a face model into the scene at the 3D cursor and return its armature."""
    arrays = face.arrays
    collection = bpy.data.collections.new(face.name)
    scene.collection.children.link(collection)
    root = bpy.data.objects.new(collection.name, None)
    root.empty_display_size = 0.05
    root.rotation_euler = (math.pi / 2, 0.0, 0.0)
    root.location = scene.cursor.location
    collection.objects.link(root)
    armature = _make_armature(collection, face)
    armature.parent = root
    _remember(armature.data, face)
    sliders = _sliders(armature, arrays)
    _follow_joints(collection, armature, face, list(sliders))
    data = mesh.from_arrays(f"{face.name} mesh", arrays["vertices"], arrays["faces"])
    data.materials.append(materials.plain_skin(f"{face.name} skin"))
    ob = bpy.data.objects.new(f"{face.name} mesh", data)
    collection.objects.link(ob)
    mesh.set_weights(ob, [f"{joint}.{DEFORM}" for joint in face.joints], arrays["weights"], WEIGHT_LEVELS)
    mesh.add_shape_keys(ob, arrays["vertices"], sliders, HARD_RANGE)
    rig.drive_shape_keys(ob, armature, list(sliders))
    if "correctives" in arrays:
        _add_correctives(ob, armature, face.joints[1:], arrays["vertices"], arrays["correctives"])
    rig.bind(ob, armature)
    rig.add_look_at(armature)
    armature.update_tag()
    for other in find.selected(bpy.context.view_layer):
        other.select_set(False)
    armature.select_set(True)
    bpy.context.view_layer.objects.active = armature
    return armature


def of(ob: bpy.types.Object | None) -> bpy.types.Object | None:
    """Return the armature of the face model that an object belongs to, if any."""
    while ob is not None and not (ob.type == "ARMATURE" and KIND in ob.data):
        ob = ob.parent
    return ob


def sliders(armature: bpy.types.Object, kind: str) -> list[str]:
    """Return the sliders of a kind, "shape" or "expression", in order."""
    return sorted(name for name in armature.keys() if name.startswith(kind) and name[len(kind) :].isdigit())  # noqa: SIM118


def set_shape(armature: bpy.types.Object, values: np.ndarray) -> None:
    """Set the shape sliders [k]; the joints follow."""
    for name, value in zip(sliders(armature, "shape"), values, strict=True):
        armature[name] = float(value)
    armature.update_tag()


def knows_actions(armature: bpy.types.Object) -> bool:
    """Return whether the poses of the library mean anything to this face."""
    return ACTION_TURNS in armature.data


def apply_pose(armature: bpy.types.Object, pose: Pose, strength: float = 1.0) -> tuple[list[str], list[str]]:
    """Set expressions, jaw and eyes to a pose of the library; returns the sliders and bones that it sets.

    Strength 0 changes nothing, 1 is the pose.
    """
    expressions, bones = sliders(armature, "expression"), joint_names(armature)
    actions = np.array([pose.actions.get(name, 0.0) for name in NAMES])
    goals = actions @ np.array(armature.data[ACTION_EXPRESSIONS]).reshape(len(NAMES), -1)
    for name, goal in zip(expressions, goals, strict=True):
        armature[name] += strength * (float(goal) - armature[name])
    turns = np.array(armature.data[ACTION_TURNS]).reshape(len(NAMES), -1, 3)
    moved = [index for index in range(len(bones)) if turns[:, index].any()]
    for index in moved:
        bone = armature.pose.bones[bones[index]]
        vector = Vector(actions @ turns[:, index])
        goal = Quaternion(vector, vector.length) if vector.length else Quaternion()
        location, rotation, scale = bone.matrix_basis.decompose()
        bone.matrix_basis = Matrix.LocRotScale(location, rotation.slerp(goal, min(strength, 1.0)), scale)
    armature.update_tag()
    return expressions, [bones[index] for index in moved]


def joint_names(armature: bpy.types.Object) -> list[str]:
    """Return the names of the joints, which are those of the bones to pose, in the model's order."""
    return armature.data[JOINTS].split()


def _make_armature(collection: bpy.types.Collection, face: FaceRig) -> bpy.types.Object:
    """Return the armature: three bones a joint, of which only the middle one is shown."""
    names = [name for joint in face.joints for name in (f"{joint}.{PLACE}", joint, f"{joint}.{DEFORM}")]
    parents = []
    for number, parent in enumerate(face.arrays["parents"].tolist()):
        parents += [3 * parent + 1 if parent >= 0 else -1, 3 * number, 3 * number + 1]
    places = np.repeat(face.arrays["joints"], 3, axis=0)
    armature = rig.make_armature(f"{face.name} rig", collection, names, places, np.array(parents))
    hidden = armature.data.collections.new("Mechanism")
    hidden.is_visible = False
    shown = armature.data.collections.new("Joints")
    for bone in armature.data.bones:
        bone.use_deform = bone.name.endswith(DEFORM)
        (hidden if bone.name.endswith((PLACE, DEFORM)) else shown).assign(bone)
    return armature


def _sliders(armature: bpy.types.Object, arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Give the armature a slider for each shape and expression; returns what each adds to the vertices, by name."""
    found = {}
    for kind, name in (("shape", "shapes"), ("expression", "expressions")):
        for number, delta in enumerate(arrays[name]):
            found[f"{kind}{number:03d}"] = delta
            rig.add_slider(armature, f"{kind}{number:03d}", SOFT_RANGE, HARD_RANGE, f"Coefficient {number} of {kind}")
    return found


def _follow_joints(
    collection: bpy.types.Collection, armature: bpy.types.Object, face: FaceRig, names: list[str]
) -> None:
    """Let the bones of the mechanism go where the sliders put the joints; names in the order of shapes, expressions."""
    joints, parents = face.joints, face.arrays["parents"]
    moved = np.concatenate([face.arrays["joint_shapes"], face.arrays["joint_expressions"]])  # [K + E, J, 3]
    carried = moved - np.where(parents[:, None] >= 0, moved[:, parents], 0.0)  # a parent's way is a child's, too
    ways = np.concatenate([carried, -moved], axis=1)
    data = mesh.from_arrays(f"{face.name} joints", np.zeros((2 * len(joints), 3)), np.zeros((0, 3), np.int32))
    ob = bpy.data.objects.new(f"{face.name} joints", data)
    collection.objects.link(ob)
    ob.parent = armature
    ob.hide_render = ob.hide_select = True
    ob.hide_set(True)
    mesh.add_shape_keys(ob, np.zeros((2 * len(joints), 3)), dict(zip(names, ways, strict=True)), HARD_RANGE)
    rig.drive_shape_keys(ob, armature, names)
    bones = [f"{joint}.{end}" for end in (PLACE, DEFORM) for joint in joints]
    mesh.set_weights(ob, bones, np.eye(len(bones)))
    for bone in bones:
        constraint = armature.pose.bones[bone].constraints.new("COPY_LOCATION")
        constraint.target, constraint.subtarget = ob, bone
        constraint.target_space = constraint.owner_space = "LOCAL"


def _remember(data: bpy.types.Armature, face: FaceRig) -> None:
    """Keep with the armature whose it is, and what applying poses needs."""
    arrays = face.arrays
    data[KIND], data["licence"], data[JOINTS] = face.kind, face.licence, " ".join(face.joints)
    if "action_turns" in arrays:
        order = [face.actions.index(name) for name in NAMES]
        data[ACTION_EXPRESSIONS] = arrays["action_expressions"][order].ravel().tolist()
        data[ACTION_TURNS] = arrays["action_turns"][order].ravel().tolist()


def _add_correctives(
    ob: bpy.types.Object, armature: bpy.types.Object, joints: list[str], vertices: np.ndarray, correctives: np.ndarray
) -> None:
    """Add a key for each entry of R - I of each joint [9 (J - 1), V, 3], driven by the rotation of its bone."""
    names = [f"{joint} R{row}{column}" for joint in joints for row in range(3) for column in range(3)]
    mesh.add_keys(ob, vertices, dict(zip(names, correctives, strict=True)), _CORRECTIVE_RANGE)
    blocks = ob.data.shape_keys.key_blocks
    for number, name in enumerate(names):
        driver = blocks[name].driver_add("value").driver
        driver.type = "SCRIPTED"
        driver.expression = expression = _ENTRIES[number % 9]
        for letter in sorted(set(expression) & set("wxyz")):
            variable = driver.variables.new()
            variable.name, variable.type = letter, "TRANSFORMS"
            target = variable.targets[0]
            target.id, target.bone_target = armature, joints[number // 9]
            target.transform_type, target.rotation_mode = f"ROT_{letter.upper()}", "QUATERNION"
            target.transform_space = "LOCAL_SPACE"
