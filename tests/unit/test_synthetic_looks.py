# SPDX-License-Identifier: Apache-2.0
"""Looks and paint: smooth in the code, the same for the same code, and where they belong."""

import dataclasses

import numpy as np
import pytest

from neural_core.human.anny import load_anny_head
from neural_core.human.appearance import APPEARANCE, IDENTITY_SIZE
from neural_core.human.model import FaceModel
from training.synthetic import regions
from training.synthetic.looks import Look, look_of, srgb_to_linear
from training.synthetic.textures import SkinChart


@pytest.fixture(scope="module")
def head() -> FaceModel:
    return load_anny_head()


def code_with(**values: float) -> np.ndarray:
    code = np.zeros(64)
    for name, value in values.items():
        code[IDENTITY_SIZE + list(APPEARANCE).index(name)] = value
    return code


def numbers(look: Look) -> np.ndarray:
    return np.concatenate([np.ravel(value) for value in dataclasses.astuple(look)])


def test_every_number_of_the_appearance_changes_the_look_smoothly(head: FaceModel):
    rng = np.random.default_rng(0)
    step = 1e-4
    for place, name in enumerate(APPEARANCE):
        changed = 0.0
        for _ in range(4):
            code = rng.standard_normal(64)
            direction = np.eye(64)[IDENTITY_SIZE + place]
            here, ahead, further = (numbers(look_of(code + k * step * direction, head)) for k in range(3))
            slope = (ahead - here) / step
            changed = max(changed, np.abs(slope).max())
            # No jump and no kink: the slope of the next step is nearly the same.
            np.testing.assert_allclose((further - ahead) / step, slope, atol=2e-2, err_msg=name)
        assert changed > 1e-3, name


def test_looks_lean_on_the_face(head: FaceModel):
    gender = head.attributes["gender"][:40]
    towards = np.r_[gender / np.linalg.norm(gender), np.zeros(24)]
    feminine, masculine = look_of(-2 * towards, head), look_of(2 * towards, head)
    assert feminine.masculinity < 0.1 < 0.9 < masculine.masculinity
    assert feminine.hair_length > 2 * masculine.hair_length
    bearded = code_with(beard=2.0)
    assert look_of(bearded - 2 * towards, head).beard < 0.01
    assert look_of(bearded + 2 * towards, head).beard > 0.7


def test_names_mean_what_they_say(head: FaceModel):
    low, high = (look_of(code_with(skin_tone=z), head) for z in (-2.0, 2.0))
    assert (low.skin > 2 * high.skin).all()
    low, high = (look_of(code_with(hair_length=z, fringe=z), head) for z in (-2.0, 2.0))
    assert low.hair_length < 0.02 < 0.1 < high.hair_length
    assert low.fringe < 0.1 < 0.9 < high.fringe
    brown, blue = (look_of(code_with(iris_colour=z, skin_tone=-1.0), head).iris for z in (-2.0, 2.5))
    assert brown[0] > brown[2]
    assert blue[2] > blue[0]


def test_srgb_to_linear_at_known_values():
    np.testing.assert_allclose(
        srgb_to_linear(np.array([0.0, 0.04045, 0.5, 1.0])), [0, 0.0031308, 0.2140411, 1], atol=1e-6
    )


def test_regions_know_their_places():
    def at(*place: float) -> np.ndarray:
        return np.array([place])

    look_free = regions.scalp
    assert look_free(at(0.0, 0.115, -0.02))[0] == 1  # crown
    assert look_free(at(0.0, 0.02, 0.088))[0] == 0  # between the brows
    assert look_free(at(0.0, -0.05, -0.09))[0] > 0.9  # back of the head
    assert regions.beard(at(0.0, -0.105, 0.085))[0] > 0.9  # chin
    assert regions.beard(at(0.0, 0.0, 0.085))[0] == 0
    assert regions.beard(at(0.045, -0.03, 0.07))[0] < 0.1  # cheek
    for mask in (regions.scalp, regions.beard):
        both = mask(np.array([[0.05, -0.08, 0.05], [-0.05, -0.08, 0.05]]))
        assert both[0] == both[1]


@pytest.mark.slow
def test_paint_is_repeatable_and_in_its_place(head: FaceModel):
    chart = SkinChart(head)
    plain, red = (chart.paint(look_of(code_with(lip_colour=z), head)) for z in (-3.0, 3.0))
    np.testing.assert_array_equal(plain, chart.paint(look_of(code_with(lip_colour=-3.0), head)))
    assert plain.min() >= 0
    assert plain.max() <= 1
    changed = np.abs(plain - red).max(-1) > 0.02
    rows, columns = np.nonzero(changed)
    uv = np.stack([(columns + 0.5) / changed.shape[1], 1 - (rows + 0.5) / changed.shape[0]], 1)
    triangles = chart.uv[head.uv_faces[head.parts["skin"]]].mean(1)
    places = head.v_template[head.faces[head.parts["skin"]]].mean(1)
    nearest = ((uv[::37, None] - triangles[None]) ** 2).sum(-1).argmin(1)
    mouth = head.landmarks(head.v_template, "68")[48:60].mean(0)
    assert len(rows) > 200
    assert np.linalg.norm(places[nearest] - mouth, axis=1).max() < 0.045
