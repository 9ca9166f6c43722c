# SPDX-License-Identifier: Apache-2.0
"""A mirrored person, posed and drawn, is the mirror image of the picture."""

import dataclasses

import numpy as np
import pytest
import torch
from scipy.spatial import cKDTree
from torch.testing import assert_close

from neural_core.cameras import Camera, orbit
from neural_core.errors import InputError, UsageError
from neural_core.human.anny import load_anny_head
from neural_core.human.arkit import ACTIONS
from neural_core.human.driver import driver
from neural_core.human.lbs import rotation_matrices
from neural_core.human.pncc import pncc
from neural_core.human.posing import FacePoser
from neural_core.records import JOINTS
from tests.layouts import encoded
from tests.spheres import empty_record
from training.data.instants import InstantSet
from training.data.mirroring import (
    mirrored_actions,
    mirrored_code,
    mirrored_gaze,
    mirrored_joints,
    mirrored_labels,
)
from training.data.pictures import averaged_down
from training.data.records import RecordSet

SIDED = {  # no two of them are each other's mirror image
    "jawOpen": 0.5, "jawLeft": 0.7, "mouthSmileLeft": 0.9, "eyeBlinkRight": 0.8, "eyeLookOutLeft": 0.8,
    "eyeLookInRight": 0.3, "eyeLookUpLeft": 0.4, "browOuterUpLeft": 1.0, "noseSneerRight": 1.0, "mouthRight": 0.2,
}  # fmt: skip
SIZE = 128


@pytest.fixture(scope="module")
def face():
    return load_anny_head()


@pytest.fixture(scope="module")
def posed():
    """Actions, joints and a camera with no symmetry of their own."""
    actions = torch.zeros(1, 52)
    for name, value in SIDED.items():
        actions[0, ACTIONS.index(name)] = value
    joints = torch.zeros(1, 10, 3)
    joints[0, JOINTS.index("neck")] = torch.tensor([0.1, 0.3, -0.15])
    joints[0, JOINTS.index("jaw")] = torch.tensor([0.05, 0.08, 0.0])
    joints[0, JOINTS.index("left_eye")] = torch.tensor([-0.1, 0.3, 0.0])
    camera = orbit(25.0, 12.0)
    camera.intrinsics[:, 0, 2] = 0.46
    return actions, joints, camera


def pixels(picture: torch.Tensor) -> torch.Tensor:
    """Return a picture as records keep it."""
    return (picture * 255).round().to(torch.uint8)


def gaze_of(face, vertices: torch.Tensor) -> torch.Tensor:
    """Return yaw and pitch of both eyes, measured: the turn of each eye's vertices (Kabsch) applied to straight on."""
    found = []
    for side in ("left_eye", "right_eye"):
        index = np.unique(face.faces[face.parts[side]])
        before, after = face.v_template[index].astype(np.float64), vertices[0].double().numpy()[index]
        u, _, v = np.linalg.svd((before - before.mean(0)).T @ (after - after.mean(0)))
        turn = (u @ np.diag([1, 1, np.linalg.det(u @ v)]) @ v).T
        x, y, z = turn[:, 2]
        found.append([np.arctan2(x, z), np.arcsin(y)])
    return torch.tensor(found)


def test_the_mirrored_person_is_the_mirrored_picture(face, posed):
    """In pictures of 128 pixels, 0..255: what is left is rounding, and the head's own slight asymmetry."""
    actions, joints, camera = posed
    pose = FacePoser(face)
    other = Camera.from_label(mirrored_labels(camera.label()))

    def error(picture: torch.Tensor, actions: torch.Tensor, joints: torch.Tensor, camera: Camera, draw) -> float:
        truth = pixels(draw(face, pose(actions, joints), camera, SIZE))
        return (picture.float() - truth.float()).abs().mean().item()

    for draw in (driver, pncc):
        found = mirrored_code(pixels(draw(face, pose(actions, joints), camera, SIZE)))
        right = error(found, mirrored_actions(actions), mirrored_joints(joints), other, draw)
        wrong = [
            error(found, actions, mirrored_joints(joints), other, draw),
            error(found, mirrored_actions(actions), joints, other, draw),
            error(found, mirrored_actions(actions), mirrored_joints(joints), camera, draw),
            error(found.flip(-1), actions, joints, other, draw),
        ]
        assert right < 0.1, draw
        assert min(wrong) > 10 * right, draw


