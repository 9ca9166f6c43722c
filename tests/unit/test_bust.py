# SPDX-License-Identifier: Apache-2.0
"""The bust: joined to every head, skinned to the right joints, symmetric, in nobody's way."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import trimesh
from safetensors.numpy import save_file

from neural_core.human.anny import load_anny_head
from neural_core.human.bust import BODY_JOINTS, BustModel, Torso, build_torso, load_bust, neck_loop
from neural_core.records import JOINT_PARENTS, JOINTS

MODEL, BUST = load_anny_head(), load_bust()
COUNT = len(MODEL.v_template)


def person(seed: int) -> tuple[np.ndarray, np.ndarray]:
    shape = np.random.default_rng(seed).standard_normal(40)
    return MODEL.vertices(shape).astype(np.float64), shape


def whole(vertices: np.ndarray, torso: Torso) -> trimesh.Trimesh:
    skin = MODEL.faces[MODEL.parts["skin"]]
    return trimesh.Trimesh(
        np.concatenate([vertices, torso.vertices]), np.concatenate([skin, torso.faces]), process=False
    )


def edges_of(faces: np.ndarray) -> Counter:
    return Counter(map(tuple, np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]]).tolist()))


def test_head_and_bust_close_the_cut_of_the_neck():
    loop = neck_loop(MODEL)
    head, bust = edges_of(MODEL.faces), edges_of(BUST.faces)
    around = set(loop.tolist())
    seam = [edge for edge in head if around.issuperset(edge) and edge[::-1] not in head]
    assert len(seam) == len(loop)
    # Each edge of the cut is used once by the bust, the other way round: watertight, and oriented alike.
    assert all(bust[edge[::-1]] == 1 for edge in seam)
    assert set(BUST.faces[BUST.faces < COUNT].tolist()) == around
    assert max(edges_of(BUST.faces).values()) == 1
    assert BUST.faces.max() == COUNT + len(BUST.template) - 1


def test_the_loop_is_in_order_round_the_neck():
    cut = MODEL.v_template[BUST.loop]
    np.testing.assert_array_equal(BUST.loop, neck_loop(MODEL))
    assert len(cut) == 42
    assert np.linalg.norm(cut - np.roll(cut, 1, 0), axis=1).max() < 0.02


@pytest.mark.parametrize("seed", range(6))
def test_the_surface_goes_on_smoothly_across_the_cut(seed: int):
    vertices, shape = person(seed)
    mesh = whole(vertices, build_torso(MODEL, vertices, shape))
    mean = whole(MODEL.v_template.astype(float), build_torso(MODEL, MODEL.v_template, np.zeros(40)))
    across = (mesh.face_adjacency < MODEL.parts["skin"].sum()).sum(1) == 1
    assert across.sum() == 42
    # Nobody's neck has a sharper crease at the cut than a few degrees over the mean person's.
    assert np.degrees(mesh.face_adjacency_angles[across] - mean.face_adjacency_angles[across]).max() < 12
    assert np.degrees(mesh.face_adjacency_angles[across]).max() < 35


def test_a_neck_that_the_coefficients_do_not_know_is_followed_and_forgotten_with_distance():
    vertices, shape = person(2)
    moved = vertices.copy()
    moved[BUST.loop] *= [1.1, 1, 1]  # a wider neck
    before, after = (build_torso(MODEL, v, shape).vertices for v in (vertices, moved))
    away = np.linalg.norm(before[:, None] - vertices[BUST.loop], axis=2)
    nearest, distance = BUST.loop[away.argmin(1)], away.min(1)
    assert np.all(after[distance > 0.091] == before[distance > 0.091])
    near = distance < 0.015
    assert near.sum() > 25
    expected = moved[nearest] - vertices[nearest]
    np.testing.assert_allclose((after - before)[near], expected[near], atol=0.0012)
    assert np.abs(expected[near]).max() > 0.004


def test_the_same_person_gives_the_same_bust_and_nearly_the_same_a_near_one():
    vertices, shape = person(4)
    first = build_torso(MODEL, vertices, shape)
    np.testing.assert_array_equal(first.vertices, build_torso(MODEL, vertices, shape).vertices)
    step = np.zeros(40)
    step[3] = 1e-4
    second = build_torso(MODEL, MODEL.vertices(shape + step), shape + step)
    expected = first.vertices + 1e-4 * BUST.shapedirs[:, :, 3]
    assert np.abs(second.vertices - expected).max() < 1e-6


def test_weights_sum_to_one_and_belong_to_the_right_side():
    weights, places = BUST.weights, BUST.template
    assert weights.shape == (len(places), len(JOINTS))
    np.testing.assert_allclose(weights.sum(1), 1, atol=1e-5)
    assert weights.min() >= 0
    for name, side in (("left", 1), ("right", -1)):
        arm = weights[:, JOINTS.index(f"{name}_shoulder")] > 0.5
        assert arm.sum() > 300
        assert (side * places[arm, 0]).min() > 0.1
        collar = weights[:, JOINTS.index(f"{name}_collar")] > 0.2
        assert collar.sum() > 50
        assert (side * places[collar, 0]).min() > 0
    # At the cut the skin is the neck's and the chest's: the head's own weights there say the same.
    near = np.linalg.norm(places[:, None] - MODEL.v_template[BUST.loop], axis=2).argmin(0)
    head = np.zeros((len(BUST.loop), len(JOINTS)))
    head[:, :6] = MODEL.weights[BUST.loop]
    assert np.abs(weights[near] - head).max() < 0.5


def test_joints_lie_inside_the_body_on_their_sides():
    assert JOINTS[6:] == BODY_JOINTS
    assert JOINT_PARENTS[JOINTS.index("left_shoulder")] == JOINTS.index("left_collar")
    for seed in range(4):
        vertices, shape = person(seed)
        joints = build_torso(MODEL, vertices, shape).joints
        assert joints[0, 0] > 0.01
        assert joints[1, 0] < -0.01
        assert 0.12 < joints[2, 0] < 0.24
        assert -0.24 < joints[3, 0] < -0.12
        assert np.abs(joints[:2, 1] - joints[2:, 1]).max() < 0.06


def test_the_mean_person_is_symmetric_and_arms_hang():
    mirrored = BUST.template * [-1, 1, 1]
    away = np.linalg.norm(BUST.template[:, None] - mirrored[None], axis=2).min(1)
    assert away.max() < 5e-4
    arm = BUST.weights[:, JOINTS.index("left_shoulder")] > 0.9
    top, bottom = (BUST.template[arm & k].mean(0) for k in (BUST.template[:, 1] > -0.32, BUST.template[:, 1] < -0.5))
    assert abs(bottom[0] - top[0]) < 0.35 * (top[1] - bottom[1])  # within 20 degrees of straight down


def test_men_are_broader_than_women_and_breasts_are_womens():
    slope = MODEL.attributes["gender"][:40]
    woman, man = (sign * 2 * slope / np.linalg.norm(slope) for sign in (-1, 1))
    busts = [build_torso(MODEL, MODEL.vertices(shape), shape) for shape in (woman, man)]
    breadth = [torso.joints[2, 0] - torso.joints[3, 0] for torso in busts]
    assert breadth[1] > breadth[0] * 1.03
    # Where the chest of a woman is fullest against the line between the breasts.
    forward = []
    for torso in busts:
        chest = (np.abs(torso.vertices[:, 1] + 0.39) < 0.03) & (np.abs(np.abs(torso.vertices[:, 0]) - 0.075) < 0.02)
        middle = (np.abs(torso.vertices[:, 1] + 0.39) < 0.03) & (np.abs(torso.vertices[:, 0]) < 0.01)
        forward.append(torso.vertices[chest, 2].max() - torso.vertices[middle, 2].max())
    assert forward[0] > forward[1] + 0.01


def test_files(tmp_path: Path):
    path = tmp_path / "bust.safetensors"
    BUST.save(path, {"licence": "CC0-1.0"})
    again = BustModel.load(path)
    for name in BustModel.__dataclass_fields__:
        np.testing.assert_array_equal(getattr(again, name), getattr(BUST, name))
    save_file({"a": np.zeros(3)}, path)
    with pytest.raises(ValueError, match="no bust"):
        BustModel.load(path)
    path.write_bytes(b"x" * 100)
    with pytest.raises(ValueError, match="no bust"):
        BustModel.load(path)
