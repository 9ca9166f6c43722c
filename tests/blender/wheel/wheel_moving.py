# SPDX-License-Identifier: GPL-3.0-or-later
"""A portrait whose network can move its face: pictures, surfaces and the live picture follow the rig."""

import math

import bpy
import numpy as np
import pytest
import stub_worker as stub
from mathutils import Matrix, Quaternion
from neural_portrait import live, pictures, session, tasks
from neural_portrait.neural_core import protocol
from neural_portrait.scene import camera, find, image_plane, pose


@pytest.fixture(autouse=True)
def nothing_drawn():
    """No picture is in memory yet."""
    pictures.drawn.clear()


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
    scene.portrait.model = "default-next3d"
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
    """Return the list of the pictures that are asked of the engine from now on: sizes, and how open the jaw is."""
    asked, send = [], session.engine()._send

    def remember(request):
        if isinstance(request, protocol.Render):
            asked.append((request.size, request.controls.get("actions", {}).get("jawOpen", 0.0)))
        return send(request)

    monkeypatch.setattr(session.engine(), "_send", remember)
    return asked


@pytest.fixture
def clock(monkeypatch):
    """A clock that the test moves on: a list with the time in seconds."""
    now = [0.0]
    monkeypatch.setattr(live, "clock", lambda: now[0])
    return now


@pytest.fixture
def large(moving, scene):
    """A moving portrait whose full picture is larger than the draft's 128 pixels."""
    scene.portrait.size = 160
    return moving


def test_the_live_picture_is_a_draft_then_full_then_left_alone(large, monkeypatch, clock):
    asked = requests_of(monkeypatch)
    assert not live.is_on(large)
    assert bpy.ops.portrait.live_picture() == {"FINISHED"}
    assert live.is_on(large)
    for _ in range(3):  # ticks
        live.update()
    assert asked == [(128, 0.0)]
    clock[0] += 0.24
    live.update()
    assert asked == [(128, 0.0)]
    clock[0] += 0.02
    for _ in range(3):
        live.update()
    assert asked == [(128, 0.0), (160, 0.0)]
    set_jaw(large, 0.5)
    live.update()
    np.testing.assert_array_equal(shown(large), stub.picture(128, 0.5))
    set_jaw(large, 1.0)
    clock[0] += 1.0
    live.update()
    clock[0] += 0.3
    live.update()
    assert asked[2:] == [(128, 0.5), (128, 1.0), (160, 1.0)]
    np.testing.assert_array_equal(shown(large), stub.picture(160, 1.0))
    bpy.ops.portrait.live_picture()
    assert not live.is_on(large)


def test_the_live_picture_follows_frame_and_camera(large, scene, monkeypatch, clock):
    rig = find.part(large, "RIG")
    for frame, value in ((1, 0.0), (5, 1.0)):
        rig["jawOpen"] = value
        rig.keyframe_insert('["jawOpen"]', frame=frame)
    scene.frame_set(1)
    live.switch_on(large)
    asked = requests_of(monkeypatch)
    live.update()
    scene.frame_set(5)
    live.update()
    assert asked == [(128, 0.0), (128, 1.0)]
    scene.camera.location.x += 0.1
    bpy.context.view_layer.update()
    live.update()
    assert asked[2:] == [(128, 1.0)]


def test_a_state_that_was_drawn_before_comes_from_memory(large, monkeypatch, clock):
    live.switch_on(large)
    for value in (0.0, 1.0):
        set_jaw(large, value)
        live.update()
        clock[0] += 1.0
        live.update()
    asked = requests_of(monkeypatch)
    set_jaw(large, 0.0)
    live.update()
    assert asked == []
    np.testing.assert_array_equal(shown(large), stub.picture(160, 0.0))


def test_a_late_draft_is_kept_but_the_card_keeps_the_right_picture(large, scene, monkeypatch, clock):
    """The reply for an earlier moment comes when the card shows this moment already: it only goes to memory."""
    applied = []
    monkeypatch.setattr(session, "start", lambda title, task, apply, in_passing=False: applied.append((task, apply)))
    live.switch_on(large)
    live.update()
    (first,) = applied
    set_jaw(large, 1.0)
    live.update()  # the engine seems idle: the newest state is asked for
    drawn = [tasks.Picture(stub.picture(128, jaw), stub.CAMERA) for jaw in (0.0, 1.0)]
    applied[1][1](drawn[1])
    first[1](drawn[0])
    np.testing.assert_array_equal(shown(large), stub.picture(128, 1.0))
    count = len(applied)
    set_jaw(large, 0.0)
    live.update()
    assert len(applied) == count
    np.testing.assert_array_equal(shown(large), stub.picture(128, 0.0))


def test_only_a_full_picture_is_given_up_for_a_newer_draft(large, monkeypatch, clock):
    """While a draft is drawn the newest state waits; while a full picture is drawn it goes before."""
    started = []
    monkeypatch.setattr(session, "start", lambda title, task, apply, in_passing=False: started.append((task, apply)))
    engine = session.engine()
    live.switch_on(large)
    live.update()
    monkeypatch.setattr(type(engine), "busy", property(lambda self: True))
    monkeypatch.setattr(type(engine), "free", property(lambda self: True))
    set_jaw(large, 0.5)
    live.update()
    assert len(started) == 1
    started[0][1](tasks.Picture(stub.picture(128, 0.0), stub.CAMERA))
    monkeypatch.setattr(type(engine), "busy", property(lambda self: False))
    live.update()
    started[1][1](tasks.Picture(stub.picture(128, 0.5), stub.CAMERA))
    clock[0] += 1.0
    live.update()  # asks for the full picture
    assert len(started) == 3
    monkeypatch.setattr(type(engine), "busy", property(lambda self: True))
    live.update()
    assert len(started) == 3
    set_jaw(large, 1.0)
    live.update()
    assert len(started) == 4
    monkeypatch.setattr(type(engine), "free", property(lambda self: False))
    set_jaw(large, 0.2)
    live.update()  # the user's own work is never given up
    assert len(started) == 4


def test_a_card_that_is_behind_says_so(large, scene, monkeypatch, clock):
    rig = find.part(large, "RIG")
    for frame, value in ((12, 0.0), (15, 1.0)):
        rig["jawOpen"] = value
        rig.keyframe_insert('["jawOpen"]', frame=frame)
    scene.frame_set(12)
    live.switch_on(large)
    live.update()
    assert live.remark(scene) == ""
    monkeypatch.setattr(session, "start", lambda *args, **kwargs: None)
    scene.frame_set(15)
    live.update()
    assert live.remark(scene) == "Plane shows frame 12, scene is at 15"


def test_the_live_picture_is_no_undo_step(moving, monkeypatch):
    pushed = []
    monkeypatch.setattr(session, "undo_push", pushed.append)
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
