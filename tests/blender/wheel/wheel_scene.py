# SPDX-License-Identifier: GPL-3.0-or-later
"""What Create puts into the scene, checked against the stub's own arrays and plain geometry."""

import json

import bpy
import numpy as np
import pytest
import stub_worker as stub
from bpy_extras.object_utils import world_to_camera_view
from mathutils import Vector
from neural_portrait import session
from neural_portrait.expressions import NAMES
from neural_portrait.neural_core.errors import InputError
from neural_portrait.scene import camera, curves, find, image_plane, mesh, portrait

UPRIGHT = np.array([[1, 0, 0], [0, 0, -1], [0, 1, 0]])  # head space (y up) to Blender (z up)


def evaluated(ob):
    """Return the world positions of an object's vertices as they are drawn now."""
    graph = bpy.context.evaluated_depsgraph_get()
    shown = ob.evaluated_get(graph)
    co = np.empty(len(shown.data.vertices) * 3, np.float32)
    shown.data.vertices.foreach_get("co", co)
    world = np.array(shown.matrix_world)
    return co.reshape(-1, 3) @ world[:3, :3].T + world[:3, 3]


def chin_and_scalp(vertices):
    """Return the indices of the front-most low vertices and of the highest: in head space."""
    chin = np.argmin(np.linalg.norm(vertices - np.array([0, -0.09, 0.06]), axis=1))
    return chin, vertices[:, 1] > 0.09


def test_collection_holds_every_part(portrait, scene):
    objects = portrait.users_collection[0].objects
    assert portrait.users_collection[0].name == "Portrait 7"
    roles = sorted(ob.portrait.role for ob in objects if ob.portrait.role != "NONE")
    assert roles == ["CAMERA", "DRIVER", "PLANE", "RIG", "ROOT", "SURFACE"]
    assert sum(ob.type == "LIGHT" for ob in objects) == 2
    assert scene.camera == find.part(portrait, "CAMERA")
    assert bpy.context.view_layer.objects.active == find.part(portrait, "SURFACE")
    np.testing.assert_allclose(np.array(portrait.matrix_world)[:3, :3], UPRIGHT, atol=1e-6)


def test_a_second_portrait_leaves_lights_and_camera_alone(portrait, scene):
    first_camera = scene.camera
    scene.portrait.seed = 8
    bpy.ops.portrait.create()
    assert sum(ob.type == "LIGHT" for ob in scene.objects) == 2
    assert scene.camera == first_camera
    assert len(find.roots(scene)) == 2


def test_rig_has_52_sliders_at_rest_and_bones_with_the_axes_of_head_space(portrait):
    rig = find.part(portrait, "RIG")
    assert {name for name in rig.keys() if name in NAMES} == set(stub.ACTIONS)  # noqa: SIM118
    limits = rig.id_properties_ui("jawOpen").as_dict()
    assert (limits["soft_min"], limits["soft_max"], limits["min"], limits["max"]) == (0.0, 1.0, -1.0, 2.0)
    assert {bone.name for bone in rig.data.bones if bone.use_deform} == set(stub.JOINTS)
    for name, joint in zip(stub.JOINTS, stub.rig(7)["rig/joints"], strict=True):
        bone = rig.data.bones[name]
        np.testing.assert_allclose(np.array(bone.matrix_local)[:3, :3], np.eye(3), atol=1e-6)
        np.testing.assert_allclose(bone.head_local, joint, atol=1e-6)
    for role in ("DRIVER", "SURFACE"):
        blocks = find.part(portrait, role).data.shape_keys.key_blocks
        assert len(blocks) == 53
        assert all(block.value == 0.0 for block in blocks)


def test_driver_mesh_stands_where_the_worker_said(portrait):
    driver = find.part(portrait, "DRIVER")
    np.testing.assert_allclose(evaluated(driver), stub.rig(7)["rig/vertices"] @ UPRIGHT.T, atol=1e-6)
    uv = np.empty(len(driver.data.loops) * 2, np.float32)
    driver.data.uv_layers[0].data.foreach_get("uv", uv)
    expected = stub.rig(7)["rig/uv"][stub.rig(7)["rig/uv_faces"].ravel()]
    np.testing.assert_allclose(uv.reshape(-1, 2), expected, atol=1e-6)


