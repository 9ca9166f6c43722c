# SPDX-License-Identifier: GPL-3.0-or-later
"""Rigs of face models from arrays: sliders, joints that follow the shape, poses; `test_faces.py` has the real ones."""

import bpy
import numpy as np
import pytest
import staging
from mathutils import Quaternion, Vector
from neural_portrait import tasks
from neural_portrait.expressions import NAMES
from neural_portrait.operators import face as face_operators
from neural_portrait.operators import models as model_operators
from neural_portrait.scene import face_rig, rig

JOINTS = ["root", "neck", "jaw", "left_eye", "right_eye"]
PARENTS = np.array([-1, 0, 1, 1, 1], np.int32)
PLACES = np.array([[0, -0.2, 0], [0, -0.1, 0], [0, -0.03, 0.05], [0.03, 0.03, 0.08], [-0.03, 0.03, 0.08]], np.float32)
VERTICES, SHAPES, EXPRESSIONS = 40, 3, 2
ACTIONS = sorted(NAMES)  # the engine's order is not the panel's


@pytest.fixture
def face():
    """A made-up FLAME whose first action opens the jaw and whose smile is its second expression."""
    rng = np.random.default_rng(0)

    def random(*shape):
        return rng.normal(scale=0.01, size=shape).astype(np.float32)

    action_expressions = np.zeros((52, EXPRESSIONS), np.float32)
    action_turns = np.zeros((52, len(JOINTS), 3), np.float32)
    action_turns[ACTIONS.index("jawOpen"), JOINTS.index("jaw")] = [0.3, 0.0, 0.0]
    for side in ("Left", "Right"):
        action_expressions[ACTIONS.index(f"mouthSmile{side}"), 1] = 0.5
    arrays = {
        "vertices": rng.normal(scale=0.1, size=(VERTICES, 3)).astype(np.float32),
        "faces": np.array([[0, 1, 2], [2, 3, 4]], np.int32),
        "weights": rng.dirichlet(np.ones(len(JOINTS)), VERTICES).astype(np.float32),
        "joints": PLACES,
        "parents": PARENTS,
        "shapes": random(SHAPES, VERTICES, 3),
        "joint_shapes": random(SHAPES, len(JOINTS), 3),
        "expressions": random(EXPRESSIONS, VERTICES, 3),
        "joint_expressions": np.zeros((EXPRESSIONS, len(JOINTS), 3), np.float32),
        "correctives": random(9 * (len(JOINTS) - 1), VERTICES, 3),
        "action_expressions": action_expressions,
        "action_turns": action_turns,
    }
    return tasks.FaceRig("someone", "flame", "their licence", JOINTS, ACTIONS, arrays)


@pytest.fixture
def armature(scene, face):
    return face_rig.build(scene, face)


def place(armature, joint):
    """Return where a joint is now, in the rig's space."""
    bpy.context.view_layer.update()
    return np.array(armature.pose.bones[joint].matrix.translation)


def test_every_slider_drives_the_key_of_its_name(armature):
    assert face_rig.sliders(armature, "shape") == ["shape000", "shape001", "shape002"]
    assert face_rig.sliders(armature, "expression") == ["expression000", "expression001"]
    armature["shape001"], armature["expression000"] = 1.5, -7.0
    armature.update_tag()
    bpy.context.view_layer.update()
    blocks = next(ob for ob in armature.children if ob.name == "someone mesh").data.shape_keys.key_blocks
    assert {block.name: block.value for block in blocks if block.value} == {"shape001": 1.5, "expression000": -7.0}


def test_joints_follow_the_shape_at_every_frame(armature, face, scene):
    for frame, value in ((1, 0.0), (11, 2.0)):
        armature["shape002"] = value
        armature.keyframe_insert('["shape002"]', frame=frame)
    armature.update_tag()
    for frame in (1, 11):
        scene.frame_set(frame)
        for number, joint in enumerate(JOINTS):
            moved = armature["shape002"] * face.arrays["joint_shapes"][2, number]
            np.testing.assert_allclose(place(armature, joint), PLACES[number] + moved, atol=1e-6)


