# SPDX-License-Identifier: GPL-3.0-or-later
"""Speech becomes a layer over the user's own keys, and a sound in the sequencer."""

import wave

import bpy
import numpy as np
import pytest
import stub_worker as stub
from neural_portrait import requests, session, tasks
from neural_portrait.neural_core import errors, protocol
from neural_portrait.scene import curves, find, layers, speech
from sequencer import HAS_SOUND, NOT_ADDED, expected_sounds, sounds

START = 11


@pytest.fixture
def speaking(portrait, scene, tmp_path):
    """A portrait whose panel says: this recording, from frame START on; its rig."""
    path = tmp_path / "hello.wav"
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16000)
        file.writeframes(bytes(2 * 16000))
    scene.render.fps = 30
    scene.portrait.speech, scene.portrait.speech_start = str(path), START
    return find.part(portrait, "RIG")


def jaw_at(scene, rig, frame):
    scene.frame_set(frame)
    return rig.evaluated_get(bpy.context.evaluated_depsgraph_get())["jawOpen"]


def expected(frame, strength=1.0):
    """What the stub says at a frame, from its formula."""
    second = (frame - START) / 30
    return strength * stub.SPEECH_JAW * np.sin(np.pi * second) if 0 <= second < 29.5 / 30 else 0.0


def test_speech_is_a_layer_of_its_own_name_from_its_frame_on(speaking, scene):
    scene.frame_set(4)
    assert bpy.ops.portrait.speak() == {"FINISHED"}
    assert scene.frame_current == 4
    assert session.engine().status.message == f"Speech from frame 11 to 40.{NOT_ADDED}"
    (track,) = speaking.animation_data.nla_tracks
    assert (track.name, track.strips[0].action.name) == ("Speech hello.wav", "Speech hello.wav")
    assert speaking.animation_data.action is None
    for frame in (5, 11, 18, 26, 40, 60):
        assert jaw_at(scene, speaking, frame) == pytest.approx(expected(frame), abs=1e-4), frame
    # At frame 26 half a second is over: half of the turn, of which neck and head take half each.
    scene.frame_set(26)
    head = speaking.evaluated_get(bpy.context.evaluated_depsgraph_get()).pose.bones["head"]
    assert head.matrix_basis.to_euler().y == pytest.approx(stub.SPEECH_YAW / 4, abs=2e-3)


def test_keys_of_ones_own_stay_and_add_to_it(speaking, scene):
    for frame, value in ((1, 0.0), (18, 0.1), (40, 0.0)):
        speaking["jawOpen"] = value
        curves.key(speaking, "jawOpen", frame)
    action = speaking.animation_data.action
    bag = curves.channels(action, getattr(speaking.animation_data, "action_slot", None), ensure=False)
    before = [tuple(point.co) for point in bag.fcurves.find('["jawOpen"]').keyframe_points]
    assert bpy.ops.portrait.speak() == {"FINISHED"}
    assert speaking.animation_data.action == action
    assert [tuple(point.co) for point in bag.fcurves.find('["jawOpen"]').keyframe_points] == before
    assert jaw_at(scene, speaking, 18) == pytest.approx(0.1 + expected(18), abs=1e-3)


def test_strength_and_gestures_are_those_of_the_panel(speaking, scene):
    scene.portrait.speech_strength, scene.portrait.speech_gestures = 2.0, 0.0
    assert bpy.ops.portrait.speak() == {"FINISHED"}
    assert jaw_at(scene, speaking, 26) == pytest.approx(expected(26, 2.0), abs=1e-4)
    head = speaking.evaluated_get(bpy.context.evaluated_depsgraph_get()).pose.bones["head"]
    assert head.matrix_basis.to_euler().y == pytest.approx(0, abs=1e-6)


