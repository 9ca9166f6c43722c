# SPDX-License-Identifier: GPL-3.0-or-later
"""The library of poses, and the random motion: pure parts of the add-on."""

import importlib
import itertools
import sys

import numpy as np
import pytest


@pytest.fixture(scope="module")
def addon(stub_stage):
    """A function that imports a module of the staged add-on."""
    sys.path.insert(0, str(stub_stage))
    yield lambda name: importlib.import_module(f"neural_portrait.{name}")
    sys.path.remove(str(stub_stage))


@pytest.fixture(scope="module")
def poses(addon):
    return addon("poses")


@pytest.fixture(scope="module")
def names(addon):
    return addon("expressions").NAMES


# Poses ----------------------------------------------------------------------------------------------------------------


def test_every_pose_is_made_of_actions_in_range_and_no_two_are_alike(poses, names):
    assert len(poses.EXPRESSIONS) >= 12
    assert len(poses.MOUTHS) >= 12
    assert len(poses.LIBRARY) == len(poses.EXPRESSIONS) + len(poses.MOUTHS)
    for pose in poses.LIBRARY.values():
        assert set(pose.actions) <= set(names), pose.name
        assert all(0.0 < value <= 1.0 for value in pose.actions.values()), pose.name
        assert set(pose.actions) <= pose.region, pose.name
    for one, other in itertools.combinations(poses.LIBRARY.values(), 2):
        assert (one.actions, one.region) != (other.actions, other.region), (one.name, other.name)


def test_a_winks_sides_are_each_others_mirror(poses):
    def mirrored(name):
        return name.replace("Left", "?").replace("Right", "Left").replace("?", "Right")

    left, right = poses.LIBRARY["WINK_LEFT"].actions, poses.LIBRARY["WINK_RIGHT"].actions
    assert left["eyeBlinkLeft"] == 1.0
    assert "eyeBlinkRight" not in left
    assert {mirrored(name): value for name, value in left.items()} == right


def test_a_pose_takes_the_place_of_what_is_there(poses, names):
    shown = dict.fromkeys(names, 0.0) | {"jawOpen": 0.8, "mouthSmileLeft": 0.7, "browDownLeft": 0.4}
    new = poses.LIBRARY["SMILE"].applied(shown)
    assert {**shown, **new} == dict.fromkeys(names, 0.0) | dict(poses.LIBRARY["SMILE"].actions)
    assert "mouthSmileLeft" not in new  # it is there already, and need not be keyed
    half = poses.LIBRARY["SMILE"].applied(shown, 0.5)
    assert half["jawOpen"] == pytest.approx(0.4)
    assert half["mouthSmileRight"] == pytest.approx(0.35)
    assert poses.LIBRARY["SMILE"].applied(shown, 0.0) == {}


def test_on_top_of_what_is_there_nothing_goes_beyond_1_by_itself(poses, names):
    shown = dict.fromkeys(names, 0.0) | {"jawOpen": 0.8, "eyeBlinkLeft": 0.9, "eyeBlinkRight": 1.5}
    assert poses.LIBRARY["BLINK"].applied(shown, add=True) == {"eyeBlinkLeft": 1.0}
    more = poses.LIBRARY["LAUGH"].applied(shown, 0.25, add=True)
    assert more["jawOpen"] == pytest.approx(0.9)


def test_a_mouth_leaves_brows_and_eyes_alone(poses, names):
    shown = dict.fromkeys(names, 0.3)
    new = poses.LIBRARY["MOUTH_REST"].applied(shown)
    assert set(new.values()) == {0.0}
    assert {name[:4] for name in new} == {"mout", "jawO", "jawF", "jawL", "jawR", "tong", "chee"}
    assert {name for name in new if name.startswith("cheek")} == {"cheekPuff"}


def test_only_the_rigs_own_sliders_are_set(poses):
    assert poses.LIBRARY["SURPRISE"].applied({"jawOpen": 0.0, "tongueOut": 0.0}) == {"jawOpen": 0.45}


# Random motion --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def motion(addon):
    return addon("random_motion").motion


def blinks_of(tracks, fps):
    """Return the times at which lids meet."""
    shut = tracks["eyeBlinkLeft"] > 0.9
    return np.flatnonzero(np.diff(shut.astype(int), prepend=0) == 1) / fps