def test_a_jaw_turns_about_where_the_joint_is_in_this_shape(armature, face):
    face_rig.set_shape(armature, np.array([1.0, -1.0, 2.0]))
    armature.pose.bones["jaw"].rotation_quaternion = turn = Quaternion((1, 0, 0), 0.5)
    bpy.context.view_layer.update()
    deform = armature.pose.bones["jaw.deform"]
    motion = deform.matrix @ deform.bone.matrix_local.inverted()
    joint = Vector(PLACES[2] + np.tensordot([1.0, -1.0, 2.0], face.arrays["joint_shapes"][:, 2], 1))
    point = Vector((0.02, -0.07, 0.1))
    np.testing.assert_allclose(motion @ point, joint + turn @ (point - joint), atol=1e-6)


def test_a_turned_joint_drives_its_nine_correctives(armature):
    armature.pose.bones["neck"].rotation_mode = "XYZ"
    armature.pose.bones["neck"].rotation_euler = (0.3, -0.2, 0.5)
    armature.pose.bones["root"].rotation_quaternion = Quaternion((0, 1, 0), 1.0)  # of no consequence
    bpy.context.view_layer.update()
    blocks = next(ob for ob in armature.children if ob.name == "someone mesh").data.shape_keys.key_blocks
    values = {block.name: block.value for block in blocks if " R" in block.name}
    wanted = np.array(armature.pose.bones["neck"].rotation_euler.to_matrix()) - np.eye(3)
    for row in range(3):
        for column in range(3):
            assert values[f"neck R{row}{column}"] == pytest.approx(wanted[row, column], abs=1e-6)
    assert {name.split()[0] for name, value in values.items() if abs(value) > 1e-6} == {"neck"}


def test_shape_buttons_set_somebody_and_the_mean(armature):
    assert bpy.ops.portrait.face_shape(what="RANDOM", seed=3) == {"FINISHED"}
    somebody = [armature[name] for name in face_rig.sliders(armature, "shape")]
    np.testing.assert_allclose(somebody, np.random.default_rng(3).normal(size=SHAPES))
    bpy.ops.portrait.face_shape(what="MEAN")
    assert [armature[name] for name in face_rig.sliders(armature, "shape")] == [0.0] * SHAPES


def test_poses_of_the_library_reach_expressions_and_jaw(armature, scene):
    scene.tool_settings.use_keyframe_insert_auto = True
    armature["expression000"] = 1.0
    assert bpy.ops.portrait.face_pose(pose="LAUGH", strength=0.5) == {"FINISHED"}
    assert armature["expression000"] == pytest.approx(0.5)
    assert armature["expression001"] == pytest.approx(0.5 * 0.9)  # both sides of the smile, a half each, at 0.9
    jaw = armature.pose.bones["jaw"].rotation_quaternion
    assert tuple(jaw.to_exponential_map()) == pytest.approx((0.5 * 0.4 * 0.3, 0.0, 0.0), abs=1e-4)
    paths = {curve.data_path for curve in curves_of(armature)}
    assert paths == {
        *('["expression000"]', '["expression001"]'),
        *('pose.bones["jaw"].location', 'pose.bones["jaw"].rotation_quaternion'),
    }


def curves_of(ob):
    from neural_portrait.scene import curves

    return curves._channels(ob, ensure=False).fcurves


def test_a_face_without_our_actions_takes_no_poses(scene, face):
    for name in ("action_expressions", "action_turns"):
        del face.arrays[name]
    armature = face_rig.build(scene, face)
    assert not face_rig.knows_actions(armature)
    assert not bpy.ops.portrait.face_pose.poll()
    assert bpy.ops.portrait.face_shape.poll()


def test_eyes_follow_a_target_also_here(armature):
    armature[rig.LOOK_AT] = 1.0
    armature.pose.bones[rig.LOOK_AT].location = (0.3, 0.0, 0.0)
    armature.update_tag()
    bpy.context.view_layer.update()
    for eye in ("left_eye", "right_eye"):
        wanted = np.array([0.3, 0.0, rig.GAZE_M])
        seen = np.array(armature.pose.bones[eye].matrix.to_3x3().col[2])
        np.testing.assert_allclose(seen, wanted / np.linalg.norm(wanted), atol=1e-5)


