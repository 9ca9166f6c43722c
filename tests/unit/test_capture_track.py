# SPDX-License-Identifier: Apache-2.0
"""From a face that was followed to curves, and to the frames that show best who it is."""

import dataclasses
import math
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from neural_core.cameras import orbit
from neural_core.capture import clip
from neural_core.capture.align import Crop
from neural_core.capture.clip import Followed, _picked
from neural_core.capture.fit import FaceFit
from neural_core.capture.last_clip import LastClip
from neural_core.capture.track import check, curves_of, head_turns
from neural_core.capture.views import choose_views
from neural_core.curves import Curves
from neural_core.errors import InputError, UsageError
from neural_core.human.arkit import ACTIONS
from neural_core.records import JOINTS

JAW = ACTIONS.index("jawOpen")


def followed(yaw, pitch=0.0, numbers=None, fps=25.0, jaw=None):
    """A face that a camera sees from `yaw` degrees towards its left, one for each frame."""
    yaw = np.asarray(yaw, np.float64)
    count = len(yaw)
    pitch = np.broadcast_to(np.asarray(pitch, np.float64), count)
    numbers = tuple(range(count)) if numbers is None else tuple(numbers)
    actions = np.zeros((count, 52), np.float32)
    actions[:, JAW] = 0.0 if jaw is None else jaw
    cameras = [orbit(float(y), float(p), 2.7).label()[0].numpy() for y, p in zip(yaw, pitch, strict=True)]
    blank = np.zeros((count, 1), np.float32)
    fit = FaceFit(
        cameras=np.stack(cameras), shape=np.zeros(40, np.float32), actions=actions,
        joints=np.zeros((count, len(JOINTS), 3), np.float32), gaze=blank, landmarks_68=blank, landmarks_478=blank,
        points_68=blank, points_478=blank, error=np.full(count, 0.02, np.float32),
        angles=np.stack([yaw, pitch, 0 * yaw], 1).astype(np.float32),
    )  # fmt: skip
    times = np.array(numbers) / fps
    return Followed(
        file="x.mp4", fps=fps, span=(float(times[0]), float(times[-1])), numbers=numbers, times=times,
        crops=(Crop((100.0, 100.0), 100.0),) * count, points=np.zeros((count, 478, 2)), sharpness=np.ones(count),
        fit=fit, dropped=0, notes=("Said.",),
    )  # fmt: skip


# Turns of the head -------------------------------------------------------------------------------------------------


def test_a_camera_at_the_left_of_a_face_sees_a_head_that_turned_right():
    yaw, pitch, roll = head_turns(followed([-30, -10, 0, 10, 30]).fit.cameras, (Crop((0.0, 0.0), 1.0),) * 5).T
    np.testing.assert_allclose(np.degrees(yaw), [30, 10, 0, -10, -30], atol=1e-3)
    np.testing.assert_allclose([pitch, roll], 0, atol=1e-6)


def test_a_camera_above_a_face_sees_a_head_that_looks_down():
    found = head_turns(followed([0] * 3, [-20, 0, 20]).fit.cameras, (Crop((0.0, 0.0), 1.0),) * 3)
    np.testing.assert_allclose(np.degrees(found[:, 1]), [20, 0, -20], atol=1e-3)


def test_a_crop_that_is_turned_clockwise_holds_a_head_that_leans_to_its_left():
    crops = tuple(Crop((0.0, 0.0), 1.0, angle) for angle in (-0.2, 0.0, 0.3))
    found = head_turns(followed([0] * 3).fit.cameras, crops)
    np.testing.assert_allclose(found, [[0, 0, -0.2], [0, 0, 0], [0, 0, 0.3]], atol=1e-6)


def test_turns_are_composed_as_curves_say():
    """A point of the head, turned by the rig's joints, lies before the camera where the still head's point lay."""
    from scipy.spatial.transform import Rotation

    wanted = np.array([[0.4, -0.2, 0.1], [0, 0, 0], [0, 0, 0], [0, 0, 0], [-0.3, 0.2, -0.1]])
    shoulders = Rotation.from_rotvec([0.2, 0.5, 0.1])  # mostly aside, for this camera
    joints = Curves(25.0, np.zeros((5, 52)), wanted).joints()
    turns = [shoulders * Rotation.from_rotvec(2 * frame[JOINTS.index("neck")]) for frame in joints]
    labels = []
    for turn in turns:
        label = orbit(0.0, 0.0, 2.7).label()[0].numpy().astype(np.float64)
        pose = label[:16].reshape(4, 4)
        pose[:3] = turn.inv().as_matrix() @ pose[:3]  # the camera stands still, so it moves about the head
        labels.append(label)
    np.testing.assert_allclose(head_turns(np.stack(labels), (Crop((0.0, 0.0), 1.0),) * 5), wanted, atol=1e-6)


def test_where_the_head_looks_most_is_straight_ahead():
    """The camera stood at the side, and the head once turned away."""
    found = head_turns(followed([40, 41, 40, 39, 10]).fit.cameras, (Crop((0.0, 0.0), 1.0),) * 5)
    np.testing.assert_allclose(np.degrees(found[:, 0]), [0, -1, 0, 1, 30], atol=1e-3)


# Curves ------------------------------------------------------------------------------------------------------------


def test_curves_have_the_clips_rate_and_begin_where_the_face_does():
    jaw = [0.0, 0.5, 1.0, 0.25]
    tracked = curves_of(followed([0] * 4, numbers=(10, 11, 12, 13), fps=50.0, jaw=jaw))
    assert (tracked.curves.fps, tracked.start, tracked.notes) == (50.0, pytest.approx(0.2), ("Said.",))
    np.testing.assert_allclose(tracked.curves.actions[:, JAW], jaw, atol=1e-7)


