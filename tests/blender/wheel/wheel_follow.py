# SPDX-License-Identifier: GPL-3.0-or-later
"""The card of the network's picture: what it shows and where it stands, by projecting points with Blender's camera."""

import math

import bpy
import numpy as np
import pytest
import stub_worker as stub
from bpy_extras.object_utils import world_to_camera_view
from mathutils import Matrix, Quaternion, Vector
from neural_portrait import session
from neural_portrait.neural_core import errors
from neural_portrait.scene import camera, find, framing, instants, pose

POINTS = ((0.0, 0.0, 0.0), (0.05, 0.02, 0.08), (-0.07, -0.1, 0.0), (0.0, 0.09, -0.06))


def in_frame(scene, point):
    """Return where the scene's camera sees a point of the world: x and y in 0..1 of the frame, and the depth."""
    return world_to_camera_view(scene, scene.camera, Vector(point))


def in_picture(label, point):
    """Return where a label's camera sees a point of its space: u to the right and v downwards, in sides."""
    cam2world, intrinsics = camera.split_label(label)
    u, v, w = intrinsics @ (np.linalg.inv(cam2world) @ [*point, 1.0])[:3]
    return u / w, v / w


@pytest.fixture
def odd(moving, scene):
    """A portrait with a turned, scaled root and a nodding head, before a camera with odd settings."""
    bpy.ops.portrait.show(what="PICTURE")
    rig, own = find.part(moving, "RIG"), find.part(moving, "CAMERA")
    moving.location, moving.scale = (1.0, 2.0, 0.5), (2.0, 2.0, 2.0)
    rig.pose.bones["head"].rotation_quaternion = Quaternion((1, 0, 0), 0.3)
    data = bpy.data.cameras.new("odd")
    ob = bpy.data.objects.new("odd", data)
    scene.collection.objects.link(ob)
    data.lens, data.shift_x, data.shift_y = 35.0, 0.15, -0.1
    bpy.context.view_layer.update()
    ob.matrix_world = Matrix.Translation((0.6, -0.4, 0.3)) @ own.matrix_world
    ob.scale = (3.0, 3.0, 3.0)  # cameras look without their scale
    scene.camera = ob
    bpy.context.view_layer.update()
    return moving


@pytest.mark.parametrize("resolution", [(256, 256), (640, 360), (300, 500)])
def test_the_card_covers_what_the_crop_shows(odd, scene, resolution):
    """A point of the head appears at the same place of the frame as its picture on the card does."""
    scene.render.resolution_x, scene.render.resolution_y = resolution
    assert bpy.ops.portrait.update_picture() == {"FINISHED"}
    bpy.context.view_layer.update()
    wanted, head, plane = framing.of(odd, scene), pose.head_space(odd), find.part(odd, "PLANE")
    corners = np.array([in_frame(scene, plane.matrix_world @ vertex.co) for vertex in plane.data.vertices])
    left, bottom, right, top = *corners[0, :2], *corners[2, :2]
    for point in POINTS:
        seen = in_frame(scene, head @ Vector(point))
        u, v = (seen.x - left) / (right - left), (top - seen.y) / (top - bottom)
        assert (u, v) == pytest.approx(in_picture(wanted.shot.camera, point), abs=1e-4)
    assert corners[:, 2] == pytest.approx(in_frame(scene, head.translation).z, abs=1e-4)
    width, height = (right - left) * resolution[0], (top - bottom) * resolution[1]
    assert width == pytest.approx(height, rel=1e-4)


def test_the_crop_holds_the_cube_of_the_head_and_fifteen_percent(odd, scene):
    label = framing.of(odd, scene).shot.camera
    half = camera.HEAD_SIDE_M / 2
    cube = [(x, y, z) for x in (-half, half) for y in (-half, half) for z in (-half, half)]
    seen = np.array([in_picture(label, point) for point in cube])
    extent = seen.max(axis=0) - seen.min(axis=0)
    assert extent.max() == pytest.approx(1 / 1.15, abs=1e-5)
    np.testing.assert_allclose(seen.max(axis=0) + seen.min(axis=0), [1.0, 1.0], atol=1e-5)


def test_a_head_that_the_camera_cannot_see_is_a_sentence(odd, scene):
    scene.camera.matrix_world = scene.camera.matrix_world @ Matrix.Rotation(math.pi, 4, "Y")
    bpy.context.view_layer.update()
    with pytest.raises(errors.UsageError, match="does not see the head"):
        framing.of(odd, scene)
    assert bpy.ops.portrait.update_picture() == {"CANCELLED"}
    assert "does not see the head" in session.engine().status.message


