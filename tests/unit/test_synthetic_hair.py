# SPDX-License-Identifier: Apache-2.0
"""Hair, beard, brows and lashes: where they belong, and changing no more than the code does."""

import dataclasses

import numpy as np
import pytest

from neural_core.human.anny import load_anny_head
from neural_core.human.appearance import APPEARANCE, IDENTITY_SIZE
from neural_core.human.bust import build_torso
from neural_core.human.model import FaceModel
from neural_core.human.surfaces import vertex_normals
from neural_core.records import JOINTS
from training.synthetic.eyeballs import ball
from training.synthetic.figure import RestFibres
from training.synthetic.hair import STYLES, Comb, likely_styles
from training.synthetic.hair_field import Skin
from training.synthetic.hair_styles import scalp_shade
from training.synthetic.looks import look_of

_STRANDS = 1500


@pytest.fixture(scope="module")
def head() -> FaceModel:
    return load_anny_head()


@pytest.fixture(scope="module")
def comb(head: FaceModel) -> Comb:
    return Comb(head, strands=_STRANDS)


def code_with(**values: float) -> np.ndarray:
    code = np.zeros(64)
    for name, value in values.items():
        code[IDENTITY_SIZE + list(APPEARANCE).index(name)] = value
    return code


def person(head: FaceModel, seed: int = 1):
    """Vertices, points of the body, look: of somebody or other."""
    code = 0.8 * np.random.default_rng(seed).standard_normal(64)
    vertices = head.vertices(code[:40]).astype(float)
    return vertices, build_torso(head, vertices, code[:40]).vertices, look_of(code, head)


@pytest.fixture(scope="module")
def heads_of_hair(head: FaceModel, comb: Comb) -> dict[str | None, list[RestFibres]]:
    vertices, body, look = person(head)
    return {style: comb.hair(vertices, body, look, style) for style in (None, *STYLES)}


def winding(points: np.ndarray, triangles: np.ndarray) -> np.ndarray:
    """How often a surface [f, 3, 3] winds round each point: 1 inside, 0 outside (van Oosterom & Strackee 1983)."""
    turns = np.zeros(len(points))
    for start in range(0, len(points), 100):
        a, b, c = (triangles[None, :, k] - points[start : start + 100, None] for k in range(3))
        la, lb, lc = (np.linalg.norm(v, axis=-1) for v in (a, b, c))
        volume = (a * np.cross(b, c)).sum(-1)
        below = la * lb * lc + (a * b).sum(-1) * lc + (b * c).sum(-1) * la + (c * a).sum(-1) * lb
        turns[start : start + 100] = 2 * np.arctan2(volume, below).sum(1) / (4 * np.pi)
    return turns


def closed_head(head: FaceModel, vertices: np.ndarray) -> np.ndarray:
    """Triangles [f, 3, 3] of the head without eyeballs, with a lid on the cut of the neck."""
    faces = head.faces[~(head.parts["left_eye"] | head.parts["right_eye"])]
    edges = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    known = {tuple(edge) for edge in edges.tolist()}
    rim = np.array([(b, a) for a, b in known if (b, a) not in known and vertices[a, 1] < -0.06])
    middle = vertices[np.unique(rim)].mean(0)
    lid = np.stack([vertices[rim[:, 0]], vertices[rim[:, 1]], np.broadcast_to(middle, (len(rim), 3))], 1)
    return np.concatenate([vertices[faces], lid])


def test_winding_knows_inside_from_outside(head: FaceModel):
    triangles = closed_head(head, head.v_template.astype(float))
    inside = np.array([[0.0, 0.05, -0.02], [0.0, 0.0, 0.03], [0.0, -0.1, -0.03], [0.05, -0.02, 0.02]])
    np.testing.assert_allclose(winding(inside, triangles), 1.0, atol=0.02)
    outside = np.array([[0.0, 0.13, -0.02], [0.0, 0.0, 0.12], [0.0, -0.1, -0.12], [0.12, -0.02, 0.02]])
    np.testing.assert_allclose(winding(outside, triangles), 0.0, atol=0.02)