def test_over_frames_that_were_dropped_lies_a_straight_line():
    tracked = curves_of(followed([0] * 4, numbers=(0, 1, 4, 5), jaw=[0.0, 0.1, 0.7, 0.2]))
    np.testing.assert_allclose(tracked.curves.actions[:, JAW], [0.0, 0.1, 0.3, 0.5, 0.7, 0.2], atol=1e-6)


def test_where_the_eyes_look_most_is_straight_ahead():
    """Up by 0.3 all the time, and once down by 0.2; the right eye out by 0.1, once in by 0.2."""
    source = followed([0] * 5, jaw=0.4)
    names = ("eyeLookUpLeft", "eyeLookDownLeft", "eyeLookInRight", "eyeLookOutRight")
    up, down, inwards, out = (ACTIONS.index(name) for name in names)
    actions = source.fit.actions.copy()
    actions[:, up], actions[:, out] = 0.3, 0.1
    actions[2, [up, down, inwards, out]] = 0.0, 0.2, 0.2, 0.0
    source = dataclasses.replace(source, fit=dataclasses.replace(source.fit, actions=actions))
    found = curves_of(source).curves.actions
    expected = np.zeros((5, 4))
    expected[2] = 0.0, 0.5, 0.3, 0.0
    np.testing.assert_allclose(found[:, [up, down, inwards, out]], expected, atol=1e-6)
    np.testing.assert_allclose(found[:, JAW], 0.4, atol=1e-6)


def test_smoothing_takes_noise_away_and_leaves_the_motion():
    times = np.arange(100) / 25
    slow = 0.4 + 0.3 * np.sin(2 * np.pi * 0.3 * times)
    noise = np.where(np.arange(100) % 2, 0.05, -0.05)
    source = followed([0] * 100, jaw=slow + noise)
    rough, smooth = (curves_of(source, s).curves.actions[:, JAW] for s in (0.0, 0.08))
    np.testing.assert_allclose(rough, slow + noise, atol=1e-6)
    assert np.abs(smooth - slow)[5:-5].max() < 0.01


@pytest.mark.parametrize(("frames", "smoothing"), [(0, 0.0), (3001, 0.0), (10, -0.1), (10, 1.1), (10, math.nan)])
def test_numbers_that_make_no_sense_are_refused(frames, smoothing):
    with pytest.raises(UsageError, match=r"frames cannot|smoothing of"):
        check(frames, smoothing)


def test_a_part_of_a_fit_has_its_frames_alone():
    fit = followed([0, 10, 20], jaw=[0.1, 0.2, 0.3]).fit
    part = _picked(fit, [0, 2])
    np.testing.assert_allclose(part.actions[:, JAW], [0.1, 0.3])
    assert part.shape is fit.shape
    assert len(part.cameras) == len(part.error) == 2


# Views -------------------------------------------------------------------------------------------------------------


def test_the_front_comes_first_then_the_sides():
    assert choose_views(followed([-38, -20, 2, 20, 50])) == [2, 4, 0]


def test_a_clip_from_the_front_alone_gives_one_view():
    assert choose_views(followed([-8, 4, 1, 9])) == [2]


@pytest.mark.parametrize("what", ["jaw", "blur", "small", "error", "pitch"])
def test_of_two_frames_from_the_front_the_better_one_is_taken(what):
    source = followed([1, 3], jaw=[0.5, 0.0] if what == "jaw" else None, pitch=[15, 0] if what == "pitch" else 0.0)
    if what == "blur":
        source = dataclasses.replace(source, sharpness=np.array([0.5, 1.0]))
    if what == "small":
        source = dataclasses.replace(source, crops=(Crop((0.0, 0.0), 50.0), Crop((0.0, 0.0), 100.0)))
    if what == "error":
        source = dataclasses.replace(source, fit=dataclasses.replace(source.fit, error=np.array([0.06, 0.02])))
    assert choose_views(source) == [1]
    assert choose_views(followed([1, 3])) == [0]


def test_a_blurred_side_gives_way_to_a_sharp_one():
    source = followed([0, 30, 40])
    assert choose_views(source) == [0, 2]
    assert choose_views(dataclasses.replace(source, sharpness=np.array([1.0, 1.0, 0.25]))) == [0, 1]


# The last clip -----------------------------------------------------------------------------------------------------


def test_a_clip_is_followed_once_as_long_as_it_stays_what_it_is(monkeypatch, tmp_path):
    calls = []

    def follow(tools, path, most, report):
        calls.append((path.name, most))
        if not path.exists():
            raise InputError("There is none.")
        return SimpleNamespace(number=len(calls))

    monkeypatch.setattr(clip, "follow_clip", follow)
    path, last, tools = tmp_path / "a.mp4", LastClip(), cast("Any", None)
    path.write_bytes(b"a film")
    first = last.follow(tools, path, 100)
    assert last.follow(tools, path, 100) is first
    assert last.recall(path, 100) is first
    assert last.recall(path, 50) is None
    assert calls == [("a.mp4", 100)]
    os.utime(path, ns=(1, 1))
    assert last.recall(path, 100) is None
    assert last.follow(tools, path, 100) is not first
    path.unlink()
    assert last.recall(path, 100) is None
    with pytest.raises(InputError):
        last.follow(tools, path, 100)
    assert LastClip().recall(Path("none.mp4"), 1) is None