@pytest.mark.parametrize("scale", [(0.0, 0.0, 0.0), (-1.0, 1.0, 1.0)])
def test_a_portrait_that_no_picture_can_show_is_a_sentence(odd, scene, scale):
    odd.scale = scale
    for operator in (bpy.ops.portrait.update_picture, bpy.ops.portrait.bake):
        assert operator() == {"CANCELLED"}
        assert (
            "The portrait is mirrored or scaled to nothing: no picture shows that." in session.engine().status.message
        )
    odd.scale, scene.camera.scale = (1.0, 1.0, 1.0), (0.0, 0.0, 0.0)
    assert bpy.ops.portrait.update_picture() == {"CANCELLED"}
    assert "is scaled to nothing." in session.engine().status.message


def test_a_card_that_follows_the_head_stays_while_the_camera_moves(odd, scene):
    assert bpy.ops.portrait.follow(what="HEAD") == {"FINISHED"}
    plane = find.part(odd, "PLANE")
    before, place = framing.of(odd, scene), plane.matrix_world.copy()
    scene.camera.location.x += 0.3
    bpy.context.view_layer.update()
    assert framing.of(odd, scene) == before
    assert plane.matrix_world == place
    assert before.label == pytest.approx(stub.CAMERA, abs=1e-4)
    find.part(odd, "RIG").pose.bones["head"].rotation_quaternion = Quaternion((1, 0, 0), -0.3)
    bpy.context.view_layer.update()
    assert framing.of(odd, scene).shot != before.shot
    assert framing.of(odd, scene).place == before.place


def test_the_picture_says_what_it_shows(odd, scene):
    scene.frame_set(12)
    bpy.ops.portrait.update_picture()
    image = find.part(odd, "PLANE").portrait.live_image
    assert image["portrait_frame"] == 12
    key = image["portrait_key"]
    bpy.ops.portrait.update_picture()
    assert image["portrait_key"] == key
    find.part(odd, "RIG")["jawOpen"] = 0.5
    bpy.ops.portrait.update_picture()
    assert image["portrait_key"] != key


def test_colours_and_alpha_are_exact_under_standard(moving, scene, tmp_path):
    """A render with Cycles has the network's own colours where the card is opaque, and nothing where it is clear."""
    import imageio.v3

    bpy.ops.portrait.show(what="PICTURE")
    scene.portrait.size = 128
    scene.render.resolution_x = scene.render.resolution_y = 128
    scene.view_settings.view_transform = "Standard"
    scene.render.film_transparent, scene.render.engine, scene.cycles.samples = True, "CYCLES", 4
    scene.cycles.use_denoising = False
    assert bpy.ops.portrait.update_picture() == {"FINISHED"}
    bpy.context.view_layer.update()
    scene.render.filepath = str(tmp_path / "card.png")
    bpy.ops.render.render(write_still=True)
    rendered = imageio.v3.imread(tmp_path / "card.png").astype(int)
    picture, label = stub.picture(128).astype(int), framing.of(moving, scene).shot.camera
    for point in POINTS[:2]:
        seen = in_frame(scene, pose.head_space(moving) @ Vector(point))
        u, v = in_picture(label, point)
        expected = picture[int(v * 128), int(u * 128)]
        assert rendered[int((1 - seen.y) * 128), int(seen.x * 128)] == pytest.approx(expected, abs=3)
    assert rendered[1, 1, 3] == 0


def test_instants_are_what_the_user_would_see_at_those_frames(odd, scene):
    rig, eye = find.part(odd, "RIG"), scene.camera
    for frame, value in ((1, 0.0), (11, 1.0)):
        rig["jawOpen"] = value
        rig.keyframe_insert('["jawOpen"]', frame=frame)
        eye.data.lens = 35 + 10 * value
        eye.data.keyframe_insert("lens", frame=frame)
        odd.location.x = value
        odd.keyframe_insert("location", frame=frame)
    other = bpy.data.objects.new("other", eye.data.copy())
    scene.collection.objects.link(other)
    other.matrix_world = Matrix.Translation((0.0, 0.0, 0.1)) @ eye.matrix_world
    for frame, ob in ((1, eye), (9, other)):
        scene.timeline_markers.new("cut", frame=frame).camera = ob
    rig.update_tag()
    scene.frame_set(4)
    before = (scene.frame_current, rig["jawOpen"], eye.data.lens, odd.location.x, scene.camera, len(bpy.data.scenes))
    found = instants.read(odd, scene, (1, 6, 10, 11))
    after = (scene.frame_current, rig["jawOpen"], eye.data.lens, odd.location.x, scene.camera, len(bpy.data.scenes))
    assert after == before
    for one in found:
        scene.frame_set(one.frame)
        expected = framing.of(odd, scene)
        assert one.framing.shot.controls == expected.shot.controls
        assert one.framing.shot.camera == pytest.approx(expected.shot.camera, abs=1e-5)
        assert one.framing.parent == expected.parent == scene.camera.name
        np.testing.assert_allclose(one.world, scene.camera.matrix_world @ Matrix(expected.place), atol=1e-5)
    assert [one.framing.parent for one in found] == ["odd", "odd", "other", "other"]
