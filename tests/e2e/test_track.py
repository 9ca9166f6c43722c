# SPDX-License-Identifier: Apache-2.0
"""A short clip of a person of ours through the worker: what is told of it is what the person did."""

import io
import threading

import numpy as np
import pytest

from neural_core import checkpoints, media, protocol
from neural_core.capture import clip as capture_clip
from neural_core.capture import detect
from neural_core.errors import InputError, PortraitError, UsageError
from neural_core.human.arkit import ACTIONS
from neural_core.worker.engine import Engine
from neural_core.worker.serving import Server
from tests import acted_clip
from tests.tiny_models import save_tiny_next3d
from tests.unit.test_capture_media import write_sound

pytest.importorskip("mediapipe", reason="finding faces needs the capture extra")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with the clip and a tiny model."""
    folder = tmp_path_factory.mktemp("clip")
    acted_clip.write_clip(folder / "a.mp4", before=3)
    save_tiny_next3d(folder / "moving.safetensors")
    return folder


@pytest.fixture(scope="module")
def engine(folder):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NEURAL_PORTRAIT_MODELS", str(folder))
        yield Engine("cpu", lambda message: None)


def ask(engine, request, stages=None):
    """The answers to a request."""
    report = (lambda *_: None) if stages is None else (lambda stage, done, total: stages.append((stage, done, total)))
    return list(engine.answer(request, report))


def array(raw):
    return np.frombuffer(raw.data, "<" + raw.dtype).reshape(raw.shape)


@pytest.fixture(scope="module")
def stages():
    """What was reported while `tracked` was made."""
    return []


@pytest.fixture(scope="module")
def tracked(engine, folder, stages):
    (done,) = ask(engine, protocol.Track(1, str(folder / "a.mp4")), stages)
    return done


@pytest.fixture
def remembered(engine, folder, tracked):
    """The clip that the engine followed last, whichever test came before."""
    ask(engine, protocol.Track(1, str(folder / "a.mp4")))
    return folder / "a.mp4"


def curve(done, name):
    values = array(done.arrays["curves"])
    return values[:, done.fields["names"].index(name)] if name in done.fields["names"] else np.zeros(len(values))


def test_the_mouth_and_the_head_do_what_the_person_did(tracked):
    truth = acted_clip.acted()
    assert tracked.fields["fps"] == pytest.approx(25)
    assert tracked.fields["start"] == pytest.approx(3 / 25)
    assert tracked.fields["seconds"] == pytest.approx(acted_clip.FRAMES / 25)
    assert (tracked.fields["notes"], tracked.fields["sound"]) == ([], True)
    assert len(array(tracked.arrays["curves"])) == acted_clip.FRAMES
    jaw, wanted = curve(tracked, "jawOpen"), truth.actions[:, ACTIONS.index("jawOpen")]
    assert np.corrcoef(jaw, wanted)[0, 1] > 0.95
    assert 0.6 * acted_clip.JAW < jaw.max() < 1.3 * acted_clip.JAW
    yaw = curve(tracked, "headYaw")
    assert np.corrcoef(yaw, truth.head[:, 0])[0, 1] > 0.98
    assert np.ptp(yaw) == pytest.approx(2 * acted_clip.YAW, rel=0.25)
    assert np.abs(curve(tracked, "headRoll")).max() < 0.1
    assert curve(tracked, "eyeBlinkLeft").max() < 0.4


def test_progress_counts_the_frames_of_the_clip(tracked, stages):
    counted = {stage: (done + 1, total) for stage, done, total in stages}
    assert counted["Looking for the face"] == (15, 15)
    assert counted["Looking closely"] == (12, 12)
    assert counted["Fitting the face"] == (12, 12)


@pytest.mark.slow
def test_a_portrait_of_the_clip_is_made_of_its_best_frames(engine, folder, remembered, monkeypatch):
    """What was followed already is not followed again."""
    monkeypatch.setattr(capture_clip, "_look", None)
    sent = []
    monkeypatch.setattr(engine, "_send", sent.append)
    request = protocol.Reconstruct(2, "moving", str(remembered), "p", 12, 4)
    stages = []
    done = ask(engine, request, stages)[-1]
    pictures = [array(message.arrays["image"]) for message in sent]
    assert [picture.shape for picture in pictures] == [(32, 32, 4)]
    front, *sides = done.fields["frames"]
    assert 3 + 3 <= front <= 3 + 8  # the head looks straight ahead half-way
    assert sorted(side < front for side in sides) == [False, True]
    assert done.fields["notes"] == [
        f'Of "a.mp4" the person is taken from frame {front}, {sides[0]}, {sides[1]}, counted from 0.'
    ]
    assert done.fields["psnr"] > 5
    assert {total for stage, _, total in stages if stage == "Cutting the person out"} == {3}
    (folder / "p.portrait").write_bytes(array(done.arrays["portrait"]).tobytes())
    said = checkpoints.read_header(folder / "p.portrait").json("provenance")
    assert (said["source"], said["frames"], said["synthetic"]) == ("a.mp4", [front, *sides], False)


def test_free_lets_the_clip_go(engine, remembered):
    assert engine._clip.recall(remembered, 250) is not None
    ask(engine, protocol.Free(1))
    assert engine._clip.recall(remembered, 250) is None


def test_clips_without_a_face_and_files_that_are_none_are_sentences(engine, tmp_path):
    acted_clip.write_faceless(tmp_path / "wall.mp4")
    write_sound(tmp_path / "sound.mp4")
    (tmp_path / "text.mp4").write_text("no film")
    acted_clip.write_faceless(tmp_path / "short.mp4", frames=2)
    for name, says in (
        ("wall.mp4", "No face can be followed"),
        ("short.mp4", "at least 5 frames"),
        ("sound.mp4", "only sound"),
        ("text.mp4", "damaged"),
        ("none.mp4", "No such file"),
    ):
        for request in (
            protocol.Track(1, str(tmp_path / name)),
            protocol.Reconstruct(1, "moving", str(tmp_path / name), "q"),
        ):
            with pytest.raises(InputError, match=says) as caught:
                ask(engine, request)
            assert name in str(caught.value)
    with pytest.raises(UsageError, match="0 frames"):
        ask(engine, protocol.Track(1, str(tmp_path / "wall.mp4"), frames=0))


def test_without_mediapipe_it_is_a_sentence(engine, folder, monkeypatch):
    monkeypatch.setattr(detect, "available", lambda: False)
    with pytest.raises(PortraitError, match="lacks mediapipe"):
        ask(engine, protocol.Track(1, str(folder / "a.mp4"), frames=15))


def test_cancel_is_seen_between_two_frames(folder):
    """The fourth frame is never looked at: cancelled while the third is."""
    seen = []
    server = Server(io.BytesIO(), "cpu", on_end=lambda code: None)

    class Cancelled:
        def answer(self, request, report):
            def looked(stage, done, total):
                seen.append((stage, done))
                if (stage, done) == ("Looking for the face", 2):
                    server._cancelled.add(request.id)
                report(stage, done, total)

            yield from Engine("cpu", lambda message: None).answer(request, looked)

    server._engine = Cancelled()
    answers = []
    server._send = answers.append
    worker = threading.Thread(target=server._answer, args=(protocol.Track(5, str(folder / "a.mp4"), frames=12),))
    worker.start()
    worker.join(60)
    assert not worker.is_alive()
    assert (answers[-1].type, answers[-1].kind) == ("error", "cancelled")
    assert [done for stage, done in seen if stage == "Looking for the face"] == [0, 1, 2]


def test_a_film_says_how_many_frames_it_has_and_whether_it_is_heard(folder, tmp_path):
    assert media.frame_count(folder / "a.mp4") == 15
    write_sound(tmp_path / "sound.mp4")
    (tmp_path / "text.mp4").write_text("no film")
    for name in ("sound.mp4", "text.mp4", "none.mp4"):
        assert media.frame_count(tmp_path / name) == 0
    acted_clip.write_faceless(tmp_path / "silent.mp4")
    heard = {name: media.has_sound(tmp_path / name) for name in ("sound.mp4", "silent.mp4", "text.mp4", "none.mp4")}
    assert heard == {"sound.mp4": True, "silent.mp4": False, "text.mp4": False, "none.mp4": False}
