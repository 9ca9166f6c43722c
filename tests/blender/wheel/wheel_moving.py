# SPDX-License-Identifier: GPL-3.0-or-later
"""A portrait whose network can move its face: pictures, surfaces and the live picture follow the rig."""

import math

import bpy
import numpy as np
import pytest
import stub_worker as stub
from mathutils import Matrix, Quaternion
from neural_portrait import live, session, tasks
from neural_portrait.neural_core import protocol
from neural_portrait.scene import camera, find, image_plane, pose


def shown(root):
    """Return the picture on the portrait's card [h, w, 4], first row on top."""
    image = image_plane.image_of(find.part(root, "PLANE"))
    pixels = np.empty(image.size[0] * image.size[1] * 4, np.float32)
    image.pixels.foreach_get(pixels)
    return np.rint(pixels.reshape(image.size[1], image.size[0], 4)[::-1] * 255)


def set_jaw(root, value):
    rig = find.part(root, "RIG")
    rig["jawOpen"] = value
    rig.update_tag()
    bpy.context.view_layer.update()


def test_the_portrait_remembers_whether_it_moves(moving, scene):
    assert find.identity_of(moving).animatable
    scene.portrait.model = "default-eg3d"
    bpy.ops.portrait.create()
    assert sorted(find.identity_of(root).animatable for root in find.roots(scene)) == [False, True]


def test_the_picture_shows_the_sliders_of_this_frame(moving, scene):
    rig = find.part(moving, "RIG")
    for frame, value in ((1, 0.0), (11, 1.0)):
        rig["jawOpen"] = value
        rig.keyframe_insert('["jawOpen"]', frame=frame)
    for frame in (1, 4, 11):
        scene.frame_set(frame)
        bpy.ops.portrait.update_picture()
        np.testing.assert_array_equal(shown(moving), stub.picture(32, rig["jawOpen"]))
    assert rig["jawOpen"] == 1.0


def test_a_still_face_is_never_asked_to_move(portrait, scene):
    set_jaw(portrait, 1.0)
    scene.portrait.size = 32
    assert bpy.ops.portrait.update_picture() == {"FINISHED"}
    np.testing.assert_array_equal(shown(portrait), stub.picture(32))


def test_sliders_and_bones_become_controls(moving):
    rig = find.part(moving, "RIG")
    set_jaw(moving, 0.25)
    rig.pose.bones["neck"].rotation_quaternion = Quaternion((0, 1, 0), 0.3)
    rig.pose.bones["head"].rotation_quaternion = Quaternion((1, 0, 0), -0.2)
    rig.pose.bones["jaw"].rotation_mode = "XYZ"
    rig.pose.bones["jaw"].rotation_euler = (0.1, 0.0, 0.0)
    bpy.context.view_layer.update()
    found = pose.controls(moving)
    assert found["actions"] == {"jawOpen": 0.25}
    expected = {"neck": (0, 0.3, 0), "head": (-0.2, 0, 0), "jaw": (0.1, 0, 0)}
    assert set(found["joints"]) == set(expected)
    for name, turn in expected.items():
        assert found["joints"][name] == pytest.approx(turn, abs=2e-5)


def test_at_rest_nothing_is_asked(moving):
    assert pose.controls(moving) == {}


def test_the_camera_is_seen_from_the_skull(moving, scene):
    """A head that turns about its joint is, for the network, a camera that turns about it the other way."""
    scene.render.resolution_x = scene.render.resolution_y = 256
    rig, angle = find.part(moving, "RIG"), 0.4
    rest = camera.split_label(pose.shot(moving, scene.camera, scene).camera)[0]
    rig.pose.bones["head"].rotation_quaternion = Quaternion((0, 1, 0), angle)
    bpy.context.view_layer.update()
    turned = camera.split_label(pose.shot(moving, scene.camera, scene).camera)[0]
    joint = stub.rig(7)["rig/joints"][stub.JOINTS.index("head")]
    about = Matrix.Translation(joint.tolist()) @ Matrix.Rotation(angle, 4, "Y") @ Matrix.Translation((-joint).tolist())
    np.testing.assert_allclose(turned, np.array(about.inverted()) @ rest, atol=1e-4)


def test_the_root_and_its_place_do_not_move_the_camera_of_the_head(moving, scene):
    before = pose.shot(moving, scene.camera, scene)
    moving.matrix_world = Matrix.Translation((3, 2, 1)) @ Matrix.Rotation(math.pi / 3, 4, "Z") @ moving.matrix_world
    bpy.context.view_layer.update()  # the camera is its child
    assert pose.shot(moving, scene.camera, scene).camera == pytest.approx(before.camera, abs=1e-4)