def test_a_body_without_correctives_or_expressions(scene, face):
    del face.arrays["correctives"]
    face.arrays["expressions"] = np.zeros((0, VERTICES, 3), np.float32)
    face.arrays["joint_expressions"] = np.zeros((0, len(JOINTS), 3), np.float32)
    armature = face_rig.build(scene, face)
    assert face_rig.sliders(armature, "expression") == []
    assert len(next(ob for ob in armature.children if ob.name == "someone mesh").data.shape_keys.key_blocks) == 4


def test_the_rig_is_found_from_its_parts_and_is_no_portrait(armature, scene):
    from neural_portrait.scene import find

    for ob in (armature, *armature.children):
        assert face_rig.of(ob) == armature
    assert face_rig.of(armature.parent) is None
    assert find.roots(scene) == []
    assert armature.data["licence"] == "their licence"


def test_without_such_a_rig_there_is_nothing_to_shape(scene):
    assert not bpy.ops.portrait.face_shape.poll()
    assert not bpy.ops.portrait.face_pose.poll()


def test_the_panel_shows_the_rig_that_is_selected(armature):
    from neural_portrait import panels
    from recording import drawn

    text, buttons = drawn(panels.PORTRAIT_PT_face)
    assert "their licence" in text
    assert {"portrait.add_face_rig", "portrait.face_shape", "portrait.face_pose"} == set(buttons)
    bpy.context.view_layer.objects.active = None
    text, buttons = drawn(panels.PORTRAIT_PT_face)
    assert "Select the rig" in text
    assert buttons == ["portrait.add_face_rig"]


@pytest.fixture
def folder(scene, tmp_path, monkeypatch):
    """A folder of face models that has a FLAME, an SMPL, and files that are neither."""
    for name, joints in (("zoe", 5), ("body", 24), ("hand", 16)):
        staging.write_face(tmp_path / "faces" / f"{name}.safetensors", joints)
    (tmp_path / "faces" / "torn.safetensors").write_bytes(b"\x10\x00")
    (tmp_path / "faces" / "list.safetensors").write_bytes(b"\x02\0\0\0\0\0\0\0[]")
    monkeypatch.setenv("NEURAL_PORTRAIT_MODELS", str(tmp_path / "models"))
    return tmp_path / "faces"


def test_the_menu_has_what_is_imported_with_kind_and_licence(folder, monkeypatch):
    licence = "licence: non-commercial, no redistribution"
    found = face_operators._faces(None, None)
    assert found == [("body", "body (SMPL)", f"SMPL {licence}"), ("zoe", "zoe (FLAME)", f"FLAME {licence}")]
    problems = [face.problem for face in face_operators._installed().values() if face.problem]
    assert problems == [f'"{name}.safetensors" holds no FLAME and no SMPL.' for name in ("hand", "list", "torn")]
    asked = []
    monkeypatch.setattr(tasks, "face_rig", lambda *given: asked.append(given) or iter(()))
    monkeypatch.setattr(face_operators.session, "start", lambda *_: None)
    bpy.ops.portrait.add_face_rig()
    bpy.ops.portrait.add_face_rig(face="zoe", shapes=3, expressions=2)
    assert asked == [("body", 10, 50), ("zoe", 3, 2)]
    with pytest.raises(TypeError):
        bpy.ops.portrait.add_face_rig(face="hand")


def test_without_a_face_model_the_button_says_what_is_missing(folder):
    for path in folder.iterdir():
        path.unlink()
    with pytest.raises(RuntimeError, match="No FLAME or SMPL is imported: System > Models > Import FLAME or SMPL"):
        bpy.ops.portrait.add_face_rig()


def test_weights_are_offered_the_flames_that_drive_them(folder):
    assert model_operators._search_faces(None, bpy.context, "") == ["zoe"]
    assert model_operators._search_faces(None, bpy.context, "ZO") == ["zoe"]
    assert model_operators._search_faces(None, bpy.context, "x") == []