def test_heads_are_symmetric(face):
    """A person's coefficients are those of the mirrored one."""
    vertices = face.vertices(np.random.default_rng(0).normal(size=40))
    mirrored_vertices = vertices * [-1, 1, 1]
    partner = cKDTree(face.v_template).query(face.v_template * [-1, 1, 1])[1]
    far = np.linalg.norm(mirrored_vertices - vertices[partner], axis=1)
    assert np.quantile(far, 0.99) < 0.0005


def test_gaze_is_that_of_the_mirrored_eyes(face, posed):
    actions, joints, _ = posed
    pose = FacePoser(face)
    gaze = gaze_of(face, pose(actions, joints))
    assert (gaze[0] - gaze[1]).abs().min() > 0.1  # the eyes do different things
    again = gaze_of(face, pose(mirrored_actions(actions), mirrored_joints(joints)))
    assert_close(mirrored_gaze(gaze), again, atol=0.02, rtol=0)


def test_joints_turn_as_their_mirror_images_do():
    joints = torch.randn(10, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    mirror = torch.diag(torch.tensor([-1.0, 1.0, 1.0], dtype=torch.float64))
    expected = dict(zip(JOINTS, mirror @ rotation_matrices(joints) @ mirror, strict=True))
    for name, turn in zip(JOINTS, rotation_matrices(mirrored_joints(joints)), strict=True):
        other = {"l": name.replace("left", "right"), "r": name.replace("right", "left")}.get(name[0], name)
        assert_close(turn, expected[other])


def test_twice_mirrored_is_as_before():
    generator = torch.Generator().manual_seed(1)
    code = torch.randint(256, (2, 3, 6, 6), dtype=torch.uint8, generator=generator)
    code[:, :, 2:4, 2:4] = 200  # an eye
    for mirrored, value in (
        (mirrored_actions, torch.rand(2, 52, generator=generator)),
        (mirrored_joints, torch.randn(2, 10, 3, generator=generator)),
        (mirrored_gaze, torch.randn(2, 2, 2, generator=generator)),
        (mirrored_code, code),
    ):
        assert not mirrored(value).equal(value)
        assert mirrored(mirrored(value)).equal(value)


@pytest.fixture
def people(tmp_path):
    """Two people of three and two frames, whose pictures and arrays are noise."""
    rng = np.random.default_rng(0)
    for person, frames in enumerate((3, 2)):
        names = [f"00000/{person}_{frame}.png" for frame in range(frames)]
        for name in names:
            (tmp_path / name).parent.mkdir(exist_ok=True)
            (tmp_path / name).write_bytes(encoded(rng.integers(0, 256, (8, 8, 3), np.uint8)))
        dataclasses.replace(
            empty_record(names),
            cameras=orbit(torch.from_numpy(rng.uniform(-40, 40, frames)).float()).label().numpy(),
            actions=rng.random((frames, 52)).astype(np.float32),
            joints=rng.normal(size=(frames, 10, 3)).astype(np.float32),
            gaze=rng.normal(size=(frames, 2, 2)).astype(np.float32),
            driver=rng.integers(0, 256, (frames, 8, 8, 3)).astype(np.uint8),
            regions=rng.integers(0, 6, (frames, 8, 8)).astype(np.uint8),
            shape=rng.normal(size=40).astype(np.float32),
            z=rng.normal(size=64).astype(np.float32),
        ).save(tmp_path / "records" / f"{person:06d}.npz")
    return tmp_path


def test_records_are_doubled_with_everything_that_is_asked_for(people):
    names = ("actions", "joints", "gaze", "driver")
    data = RecordSet(people, 2, names, masks=("head",), mirror=True, keep=("actions", "joints"))
    assert len(data) == 6
    assert data.labels.shape == (6, 2, 25)
    changed = {"label": mirrored_labels, "actions": mirrored_actions, "joints": mirrored_joints, "gaze": mirrored_gaze}
    for place in range(3):
        item, other = data[place], data[place + 3]
        assert other["person"] == item["person"]
        assert other["index"] == item["index"] + 3
        for name, mirrored in changed.items():
            assert other[name].equal(mirrored(item[name])), name
        assert other["driver"].equal(mirrored_code(item["driver"]))
        for name in ("picture", "mask_head"):
            assert other[name].equal(item[name].flip(-1)), name
        for index, found in ((place, item), (place + 3, other)):
            assert found["label"].equal(data.labels[index])
            assert found["actions"].equal(data.kept["actions"][index])
            assert found["joints"].equal(data.kept["joints"][index])


@pytest.mark.parametrize("name", ["z", "landmarks_68", "points_478", "visible"])
def test_what_has_no_known_mirror_image_is_refused(people, name):
    with pytest.raises(UsageError, match=f'"{name}" of a mirrored person is not known'):
        RecordSet(people, arrays=(name,), mirror=True)


def test_instants_are_single_frames(people):
    data = InstantSet(people, mirror=True)
    assert (len(data), data.size, data.driver_size) == (10, 8, 8)
    assert {name: tuple(value.shape) for name, value in data[7].items() if isinstance(value, torch.Tensor)} == {
        "picture": (3, 8, 8), "label": (25,), "actions": (52,), "joints": (10, 3), "driver": (3, 8, 8),
    }  # fmt: skip
    for place in (1, 6):
        for name, table in (("label", data.labels), ("actions", data.actions), ("joints", data.joints)):
            assert data[place][name].equal(table[place]), name
    assert data.skipped == ()
    shapes = [np.load(people / "records" / f"{person:06d}.npz")["shape"] for person in (0, 0, 0, 1, 1)]
    np.testing.assert_array_equal(data.shapes.numpy(), shapes * 2)  # heads are symmetric


def test_frames_of_which_nothing_is_known_are_left_out(people):
    names = ["00000/0_0.png"]
    cameras = orbit(0.0).label().numpy()
    dataclasses.replace(empty_record(names), cameras=cameras).save(people / "records" / "000002.npz")
    known = {"actions": np.zeros((1, 52)), "joints": np.zeros((1, 10, 3)), "shape": np.zeros(40)}
    for number, changes in enumerate(({"actions": np.zeros((1, 50))}, {"shape": np.zeros(39)})):
        record = dataclasses.replace(empty_record(names), cameras=cameras, **{**known, **changes})
        record.save(people / "records" / f"{3 + number:06d}.npz")
    data = InstantSet(people)
    assert len(data) == 5
    for sentence, words in zip(
        data.skipped,
        ('000002.npz says nothing of "actions"', '("actions" has another shape)', '("shape" has another shape)'),
        strict=True,
    ):
        assert words in sentence
    with pytest.raises(InputError, match="no records of people"):
        InstantSet(people / "00000")


def test_larger_pictures_are_averaged_down(people):
    whole, small = InstantSet(people), InstantSet(people, size=4)
    assert (small.size, small.driver_size) == (4, 8)
    expected = whole[1]["picture"].double().unflatten(1, (4, 2)).unflatten(3, (4, 2)).mean((2, 4))
    assert_close(small[1]["picture"].double(), expected, atol=0.5, rtol=0)
    with pytest.raises(InputError, match="8 pixels a side, which is no multiple of 3"):
        InstantSet(people, size=3)


def test_what_is_transparent_does_not_colour_what_is_beside_it():
    picture = torch.tensor([[[200, 40], [200, 40]]] * 3 + [[[255, 0], [255, 0]]], dtype=torch.uint8)
    assert averaged_down(picture, 1).flatten().tolist() == [200, 200, 200, 128]
    assert averaged_down(picture[:3], 1).flatten().tolist() == [120, 120, 120]
    assert not averaged_down(picture * 0, 1).any()
