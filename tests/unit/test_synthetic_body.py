# SPDX-License-Identifier: Apache-2.0
"""Clothes outside the skin, teeth inside the mouth, eyes that look ahead, glasses that touch nothing."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
import trimesh
from scipy.spatial import KDTree

from neural_core.human.anny import load_anny_head
from neural_core.human.arkit import ACTIONS
from neural_core.human.bust import Torso, build_torso, load_bust
from neural_core.records import CLOTH, JOINTS, SKIN
from neural_core.records import GLASSES as REGION
from training.synthetic.cloth import cut, down_from_neck
from training.synthetic.eyeballs import IRIS, ball, eyeball, paint
from training.synthetic.figure import RestPart
from training.synthetic.garments import GARMENTS, garments
from training.synthetic.glasses import GLASSES, glasses
from training.synthetic.looks import Look, look_of
from training.synthetic.shapes import disc, tube
from training.synthetic.teeth import teeth

MODEL = load_anny_head()
SIDES = ("left_eye", "right_eye")


@cache
def person(seed: int) -> tuple[np.ndarray, Torso, Look]:
    """Seed -1 is the mean person."""
    code = np.zeros(64) if seed < 0 else np.random.default_rng(seed).standard_normal(64)
    vertices = MODEL.vertices(code[:40]).astype(np.float64)
    return vertices, build_torso(MODEL, vertices, code[:40]), look_of(code, MODEL)


def meshes(parts: list[RestPart]) -> dict[str, trimesh.Trimesh]:
    return {rest.part.name: trimesh.Trimesh(rest.part.vertices, rest.part.faces, process=False) for rest in parts}


def acted(vertices: np.ndarray, **actions: float) -> np.ndarray:
    values = np.zeros(52)
    for name, value in actions.items():
        values[ACTIONS.index(name)] = value
    return vertices + MODEL.expressiondirs @ values


def skin_of(vertices: np.ndarray, torso: Torso) -> trimesh.Trimesh:
    faces = np.concatenate([MODEL.faces[MODEL.parts["skin"]], torso.faces])
    return trimesh.Trimesh(np.concatenate([vertices, torso.vertices]), faces, process=False)


def height_over(mesh: trimesh.Trimesh, points: np.ndarray) -> np.ndarray:
    """Distance of points from the nearest place of a mesh, negative behind its face."""
    near = KDTree(mesh.triangles_center).query(points, 24)[1]
    triangles = mesh.triangles[near].reshape(-1, 3, 3)
    places = trimesh.triangles.closest_point(triangles, np.repeat(points, 24, 0)).reshape(-1, 24, 3)
    distance = np.linalg.norm(places - points[:, None], axis=2)
    # At an edge two faces are equally near; the one that faces the point more decides.
    side = ((points[:, None] - places) * mesh.face_normals[near]).sum(2)
    best = distance < distance.min(1, keepdims=True) + 1e-7
    side = np.where(best, side, 0)
    facing = np.take_along_axis(side, np.abs(side).argmax(1)[:, None], 1)[:, 0]
    return distance.min(1) * np.sign(facing + 1e-12)


def crossings(mesh: trimesh.Trimesh, points: np.ndarray, towards: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """How far along a ray from each point [n] the last face is that it meets (0: none), and which (Moeller 1997)."""
    corner, edge, other = mesh.triangles[:, 0], *(mesh.triangles[:, k] - mesh.triangles[:, 0] for k in (1, 2))
    across = np.cross(towards, other)
    scale = (edge * across).sum(1)
    scale[np.abs(scale) < 1e-15] = np.inf
    start = points[:, None] - corner
    u = (start * across).sum(2) / scale
    turned = np.cross(start, edge)
    v, t = (turned @ towards) / scale, (turned * other).sum(2) / scale
    hit = np.where((u >= 0) & (v >= 0) & (u + v <= 1) & (t > 0), t, 0)
    return hit.max(1), hit.argmax(1)


def around_the_mouth(mesh: trimesh.Trimesh) -> trimesh.Trimesh:
    low, high = [-0.075, -0.18, 0.01], [0.075, -0.025, 0.13]
    near = ((mesh.triangles_center > low) & (mesh.triangles_center < high)).all(1)
    return trimesh.Trimesh(mesh.vertices, mesh.faces[near], process=False)


def around_the_eyes(mesh: trimesh.Trimesh) -> trimesh.Trimesh:
    near = (np.abs(mesh.triangles_center - [0, 0, 0.07]) < [0.06, 0.03, 0.04]).all(1)
    return trimesh.Trimesh(mesh.vertices, mesh.faces[near], process=False)


# -- clothes -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", GARMENTS)
def test_every_garment_is_skinned_cloth_of_the_look(kind: str):
    _, torso, look = person(1)
    for rest in garments(torso, look, kind):
        part = rest.part
        assert part.region == CLOTH
        assert part.material.kind == "cloth"
        assert part.faces.min() == 0
        assert part.faces.max() == len(part.vertices) - 1
        assert np.isfinite(part.vertices).all()
        assert rest.weights.shape == (len(part.vertices), len(JOINTS))
        np.testing.assert_allclose(rest.weights.sum(1), 1, atol=1e-5)
        if part.material.texture is not None:
            assert part.uv is not None
            assert part.uv.shape == (len(part.faces), 3, 2)
            assert part.uv.min() >= 0
            assert part.uv.max() <= 1
            # A face covers the texture as the cloth covers the body: no triangle runs across a seam.
            assert np.ptp(part.uv, axis=1).max() < 0.08


@pytest.mark.parametrize(("kind", "seed"), [("crew", 1), ("tank", 2), ("shirt", 3), ("hoodie", 4), ("jacket", 5)])
def test_cloth_lies_outside_of_the_skin(kind: str, seed: int):
    vertices, torso, look = person(seed)
    skin = skin_of(vertices, torso)
    rng = np.random.default_rng(0)
    for name, mesh in meshes(garments(torso, look, kind)).items():
        # Between the vertices, too: points inside the triangles. In the armpits the arms press on the cloth.
        faces = mesh.faces[rng.choice(len(mesh.faces), 500)]
        points = np.einsum("nc,ncd->nd", rng.dirichlet([1, 1, 1], 500), mesh.vertices[faces])
        over = height_over(skin, points[(np.abs(points[:, 0]) < 0.12) | (points[:, 1] > -0.27)])
        assert over.min() > 0.0005, name
        assert over.max() < 0.075, name


def test_a_crew_neck_is_round_and_a_v_neck_is_not():
    _, torso, look = person(-1)
    lowest = {}
    for kind in ("crew", "v_neck", "tank", "turtleneck"):
        cloth = meshes(garments(torso, look, kind))["cloth"]
        front = (np.abs(cloth.vertices[:, 0]) < 0.004) & (cloth.vertices[:, 2] > -0.03)
        lowest[kind] = cloth.vertices[front, 1].max()
    assert lowest["turtleneck"] > lowest["crew"] > lowest["tank"] > lowest["v_neck"] > -0.36
    assert lowest["crew"] > -0.25


def test_arms_are_bare_where_they_should_be():
    _, torso, look = person(-1)
    arm = load_bust().weights[:, JOINTS.index("left_shoulder")] > 0.98
    below = torso.vertices[arm & (torso.vertices[:, 1] < -0.47)]
    near = {}
    for kind in ("tank", "crew", "shirt"):
        cloth = meshes(garments(torso, look, kind))["cloth"].vertices
        near[kind] = np.linalg.norm(below[:, None] - cloth[None, ::3], axis=2).min(1).mean()
    assert near["tank"] > 0.05
    assert near["crew"] > 0.03
    assert near["shirt"] < 0.02


def test_cutting_along_a_plane_leaves_the_plane_as_the_rim():
    piece = cut(lambda p: -0.30 - p[:, 1])
    assert piece.places[:, 1].max() < -0.30 + 1e-6
    np.testing.assert_allclose(np.asarray(piece.from_fine.sum(1)).ravel(), 1, atol=1e-12)
    rim = piece.places[np.unique(piece.edges)]
    upper = rim[:, 1] > -0.33
    assert upper.sum() > 60
    np.testing.assert_allclose(rim[upper, 1], -0.30, atol=1e-5)
    # Nothing is lost or doubled: both halves together have the area of the whole.
    other, every = cut(lambda p: p[:, 1] + 0.30), cut(lambda p: p[:, 1] + 9)
    areas = [trimesh.Trimesh(p.places, p.faces, process=False).area for p in (piece, other, every)]
    assert abs(areas[0] + areas[1] - areas[2]) < 1e-4 * areas[2]


def test_distance_down_from_the_neck_is_a_way_along_the_skin():
    template = load_bust().template.astype(np.float64)
    distance = down_from_neck(template)
    loop = MODEL.v_template[load_bust().loop]
    straight = np.linalg.norm(template[:, None] - loop, axis=2).min(1)
    assert distance.min() >= 0
    assert (distance > straight - 0.03).all()  # no shorter than through the body (from one ring further down)
    middle = (np.abs(template[:, 0]) < 0.002) & (template[:, 2] > 0)
    line = template[middle][np.argsort(-template[middle, 1])]
    walked = np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(line, axis=0), axis=1))])
    found = down_from_neck(line)
    assert np.abs((found - found[0]) - walked).max() < 0.08 * walked.max()


# -- teeth -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(20))
def test_teeth_stay_inside_the_closed_mouth(seed: int):
    """Skin is before every tooth, from the front and from the sides.

    Lips part by a hair's breadth: a point is only outside if it is seen from above, from below and from between.
    """
    vertices, torso, _ = person(seed)
    skin = around_the_mouth(skin_of(vertices, torso))
    for name, mesh in meshes(teeth(MODEL, vertices)).items():
        points = mesh.vertices[seed % 5 :: 17]
        for across in (0, 0.8):
            hidden = [crossings(skin, points, np.array([across, up, 0.6]))[0] > 0.001 for up in (-0.25, 0, 0.25)]
            assert np.any(hidden, 0).all(), (name, across)


@pytest.mark.parametrize("seed", range(0, 20, 4))
def test_lower_teeth_go_with_the_jaw_and_not_through_the_lip(seed: int):
    vertices, torso, _ = person(seed)
    rests = {rest.part.name: rest for rest in teeth(MODEL, vertices)}
    lower = rests["lower_teeth"]
    assert set(lower.actions) == {"jawOpen", "jawForward", "jawLeft", "jawRight"}
    assert not rests["upper_teeth"].actions
    for name, direction in (("jawOpen", [0, -1, 0]), ("jawLeft", [1, 0, 0]), ("jawForward", [0, 0, 1])):
        chin = MODEL.landmarks(acted(vertices, **{name: 1}), "68")[8] - MODEL.landmarks(vertices, "68")[8]
        front = lower.part.vertices[:, 2] > lower.part.vertices[:, 2].max() - 0.01
        moved = lower.actions[name][front].mean(0)
        assert moved @ direction > 0.3 * chin @ direction > 0
    for value in (0.3, 1.0):
        opened = around_the_mouth(skin_of(acted(vertices, jawOpen=value), torso))
        points = (lower.part.vertices + value * lower.actions["jawOpen"])[::17]
        # From below and in front, lip, chin and throat hide every tooth.
        assert (crossings(opened, points, np.array([0, -0.85, 0.53]))[0] > 0.001).mean() > 0.97


def test_teeth_are_28_separate_ones_that_do_not_overlap_much_and_face_outwards():
    vertices, _, _ = person(-1)
    found = meshes(teeth(MODEL, vertices))
    for name in ("upper_teeth", "lower_teeth"):
        single = found[name].split(only_watertight=False)
        assert len(single) == 14
        assert all(tooth.volume > 0 for tooth in single)
        widths = sorted(tooth.bounding_box.extents[0] for tooth in single)
        assert 0.004 < widths[0] < widths[-1] < 0.014
        # Mirror images of each other.
        centres = np.stack([tooth.vertices.mean(0) for tooth in single])
        away = np.linalg.norm(centres[:, None] - centres * [-1, 1, 1], axis=2).min(1)
        assert away.max() < 1e-3
    upper, lower = (found[f"{row}_teeth"].vertices for row in ("upper", "lower"))
    assert 0.001 < upper[:, 2].max() - lower[:, 2].max() < 0.006  # the upper ones bite in front
    assert 0 < lower[np.abs(lower[:, 0]) < 0.01, 1].max() - upper[np.abs(upper[:, 0]) < 0.01, 1].min() < 0.006


# -- eyes --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", [-1, 0, 1, 2])
def test_eyes_are_round_and_the_iris_is_in_front(seed: int):
    vertices, _, look = person(seed)
    for side in SIDES:
        own = vertices[np.unique(MODEL.faces[MODEL.parts[side]])]
        centre, radius = ball(own)
        assert np.abs(np.linalg.norm(own - centre, axis=1) - radius).max() < 0.001
        eye, cornea = eyeball(MODEL, vertices, side, look)
        assert (eye.part.region, eye.part.material.kind, cornea.part.material.kind) == (SKIN, "eye", "cornea")
        assert np.all(eye.weights[:, JOINTS.index(side)] == 1)
        assert np.all(cornea.weights.sum(1) == 1)
        mesh = trimesh.Trimesh(eye.part.vertices, eye.part.faces, process=False)
        assert mesh.volume == pytest.approx(4 / 3 * np.pi * radius**3, rel=0.03)  # outwards, and nearly a ball
        clear = trimesh.Trimesh(cornea.part.vertices, cornea.part.faces, process=False)
        assert clear.face_normals[:, 2].min() > 0.5
        assert np.all(np.linalg.norm(cornea.part.vertices - centre, axis=1) > radius)
        # Where the gaze leaves the ball the texture is at its middle, which is the pupil.
        assert eye.part.uv is not None
        nearest = np.linalg.norm(eye.part.vertices - centre - [0, 0, radius], axis=1)[eye.part.faces].argmin()
        np.testing.assert_allclose(eye.part.uv.reshape(-1, 2)[nearest], 0.5, atol=1e-6)


def test_the_painted_iris_is_as_wide_as_a_persons():
    vertices, _, look = person(-1)
    eye = eyeball(MODEL, vertices, "left_eye", look)[0].part
    texture, uv = eye.material.texture, eye.uv
    assert texture is not None
    assert uv is not None
    corners = eye.vertices[eye.faces].reshape(-1, 3)
    size = texture.shape[0]
    column, row = (uv.reshape(-1, 2)[:, 0] * size).astype(int), ((1 - uv.reshape(-1, 2)[:, 1]) * size).astype(int)
    seen = texture[np.clip(row, 0, size - 1), np.clip(column, 0, size - 1)].sum(1)
    middle = (corners - corners.mean(0))[:, :2] - (corners - corners.mean(0))[:, :2].mean(0)
    distance = np.hypot(*(middle - middle[corners[:, 2].argmin()]).T)
    front = corners[:, 2] > corners[:, 2].max() - 0.006
    dark = front & (seen < 0.5 * seen.max())
    assert 0.9 * IRIS < distance[dark].max() < 1.15 * IRIS
    assert pytest.approx(0.0059) == IRIS
    assert texture.min() >= 0
    assert texture.max() <= 1


def test_eyes_have_the_looks_colour_and_mirror_each_other():
    vertices, _, _ = person(-1)
    brown, blue = (look_of(code, MODEL) for code in (np.zeros(64), np.zeros(64)))
    blue = type(blue)(**{**blue.__dict__, "iris": np.array([0.08, 0.16, 0.32])})
    brown = type(brown)(**{**brown.__dict__, "iris": np.array([0.10, 0.045, 0.015])})
    rings = []
    for look in (brown, blue):
        texture = paint(look, 0.0165)
        size = texture.shape[0]
        line = np.arange(size) - (size - 1) / 2
        away = np.hypot(*np.meshgrid(line, line)) / size
        rings.append(texture[(away > 0.12) & (away < 0.15)].mean(0))
    assert rings[0][0] > 1.5 * rings[0][2]
    assert rings[1][2] > 1.5 * rings[1][0]
    left, right = (eyeball(MODEL, vertices, side, blue)[0].part.material.texture for side in SIDES)
    assert left is not None
    assert right is not None
    assert np.abs(left - right[:, ::-1]).mean() < 0.001  # both eyes of the mean person are nearly equal in size


@pytest.mark.parametrize("seed", range(4))
def test_the_cornea_stays_behind_closed_lids(seed: int):
    vertices, torso, look = person(seed)
    closed = around_the_eyes(skin_of(acted(vertices, eyeBlinkLeft=1, eyeBlinkRight=1), torso))
    for side in SIDES:
        points = eyeball(MODEL, vertices, side, look)[1].part.vertices[::7]
        assert (crossings(closed, points, np.array([0.0, 0.0, 1.0]))[0] > 0).mean() > 0.97


# -- glasses -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", GLASSES)
@pytest.mark.parametrize("seed", [-1, 0, 1, 2])
def test_glasses_touch_neither_eyes_nor_face(kind: str, seed: int):
    vertices, torso, _ = person(seed)
    rests = glasses(MODEL, vertices, kind)
    assert [rest.part.region for rest in rests] == [REGION, REGION]
    assert [rest.part.material.kind for rest in rests] == ["frame", "lens"]
    for rest in rests:
        assert np.all(rest.weights[:, JOINTS.index("head")] == 1)
        assert np.all(rest.weights.sum(1) == 1)
    frame, lens = meshes(rests).values()
    skin = skin_of(vertices, torso)
    assert height_over(skin, lens.vertices).min() > 0.001
    for side in SIDES:
        centre, radius = ball(vertices[np.unique(MODEL.faces[MODEL.parts[side]])])
        assert np.linalg.norm(np.concatenate([frame.vertices, lens.vertices]) - centre, axis=1).min() > radius + 0.006
        # The gaze goes through a lens, from the eye outwards, two fingers' width at most in front of it.
        away, face = crossings(lens, centre[None], np.array([0.0, 0.0, 1.0]))
        assert 0.008 < away[0] - radius < 0.032
        assert lens.face_normals[face[0], 2] > 0.9
    # Bridge and rims stand off the face; only pads and the tips behind the ears may touch.
    front = frame.vertices[(frame.vertices[:, 2] > 0.03)]
    over = height_over(skin, front)
    assert (over > 0).mean() > 0.985
    assert over.min() > -0.004


@pytest.mark.parametrize("seed", [-1, 3])
def test_temples_reach_the_ears_and_the_bridge_the_nose(seed: int):
    vertices, _, _ = person(seed)
    frame = meshes(glasses(MODEL, vertices, "square"))["glasses"]
    ears = np.abs(MODEL.v_template[:, 0]) > 0.078
    for side in (1, -1):
        ear = vertices[ears & (side * vertices[:, 0] > 0)]
        tip = frame.vertices[(side * frame.vertices[:, 0] > 0.05) & (frame.vertices[:, 2] < 0.0)]
        assert len(tip)
        assert np.linalg.norm(tip[:, None] - ear[None], axis=2).min() < 0.008
    ridge = MODEL.landmarks(vertices, "478")[168]
    middle = frame.vertices[np.abs(frame.vertices[:, 0]) < 0.003]
    assert np.linalg.norm(middle - ridge, axis=1).min() < 0.012


def test_an_even_face_gives_even_glasses():
    vertices = MODEL.v_template.astype(np.float64)
    for rest in glasses(MODEL, vertices, "round"):
        points = rest.part.vertices
        away = np.linalg.norm(points[:, None] - points[None] * [-1, 1, 1], axis=2).min(1)
        assert np.percentile(away, 95) < 0.003


# -- shapes ------------------------------------------------------------------------------------------------------------


def test_a_closed_tube_is_a_torus_and_an_open_one_a_bar():
    angle = np.linspace(0, 2 * np.pi, 200, endpoint=False)
    ring = np.stack([np.cos(angle), np.sin(angle), 0 * angle], 1)
    torus = trimesh.Trimesh(*tube(ring, 0.1, 0.2, np.array([0.0, 0.0, 1.0]), closed=True), process=False)
    assert torus.is_watertight
    flat = np.stack([np.linspace(0, 3, 5), np.zeros(5), np.zeros(5)], 1)
    bar = trimesh.Trimesh(*tube(flat, 0.1, 0.2, np.array([0.0, 0.0, 1.0])), process=False)
    assert bar.is_watertight
    # Pappus: the torus is as long as its middle line; both have the same section.
    assert bar.volume > 0 < torus.volume
    assert torus.volume / bar.volume == pytest.approx(2 * np.pi / 3, rel=1e-2)
    np.testing.assert_allclose(bar.bounds, [[0, -0.05, -0.1], [3, 0.05, 0.1]], atol=0.006)


def test_a_disc_has_the_area_of_its_outline():
    angle = np.linspace(0, 2 * np.pi, 90, endpoint=False)
    circle = trimesh.Trimesh(*disc(np.stack([np.cos(angle), np.sin(angle), 0 * angle], 1), np.zeros(3)), process=False)
    assert circle.area == pytest.approx(45 * np.sin(2 * np.pi / 90), rel=1e-9)
    assert circle.face_normals[:, 2].min() > 0.999
