# SPDX-License-Identifier: Apache-2.0
"""Curves: files come back as they were written, signs mean what they say, wrong files get a sentence."""

import json
import math

import numpy as np
import pytest

from neural_core.curves import FORMAT, HEAD, Curves, parse_curves, read_curves, write_curves
from neural_core.errors import InputError
from neural_core.human.arkit import ACTIONS
from neural_core.records import JOINTS


def some_curves(frames: int = 7) -> Curves:
    rng = np.random.default_rng(3)
    actions = rng.uniform(0, 1, (frames, 52))
    actions[:, ACTIONS.index("cheekPuff")] = 0.0
    return Curves(25.0, actions, rng.uniform(-0.5, 0.5, (frames, 3)))


def test_a_file_comes_back_as_it_was_written(tmp_path):
    curves = some_curves()
    write_curves(tmp_path / "c.json", curves)
    back = read_curves(tmp_path / "c.json")
    assert back.fps == 25.0
    assert len(back) == 7
    np.testing.assert_allclose(back.actions, curves.actions, atol=0.5001e-4)
    np.testing.assert_allclose(back.head, curves.head, atol=0.5001e-4)
    write_curves(tmp_path / "again.json", back)
    assert (tmp_path / "again.json").read_bytes() == (tmp_path / "c.json").read_bytes()


def test_the_file_is_what_the_format_says(tmp_path):
    actions = np.zeros((3, 52))
    actions[:, ACTIONS.index("jawOpen")] = 0, 0.25, 1
    head = np.zeros((3, 3))
    head[1] = -0.1, 0, 0
    write_curves(tmp_path / "c.json", Curves(25.0, actions, head))
    assert json.loads((tmp_path / "c.json").read_text()) == {
        "format": "portrait-curves/1",
        "fps": 25,
        "curves": {"jawOpen": [0, 0.25, 1], "headYaw": [0, -0.1, 0]},
    }


def test_a_still_face_keeps_its_length(tmp_path):
    write_curves(tmp_path / "c.json", Curves(25.0, np.zeros((4, 52)), np.zeros((4, 3))))
    assert len(read_curves(tmp_path / "c.json")) == 4


def turned(head: tuple[float, float, float]) -> np.ndarray:
    """Rotation of the head by its joints, Rodrigues' formula written out."""
    joints = Curves(25.0, np.zeros((1, 52)), np.array([head])).joints()[0]
    assert not joints[[i for i, name in enumerate(JOINTS) if name not in ("neck", "head")]].any()
    whole = np.eye(3)
    for name in ("neck", "head"):
        x, y, z = joints[JOINTS.index(name)]
        angle = math.sqrt(x * x + y * y + z * z)
        k = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]]) / max(angle, 1e-300)
        whole = whole @ (np.eye(3) + math.sin(angle) * k + (1 - math.cos(angle)) * k @ k)
    return whole


def test_the_head_turns_where_the_names_say():
    ahead, up = np.array([0.0, 0, 1]), np.array([0.0, 1, 0])
    np.testing.assert_allclose(turned((0.3, 0, 0)) @ ahead, [math.sin(0.3), 0, math.cos(0.3)], atol=1e-12)
    np.testing.assert_allclose(turned((0, 0.3, 0)) @ ahead, [0, math.sin(0.3), math.cos(0.3)], atol=1e-12)
    np.testing.assert_allclose(turned((0, 0, 0.3)) @ up, [math.sin(0.3), math.cos(0.3), 0], atol=1e-12)


def test_yaw_pitch_and_roll_together():
    yaw, pitch, roll = 0.4, -0.25, 0.15
    c, s = math.cos, math.sin
    about_y = np.array([[c(yaw), 0, s(yaw)], [0, 1, 0], [-s(yaw), 0, c(yaw)]])
    about_x = np.array([[1, 0, 0], [0, c(pitch), s(pitch)], [0, -s(pitch), c(pitch)]])
    about_z = np.array([[c(roll), s(roll), 0], [-s(roll), c(roll), 0], [0, 0, 1]])
    np.testing.assert_allclose(turned((yaw, pitch, roll)), about_y @ about_x @ about_z, atol=1e-12)


def document(**changes: object) -> dict:
    return {"format": FORMAT, "fps": 25, "curves": {"jawOpen": [0.0, 0.5], "headYaw": [0.1, 0.2]}} | changes


def test_the_document_that_is_broken_below_is_sound():
    assert parse_curves(document()).head[1, HEAD.index("headYaw")] == 0.2


@pytest.mark.parametrize(
    ("content", "message", "hint"),
    [
        ([], "These are no curves of ours.", '"portrait-curves/1"'),
        (document(format="portrait-curves/2"), "These are no curves of ours.", '"portrait-curves/1"'),
        (document(fps=0), '"fps" is 0.', "above 0"),
        (document(fps=True), '"fps" is True.', "above 0"),
        (document(fps=math.inf), '"fps" is inf.', "above 0"),
        (document(fps="25"), "\"fps\" is '25'.", "above 0"),
        (document(curves={}), '"curves" names no curve.', "at least one"),
        (document(curves=[1]), '"curves" names no curve.', "at least one"),
        (document(curves={"jawOpne": [0.0]}), 'There is no curve "jawOpne".', 'Did you mean "jawOpen"?'),
        (document(curves={"x": [0.0]}), 'There is no curve "x".', "headYaw, headPitch, headRoll"),
        (document(curves={"jawOpen": []}), '"jawOpen" is no list of numbers.', "each frame"),
        (document(curves={"jawOpen": [0.1, "a"]}), '"jawOpen" is no list of numbers.', "each frame"),
        (document(curves={"jawOpen": [True]}), '"jawOpen" is no list of numbers.', "each frame"),
        (document(curves={"jawOpen": 0.5}), '"jawOpen" is no list of numbers.', "each frame"),
        (document(curves={"jawOpen": [0, 1.5]}), '"jawOpen" is 1.5 at frame 1.', "between 0 and 1"),
        (document(curves={"jawOpen": [-0.1]}), '"jawOpen" is -0.1 at frame 0.', "between 0 and 1"),
        (document(curves={"jawOpen": [math.nan]}), '"jawOpen" is nan at frame 0.', "between 0 and 1"),
        (document(curves={"headYaw": [30.0]}), '"headYaw" is 30.0 at frame 0.', "between -1.571 and 1.571"),
        (
            document(curves={"jawOpen": [0.0, 0.1], "headYaw": [0.0]}),
            '"headYaw" has 1 values and "jawOpen" 2.',
            "the same length",
        ),
    ],
)
def test_wrong_curves_get_a_sentence(content, message, hint):
    with pytest.raises(InputError) as caught:
        parse_curves(content)
    assert caught.value.message == message
    assert hint in caught.value.hint


@pytest.mark.parametrize("data", [b"", b"{", b"\xff\xfe", b'{"format": 1}', None])
def test_wrong_files_are_named(tmp_path, data):
    path = tmp_path / "c.json"
    if data is not None:
        path.write_bytes(data)
    with pytest.raises(InputError, match=r"c\.json"):
        read_curves(path)