def test_every_style_grows_and_bald_does_not(heads_of_hair):
    for style, found in heads_of_hair.items():
        if style == "bald":
            assert found == []
            continue
        for rest in found:
            fibres = rest.fibres
            count, points, _ = fibres.points.shape
            assert count > 300, style
            assert fibres.radii.shape == (count, points)
            assert rest.corners.shape == rest.barycentric.shape == (count, 3)
            assert np.isfinite(fibres.points).all()
            assert fibres.radii.min() >= 0
            assert 1e-4 < fibres.radii.max() < 2e-3
            for colour in (fibres.root_colour, fibres.tip_colour):
                assert colour.min() >= 0
                assert colour.max() <= 1
    assert [rest.fibres.name for rest in heads_of_hair["bun"]] == ["hair", "bun"]


def test_the_same_person_has_the_same_hair(head: FaceModel, comb: Comb, heads_of_hair):
    vertices, body, look = person(head)
    again = Comb(head, strands=_STRANDS)
    for style in (None, "curly", "bun"):
        for first, other in zip(heads_of_hair[style], again.hair(vertices, body, look, style), strict=True):
            np.testing.assert_array_equal(first.fibres.points, other.fibres.points)
            np.testing.assert_array_equal(first.fibres.radii, other.fibres.radii)
            np.testing.assert_array_equal(first.fibres.root_colour, other.fibres.root_colour)


def test_hair_stays_outside_the_head(head: FaceModel, heads_of_hair):
    """The oracle is the surface's winding number; the growth knows only a grid of distances."""
    vertices, _, _ = person(head)
    triangles = closed_head(head, vertices)
    rng = np.random.default_rng(0)
    for style in (None, "crop", "slicked_back", "long_wavy", "curly", "ponytail"):
        fibres = heads_of_hair[style][0].fibres
        visible = fibres.points[:, 3:][fibres.radii[:, 3:] > 3e-5]
        inside = winding(rng.choice(visible, 100, replace=False), triangles) > 0.5
        assert inside.mean() < 0.02, style


def test_no_hair_hangs_before_the_eyes(head: FaceModel, comb: Comb):
    for seed in range(2):
        vertices, body, look = person(head, seed)
        found = [
            comb.hair(vertices, body, dataclasses.replace(look, fringe=0.9), s) for s in (None, "shag", "long_wavy")
        ]
        for (rest,) in found:
            visible = rest.fibres.points[rest.fibres.radii > 3e-5]
            for side in ("left_eye", "right_eye"):
                eye = vertices[np.unique(head.faces[head.parts[side]])]
                before = (np.abs(visible - eye.mean(0))[:, :2] < [0.016, 0.010]).all(1)
                assert not (before & (visible[:, 2] > eye[:, 2].max() - 0.01)).any()


def test_roots_are_where_they_say(head: FaceModel, comb: Comb, heads_of_hair):
    vertices, _, look = person(head)
    bearded = dataclasses.replace(look, beard=0.9)
    found = [*heads_of_hair[None], *heads_of_hair["ponytail"], *comb.beard(vertices, bearded)]
    for rest in [*found, *comb.brows(vertices, look), *comb.lashes(vertices, look)]:
        np.testing.assert_allclose(rest.barycentric.sum(1), 1.0)
        assert rest.barycentric.min() >= 0
        place = np.einsum("nc,ncd->nd", rest.barycentric, vertices[rest.corners])
        np.testing.assert_allclose(rest.fibres.points[:, 0], place, atol=3e-4)


def test_styles_are_as_long_as_their_names_say(heads_of_hair):
    def length(style: str | None) -> float:
        points = heads_of_hair[style][0].fibres.points
        return float(np.median(np.linalg.norm(np.diff(points, axis=1), axis=-1).sum(1)))

    lengths = [length(style) for style in ("buzz", "crop", "side_part", "bob", "long_straight")]
    assert sorted(lengths) == lengths
    assert lengths[0] < 0.01
    assert lengths[-1] > 0.25