def test_a_surface_of_an_expression_is_bound_where_the_rig_would_be_at_rest(moving):
    set_jaw(moving, 1.0)
    assert bpy.ops.portrait.update_mesh() == {"FINISHED"}
    surface = find.part(moving, "SURFACE")
    co = np.empty(len(surface.data.vertices) * 3, np.float32)
    surface.data.vertices.foreach_get("co", co)
    np.testing.assert_allclose(co.reshape(-1, 3), stub.surface(7, 48, jaw=1.0)["rest"], atol=1e-6)


def requests_of(monkeypatch):
    """Return the list of the pictures that are asked of the engine from now on."""
    asked, send = [], session.engine()._send

    def remember(request):
        if isinstance(request, protocol.Render):
            asked.append((request.quality, request.controls.get("actions", {}).get("jawOpen", 0.0)))
        return send(request)

    monkeypatch.setattr(session.engine(), "_send", remember)
    return asked


def test_the_live_picture_is_a_draft_then_full_then_left_alone(moving, monkeypatch):
    asked = requests_of(monkeypatch)
    assert not live.is_on(moving)
    assert bpy.ops.portrait.live_picture() == {"FINISHED"}
    assert live.is_on(moving)
    for _ in range(4):  # ticks
        live.update()
    assert asked == [("draft", 0.0), ("full", 0.0)]
    set_jaw(moving, 0.5)
    live.update()
    np.testing.assert_array_equal(shown(moving), stub.picture(32, 0.5))
    set_jaw(moving, 1.0)
    live.update()
    live.update()
    assert asked[2:] == [("draft", 0.5), ("draft", 1.0), ("full", 1.0)]
    np.testing.assert_array_equal(shown(moving), stub.picture(32, 1.0))
    bpy.ops.portrait.live_picture()
    assert not live.is_on(moving)


def test_the_live_picture_follows_frame_and_camera(moving, scene, monkeypatch):
    rig = find.part(moving, "RIG")
    for frame, value in ((1, 0.0), (5, 1.0)):
        rig["jawOpen"] = value
        rig.keyframe_insert('["jawOpen"]', frame=frame)
    scene.frame_set(1)
    live.switch_on(moving)
    asked = requests_of(monkeypatch)
    live.update()
    scene.frame_set(5)
    live.update()
    live.update()
    assert asked == [("draft", 0.0), ("draft", 1.0), ("full", 1.0)]
    scene.camera.location.x += 0.1
    bpy.context.view_layer.update()
    live.update()
    assert asked[3:] == [("draft", 1.0)]


def test_the_live_picture_is_no_undo_step(moving, monkeypatch):
    pushed = []
    monkeypatch.setattr(session, "_undo_push", pushed.append)
    live.switch_on(moving)
    live.update()
    assert pushed == []
    bpy.ops.portrait.update_picture()
    assert pushed == ["Draw Picture"]


def test_what_the_user_starts_goes_before_the_live_picture(moving):
    engine, drawn = session.engine(), []
    live.switch_on(moving)
    # As in the window, where nobody waits for the picture.
    engine.start("Live Picture", tasks.picture(session.kept(moving), pose.shot(moving, bpy.context.scene.camera,
                 bpy.context.scene), 32), drawn.append, in_passing=True)  # fmt: skip
    assert engine.busy
    assert engine.free
    assert engine.status.state == "passing"
    assert bpy.ops.portrait.update_mesh() == {"FINISHED"}
    assert drawn == []
    assert engine.status.state == "idle"


def test_an_error_stops_the_live_picture_until_it_is_dismissed(moving, monkeypatch):
    live.switch_on(moving)
    find.identity_of(moving).model = "nobody"
    assert live._tick() is None
    assert not live.is_on(moving)
    assert session.engine().status.kind == "model"
    live.switch_on(moving)
    asked = requests_of(monkeypatch)
    live.update()
    assert asked == []


def test_a_portrait_that_is_gone_is_not_drawn(moving, scene, monkeypatch):
    live.switch_on(moving)
    asked = requests_of(monkeypatch)
    for ob in list(scene.objects):
        bpy.data.objects.remove(ob)
    live.update()
    assert asked == []
    bpy.ops.wm.read_homefile(use_empty=True)
    assert not live._live.portrait
