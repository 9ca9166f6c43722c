# SPDX-License-Identifier: GPL-3.0-or-later
"""Poses, mirror, and layers of motion on the rig, with the user's keys beside them."""

import bpy
import numpy as np
import pytest
from mathutils import Euler, Matrix, Quaternion, Vector
from neural_portrait import poses, random_motion, session
from neural_portrait.expressions import NAMES
from neural_portrait.scene import curves, find, layers, pose, rig


@pytest.fixture
def armature(portrait):
    return find.part(portrait, "RIG")


def shown(armature):
    return {name: armature[name] for name in NAMES}


def keys(armature):
    """Return the keys of the rig's own action: (frame, value) by path."""
    found = curves._channels(armature, ensure=False)
    return {
        curve.data_path: [tuple(point.co) for point in curve.keyframe_points]
        for curve in (found.fcurves if found is not None else ())
    }


def test_a_pose_sets_the_sliders(armature):
    armature["tongueOut"] = 1.0
    assert bpy.ops.portrait.apply_pose(pose="SURPRISE", strength=0.5) == {"FINISHED"}
    for name in NAMES:
        expected = 0.5 * poses.LIBRARY["SURPRISE"].actions.get(name, 0.0) + 0.5 * (name == "tongueOut")
        assert armature[name] == pytest.approx(expected), name
    blocks = find.part(find.root_of(armature), "DRIVER").data.shape_keys.key_blocks
    bpy.context.view_layer.update()
    assert blocks["jawOpen"].value == pytest.approx(armature["jawOpen"])
    assert keys(armature) == {}


def test_with_auto_keying_a_pose_keys_what_it_changes(armature, scene):
    scene.tool_settings.use_keyframe_insert_auto = True
    scene.frame_set(7)
    bpy.ops.portrait.apply_pose(pose="BLINK")
    assert keys(armature) == {f'["eyeBlink{side}"]': [(7.0, 1.0)] for side in ("Left", "Right")}


def test_mirror_swaps_sliders_and_bones(armature):
    armature["mouthSmileLeft"], armature["jawRight"], armature["jawOpen"] = 0.6, 0.4, 0.5
    bones = armature.pose.bones
    bones["head"].rotation_quaternion = Euler((0.1, 0.3, 0.2)).to_quaternion()
    bones["left_eye"].rotation_mode = "XYZ"
    bones["left_eye"].rotation_euler = (0.1, 0.2, 0.3)
    bones["look_at"].location = (0.1, 0.2, 0.3)
    before = {bone.name: bone.matrix_basis.copy() for bone in bones}
    assert bpy.ops.portrait.mirror_expression() == {"FINISHED"}
    assert {name: value for name, value in shown(armature).items() if value} == {
        "mouthSmileRight": 0.6,
        "jawLeft": 0.4,
        "jawOpen": 0.5,
    }
    # Turns about Y and Z change sides, about X they do not.
    assert tuple(bones["right_eye"].matrix_basis.to_euler()) == pytest.approx((0.1, -0.2, -0.3), abs=1e-5)
    assert tuple(bones["head"].rotation_quaternion.to_euler()) == pytest.approx((0.1, -0.3, -0.2), abs=1e-5)
    assert tuple(bones["look_at"].location) == pytest.approx((-0.1, 0.2, 0.3))
    assert bones["left_eye"].matrix_basis == Matrix()
    bpy.ops.portrait.mirror_expression()
    for bone in bones:
        np.testing.assert_allclose(bone.matrix_basis, before[bone.name], atol=1e-6)


def test_mirror_is_blenders_own_paste_flipped(armature):
    """Blender's "paste flipped" does to bones what our button does."""
    for bone, angles in (("head", (0.1, 0.3, 0.2)), ("left_eye", (0.2, 0.1, -0.3)), ("jaw", (0.3, 0.1, 0.0))):
        armature.pose.bones[bone].rotation_quaternion = Euler(angles).to_quaternion()
    before = {bone.name: bone.matrix_basis.copy() for bone in armature.pose.bones}
    rig.mirror(armature)
    ours = {bone.name: bone.matrix_basis.copy() for bone in armature.pose.bones}
    for bone in armature.pose.bones:
        bone.matrix_basis = before[bone.name]
    bpy.context.view_layer.objects.active = armature
    bpy.ops.object.mode_set(mode="POSE")
    bpy.ops.pose.select_all(action="SELECT")
    bpy.ops.pose.copy()
    bpy.ops.pose.paste(flipped=True)
    bpy.ops.object.mode_set(mode="OBJECT")
    for bone in armature.pose.bones:
        np.testing.assert_allclose(ours[bone.name], bone.matrix_basis, atol=1e-5)