def test_long_hair_moves_with_the_shoulders_and_short_hair_with_the_skin(heads_of_hair):
    for style in ("buzz", "crop", "afro", "quiff"):
        assert heads_of_hair[style][0].weights is None
    for style in ("long_straight", "long_wavy", "ponytail"):
        rest = heads_of_hair[style][0]
        weights = rest.weights
        assert weights is not None
        np.testing.assert_allclose(weights.sum(-1), 1.0)
        assert weights.min() >= 0
        of_head = weights[..., JOINTS.index("head")]
        np.testing.assert_allclose(of_head[:, 0], 1.0)
        low = rest.fibres.points[..., 1] < -0.21
        assert low.sum() > 500, style
        assert of_head[low].mean() < 0.15
        # No strand is torn: what moves a point moves its neighbour nearly as much.
        assert np.abs(np.diff(of_head, axis=1)).max() < 0.6


def test_hair_is_smooth_in_the_code(head: FaceModel, comb: Comb):
    """Twice the step, twice the change, and no strand jumps."""
    body = person(head)[1]
    start = code_with(hair_length=0.6, hair_wave=0.4)
    rng = np.random.default_rng(2)
    directions = [
        code_with(hair_length=1.0, hair_wave=0.5),
        code_with(hair_volume=1.0, fringe=1.0),
        code_with(parting=1.0),
    ]

    def grown(code: np.ndarray) -> dict[bytes, np.ndarray]:
        rest = comb.hair(head.vertices(code[:40]).astype(float), body, look_of(code, head))[0]
        return dict(zip([row.tobytes() for row in rest.barycentric], rest.fibres.points, strict=True))

    here = grown(start)
    for direction in (*directions, np.r_[rng.standard_normal(40), np.zeros(24)]):
        found = [here, grown(start + 0.004 * direction), grown(start + 0.008 * direction)]
        same = sorted(set.intersection(*map(set, found)))
        assert len(same) > 0.97 * max(map(len, found))  # where the hairline or the parting moves, some come or go
        first, second, third = (np.stack([hair[name] for name in same]) for hair in found)
        once, twice = (np.linalg.norm(other - first, axis=-1) for other in (second, third))
        assert np.median(twice) == pytest.approx(2 * np.median(once), rel=0.1)
        assert np.quantile(once, 0.99) < 1e-3


def test_the_parting_and_the_bald_crown_are_bare(head: FaceModel, comb: Comb, heads_of_hair):
    vertices, body, look = person(head)

    def on_top(style: str, low: float, high: float) -> int:
        root = comb.hair(vertices, body, dataclasses.replace(look, parting=0.0), style)[0].fibres.points[:, 0]
        top = (root[:, 1] > 0.085) & (root[:, 2] > -0.01) & (root[:, 2] < 0.06)
        return int((top & (np.abs(root[:, 0]) >= low) & (np.abs(root[:, 0]) < high)).sum())

    assert on_top("long_middle", 0.0, 0.0012) / 1.2 < 0.35 * on_top("long_middle", 0.004, 0.016) / 12
    rim = heads_of_hair["horseshoe"][0].fibres.points[:, 0]
    assert rim[:, 1].max() < 0.085
    assert (np.abs(rim[:, 0]) > 0.03).any()


def test_styles_suit_their_wearers(head: FaceModel):
    look = look_of(np.zeros(64), head)
    woman = dataclasses.replace(look, masculinity=0.05, hair_length=0.27, wave=0.1, recession=0.0)
    man = dataclasses.replace(look, masculinity=0.95, hair_length=0.03, wave=0.1, recession=0.9)
    for wearer in (look, woman, man):
        weights = likely_styles(wearer)
        assert list(weights) == list(STYLES)
        assert sum(weights.values()) == pytest.approx(1.0)
        assert min(weights.values()) >= 0
    hers, his = likely_styles(woman), likely_styles(man)
    assert sum(hers[s] for s in ("long_straight", "long_middle", "ponytail", "bun", "long_fringe", "bob")) > 0.5
    for style in ("bald", "horseshoe"):
        assert his[style] > 0.1 > 0.005 > hers[style]
        assert likely_styles(dataclasses.replace(man, recession=0.1))[style] < 0.3 * his[style]
    curly = dataclasses.replace(look, masculinity=0.5, wave=0.97, hair_length=0.07)
    assert likely_styles(curly)["afro"] > 10 * likely_styles(dataclasses.replace(curly, wave=0.05))["afro"]
    assert scalp_shade("bald", man) < scalp_shade("long_straight", man) < scalp_shade("buzz", man)


