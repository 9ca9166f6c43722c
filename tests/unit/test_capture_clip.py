# SPDX-License-Identifier: Apache-2.0
"""Clips: where scenes begin and end, what is said of those that cannot be used, and the filter over time."""

import dataclasses
import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from neural_core import media
from neural_core.capture import clip
from neural_core.capture.align import Crop
from neural_core.capture.clip import Followed, _look, _scenes, _Seen, capture_clip, capture_scenes
from neural_core.capture.detect import Face
from neural_core.capture.labels import Captured, Tools
from neural_core.capture.smoothing import smooth
from neural_core.errors import InputError
from neural_core.records import Record

POINTS = np.random.default_rng(0).random((478, 2)) * 100
PATH = Path("x.mp4")


def seen(text):
    """A letter for every frame: f a face, F a face after a cut, - none."""
    return [_Seen(i, i / 25, None if letter == "-" else POINTS, letter == "F") for i, letter in enumerate(text)]


@pytest.mark.parametrize(
    ("frames", "expected"),
    [
        ("ffffff", [(0, 5)]),
        ("----------ffffff", [(10, 15)]),
        ("ffffff-----Ffffff---", [(0, 5), (11, 16)]),
        ("--fff-fff--", [(2, 8)]),
        ("ffff------------Ffffff", [(16, 21)]),
    ],
)
def test_a_scene_lasts_from_the_first_to_the_last_face(frames, expected):
    assert [(scene[0].number, scene[-1].number) for scene in _scenes(seen(frames), "x")] == expected


@pytest.mark.parametrize("frames", ["", "----", "ffff--", "ffFff---f"])
def test_without_a_face_for_long_enough_there_is_no_scene(frames):
    with pytest.raises(InputError, match='No face can be followed in "x"'):
        _scenes(seen(frames), "x")


class Finder:
    """Sees the same face in every frame that is not as dark as a hand before the lens."""

    def faces(self, picture):
        return [Face(POINTS)] if picture.mean() > 5 else []

    def follow(self, picture, before):
        return next(iter(self.faces(picture)), None)


TOOLS = cast("Tools", SimpleNamespace(finder=Finder()))


def film(monkeypatch, levels):
    """A clip of frames of one brightness each."""
    frames = [media.Frame(np.full((64, 64, 3), level, np.uint8), i / 25) for i, level in enumerate(levels)]
    monkeypatch.setattr(media, "read_clip", lambda _: iter(frames))


@pytest.mark.parametrize(
    ("levels", "cuts"),
    [
        ([90, 90, 92, 90], []),
        ([90, 90, 0, 90, 90], []),  # a hand: no face
        ([90, 90, 200, 200, 200], [2]),  # another place
        ([90, 90, 250, 90, 90], [2, 3]),  # a flash in which the face is still found
    ],
)
def test_where_a_new_scene_begins(monkeypatch, levels, cuts):
    film(monkeypatch, levels)
    found, notes = _look(TOOLS, PATH, 250, lambda *_: None)
    assert [frame.number for frame in found if frame.cut] == cuts
    assert notes == []


def test_it_is_said_when_the_clip_goes_on(monkeypatch):
    film(monkeypatch, [90] * 6)
    found, notes = _look(TOOLS, PATH, 5, lambda *_: None)
    assert (len(found), notes) == (5, ['Only the first 5 frames of "x.mp4" were used.'])
    found, notes = _look(TOOLS, PATH, 6, lambda *_: None)
    assert (len(found), notes) == (6, [])


@pytest.fixture
def scenes(monkeypatch):
    """A clip of scenes that begin at frames 0, 5, 10 ...; those in the set cannot be used."""

    def of(count, bad, notes=()):
        frames = seen("fffff" + "Fffff" * (count - 1))
        monkeypatch.setattr(clip, "_look", lambda *_: (frames, list(notes)))

        def follow(tools, path, scene, report):
            if scene[0].number in bad:
                raise InputError(f"Scene {scene[0].number} is bad.")
            return Followed(
                **dict.fromkeys(names, cast("Any", ())) | {"file": scene[0].number, "notes": (f"of {scene[0].number}",)}
            )

        def capture(tools, path, followed, chosen, size, report):
            return Captured(cast("Record", followed.file), *cast("Any", (None,) * 4), notes=followed.notes)

        names = [field.name for field in dataclasses.fields(Followed)]
        monkeypatch.setattr(clip, "_follow_scene", follow)
        monkeypatch.setattr(clip, "capture_frames", capture)
        return capture_scenes(TOOLS, PATH)

    return of


