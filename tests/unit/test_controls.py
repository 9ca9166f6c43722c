# SPDX-License-Identifier: Apache-2.0
"""Plain controls become tensors, or a sentence."""

import pytest
import torch

from neural_core import controls
from neural_core.errors import UsageError
from neural_core.human.arkit import ACTIONS
from neural_core.records import JOINTS
from neural_core.systems.common import Control

KNOWN = (
    Control("actions", 52, "1", 0.0, 1.0, ""),
    Control("joints", 30, "rad", -1.0, 1.0, ""),
    Control("jaw_pose", 3, "rad", -1.0, 1.0, ""),
)


def test_names_become_places_and_the_rest_is_neutral():
    asked = {"actions": {"jawOpen": 0.5, "browDownLeft": 1}, "joints": {"jaw": [0.1, 0.2, 0.3]}, "jaw_pose": [1, 2, 3]}
    found = controls.tensors(asked, KNOWN)
    assert {name: tuple(tensor.shape) for name, tensor in found.items()} == {
        "actions": (52,),
        "joints": (10, 3),
        "jaw_pose": (3,),
    }
    assert {ACTIONS[i]: float(found["actions"][i]) for i in found["actions"].nonzero()[:, 0]} == {
        "jawOpen": 0.5,
        "browDownLeft": 1.0,
    }
    torch.testing.assert_close(found["joints"][JOINTS.index("jaw")], torch.tensor([0.1, 0.2, 0.3]))
    assert found["joints"].count_nonzero() == 3
    assert found["jaw_pose"].tolist() == [1.0, 2.0, 3.0]


@pytest.mark.parametrize("asked", [{}, {"actions": {}}, {"actions": {"jawOpen": 0.0}, "joints": {"neck": [0, 0, 0]}}])
def test_what_is_neutral_is_left_out_and_asks_nothing_of_a_still_face(asked):
    assert controls.tensors(asked, KNOWN) == controls.tensors(asked, ()) == {}


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ({"actions": {"jawOpn": 0.5}}, 'Did you mean "jawOpen"?'),
        ({"actions": [0.5]}, "must name what it sets"),
        ({"actions": {"jawOpen": "wide"}}, '"jawOpen" is not a number'),
        ({"actions": {"jawOpen": float("nan")}}, '"jawOpen" is not a number'),
        ({"actions": {"jawOpen": True}}, '"jawOpen" is not a number'),
        ({"joints": {"knee": [0, 0, 1]}}, "left_shoulder"),
        ({"joints": {"neck": 0.3}}, '"neck" is not a list of 3 numbers'),
        ({"joints": {"neck": [0.3]}}, '"neck" is not a list of 3 numbers'),
        ({"jaw_pose": [0.3]}, '"jaw_pose" is not a list of 3 numbers'),
        ({"eye_pose": [0.3]}, 'takes no "eye_pose". It takes actions, joints, jaw_pose.'),
    ],
)
def test_what_makes_no_sense_is_named(asked, says):
    with pytest.raises(UsageError) as caught:
        controls.tensors(asked, KNOWN)
    assert says in str(caught.value)


def test_a_still_face_says_so():
    with pytest.raises(UsageError, match="Model X shows a still face and takes no expression"):
        controls.tensors({"actions": {"jawOpen": 0.5}}, (), "Model X")