def test_speech_at_the_same_time_takes_the_place_of_the_earlier_one(speaking, scene):
    bpy.ops.portrait.speak()
    scene.portrait.speech_start = START + 100
    bpy.ops.portrait.speak()
    assert [track.mute for track in speaking.animation_data.nla_tracks] == [False, False]
    scene.portrait.speech_start = START
    scene.portrait.speech_strength = 0.5
    bpy.ops.portrait.speak()
    assert [track.mute for track in speaking.animation_data.nla_tracks] == [True, False, False]
    assert jaw_at(scene, speaking, 26) == pytest.approx(expected(26, 0.5), abs=1e-4)
    assert jaw_at(scene, speaking, 126) == pytest.approx(expected(26), abs=1e-4)


def test_other_layers_are_not_silenced(speaking):
    layers.add(speaking, "Random motion 1", np.arange(1, 50), {"jawOpen": np.full(49, 0.1)})
    bpy.ops.portrait.speak()
    assert not speaking.animation_data.nla_tracks["Random motion 1"].mute


@pytest.mark.skipif(not HAS_SOUND, reason="this Blender was built without sound")
def test_the_sound_is_in_the_sequencer_once(speaking, scene):
    bpy.ops.portrait.speak()
    assert sounds(scene) == expected_sounds(("hello.wav", START))
    bpy.ops.portrait.speak()
    assert len(sounds(scene)) == 1
    scene.portrait.speech_start = 200
    bpy.ops.portrait.speak()
    assert [where for _, _, where in sounds(scene)] == [START, 200]


def test_the_sound_can_be_left_out(speaking, scene):
    scene.portrait.speech_sound = False
    bpy.ops.portrait.speak()
    assert sounds(scene) == []


def test_a_scene_of_an_extreme_rate_keeps_the_time(speaking, scene):
    scene.render.fps = 240
    assert speech.rate_for(scene) == 120
    bpy.ops.portrait.speak()
    assert jaw_at(scene, speaking, START + 120) == pytest.approx(stub.SPEECH_JAW, abs=1e-3)


def test_undo_takes_it_away_in_one_step(speaking, scene):
    bpy.ops.ed.undo_push(message="before")
    name = speaking.name
    bpy.ops.portrait.speak()
    bpy.ops.ed.undo()
    data = bpy.data.objects[name].animation_data
    assert data is None or not data.nla_tracks
    assert sounds(bpy.context.scene) == []


def test_no_recording_and_one_that_is_not_there_are_sentences(speaking, scene):
    scene.portrait.speech = ""
    assert bpy.ops.portrait.speak() == {"CANCELLED"}
    assert session.engine().status.message == "No recording is chosen."
    scene.portrait.speech = "/nowhere/x.wav"
    assert bpy.ops.portrait.speak() == {"CANCELLED"}
    assert 'Cannot read "/nowhere/x.wav"' in session.engine().status.message
    assert speaking.animation_data is None or not speaking.animation_data.nla_tracks


def test_without_a_rig_the_button_is_grey(scene):
    assert not bpy.ops.portrait.speak.poll()


@pytest.mark.parametrize(
    ("change", "says"), [({"fps": 500.0}, "frames a second"), ({"strength": -1.0}, "strength"), ({"seed": -1}, "seed")]
)
def test_choices_that_make_no_sense_are_refused(change, says):
    with pytest.raises(errors.UsageError, match=says):
        requests.SpeakChoice("a.wav", **change)


@pytest.mark.parametrize(
    ("fields", "shape"),
    [({"fps": 25, "names": ["jawOpen"]}, (3, 2)), ({"fps": 25, "names": []}, (3, 0)), ({"fps": 25}, None)],
)
def test_an_answer_that_does_not_fit_is_a_sentence(fields, shape):
    task = tasks.speak(requests.SpeakChoice("a.wav"))
    step = next(task)
    assert step.request == protocol.Speak(0, "a.wav")
    with pytest.raises(errors.ProtocolError, match="do not fit"):
        task.send(tasks.Reply(fields, {} if shape is None else {"curves": np.zeros(shape, np.float32)}))