def all_of(scenes):
    """What is yielded, and the sentence at the end."""
    found = []
    try:
        for each in scenes:
            found.append((each.record, each.notes))
    except InputError as error:
        return found, str(error)
    return found, ""


def test_every_scene_that_cannot_be_used_is_told(scenes):
    assert all_of(scenes(3, {})) == ([(0, ("of 0",)), (5, ("of 5",)), (10, ("of 10",))], "")
    first = all_of(scenes(3, {0}, ["Only so many."]))
    assert first == ([(5, ("Only so many.", "of 5")), (10, ("of 10",))], "Scene 0 is bad. The other scenes were used.")
    last = all_of(scenes(3, {5, 10}))
    assert last == ([(0, ("of 0",))], "Scene 5 is bad. Scene 10 is bad. The other scenes were used.")
    assert all_of(scenes(2, {0, 5})) == ([], "Scene 0 is bad. Scene 5 is bad. Use another clip.")


def test_one_scene_alone_says_what_was_left_out(scenes):
    scenes(2, {}, ["Only so many."])
    assert capture_clip(TOOLS, PATH).notes == ("Only so many.", '"x.mp4" has 2 scenes; the longest was taken.', "of 0")


def test_a_scene_in_which_no_frame_can_be_fitted_is_one_sentence(monkeypatch):
    def never(*_, **__):
        raise InputError("No.")

    monkeypatch.setattr(clip, "fit_face", never)
    monkeypatch.setattr(clip, "_person", lambda *_: np.zeros(40, np.float32))
    arguments = {
        "tools": SimpleNamespace(model=None),
        "points": np.stack([POINTS] * 3),
        "evidence": [None] * 3,
        "crops": [Crop((50.0, 50.0), 100.0)] * 3,
        "times": np.arange(3) / 25,
        "report": lambda *_: None,
    }
    with pytest.raises(InputError, match="no frame of a scene"):
        clip._fit(**cast("Any", arguments))


def test_one_frame_that_does_not_agree_does_not_end_a_scene(monkeypatch):
    """Alone every frame can be fitted, all together they cannot: the one with the least error says who it is."""

    def fit_face(_, points, **__):
        if len(points) > 1:
            raise InputError("No.")
        error = abs(float(points[0, 0, 0]) - 0.02)
        return SimpleNamespace(error=np.array([error]), shape=np.full(40, points[0, 0, 0]))

    monkeypatch.setattr(clip, "fit_face", fit_face)
    points = np.zeros((5, 478, 2)) + np.arange(5)[:, None, None]
    crops = [Crop((50.0, 50.0), 100.0)] * 5
    tools = cast("Tools", SimpleNamespace(model=None))
    shape = clip._person(tools, points, [None] * 5, crops)
    assert shape[0] == pytest.approx(0.02)


def test_a_steady_motion_stays_what_it_is():
    """At uneven times too, and at the ends."""
    times = np.sort(np.random.default_rng(3).random(60)) * 2
    line = np.stack([3 * times - 1, 5 - 0.2 * times], 1)[:, :, None]
    np.testing.assert_allclose(smooth(line, times, 0.1), line, atol=1e-9)
    bent = (times - 1) ** 2
    assert np.abs(smooth(bent, times, 0.1) - bent)[10:-10].min() > 1e-4  # a parabola is lifted by its deviation^2


def test_noise_falls_as_a_gaussian_lets_it():
    """In the middle the kernel is exp(-t^2 / 2 s^2): the variance falls to step / (2 sqrt(pi) s), by its integrals."""
    step, deviation = 0.01, 0.05
    kernel = smooth(np.eye(101), np.arange(101) * step, deviation)
    assert (kernel[50] ** 2).sum() == pytest.approx(step / (2 * math.sqrt(math.pi) * deviation), rel=1e-9)
    offset = (np.arange(101) - 50) * step
    np.testing.assert_allclose(kernel[50] / kernel[50, 50], np.exp(-((offset / deviation) ** 2) / 2), atol=1e-12)


def test_a_frame_without_neighbours_is_not_changed():
    times = np.array([0.0, 10.0, 20.0])
    np.testing.assert_allclose(smooth(np.array([1.0, 5.0, -2.0]), times, 0.1), [1, 5, -2])
    np.testing.assert_allclose(smooth(np.array([4.0]), np.zeros(1), 0.1), [4])