def test_with_auto_keying_mirror_keys_what_moves(armature, scene):
    armature["mouthSmileLeft"] = 0.6
    armature.pose.bones["head"].rotation_quaternion = Euler((0.1, 0.3, 0.2)).to_quaternion()
    scene.tool_settings.use_keyframe_insert_auto = True
    bpy.ops.portrait.mirror_expression()
    assert {path for path in keys(armature) if path.startswith("[")} == {'["mouthSmileLeft"]', '["mouthSmileRight"]'}
    assert {path for path in keys(armature) if not path.startswith("[")} == {
        'pose.bones["head"].location',
        'pose.bones["head"].rotation_quaternion',
    }


def test_reset_puts_bones_back_only_if_asked(armature):
    armature["jawOpen"] = 1.0
    armature.pose.bones["head"].rotation_quaternion = Euler((0.1, 0.3, 0.2)).to_quaternion()
    bpy.ops.portrait.reset_expression()
    assert armature["jawOpen"] == 0.0
    assert armature.pose.bones["head"].matrix_basis != Matrix()
    bpy.ops.portrait.reset_expression(bones=True)
    assert armature.pose.bones["head"].matrix_basis == Matrix()


# Layers ---------------------------------------------------------------------------------------------------------------


def test_random_motion_is_a_layer_with_the_values_of_its_seed(armature, scene):
    scene.frame_start, scene.frame_end = 5, 204
    scene.render.fps, scene.render.fps_base = 30, 1.0
    assert bpy.ops.portrait.random_motion(seed=3) == {"FINISHED"}
    assert armature.animation_data.action is None
    (track,) = armature.animation_data.nla_tracks
    assert (track.name, track.strips[0].frame_start, track.strips[0].frame_end) == ("Random motion 3", 5, 204)
    expected = random_motion.motion(3, 200, 30.0)
    for frame in (5, 40, 41, 42, 120, 204):
        scene.frame_set(frame)
        for name in NAMES:
            value = expected.get(name, np.zeros(200))[frame - 5]
            assert armature[name] == pytest.approx(value, abs=1e-5), (frame, name)
        yaw = expected["headYaw"][frame - 5]
        turned = armature.pose.bones["head"].matrix.to_quaternion() @ Vector((0, 0, 1))
        assert np.arctan2(turned[0], turned[2]) == pytest.approx(yaw, abs=2e-3)
    scene.frame_set(300)
    points = sum(len(curve.keyframe_points) for curve in layer_curves(track) if "eyeBlinkLeft" in curve.data_path)
    assert points < 100  # straight pieces have no keys inside


def layer_curves(track):
    strip = track.strips[0]
    return curves.channels(strip.action, getattr(strip, "action_slot", None), ensure=False).fcurves


def test_the_users_keys_are_not_touched_and_add_to_the_layer(armature, scene):
    scene.frame_start, scene.frame_end = 1, 100
    for frame, value in ((1, 0.0), (100, 0.5)):
        armature["mouthSmileLeft"] = value
        armature["eyeBlinkLeft"] = 0.1
        armature.keyframe_insert('["mouthSmileLeft"]', frame=frame)
        armature.keyframe_insert('["eyeBlinkLeft"]', frame=frame)
    armature.update_tag()
    before, action = keys(armature), armature.animation_data.action
    bpy.ops.portrait.random_motion(seed=1)
    assert armature.animation_data.action == action
    assert keys(armature) == before
    motion = random_motion.motion(1, 100, 24.0)
    shut = int(np.argmax(motion["eyeBlinkLeft"]))
    for frame in (1, shut + 1, 100):
        scene.frame_set(frame)
        assert armature["eyeBlinkLeft"] == pytest.approx(0.1 + motion["eyeBlinkLeft"][frame - 1], abs=1e-5)
    assert armature["mouthSmileLeft"] == pytest.approx(0.5 + motion.get("mouthSmileLeft", np.zeros(100))[99])


def test_made_anew_it_takes_the_place_of_the_old_one(armature, scene):
    scene.frame_start, scene.frame_end = 1, 100
    bpy.ops.portrait.random_motion(seed=1)
    bpy.ops.portrait.random_motion(seed=2)
    assert [(track.name, track.mute) for track in armature.animation_data.nla_tracks] == [
        ("Random motion 1", True),
        ("Random motion 2", False),
    ]
    motion = random_motion.motion(2, 100, 24.0)
    shut = int(np.argmax(motion["eyeBlinkLeft"]))
    scene.frame_set(shut + 1)
    assert armature["eyeBlinkLeft"] == pytest.approx(motion["eyeBlinkLeft"][shut], abs=1e-5)


def test_over_a_layer_only_what_the_user_changed_counts_as_changed(armature, scene):
    scene.frame_start, scene.frame_end = 1, 100
    bpy.ops.portrait.random_motion(seed=1)
    armature["jawOpen"] = 0.2
    armature.keyframe_insert('["jawOpen"]', frame=1)
    armature.update_tag()
    motion = random_motion.motion(1, 100, 24.0)
    shut = int(np.argmax(motion["eyeBlinkLeft"]))
    scene.frame_set(shut + 1)
    assert armature["eyeBlinkLeft"] > 0.9
    assert curves.changed(armature, rig.expressions(armature), shut + 1) == []
    armature["eyeBlinkLeft"] = 0.5
    assert curves.changed(armature, rig.expressions(armature), shut + 1) == ["eyeBlinkLeft"]
    bpy.ops.portrait.key_expression(changed_only=True)
    scene.frame_set(1)
    scene.frame_set(shut + 1)
    assert armature["eyeBlinkLeft"] == pytest.approx(0.5, abs=1e-5)


