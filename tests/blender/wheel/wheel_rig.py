# SPDX-License-Identifier: GPL-3.0-or-later
"""The rig's bones: they add to the sliders, and the eyes follow a target."""

import bpy
import numpy as np
import pytest
import stub_worker as stub
from mathutils import Quaternion, Vector
from neural_portrait.scene import find, pose, rig

EYE = {"left_eye": (0.03, 0.03, 0.08), "right_eye": (-0.03, 0.03, 0.08)}  # the stub's joints


def evaluated(ob):
    """Return an object's vertices as they are drawn now, in its own space."""
    shown = ob.evaluated_get(bpy.context.evaluated_depsgraph_get())
    co = np.empty(len(shown.data.vertices) * 3, np.float32)
    shown.data.vertices.foreach_get("co", co)
    return co.reshape(-1, 3)


def update():
    bpy.context.view_layer.update()


def gaze(armature, eye):
    """Return the unit vector along which an eye looks, in the rig's space."""
    return np.array(armature.pose.bones[eye].matrix.to_3x3().col[2])


def aim(eye, target):
    """Return the unit vector from an eye at rest to a point."""
    way = np.asarray(target) - EYE[eye]
    return way / np.linalg.norm(way)


@pytest.fixture
def armature(moving):
    return find.part(moving, "RIG")


def test_posing_the_jaw_by_bone_and_by_slider_adds(moving, armature):
    driver = find.part(moving, "DRIVER")
    rest = evaluated(driver)
    chin = np.argmin(np.linalg.norm(rest - np.array([0, -0.09, 0.06]), axis=1))
    armature["jawOpen"] = 1.0
    armature.pose.bones["jaw"].rotation_quaternion = turn = Quaternion((1, 0, 0), 0.2)
    armature.update_tag()
    update()
    joint = Vector(stub.rig(7)["rig/joints"][stub.JOINTS.index("jaw")])
    opened = Vector(rest[chin] + stub.JAW_DROP)
    expected = joint + turn @ (opened - joint)
    assert stub.jaw_weight(rest)[chin] == 1.0
    np.testing.assert_allclose(evaluated(driver)[chin], expected, atol=1e-6)
    assert set(pose.controls(moving)) == {"actions", "joints"}


def test_names_of_sides_are_those_that_blenders_mirror_tools_know(armature):
    for bone in armature.data.bones:
        other = bpy.utils.flip_name(bone.name)
        assert other in armature.data.bones
        assert (other == bone.name) == (bone.head_local.x == 0.0), bone.name


def test_a_new_target_changes_nothing(moving, armature):
    armature[rig.LOOK_AT] = 1.0
    armature.update_tag()
    update()
    assert pose.controls(moving) == {}


def test_the_eyes_follow_the_target_and_the_engine_is_told(moving, armature):
    assert bpy.ops.portrait.look_at() == {"FINISHED"}
    place = Vector((0.2, 0.1, 0.4))
    common = armature.pose.bones[rig.LOOK_AT]
    common.location = place - common.bone.head_local
    update()
    joints = pose.controls(moving)["joints"]
    assert set(joints) == set(EYE)
    for eye, side in (("left_eye", 0.03), ("right_eye", -0.03)):
        wanted = aim(eye, place + Vector((side, 0, 0)))  # parallel eyes stay parallel
        np.testing.assert_allclose(gaze(armature, eye), wanted, atol=1e-5)
        turned = Quaternion(Vector(joints[eye]).normalized(), Vector(joints[eye]).length) @ Vector((0, 0, 1))
        np.testing.assert_allclose(turned, wanted, atol=1e-4)


def test_the_gaze_stays_on_the_target_when_the_head_turns(moving, armature):
    bpy.ops.portrait.look_at()
    targets = {eye: np.array(EYE[eye]) + np.array([0, 0, rig.GAZE_M]) for eye in EYE}
    armature.pose.bones["head"].rotation_quaternion = Quaternion((0, 1, 0), 0.3)
    update()
    for eye, target in targets.items():
        way = target - np.array(armature.pose.bones[eye].matrix.translation)
        np.testing.assert_allclose(gaze(armature, eye), way / np.linalg.norm(way), atol=1e-5)
    assert {"head", *EYE} == set(pose.controls(moving)["joints"])


@pytest.mark.parametrize("share", [1.0, 0.5])
def test_switching_on_and_off_does_not_jump(moving, armature, share):
    bones = armature.pose.bones
    bones["left_eye"].rotation_quaternion = Quaternion((1, 0.2, 0.1), 0.2)
    bones["right_eye"].rotation_mode = "XYZ"
    bones["right_eye"].rotation_euler = (0.1, -0.1, 0.0)
    bones["head"].rotation_quaternion = Quaternion((0, 1, 0), 0.2)
    update()
    before = pose.controls(moving)
    bpy.ops.portrait.look_at()
    update()
    assert armature[rig.LOOK_AT] == 1.0
    for eye in EYE:
        assert pose.controls(moving)["joints"][eye] == pytest.approx(before["joints"][eye], abs=1e-4)
    bones[rig.LOOK_AT].location.x += 0.1
    armature[rig.LOOK_AT] = share
    armature.update_tag()
    update()
    there = pose.controls(moving)
    assert there["joints"]["left_eye"] != pytest.approx(before["joints"]["left_eye"], abs=0.05 * share)
    armature[rig.LOOK_AT] = 0.5 * share + 0.5
    armature.update_tag()
    update()
    there = pose.controls(moving)
    bpy.ops.portrait.look_at()
    update()
    assert armature[rig.LOOK_AT] == 0.0
    for eye in EYE:
        assert pose.controls(moving)["joints"][eye] == pytest.approx(there["joints"][eye], abs=1e-4)
    bones[rig.LOOK_AT].location.x += 0.1
    update()
    assert pose.controls(moving)["joints"]["left_eye"] == pytest.approx(there["joints"]["left_eye"], abs=1e-4)


def test_with_auto_keying_the_switch_is_keyed(moving, armature, scene):
    scene.tool_settings.use_keyframe_insert_auto = True
    scene.frame_set(1)
    bpy.ops.portrait.look_at()
    scene.frame_set(10)
    armature.pose.bones[rig.LOOK_AT].location.x += 0.1
    armature.pose.bones[rig.LOOK_AT].keyframe_insert("location", frame=10)
    scene.frame_set(20)
    update()
    looked = pose.controls(moving)["joints"]
    bpy.ops.portrait.look_at()
    scene.frame_set(21)
    update()
    assert armature[rig.LOOK_AT] == 0.0
    for eye in EYE:
        assert pose.controls(moving)["joints"][eye] == pytest.approx(looked[eye], abs=1e-4)
    scene.frame_set(1)
    assert armature[rig.LOOK_AT] == 1.0