def test_a_beard_needs_a_man_and_starts_at_the_mouth(head: FaceModel, comb: Comb):
    vertices, _, look = person(head)

    def roots(amount: float) -> np.ndarray:
        found = comb.beard(vertices, dataclasses.replace(look, beard=amount))
        return np.concatenate([np.zeros((0, 3)), *(rest.fibres.points[:, 0] for rest in found)])

    assert len(roots(0.0)) == 0
    weak, full = roots(0.3), roots(0.95)
    assert 50 < len(weak) < 0.6 * len(full)
    assert np.abs(weak[:, 0]).mean() < 0.7 * np.abs(full[:, 0]).mean()
    long, short = (
        comb.beard(vertices, dataclasses.replace(look, beard=0.95, beard_length=length))[0].fibres.points
        for length in (0.02, 0.003)
    )
    assert long[..., 1].min() < short[..., 1].min() - 0.005


def test_brows_follow_the_look(head: FaceModel, comb: Comb):
    vertices, _, look = person(head)

    def brows(**change: float):
        return comb.brows(vertices, dataclasses.replace(look, **change))[0].fibres

    assert len(brows(brow_thickness=1.4).points) > 1.2 * len(brows(brow_thickness=0.7).points)
    assert brows(brow_arch=0.9).points[:, 0, 1].mean() > brows(brow_arch=-0.9).points[:, 0, 1].mean() + 0.001
    points = brows().points
    left = points[points[:, 0, 0] > 0]
    assert ((left[:, -1, 0] - left[:, 0, 0]) > 0).mean() > 0.95  # away from the nose
    assert 0.3 < len(left) / len(points) < 0.7


def test_lashes_grow_from_the_lids_and_leave_the_eye_free(head: FaceModel, comb: Comb):
    vertices, _, look = person(head)
    for side, rest in zip(("left_eye", "right_eye"), comb.lashes(vertices, look), strict=True):
        points = rest.fibres.points
        centre, radius = ball(vertices[np.unique(head.faces[head.parts[side]])])
        assert np.abs(np.linalg.norm(points[:, 0] - centre, axis=1) - radius).max() < 0.003  # on the edge of the lid
        assert np.linalg.norm(points[:, -1] - centre, axis=1).min() > radius + 0.0005
        upper = np.arange(len(points)) < 110
        assert points[upper, 0, 1].mean() > points[~upper, 0, 1].mean() + 0.004
        assert (points[:, -1, 1] > points[:, 0, 1])[upper].mean() > 0.9
        assert (points[:, -1, 1] < points[:, 0, 1])[~upper].mean() > 0.9
        lengths = np.linalg.norm(np.diff(points, axis=1), axis=-1).sum(1)
        assert lengths[upper].mean() > 1.3 * lengths[~upper].mean()
        assert 0.0015 < lengths.min() < lengths.max() < 0.013
        assert (points[:, -1, 2] > points[:, 0, 2]).mean() > 0.9  # forwards


def test_distances_to_a_sphere():
    """The grid of distances against the closed form, inside and out."""
    rng = np.random.default_rng(3)
    normals = rng.standard_normal((6000, 3))
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    skin = Skin(0.09 * normals, normals, np.zeros((0, 3)))
    radii = rng.uniform(0.075, 0.112, 6000)
    distance, away = skin.at(radii[:, None] * normals)
    np.testing.assert_allclose(distance, radii - 0.09, atol=1.2e-3)
    assert (away * normals).sum(1).min() > 0.97
    pushed = skin.push_out(0.088 * normals, np.full(6000, 0.004))
    np.testing.assert_allclose(np.linalg.norm(pushed, axis=1), 0.094, atol=1.2e-3)


def test_normals_of_a_cube_corner_point_outwards():
    vertices = np.array([[0.0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]])
    faces = np.array([[0, 2, 1], [0, 3, 2], [0, 1, 3], [1, 2, 3]])
    np.testing.assert_allclose(vertex_normals(vertices, faces)[0], -np.ones(3) / np.sqrt(3), atol=1e-6)
