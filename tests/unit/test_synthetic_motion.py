# SPDX-License-Identifier: Apache-2.0
"""What people do over time: smooth where bodies are, sudden where eyes and lids are."""

import numpy as np
import pytest

from neural_core.human.arkit import ACTIONS
from neural_core.records import JOINTS
from training.synthetic.expressions import possible
from training.synthetic.motion import sample_motion

INDEX = {name: number for number, name in enumerate(ACTIONS)}
FAST = np.array([name.startswith("eye") for name in ACTIONS])  # eyes and lids may jump


@pytest.fixture(scope="module")
def clips() -> list[tuple[np.ndarray, np.ndarray]]:
    clips = [sample_motion(np.random.default_rng(seed), 40.0) for seed in range(8)]
    return [(np.stack([p.actions for p in clip]), np.stack([p.joints for p in clip])) for clip in clips]


@pytest.mark.parametrize(("seconds", "frames"), [(2.0, 50), (0.01, 1), (1.3, 32)])
def test_a_clip_has_the_length_that_was_asked_for(seconds, frames):
    assert len(sample_motion(np.random.default_rng(1), seconds)) == frames


def test_the_same_numbers_give_the_same_clip():
    first, again, other = (sample_motion(np.random.default_rng(seed), 1.0) for seed in (1, 1, 2))
    for pose, same in zip(first, again, strict=True):
        np.testing.assert_array_equal(pose.actions, same.actions)
        np.testing.assert_array_equal(pose.joints, same.joints)
    assert any(np.abs(a.joints - b.joints).max() > 0.01 for a, b in zip(first, other, strict=True))


def test_every_frame_is_possible(clips):
    for actions, _ in clips:
        np.testing.assert_allclose([possible(face) for face in actions[::7]], actions[::7], atol=1e-12)


def test_faces_and_heads_move_smoothly(clips):
    """No action of the face goes from nothing to full in less than three frames, no head turns faster than 90 deg/s."""
    for actions, joints in clips:
        assert np.abs(np.diff(actions[:, ~FAST], axis=0)).max() < 0.4
        turned = joints[:, JOINTS.index("neck")] + joints[:, JOINTS.index("head")]
        speed = np.degrees(np.linalg.norm(np.diff(turned, axis=0), axis=1)) * 25
        assert speed.max() < 90
        assert np.degrees(np.linalg.norm(np.diff(turned, n=2, axis=0), axis=1)).max() * 25 < 20  # per frame
        assert 2 < np.degrees(np.ptp(turned[:, 1])) < 80


def test_people_blink_now_and_then(clips):
    lengths, counts = [], 0
    for actions, _ in clips:
        shut = np.concatenate([[False], actions[:, INDEX["eyeBlinkLeft"]] > 0.7, [False]]).astype(int)
        starts, ends = np.flatnonzero(np.diff(shut) == 1), np.flatnonzero(np.diff(shut) == -1)
        counts += len(starts)
        lengths += ((ends - starts) / 25).tolist()
    assert 8 < counts / (8 * 40 / 60) < 30  # people blink about 17 times a minute
    assert 0.06 <= np.median(lengths) <= 0.2


def test_eyes_rest_and_jump(clips):
    """Most frames have the gaze of the frame before; the others are at most two in a row."""
    for actions, _ in clips:
        look = actions[:, [INDEX[name] for name in ACTIONS if name.startswith("eyeLook")]]
        moves = np.abs(np.diff(look, axis=0)).max(1) > 1e-9
        assert 0.01 < moves.mean() < 0.2
        runs = "".join("x" if moved else " " for moved in moves).split()
        assert max(map(len, runs)) <= 2


def test_talking_opens_the_jaw_several_times_a_second(clips):
    """In the second that moves most, the jaw turns round three to twelve times."""
    jaw = np.concatenate([actions[:, INDEX["jawOpen"]] for actions, _ in clips])
    windows = np.lib.stride_tricks.sliding_window_view(jaw, 25)[::5]
    busiest = windows[np.abs(np.diff(windows, axis=1)).sum(1).argmax()]
    turns = (np.diff(np.sign(np.diff(busiest))) != 0).sum()
    assert 3 <= turns <= 12
    assert 0.05 < (jaw > 0.1).mean() < 0.6
