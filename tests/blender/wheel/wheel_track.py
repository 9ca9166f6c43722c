# SPDX-License-Identifier: GPL-3.0-or-later
"""What somebody does in a clip becomes a layer over the user's own keys; and a person from a clip."""

import wave

import bpy
import numpy as np
import pytest
import stub_worker as stub
from neural_portrait import requests, session, tasks
from neural_portrait.neural_core import errors, protocol
from neural_portrait.scene import clips, curves, find, layers
from sequencer import NOT_ADDED, expected_sounds, sounds

START = 11


def write_sound(path):
    """A file that Blender can hear under the name of a film: it looks at what is in it."""
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16000)
        file.writeframes(bytes(2 * 16000))


@pytest.fixture
def choose(scene, tmp_path):
    """Choose a clip of a name in the panel; returns its path."""

    def choose(name):
        path = tmp_path / name
        write_sound(path)
        scene.portrait.clip = str(path)
        return path

    return choose


@pytest.fixture
def acting(portrait, scene, choose):
    """A portrait whose panel says: this clip, from frame START on, at 30 frames a second; its rig."""
    choose("hello.mp4")
    scene.render.fps = 30
    scene.portrait.clip_start = START
    return find.part(portrait, "RIG")


def jaw_at(scene, rig, frame):
    scene.frame_set(frame)
    return rig.evaluated_get(bpy.context.evaluated_depsgraph_get())["jawOpen"]


def layers_of(rig):
    """Names of the layers."""
    return [track.name for track in rig.animation_data.nla_tracks] if rig.animation_data is not None else []


def yaw_at(scene, rig, frame):
    """The turn of the head's bone, which does half of what is tracked."""
    scene.frame_set(frame)
    head = rig.evaluated_get(bpy.context.evaluated_depsgraph_get()).pose.bones["head"]
    return head.matrix_basis.to_euler().y


def expected(frame, fps=30.0, late=0.0, strength=1.0):
    """What the stub tells of a frame of the scene, from its formula; None outside of the layer."""
    second = (frame - START) / fps - late
    return strength * stub.CLIP_JAW * second if -1e-6 <= second <= 1 + 1e-6 else None


def test_a_clip_is_a_layer_of_its_own_name_from_its_frame_on(acting, scene):
    scene.frame_set(4)
    assert bpy.ops.portrait.track() == {"FINISHED"}
    assert scene.frame_current == 4
    assert session.engine().status.message == f"Clip from frame 11 to 41.{NOT_ADDED}"
    (track,) = acting.animation_data.nla_tracks
    assert (track.name, track.strips[0].action.name) == ("Clip hello.mp4", "Clip hello.mp4")
    assert acting.animation_data.action is None
    for frame in (5, 11, 18, 26, 41, 60):
        assert jaw_at(scene, acting, frame) == pytest.approx(expected(frame) or 0.0, abs=1e-4), frame
    assert yaw_at(scene, acting, 26) == pytest.approx(0.5 * stub.CLIP_YAW / 2, abs=2e-3)