def test_weights_survive_the_way_into_vertex_groups_and_back(portrait):
    names, weights = mesh.read_weights(find.part(portrait, "DRIVER"))
    assert names == list(stub.JOINTS)
    np.testing.assert_allclose(weights, stub.rig(7)["rig/weights"], atol=0.5 / mesh.WEIGHT_LEVELS + 1e-6)


def test_keyed_jaw_moves_the_chin_of_both_heads_and_no_scalp(portrait, scene):
    rig = find.part(portrait, "RIG")
    for frame, value in ((1, 0.0), (20, 1.0)):
        rig["jawOpen"] = value
        rig.keyframe_insert('["jawOpen"]', frame=frame)
    rig.update_tag()
    moved = {}
    for role, rest in (("DRIVER", stub.rig(7)["rig/vertices"]), ("SURFACE", stub.surface(7, 96)["vertices"])):
        ob = find.part(portrait, role)
        scene.frame_set(1)
        before = evaluated(ob)
        scene.frame_set(20)
        distance = np.linalg.norm(evaluated(ob) - before, axis=1)
        chin, scalp = chin_and_scalp(rest)
        moved[role] = distance[chin]
        assert distance[scalp].max() < 0.001, role
    assert moved["DRIVER"] == pytest.approx(np.linalg.norm(stub.JAW_DROP), rel=1e-4)
    assert moved["SURFACE"] >= 0.7 * moved["DRIVER"]
    scene.frame_set(10)
    assert 0.0 < rig["jawOpen"] < 1.0


def test_jaw_bone_moves_the_surface_too(portrait):
    rig, surface = find.part(portrait, "RIG"), find.part(portrait, "SURFACE")
    before = evaluated(surface)
    rig.pose.bones["jaw"].location = (0.0, -0.02, 0.0)
    bpy.context.view_layer.update()
    distance = np.linalg.norm(evaluated(surface) - before, axis=1)
    chin, scalp = chin_and_scalp(stub.surface(7, 96)["vertices"])
    assert distance[chin] == pytest.approx(0.02, abs=0.001)
    assert distance[scalp].max() < 1e-6


def test_transfer_is_the_weighted_sum(portrait):
    values = np.arange(12, dtype=np.float32).reshape(4, 3)
    carried = mesh.transfer(values, np.array([[0, 3], [2, 2]]), np.array([[0.25, 0.75], [0.5, 0.5]]))
    np.testing.assert_allclose(carried, [[6.75, 7.75, 8.75], [6, 7, 8]])


def test_colours_are_stored_linear(portrait):
    surface = find.part(portrait, "SURFACE")
    stored = np.empty(len(surface.data.vertices) * 4, np.float32)
    surface.data.color_attributes["Colour"].data.foreach_get("color_srgb", stored)  # Blender converts back
    np.testing.assert_allclose(stored.reshape(-1, 4)[:, :3], stub.surface(7, 96)["colours"], atol=2e-3)


def test_camera_sees_points_where_the_label_projects_them(portrait, scene):
    scene.render.resolution_x = scene.render.resolution_y = 512
    own = find.part(portrait, "CAMERA")
    bpy.context.view_layer.update()
    for point in ((0.0, 0.0, 0.0), (0.05, 0.02, 0.08), (-0.07, -0.1, 0.0)):
        cam2world, intrinsics = camera.split_label(stub.CAMERA)
        in_camera = np.linalg.inv(cam2world) @ np.array([*point, 1.0])
        u, v, w = intrinsics @ in_camera[:3]
        seen = world_to_camera_view(scene, own, portrait.matrix_world @ Vector(point))
        assert (seen.x, 1 - seen.y) == pytest.approx((u / w, v / w), abs=1e-5)


