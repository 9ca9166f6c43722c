# SPDX-License-Identifier: Apache-2.0
"""Skin: absorption as Beer and Lambert say, lines in their places, and deeper with the years."""

from dataclasses import replace

import numpy as np
import pytest

from neural_core.human.anny import load_anny_head
from neural_core.human.model import FaceModel
from training.synthetic import folds
from training.synthetic.looks import Look, look_of
from training.synthetic.textures import SkinChart


@pytest.fixture(scope="module")
def head() -> FaceModel:
    return load_anny_head()


@pytest.fixture(scope="module")
def chart(head: FaceModel) -> SkinChart:
    return SkinChart(head)


@pytest.fixture(scope="module")
def look(head: FaceModel) -> Look:
    """A woman without anything that hides the skin."""
    gender = head.attributes["gender"][:40]
    return replace(look_of(np.r_[-2 * gender / np.linalg.norm(gender), np.zeros(24)], head), freckles=0.0)


def texels(chart: SkinChart, head: FaceModel, landmark: int, reach: int = 4) -> tuple[slice, slice]:
    """Texels around one of iBUG's landmarks."""
    assert head.landmarks_68 is not None
    triangles, weights = head.landmarks_68
    u, v = weights[landmark] @ chart.uv[head.uv_faces[triangles[landmark]]]
    row, column = int((1 - v) * 960), int(u * 512)
    return slice(row - reach, row + reach), slice(column - reach, column + reach)


def test_freckles_take_the_same_share_of_light_from_every_skin(chart, look):
    dark = replace(look, skin=0.25 * look.skin)
    shares = [np.log(chart.paint(replace(person, freckles=1.0)) / chart.paint(person)) for person in (look, dark)]
    marked = shares[0][..., 2] < -0.1
    assert 50 < marked.sum() < 20000
    same = np.isclose(shares[0][marked], shares[1][marked], atol=2e-4).all(-1)
    assert same.mean() > 0.98  # the others lie under a brow or a lash, which has a colour of its own
    # Melanin takes most from blue and least from red.
    assert (shares[0][marked][:, 2] < shares[0][marked][:, 1]).all()
    assert (shares[0][marked][:, 1] < shares[0][marked][:, 0]).all()


def test_blood_reddens_nose_and_cheeks_only_where_it_is(chart, head, look):
    pale, red = (chart.paint(replace(look, redness=value)) for value in (0.0, 1.0))
    nose = texels(chart, head, 30)
    change = red[nose].mean((0, 1)) / pale[nose].mean((0, 1))
    assert change[0] > 0.94
    assert change[1] < 0.88
    brow = texels(chart, head, 19)
    np.testing.assert_allclose(red[brow], pale[brow], rtol=0.06)


def test_years_deepen_lines(chart, head, look):
    young, old = (chart.relief(replace(look, wrinkles=value)) for value in (0.0, 1.0))
    deeper = young[..., 0] - old[..., 0]
    assert deeper.min() > -1e-6
    assert deeper.max() > 0.4  # millimetres
    assert deeper[texels(chart, head, 30)].max() < 0.02  # the tip of the nose stays smooth
    darker = chart.paint(replace(look, wrinkles=1.0)).mean(-1) < 0.97 * chart.paint(replace(look, wrinkles=0.0)).mean(
        -1
    )
    assert darker[deeper > 0.3].mean() > 0.8


def test_skin_outside_the_island_is_plain(chart, look):
    np.testing.assert_allclose(chart.paint(look)[-4, 4], look.skin, rtol=1e-5)
    u, v = chart.plain
    assert (1 - v) * 960 > 952
    assert u * 512 < 8


def test_scalp_is_as_dark_as_asked(chart, head, look):
    crown = ((chart._places - [0.0, 0.118, -0.03]) ** 2).sum(-1).argmin()
    shaved, dark = (chart.paint(look, scalp).reshape(-1, 3)[crown] for scalp in (0.0, 0.9))
    assert (np.abs(shaved / look.skin - 1) < 0.3).all()
    np.testing.assert_allclose(dark, 0.1 * shaved + 0.9 * 0.62 * look.hair, rtol=0.2)


def test_a_little_more_of_the_code_changes_the_skin_a_little(chart, head):
    rng = np.random.default_rng(3)
    code, way = rng.standard_normal(64), rng.standard_normal(64)
    here, near, nearer = (chart.paint(look_of(code + step * way, head)) for step in (0.0, 1e-2, 5e-3))
    far, half = np.abs(near - here).max(), np.abs(nearer - here).max()
    assert 1e-4 < far < 0.1
    assert half / far == pytest.approx(0.5, abs=0.05)


@pytest.mark.parametrize(
    ("lines", "there", "elsewhere"),
    [
        (folds.smile_folds, (0.0275, -0.0575, 0.08), (0.0, -0.04, 0.10)),
        (folds.mouth_corners, (0.0285, -0.0845, 0.08), (0.0, -0.085, 0.09)),
        (folds.frown_lines, (0.0075, 0.020, 0.087), (0.0, 0.060, 0.08)),
        (folds.eye_bags, (0.0215, -0.0145, 0.075), (0.0, -0.0145, 0.09)),
    ],
)
def test_lines_lie_in_their_places_on_both_sides(lines, there, elsewhere):
    x, y, z = there
    deep = lines(np.array([[x, y, z], [-x, y, z], elsewhere, (x, y, -z)]))
    assert deep[0] > 0.6
    assert deep[0] == deep[1]
    assert deep[2] < 0.02
    assert deep[3] == 0


def test_crows_feet_fan_out_from_the_corner_of_the_eye():
    corner = np.array([0.0446, -0.0017, 0.0673])
    angles = np.radians(np.linspace(-90, 90, 721))
    # On a circle of 14 mm around a point 4 mm inwards of the corner.
    ring = corner + np.stack([0.014 * np.cos(angles) - 0.004, 0.014 * np.sin(angles), np.zeros_like(angles)], 1)
    depth = folds.crows_feet(ring)
    peaks = (depth[1:-1] > depth[:-2]) & (depth[1:-1] >= depth[2:]) & (depth[1:-1] > 0.3)
    assert peaks.sum() == 4
    assert folds.crows_feet(corner[None]).max() == 0


def test_forehead_lines_stay_on_the_forehead():
    heights = np.linspace(0.02, 0.07, 500)
    middle = np.stack([np.zeros(500), heights, np.full(500, 0.085)], 1)
    depth = folds.forehead_lines(middle, np.full(500, 0.5))
    assert ((depth[1:-1] > depth[:-2]) & (depth[1:-1] >= depth[2:]) & (depth[1:-1] > 0.3)).sum() == 4
    middle[:, 2] = -0.085
    assert folds.forehead_lines(middle, np.full(500, 0.5)).max() == 0