def test_the_same_seed_gives_the_same_motion_and_another_another(motion):
    one, again, other = motion(3, 500, 24.0), motion(3, 500, 24.0), motion(4, 500, 24.0)
    assert one.keys() == again.keys()
    assert all((one[name] == again[name]).all() for name in one)
    assert (one["headYaw"] != other["headYaw"]).all()


def test_a_longer_shot_begins_as_a_shorter_one(motion):
    short, long = motion(3, 240, 24.0), motion(3, 480, 24.0)
    assert all((values == long[name][:240]).all() for name, values in short.items())


@pytest.mark.parametrize("fps", [24.0, 30.0, 60.0])
def test_people_blink_about_17_times_a_minute_at_irregular_intervals(motion, fps):
    minutes = 20
    tracks = motion(0, round(minutes * 60 * fps), fps)
    times = blinks_of(tracks, fps)
    gaps = np.diff(times)
    assert 14 <= len(times) / minutes <= 20
    assert 0.35 <= gaps.std() / gaps.mean() <= 0.8  # a metronome has 0, coins have 1
    assert np.median(gaps) < gaps.mean()  # often short, sometimes long
    assert gaps.min() > 0.7
    assert (tracks["eyeBlinkLeft"] == tracks["eyeBlinkRight"]).all()


def test_a_blink_takes_about_a_third_of_a_second_and_closes_faster_than_it_opens(motion):
    fps = 240.0
    lids = motion(1, round(300 * fps), fps)["eyeBlinkLeft"]
    starts, ends = (np.flatnonzero(np.diff((lids > 0).astype(int)) == step) for step in (1, -1))
    whole = min(len(starts), len(ends)) - 1
    peaks = [start + np.argmax(lids[start : end + 1]) for start, end in zip(starts[:whole], ends[:whole], strict=True)]
    falls, rises = (ends[:whole] - peaks) / fps, (np.array(peaks) - starts[:whole]) / fps
    assert whole > 50
    assert 0.2 <= (falls + rises).mean() <= 0.4
    assert falls.mean() > 1.5 * rises.mean()


def test_the_head_moves_by_a_degree_or_two_and_slowly(motion):
    fps = 24.0
    tracks = motion(2, 24 * 600, fps)
    for name, degrees in (("headYaw", 1.6), ("headPitch", 1.1), ("headRoll", 0.8)):
        assert np.degrees(tracks[name].std()) == pytest.approx(degrees, rel=0.25)
        assert abs(tracks[name].mean()) < 0.2 * tracks[name].std()
        assert np.degrees(np.abs(np.diff(tracks[name])).max() * fps) < 12.0  # degrees a second


def test_eyes_rest_and_jump_together(motion):
    fps = 60.0
    tracks = motion(5, 60 * 120, fps)
    assert (tracks["eyeLookOutLeft"] == tracks["eyeLookInRight"]).all()
    assert (tracks["eyeLookInLeft"] == tracks["eyeLookOutRight"]).all()
    assert (tracks["eyeLookUpLeft"] * tracks["eyeLookDownLeft"] == 0.0).all()
    side = tracks["eyeLookOutLeft"] - tracks["eyeLookInLeft"]
    moving = np.abs(np.diff(side)) > 1e-9
    assert 0.02 < moving.mean() < 0.12  # at rest most of the time
    jumps = np.flatnonzero(np.diff(moving.astype(int)) == 1)
    assert 30 <= len(jumps) * 60 / 120 <= 60  # a minute
    assert np.abs(side).max() <= 1.0


def test_expressions_are_faint_and_actions_stay_in_range(motion, names):
    tracks = motion(6, 24 * 600, 24.0)
    assert set(tracks) <= {*names, "headYaw", "headPitch", "headRoll"}
    for name in names:
        values = tracks.get(name, np.zeros(1))
        assert 0.0 <= values.min() <= values.max() <= 1.0
        if not name.startswith(("eyeBlink", "eyeLook")):
            assert values.max() <= 0.25


def test_what_is_turned_off_is_left_out(addon, motion):
    amounts = addon("random_motion").Amounts
    assert motion(1, 400, 24.0, amounts(0, 0, 0, 0)) == {}
    assert set(motion(1, 400, 24.0, amounts(1, 0, 0, 0))) == {"eyeBlinkLeft", "eyeBlinkRight"}
    twice = motion(1, 400, 24.0, amounts(0, 0, 2, 0))
    np.testing.assert_allclose(twice["headYaw"], 2 * motion(1, 400, 24.0)["headYaw"])