@pytest.mark.parametrize("resolution", [(512, 512), (640, 360), (300, 500)])
@pytest.mark.parametrize("fit", ["AUTO", "HORIZONTAL", "VERTICAL"])
def test_label_of_a_scene_camera_projects_into_the_middle_square(portrait, scene, resolution, fit):
    render, own = scene.render, find.part(portrait, "CAMERA")
    render.resolution_x, render.resolution_y = resolution
    own.data.sensor_fit, own.data.shift_x, own.data.shift_y, own.data.lens = fit, 0.1, -0.05, 80
    portrait.location = (1.0, 2.0, 0.5)
    own.location.x += 0.1
    bpy.context.view_layer.update()
    label = camera.read(own, portrait.matrix_world, scene)
    cam2world, intrinsics = camera.split_label(label)
    side = min(resolution)
    for point in ((0.0, 0.0, 0.0), (0.05, 0.02, 0.08)):
        u, v, w = intrinsics @ (np.linalg.inv(cam2world) @ np.array([*point, 1.0]))[:3]
        pixel = (u / w * side + (resolution[0] - side) / 2, v / w * side + (resolution[1] - side) / 2)
        seen = world_to_camera_view(scene, own, portrait.matrix_world @ Vector(point))
        assert pixel == pytest.approx((seen.x * resolution[0], (1 - seen.y) * resolution[1]), abs=1e-3)


def test_label_survives_write_and_read(portrait, scene):
    scene.render.resolution_x = scene.render.resolution_y = 256
    bpy.context.view_layer.update()
    assert camera.read(find.part(portrait, "CAMERA"), portrait.matrix_world, scene) == pytest.approx(
        stub.CAMERA, abs=1e-4
    )


def test_orthographic_camera_is_refused(portrait, scene):
    scene.camera.data.type = "ORTHO"
    assert bpy.ops.portrait.update_picture() == {"CANCELLED"}
    assert "not a perspective camera" in session.engine().status.message


def test_picture_is_packed_and_upright(portrait):
    image = image_plane.image_of(find.part(portrait, "PLANE"))
    assert image.packed_file is not None
    assert tuple(image.size) == (64, 64)
    pixels = np.empty(64 * 64 * 4, np.float32)
    image.pixels.foreach_get(pixels)
    np.testing.assert_array_equal(np.rint(pixels.reshape(64, 64, 4)[::-1] * 255), stub.picture(64))


def test_card_covers_the_frame_of_its_camera(portrait, scene):
    bpy.ops.portrait.show(what="PICTURE")
    scene.render.resolution_x = scene.render.resolution_y = 256
    bpy.context.view_layer.update()
    plane, own = find.part(portrait, "PLANE"), find.part(portrait, "CAMERA")
    corners = [world_to_camera_view(scene, own, plane.matrix_world @ v.co) for v in plane.data.vertices]
    expected = [(0, 0), (1, 0), (1, 1), (0, 1)]
    np.testing.assert_allclose([(c.x, c.y) for c in corners], expected, atol=1e-4)
    assert corners[0].z == pytest.approx(1.35, abs=1e-4)  # the depth of the head's centre
    assert find.part(portrait, "SURFACE").hide_render
    assert not plane.hide_render


def test_both_puts_the_card_beside_the_head_out_of_the_frame(portrait, scene):
    bpy.ops.portrait.show(what="BOTH")
    scene.render.resolution_x = scene.render.resolution_y = 256
    bpy.context.view_layer.update()
    plane, own = find.part(portrait, "PLANE"), find.part(portrait, "CAMERA")
    assert min(world_to_camera_view(scene, own, plane.matrix_world @ v.co).x for v in plane.data.vertices) > 1.0
    shown = {role: not find.part(portrait, role).hide_render for role in ("SURFACE", "PLANE", "DRIVER")}
    assert shown == {"SURFACE": True, "PLANE": True, "DRIVER": False}


def test_portrait_remembers_itself(portrait):
    identity = find.identity_of(portrait)
    assert (identity.model, identity.seed) == ("default-next3d", 7)
    assert (identity.licence, identity.system) == ("CC0-1.0", "stub")
    assert identity.truncation == pytest.approx(0.7)
    assert len(identity.uuid) == 32
    assert portrait_bytes(portrait) == b"stub portrait 7"


def portrait_bytes(root):
    return portrait.kept_bytes(root)