def test_a_layer_turns_bones_in_the_way_that_they_keep_rotations(armature, scene):
    bones = armature.pose.bones
    bones["neck"].rotation_mode, bones["head"].rotation_mode = "ZXY", "AXIS_ANGLE"
    tracks = {"headYaw": np.array([0.0, 0.4]), "headPitch": np.array([0.0, 0.2]), "headRoll": np.array([0.0, -0.3])}
    layers.add(armature, "nod", np.array([1.0, 2.0]), tracks)
    scene.frame_set(2)
    assert (bones["neck"].rotation_mode, bones["head"].rotation_mode) == ("ZXY", "AXIS_ANGLE")
    half = Quaternion().slerp(
        Quaternion((0, 1, 0), 0.4) @ Quaternion((1, 0, 0), -0.2) @ Quaternion((0, 0, 1), 0.3), 0.5
    )
    for name in ("neck", "head"):
        assert rig.turn(bones[name]).rotation_difference(half).angle == pytest.approx(0.0, abs=1e-3), name
    assert pose.head_space(find.root_of(armature))


# Recordings -----------------------------------------------------------------------------------------------------------


def recording(yaw):
    """Return three seconds at 60 frames a second: the jaw opens by 0.25 a second, the head turns by `yaw` a second."""
    rows = [
        f"10:00:{frame // 60:02d}:{frame % 60:02d}.0,61,{frame / 240:.6f},{yaw * frame / 60:.6f}"
        for frame in range(181)
    ]
    return "\n".join(["Timecode,BlendShapeCount,JawOpen,HeadYaw", *rows])


@pytest.mark.parametrize(("head", "yaw"), [("HALF_TURNS", 0.1 / np.pi), ("DEGREES", 18 / np.pi), ("RADIANS", 0.1)])
def test_a_recording_lies_over_the_frames_that_it_took(armature, scene, tmp_path, head, yaw):
    path = tmp_path / "take 3.csv"
    path.write_text(recording(yaw))
    scene.render.fps, scene.render.fps_base = 24, 1.0
    scene.frame_set(10)
    assert bpy.ops.portrait.import_arkit_csv(filepath=str(path), head=head) == {"FINISHED"}
    (track,) = armature.animation_data.nla_tracks
    assert (track.name, track.strips[0].frame_start, track.strips[0].frame_end) == ("take 3", 10, 82)
    for frame in (10, 22, 33, 82):
        scene.frame_set(frame)
        seconds = (frame - 10) / 24
        assert armature["jawOpen"] == pytest.approx(seconds / 4, abs=1e-5)
        turned = armature.pose.bones["head"].matrix.to_quaternion() @ Vector((0, 0, 1))
        assert np.arctan2(turned.x, turned.z) == pytest.approx(seconds / 10, abs=1e-4)
    assert armature.animation_data.action is None


def test_a_recordings_head_can_be_left_out(armature, scene, tmp_path):
    path = tmp_path / "take.csv"
    path.write_text(recording(0.1))
    bpy.ops.portrait.import_arkit_csv(filepath=str(path), head="NONE")
    scene.frame_set(60)
    assert armature["jawOpen"] > 0.5
    assert armature.pose.bones["head"].matrix_basis == Matrix()


def test_a_bad_recording_is_a_sentence_and_changes_nothing(armature, tmp_path):
    path = tmp_path / "take.csv"
    path.write_text("Timecode,JawOpen\n10:00:00:00,open\n")
    assert bpy.ops.portrait.import_arkit_csv(filepath=str(path)) == {"CANCELLED"}
    assert 'has no number in column "jawOpen"' in session.engine().status.message
    assert not armature.animation_data.nla_tracks


def test_buttons_need_a_rig(scene):
    for name in ("apply_pose", "search_pose", "mirror_expression", "random_motion", "look_at", "import_arkit_csv"):
        assert not getattr(bpy.ops.portrait, name).poll(), name


def test_the_panel_has_a_button_for_each(armature):
    from neural_portrait import panels
    from recording import drawn

    buttons = drawn(panels.PORTRAIT_PT_animate)[1] + drawn(panels.PORTRAIT_PT_motion)[1]
    own = ("key_expression", "reset_expression", "apply_pose", "search_pose", "mirror_expression", "random_motion")
    assert {f"portrait.{name}" for name in (*own, "look_at", "import_arkit_csv")} <= set(buttons)
    del armature[rig.LOOK_AT]  # a rig of an older version
    assert "portrait.look_at" not in drawn(panels.PORTRAIT_PT_animate)[1]
    assert not bpy.ops.portrait.look_at.poll()