@pytest.mark.parametrize(("fps", "base"), [(24, 1.0), (24, 1.001), (60, 1.0), (7, 1.0), (120, 1.0)])
def test_at_any_rate_the_motion_has_its_time(acting, scene, fps, base):
    scene.render.fps, scene.render.fps_base = fps, base
    assert bpy.ops.portrait.track() == {"FINISHED"}
    rate = fps / base
    last = START + int(rate + 1e-3)
    for frame in (START, START + fps // 2, last):
        assert jaw_at(scene, acting, frame) == pytest.approx(expected(frame, rate), abs=1e-4), frame
    (strip,) = acting.animation_data.nla_tracks[0].strips
    assert (strip.frame_start, strip.frame_end) == (START, last)
    bag = curves.channels(strip.action, getattr(strip, "action_slot", None), ensure=False)
    for curve in bag.fcurves:
        assert all(point.co.x == round(point.co.x) for point in curve.keyframe_points)


def test_a_face_that_comes_late_moves_late(acting, scene, choose):
    """A quarter of a second is seven and a half frames: the layer begins with the next whole one."""
    choose("late.mp4")
    assert bpy.ops.portrait.track() == {"FINISHED"}
    (strip,) = acting.animation_data.nla_tracks[0].strips
    assert (strip.frame_start, strip.frame_end) == (START + 8, START + 37)
    for frame in (START + 8, START + 20, START + 37):
        assert jaw_at(scene, acting, frame) == pytest.approx(expected(frame, late=0.25), abs=1e-4)
    assert "2 of 53 frames disagreed and were dropped." in session.engine().status.message


def test_keys_of_ones_own_stay_and_add_to_it(acting, scene):
    for frame, value in ((1, 0.0), (18, 0.1), (40, 0.0)):
        acting["jawOpen"] = value
        curves.key(acting, "jawOpen", frame)
    action = acting.animation_data.action
    bag = curves.channels(action, getattr(acting.animation_data, "action_slot", None), ensure=False)
    before = [tuple(point.co) for point in bag.fcurves.find('["jawOpen"]').keyframe_points]
    assert bpy.ops.portrait.track() == {"FINISHED"}
    assert acting.animation_data.action == action
    assert [tuple(point.co) for point in bag.fcurves.find('["jawOpen"]').keyframe_points] == before
    assert jaw_at(scene, acting, 18) == pytest.approx(0.1 + expected(18), abs=1e-3)


def test_strength_and_head_are_those_of_the_panel(acting, scene):
    scene.portrait.clip_strength, scene.portrait.clip_head = 0.5, False
    assert bpy.ops.portrait.track() == {"FINISHED"}
    assert jaw_at(scene, acting, 26) == pytest.approx(expected(26, strength=0.5), abs=1e-4)
    assert yaw_at(scene, acting, 26) == pytest.approx(0, abs=1e-6)
    scene.portrait.clip_strength = 2.0
    bpy.ops.portrait.track()
    assert jaw_at(scene, acting, 41) == pytest.approx(1.0, abs=1e-4)  # no action is more than its full extent


def test_a_clip_at_the_same_time_takes_the_place_of_the_earlier_one_alone(acting, scene):
    layers.add(acting, "Random motion 1", np.arange(1, 50), {"jawOpen": np.full(49, 0.1)})
    bpy.ops.portrait.track()
    scene.portrait.clip_start = START + 100
    bpy.ops.portrait.track()
    scene.portrait.clip_start = START
    bpy.ops.portrait.track()
    assert [track.mute for track in acting.animation_data.nla_tracks] == [False, True, False, False]


def test_the_sound_begins_with_the_clip_not_with_the_face(acting, scene, choose):
    choose("late.mp4")
    bpy.ops.portrait.track()
    assert sounds(scene) == expected_sounds(("late.mp4", START))


@pytest.mark.parametrize(("name", "wanted"), [("silent.mp4", True), ("hello.mp4", False)])
def test_without_a_sound_or_the_wish_for_it_there_is_none(acting, scene, choose, name, wanted):
    choose(name)
    scene.portrait.clip_sound = wanted
    bpy.ops.portrait.track()
    assert sounds(scene) == []


def test_a_clip_between_two_frames_is_one_key(acting, scene):
    motion = tasks.Motion("a.mp4", 50.0, 0.02, {"jawOpen": np.array([0.2, 0.4])}, False, ())
    scene.render.fps = 1
    strip = clips.put(acting, motion, scene, START)
    assert strip.frame_start == START
    assert jaw_at(scene, acting, START) == pytest.approx(0.2, abs=1e-6)


def test_undo_takes_it_away_in_one_step(acting, scene):
    bpy.ops.ed.undo_push(message="before")
    name = acting.name
    bpy.ops.portrait.track()
    bpy.ops.ed.undo()
    data = bpy.data.objects[name].animation_data
    assert data is None or not data.nla_tracks
    assert sounds(bpy.context.scene) == []


@pytest.mark.parametrize(
    ("name", "says"),
    [("", "No video is chosen."), ("none", 'Cannot read "'), ("faceless.mp4", 'No face can be followed in "faceless')],
)
def test_what_cannot_be_followed_is_a_sentence_and_changes_nothing(acting, scene, choose, name, says):
    if name == "none":
        scene.portrait.clip = "/nowhere/x.mp4"
    elif name:
        choose(name)
    else:
        scene.portrait.clip = ""
    actions = len(bpy.data.actions)
    assert bpy.ops.portrait.track() == {"CANCELLED"}
    status = session.engine().status
    assert status.state == "error"
    assert status.message.startswith(says)
    assert layers_of(acting) == []
    assert (len(bpy.data.actions), sounds(scene)) == (actions, [])
    choose("hello.mp4")
    assert bpy.ops.portrait.track() == {"FINISHED"}


def test_without_a_rig_the_button_is_grey(scene):
    assert not bpy.ops.portrait.track.poll()


# A person from a clip ----------------------------------------------------------------------------------------------


@pytest.fixture
def from_video(scene, choose):
    """A scene whose panel says: from this clip."""
    settings = scene.portrait
    settings.source, settings.detail, settings.size = "VIDEO", 48, 32
    return choose("me at home.mp4")


def test_a_clip_becomes_a_portrait_that_says_whose(from_video, scene):
    assert bpy.ops.portrait.create() == {"FINISHED"}
    (root,) = find.roots(scene)
    assert root.users_collection[0].name == "Portrait me at home"
    assert find.identity_of(root).photo == "me at home.mp4"
    assert layers_of(find.part(root, "RIG")) == []
    assert session.engine().status.message == "The face looks away."


def test_the_new_person_does_what_is_done_in_the_clip_if_that_is_wanted(from_video, scene):
    scene.portrait.clip_animate, scene.portrait.clip_start = True, START
    scene.render.fps = 30
    assert bpy.ops.portrait.create() == {"FINISHED"}
    (root,) = find.roots(scene)
    rig = find.part(root, "RIG")
    assert layers_of(rig) == ["Clip me at home.mp4"]
    assert jaw_at(scene, rig, 26) == pytest.approx(expected(26), abs=1e-4)
    assert sounds(scene) == expected_sounds(("me at home.mp4", START))
    assert session.engine().status.message == f"The face looks away. Clip from frame 11 to 41.{NOT_ADDED}"


def test_a_person_from_a_photo_is_not_animated(from_video, scene, choose):
    scene.portrait.source, scene.portrait.photo = "PHOTO", scene.portrait.clip
    scene.portrait.clip_animate = True
    assert bpy.ops.portrait.create() == {"FINISHED"}
    assert layers_of(find.part(find.roots(scene)[0], "RIG")) == []


def test_without_a_rig_nothing_is_followed(from_video, scene, monkeypatch):
    scene.portrait.clip_animate, scene.portrait.make_rig = True, False
    monkeypatch.setattr(tasks, "track", None)
    assert bpy.ops.portrait.create() == {"FINISHED"}
    assert find.part(find.roots(scene)[0], "RIG") is None


@pytest.mark.parametrize(
    ("name", "says"), [("", "No video is chosen."), ("faceless.mp4", 'No face can be followed in "faceless.mp4".')]
)
def test_a_clip_without_a_person_builds_nothing(from_video, scene, choose, name, says):
    if name:
        choose(name)
    else:
        scene.portrait.clip = ""
    before = [len(data) for data in (bpy.data.objects, bpy.data.meshes, bpy.data.collections, bpy.data.images)]
    assert bpy.ops.portrait.create() == {"CANCELLED"}
    assert session.engine().status.message == says
    after = [len(data) for data in (bpy.data.objects, bpy.data.meshes, bpy.data.collections, bpy.data.images)]
    assert after == before


# What is asked and answered ----------------------------------------------------------------------------------------


def test_requests_say_which_clip_and_how_much_of_it():
    choice = requests.CreateChoice(photo="a.mp4", frames=40, latent_iterations=3, weight_iterations=4, identifier="x")
    assert requests.create(choice) == protocol.Reconstruct(0, "default-next3d", "a.mp4", "x", 3, 4, 40)
    assert requests.track(requests.TrackChoice("a.mp4", 30, 0.2)) == protocol.Track(0, "a.mp4", 30, 0.2)


@pytest.mark.parametrize(
    ("change", "says"), [({"frames": 0}, "frames"), ({"frames": 9999}, "frames"), ({"smoothing": 2.0}, "smoothing")]
)
def test_choices_that_make_no_sense_are_refused(change, says):
    with pytest.raises(errors.UsageError, match=says):
        requests.TrackChoice("a.mp4", **change)
    if "frames" in change:
        with pytest.raises(errors.UsageError, match=says):
            requests.CreateChoice(photo="a.mp4", **change)


TOLD = {"fps": 25.0, "start": 0.0, "names": ["jawOpen"], "sound": True, "notes": []}


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"names": ["jawOpen", "headYaw"]}, "do not fit"),
        ({"fps": 0.0}, "no rate"),
        ({"fps": None}, "no rate"),
        ({"start": -1.0}, "no start"),
        ({"start": "soon"}, "no start"),
        ({"sound": 1}, "sound"),
        ({"notes": "Oh."}, "no sentences"),
    ],
)
def test_an_answer_that_makes_no_sense_is_a_sentence(change, says):
    task = tasks.track(requests.TrackChoice("a.mp4"))
    assert next(task).request == protocol.Track(0, "a.mp4")
    with pytest.raises(errors.ProtocolError, match=says):
        task.send(tasks.Reply({**TOLD, **change}, {"curves": np.zeros((3, 1), np.float32)}))


def test_curves_that_are_no_numbers_are_a_sentence():
    task = tasks.track(requests.TrackChoice("a.mp4"))
    next(task)
    with pytest.raises(errors.ProtocolError, match="not finite"):
        task.send(tasks.Reply(TOLD, {"curves": np.full((3, 1), np.nan, np.float32)}))