def test_saved_file_keeps_the_portrait_and_moves_without_the_add_on(portrait, scene, tmp_path):
    import addon_utils

    rig = find.part(portrait, "RIG")
    rig["jawOpen"] = 1.0
    names = find.part(portrait, "SURFACE").name, rig.name
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "kept.blend"))
    addon_utils.disable("neural_portrait")
    bpy.ops.wm.open_mainfile(filepath=str(tmp_path / "kept.blend"))
    surface, rig = (bpy.data.objects[name] for name in names)
    opened = evaluated(surface)
    rig["jawOpen"] = 0.0
    rig.update_tag()
    bpy.context.view_layer.update()
    chin, _ = chin_and_scalp(stub.surface(7, 96)["vertices"])
    assert np.linalg.norm(opened[chin] - evaluated(surface)[chin]) > 0.02
    addon_utils.enable("neural_portrait")
    (root,) = find.roots(bpy.context.scene)
    assert portrait_bytes(root) == b"stub portrait 7"


def test_damaged_text_is_refused_in_one_sentence(portrait):
    bpy.data.texts.remove(find.identity_of(portrait).file)
    with pytest.raises(InputError, match='data of "Portrait 7" is missing'):
        portrait_bytes(portrait)


def test_update_picture_and_mesh_work_on_a_reopened_worker(portrait, scene):
    session.engine().stop()  # the new worker knows no portrait: it gets the stored bytes
    scene.portrait.size, scene.portrait.detail = 32, 48
    assert bpy.ops.portrait.update_picture() == {"FINISHED"}
    assert tuple(image_plane.image_of(find.part(portrait, "PLANE")).size) == (32, 32)
    assert bpy.ops.portrait.update_mesh() == {"FINISHED"}
    surface = find.part(portrait, "SURFACE")
    assert len(surface.data.vertices) == len(stub.surface(7, 48)["vertices"])
    find.part(portrait, "RIG")["jawOpen"] = 1.0
    find.part(portrait, "RIG").update_tag()
    bpy.context.view_layer.update()
    rest = stub.surface(7, 48)["vertices"]
    chin, _ = chin_and_scalp(rest)
    assert np.linalg.norm(evaluated(surface) - rest @ UPRIGHT.T, axis=1)[chin] > 0.02


def test_key_all_key_changed_and_reset(portrait, scene):
    rig = find.part(portrait, "RIG")
    scene.frame_set(5)
    bpy.ops.portrait.key_expression()
    channels = curves._channels(rig, ensure=False)
    assert len(channels.fcurves) == 52
    scene.frame_set(9)
    rig["mouthSmileLeft"] = 0.5
    bpy.ops.portrait.key_expression(changed_only=True)
    counts = {curve.data_path: len(curve.keyframe_points) for curve in channels.fcurves}
    assert counts.pop('["mouthSmileLeft"]') == 2
    assert set(counts.values()) == {1}
    bpy.ops.portrait.reset_expression()
    assert all(rig[name] == 0.0 for name in NAMES)


def test_curves_file_is_resampled_by_time(portrait, scene, tmp_path):
    rig = find.part(portrait, "RIG")
    scene.render.fps, scene.render.fps_base = 50, 1.0
    path = tmp_path / "speech.json"
    path.write_text(json.dumps({"format": "portrait-curves/1", "fps": 25, "curves": {"jawOpen": [0.0, 1.0, 0.5]}}))
    assert curves.apply_file(rig, path, scene, start=10) == 14
    for frame, value in ((10, 0.0), (11, 0.5), (12, 1.0), (14, 0.5), (20, 0.5)):
        scene.frame_set(frame)
        assert rig["jawOpen"] == pytest.approx(value, abs=1e-6)


def about(axis, angle):
    """Return the rotation [3, 3] about one of the axes of head space."""
    first, second = (axis + 1) % 3, (axis + 2) % 3
    rotation = np.eye(3)
    rotation[[first, second], [first, second]] = np.cos(angle)
    rotation[first, second], rotation[second, first] = -np.sin(angle), np.sin(angle)
    return rotation


def test_curves_turn_the_head_by_a_half_in_neck_and_head(portrait, scene, tmp_path):
    """Done twice, what each bone does is the turn that the file asks for: roll, then pitch, then yaw."""
    rig = find.part(portrait, "RIG")
    scene.render.fps, scene.render.fps_base = 25, 1.0
    path = tmp_path / "nod.json"
    turns = {"headYaw": [0.0, 0.4, -0.3], "headPitch": [0.0, 0.2, 0.5], "headRoll": [0.0, -0.3, 0.6]}
    path.write_text(json.dumps({"format": "portrait-curves/1", "fps": 25, "curves": {"jawOpen": [0, 1, 0], **turns}}))
    assert curves.apply_file(rig, path, scene, start=1) == 3
    for frame, (yaw, pitch, roll) in enumerate(zip(*turns.values(), strict=True), start=1):
        scene.frame_set(frame)
        expected = about(1, yaw) @ about(0, -pitch) @ about(2, -roll)
        for name in ("neck", "head"):
            bone = rig.pose.bones[name]
            half = np.array(bone.matrix.to_3x3())
            if name == "head":
                half = np.array(bone.parent.matrix.to_3x3()).T @ half
            np.testing.assert_allclose(half @ half, expected, atol=1e-5)
    assert rig["jawOpen"] == 0.0
    # Looking to the subject's left is towards +X; raising the chin raises where the face looks.
    x, y, _ = about(1, 0.4) @ about(0, -0.2) @ [0, 0, 1]
    assert min(x, y) > 0


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("{", "is no JSON"),
        ('{"fps": 25}', "is no curves file"),
        ('{"format": "portrait-curves/1", "fps": 0, "curves": {}}', "has no frame rate"),
        ('{"format": "portrait-curves/1", "fps": 25, "curves": {"jawOpne": [0]}}', 'Did you mean "jawOpen"'),
        ('{"format": "portrait-curves/1", "fps": 25, "curves": {"jawOpen": ["a"]}}', "is no list of numbers"),
    ],
)
def test_bad_curves_files_get_a_sentence(scene, tmp_path, content, sentence):
    path = tmp_path / "bad.json"
    path.write_text(content)
    with pytest.raises(InputError) as caught:
        curves.read_file(path)
    assert sentence in str(caught.value)


def test_stretch_is_the_growth_of_the_longest_drawn_edge():
    vertices = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [5, 0, 0], [6, 0, 0], [5, 1, 0]], np.float32)
    faces = np.array([[0, 1, 2], [3, 4, 5]])
    delta = np.zeros_like(vertices)
    delta[1] = (2, 0, 0)  # edge 0-1 becomes 3 long; 1-2 becomes sqrt(10) of sqrt(2)
    expected = [3.0, 3.0, np.sqrt(5.0), 1.0, 1.0, 1.0]
    np.testing.assert_allclose(mesh.stretch(vertices, faces, delta), expected, rtol=1e-6)


def test_the_mouth_darkens_with_the_jaw_and_without_scripts(portrait):
    rig, surface = find.part(portrait, "RIG"), find.part(portrait, "SURFACE")
    material = surface.data.materials[0]
    (curve,) = material.node_tree.animation_data.drivers
    assert curve.driver.is_simple_expression
    (factor,) = [node for node in material.node_tree.nodes if node.type == "MATH"]
    for value, expected in ((0.0, 0.0), (0.2, 0.6), (1.0, 3.0)):  # the node clamps its result, not this input
        rig["jawOpen"] = value
        rig.update_tag()
        bpy.context.view_layer.update()
        assert factor.inputs[1].default_value == pytest.approx(expected)
    mask = np.empty(len(surface.data.vertices), np.float32)
    surface.data.attributes["Mouth"].data.foreach_get("value", mask)
    assert mask.max() == 0.0  # the egg has no mouth: its chin is drawn out evenly


def test_a_portrait_without_a_rig_is_a_plain_surface(scene):
    scene.portrait.make_rig, scene.portrait.detail, scene.portrait.size = False, 48, 32
    assert bpy.ops.portrait.create() == {"FINISHED"}
    (root,) = find.roots(scene)
    surface = find.part(root, "SURFACE")
    assert surface.data.shape_keys is None
    assert find.part(root, "RIG") is None
    assert find.identity_of(root).seed == 7
    assert not bpy.ops.portrait.key_expression.poll()


def test_only_a_picture(scene):
    scene.portrait.make_rig = scene.portrait.make_mesh = False
    scene.portrait.size = 32
    assert bpy.ops.portrait.create() == {"FINISHED"}
    (root,) = find.roots(scene)
    assert find.part(root, "PLANE").parent == find.part(root, "CAMERA")
