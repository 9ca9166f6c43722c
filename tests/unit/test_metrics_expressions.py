# SPDX-License-Identifier: Apache-2.0
"""Whether a face does what it is asked, read off pictures: distances, lines, shapes, colours, and the two judges."""

import dataclasses
import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path

import imageio.v3 as iio
import numpy as np
import pytest
import scipy.spatial
import scipy.stats
import torch

from neural_core import systems
from neural_core.cameras import Camera, orbit
from neural_core.human.anny import load_anny_head
from neural_core.human.arkit import ACTIONS
from neural_core.records import Record
from neural_core.systems.common import Control, Field, Portrait, Rendering, SystemInfo
from tests.spheres import write_spheres
from tests.tiny_models import save_tiny, save_tiny_next3d
from training.evaluate import main
from training.metrics import judge_expressions
from training.metrics.expressions import (
    EXPRESSIONS,
    PATCHES,
    READ,
    STILL,
    STRENGTH,
    colour_distance,
    face_shape,
    line_within,
    read_expression,
    rig_values,
    shape_distance,
    skin_and_hair,
)
from training.metrics.sources import Seeds
from training.metrics.subject import Subject

PEOPLE, VIEWS, SIZE, SEEDS = 5, 3, 16, 5


def acted(**actions: float) -> np.ndarray:
    """FaceMesh's points of the mean head from the front, without perspective, with some actions."""
    return _acted(**actions).copy()


@cache
def _acted(**actions: float) -> np.ndarray:
    face = load_anny_head()
    values = np.zeros(52)
    for name, value in actions.items():
        values[ACTIONS.index(name)] = value
    points = face.landmarks(face.v_template + face.expressiondirs @ values, "478")
    return points[:, :2] * [2, -2] + 0.5


@pytest.mark.parametrize("number", range(len(READ)), ids=list(READ))
def test_what_is_read_rises_with_its_action_and_more_than_with_others(number):
    rest = read_expression(acted())[number]
    half, full = (
        {name: read_expression(acted(**dict.fromkeys(actions, at)))[number] - rest for name, actions in READ.items()}
        for at in (0.4, 0.8)
    )
    own = list(READ)[number]
    assert 0.08 < half[own] < full[own]
    assert all(abs(full[name]) < full[own] / 2 for name in READ if name != own)


def test_what_is_read_are_distances_and_no_turn_or_size_changes_them():
    points = acted(jawOpen=0.4, mouthSmileLeft=0.3)
    eyes = np.linalg.norm(points[[362, 263]].mean(0) - points[[33, 133]].mean(0))
    lips, lids, smile = read_expression(points)
    assert lips * eyes == pytest.approx(np.hypot(*(points[13] - points[14])))
    gaps = [np.hypot(*(points[a] - points[b])) for a, b in ((159, 145), (386, 374))]
    assert -lids * np.hypot(*(points[168] - points[2])) == pytest.approx(np.mean(gaps))
    # The head is upright: height is measured along the picture's own axis, but for a degree or so.
    above = points[[13, 14], 1].mean() - points[[61, 291], 1].mean()
    assert smile * eyes == pytest.approx(np.hypot(*(points[61] - points[291])) + 2 * above, rel=0.02)
    turn = np.array([[np.cos(0.4), -np.sin(0.4)], [np.sin(0.4), np.cos(0.4)]])
    np.testing.assert_allclose(read_expression(points @ turn.T * 0.3 + [3, 1]), [lips, lids, smile], rtol=1e-9)


def test_the_rigs_values_are_means_of_both_sides():
    actions = np.zeros((2, 52))
    actions[1, [ACTIONS.index(name) for name in ("jawOpen", "eyeBlinkLeft", "mouthSmileRight")]] = 0.8, 0.6, 0.2
    np.testing.assert_allclose(rig_values(actions), [[0, 0, 0], [0.8, 0.3, 0.1]])


def test_the_line_is_that_of_least_squares_with_a_constant_for_each_person():
    rng = np.random.default_rng(0)
    person = rng.integers(0, 7, 60)
    cause = rng.standard_normal(60) + person
    effect = 0.3 * cause - 2 * person + 0.2 * rng.standard_normal(60)
    found = line_within(cause, effect, person)
    own = (person[:, None] == np.arange(7)).astype(float)
    solution = np.linalg.lstsq(np.column_stack([cause, own]), effect, rcond=None)[0]
    assert found.slope == pytest.approx(solution[0])
    left = [values - own @ np.linalg.lstsq(own, values, rcond=None)[0] for values in (cause, effect)]
    assert found.correlation == pytest.approx(scipy.stats.pearsonr(*left)[0])
    assert line_within(person.astype(float), effect, person) is None, "nothing varies within a person"


def test_the_distance_of_shapes_is_procrustes():
    rng = np.random.default_rng(0)
    first, second = acted() + 0.05 * rng.standard_normal((2, 478, 2))
    expected = scipy.spatial.procrustes(first[list(STILL)], second[list(STILL)])[2] ** 0.5
    found = shape_distance(face_shape(first), face_shape(second))
    assert found == pytest.approx(expected, abs=1e-6)
    turned = first @ np.array([[0, -3.0], [3.0, 0]]) + 5
    assert shape_distance(face_shape(first), face_shape(turned)) == pytest.approx(0, abs=1e-6)


def test_colours_are_those_at_their_places():
    points = acted()
    size = 100
    picture = np.zeros((3, size, size))
    above = points[10] + 0.35 * (points[10] - points[168])
    for number, place in enumerate([*points[list(PATCHES)], above]):
        x, y = np.round(place * size).astype(int)
        picture[:, y - 4 : y + 4, x - 4 : x + 4] = np.array([0.1, 0.2, 0.3])[:, None, None] * number
    found = skin_and_hair(picture, points)
    np.testing.assert_allclose(found, np.arange(5)[:, None] * [0.1, 0.2, 0.3], atol=1e-9)
    assert colour_distance(found, 0.3 * np.eye(5, 3) + found) == pytest.approx(0.3 / 5**0.5)


class Actor:
    """An animatable system on top of a tiny one: its pictures are four stripes that say what it was asked, and who.

    Its mouth opens half as far as it should, its eyes close as they should but for a tremble, and it smiles the wrong
    way round. All of it is added to what the person looks like at rest.
    """

    def __init__(self, path: Path) -> None:
        self._still = systems.load(path)
        self.config, self.device, self.checkpoint_hash = self._still.config, self._still.device, "0"
        self.create, self.portrait_of = self._still.create, self._still.portrait_of
        self.creation_camera, self.to_head_space = self._still.creation_camera, self._still.to_head_space
        self.takes: tuple[str, ...] = ("actions",)
        self.asked: list[tuple[int, np.ndarray, Camera]] = []
        self.joints: list[float] = []

    @property
    def info(self) -> SystemInfo:
        controls = tuple(Control(name, 1, "", 0, 1, "what the face does") for name in self.takes)
        return dataclasses.replace(self._still.info, controls=controls)

    def pose(self, portrait: Portrait, controls: Mapping[str, torch.Tensor] | None = None) -> Field:
        field = self._still.pose(portrait)
        if controls is None:
            return field
        assert set(controls) == set(self.takes)
        self.joints += [float(turned[0, 0]) for name, turned in controls.items() if name == "joints"]
        seed = int(portrait.provenance.get("seed", 0))  # people of codes have none
        jaw, blink, smile = rig_values(controls["actions"].numpy()[None])[0]

        def render(camera: Camera, size: int) -> Rendering:
            self.asked.append((seed, controls["actions"].numpy(), camera))
            rest = 0.01 * seed
            shown = [rest + 0.5 * jaw, rest + blink + tremble(seed, blink), rest + 0.9 - smile, seed / 100]
            picture = torch.tensor(shown).float().repeat_interleave(size // 4).expand(1, 3, size, size) * 2 - 1
            covered = torch.ones(1, 1, size, size)
            return Rendering(picture, picture, picture, covered, covered)

        field.render = render
        return field


def tremble(seed: int, blink: float) -> float:
    return 0.1 * np.sin(100 * blink + seed)


def decode(pictures: torch.Tensor) -> list[np.ndarray | None]:
    """A detector whose landmarks read as the stripes' values."""
    found: list[np.ndarray | None] = []
    for picture in pictures.double().numpy():
        lips, lids, smile, who = picture[0, 0, :: picture.shape[2] // 4]
        points = acted()
        points[[33, 133, 362, 263]] = [[0.3, 0.4], [0.3, 0.4], [0.7, 0.4], [0.7, 0.4]]
        points[[168, 2]] = [[0.5, 0.4], [0.5, 0.6]]
        points[[13, 14]] = [[0.5, 0.7 - 0.2 * lips], [0.5, 0.7 + 0.2 * lips]]
        points[[61, 291]] = [[0.5 - 0.2 * smile, 0.7], [0.5 + 0.2 * smile, 0.7]]
        points[[159, 386]] = [[0.3, 0.4 - 0.2 * (1 - lids)], [0.7, 0.4 - 0.2 * (1 - lids)]]
        points[[145, 374]] = [[0.3, 0.4], [0.7, 0.4]]
        points[4] += [who, 0]  # the nose tells people apart
        found.append(points)
    return found


@pytest.fixture
def data(tmp_path):
    """People whose pictures' stripes say what they do; the last of each looks from the side and says nonsense."""
    folder = tmp_path / "data"
    write_spheres(folder, PEOPLE, VIEWS, SIZE, z_dim=64)
    rng = np.random.default_rng(1)
    for person in range(PEOPLE):
        path = folder / "records" / f"{person:06d}.npz"
        record = Record.load(path)
        actions = 0.8 * rng.random((VIEWS, 52)).astype(np.float32)
        values = np.column_stack([rig_values(actions), np.full(VIEWS, (person + 1) / 100)])
        values[2] = rng.random(4)
        for name, value in zip(record.images, values, strict=True):
            stripes = np.repeat(np.rint(value * 255), SIZE // 4).astype(np.uint8)
            iio.imwrite(folder / name, np.broadcast_to(stripes[None, :, None], (SIZE, SIZE, 3)))
        yaws = torch.tensor([0.0, 20.0, 45.0]) + person
        dataclasses.replace(
            record, cameras=orbit(yaws).label().numpy(), actions=actions,
            joints=np.full((VIEWS, 10, 3), person / 10, np.float32), alpha=np.full((VIEWS, SIZE, SIZE), 255, np.uint8),
        ).save(path)  # fmt: skip
    return folder


@pytest.fixture
def actor(tmp_path, monkeypatch):
    actor = Actor(save_tiny(tmp_path / "tiny.safetensors"))
    monkeypatch.setattr(systems, "load", lambda path, device: actor)
    monkeypatch.setattr(judge_expressions, "faces_in", decode)
    return actor


def evaluate(folder: Path, metrics: str, code: int = 0) -> dict:
    asked = ["--model", str(folder / "tiny.safetensors"), "--data", str(folder / "data"), "--metrics", metrics,
             "--seeds", str(SEEDS), "--compare-size", str(SIZE), "--device", "cpu",
             "--out", str(folder / "out")]  # fmt: skip
    assert main(asked) == code
    return json.loads((folder / "out" / "metrics.json").read_text())["figures"] if code == 0 else {}


def test_expressions_are_compared_with_the_rig_and_with_true_pictures(tmp_path, data, actor):
    actor.takes = ("actions", "joints")
    figures = evaluate(tmp_path, "expression-accuracy")
    assert len(actor.asked) == 5 * SEEDS
    records = [Record.load(path) for path in sorted((data / "records").glob("*.npz"))]
    of_person = {actions.tobytes(): person for person, record in enumerate(records) for actions in record.actions}
    expected = [of_person[actions.tobytes()] / 10 for _, actions, _ in actor.asked]
    np.testing.assert_allclose(actor.joints, expected, rtol=1e-6)
    labels = np.concatenate([record.cameras[:2] for record in records])
    known = {tuple(np.round(Camera.from_label(torch.from_numpy(row[None])).scaled(0.5).label()[0].tolist(), 4))
             for row in labels}  # fmt: skip
    used = {tuple(np.round(camera.label()[0].tolist(), 4)) for _, _, camera in actor.asked}
    assert used == known, "all pictures from the front, and no other"
    rig = rig_values(np.stack([actions for _, actions, _ in actor.asked]))
    seeds = np.array([seed for seed, _, _ in actor.asked])
    own = (seeds[:, None] == np.arange(SEEDS)).astype(float)
    trembles = [tremble(seed, blink) for seed, blink in zip(seeds, rig[:, 1], strict=True)]
    seen = {"jawOpen": 0.5 * rig[:, 0], "eyeBlink": rig[:, 1] + trembles, "mouthSmile": -rig[:, 2]}
    for number, name in enumerate(READ):
        slope = np.linalg.lstsq(np.column_stack([rig[:, number], own]), seen[name], rcond=None)[0][0]
        left = [values - own @ np.linalg.lstsq(own, values, rcond=None)[0] for values in (rig[:, number], seen[name])]
        assert figures[f"{name}_slope"]["value"] == pytest.approx(slope, abs=0.03)  # true pictures have 8 bits
        assert figures[f"{name}_correlation"]["value"] == pytest.approx(scipy.stats.pearsonr(*left)[0], abs=1e-3)
        assert figures[f"{name}_correlation_of_truth"]["value"] > 0.99
        assert figures[f"{name}_correlation_of_truth"]["count"] == 2 * PEOPLE, "each once, however often it was asked"
    assert figures["jawOpen_correlation"]["value"] > 0.99
    assert 0.3 < figures["eyeBlink_correlation"]["value"] < 0.99
    assert figures["mouthSmile_correlation"]["value"] < -0.99
    assert figures["expression_faces"]["value"] == 100


def test_pictures_without_a_face_are_counted_and_left_out(tmp_path, data, actor, monkeypatch):
    calls = []

    def misses_a_seed(pictures: torch.Tensor) -> list[np.ndarray | None]:
        calls.append(len(pictures))
        return [None] * len(pictures) if len(calls) == 3 else decode(pictures)  # two calls a seed: ours, then the true

    monkeypatch.setattr(judge_expressions, "faces_in", misses_a_seed)
    figures = evaluate(tmp_path, "expression-accuracy")
    assert figures["expression_faces"]["value"] == pytest.approx(100 * (1 - 1 / SEEDS))
    assert figures["jawOpen_correlation"]["count"] == 5 * (SEEDS - 1)
    assert figures["jawOpen_slope"]["value"] == pytest.approx(0.5, abs=0.02)


def test_a_person_is_compared_with_themselves_and_with_others(tmp_path, data, actor):
    figures = evaluate(tmp_path, "expression-identity")
    assert sorted({seed for seed, _, _ in actor.asked}) == list(range(SEEDS))
    asked = [actions for seed, actions, _ in actor.asked if seed == 3]
    assert [sorted(np.flatnonzero(actions)) for actions in asked] == [
        sorted(ACTIONS.index(name) for name in names) for names in EXPRESSIONS.values()
    ]
    assert {round(float(actions.max()), 3) for actions in asked} == {0.0, STRENGTH}
    assert figures["shape_across_expressions"]["value"] == pytest.approx(0, abs=1e-4), "only noses tell people apart"
    points = [decode(torch.full((1, 3, 4, 4), 0.5) * torch.tensor([1, 1, 1, seed / 50.0]))[0] for seed in range(SEEDS)]
    apart = [scipy.spatial.procrustes(a[list(STILL)], b[list(STILL)])[2] ** 0.5
             for i, a in enumerate(points) for b in points[i + 1 :]]  # fmt: skip
    assert figures["shape_between_people"]["value"] == pytest.approx(100 * np.median(apart), rel=1e-3)
    assert figures["shape_between_people"]["count"] == 5 * SEEDS * (SEEDS - 1) / 2
    assert figures["colour_across_expressions"]["value"] > 0
    ratio = figures["colour_across_expressions"]["value"] / figures["colour_between_people"]["value"]
    assert figures["identity_colour"]["value"] == pytest.approx(ratio)


def test_held_out_people_are_asked_for_the_expressions_of_their_pictures(tmp_path, data, actor, monkeypatch):
    figures = evaluate(tmp_path, "l1")
    records = [Record.load(path) for path in sorted((data / "records").glob("*.npz"))]
    expected = np.concatenate([record.actions for record in records])
    np.testing.assert_array_equal(np.stack([actions for _, actions, _ in actor.asked]), expected)
    assert figures["l1"]["count"] == PEOPLE * VIEWS
    monkeypatch.setattr(systems, "load", lambda path, device: actor._still)
    assert not evaluate(tmp_path, "l1"), "a still face cannot follow, and all these people move"


def test_next3d_can_be_measured(tmp_path):
    subject = Subject(systems.load(save_tiny_next3d(tmp_path / "x.safetensors")), SIZE)
    assert subject.animatable
    person = Seeds(subject, 1, 0.7, (0.0,))[0]
    actions = torch.zeros(2, 52)
    actions[1, ACTIONS.index("jawOpen")] = 1
    camera = subject.around([0.0, 0.0])
    pictures = person.acting(camera, actions, torch.zeros(2, 10, 3))
    torch.testing.assert_close(pictures[0], person.shown.views.picture[0])
    assert (pictures[1] - pictures[0]).abs().max() > 0.01


def test_what_is_missing_is_a_sentence(tmp_path, data, actor, monkeypatch, capsys):
    for path in (data / "records").glob("*.npz"):
        record = Record.load(path)
        dataclasses.replace(record, actions=np.zeros_like(record.actions)).save(path)
    evaluate(tmp_path, "expression-accuracy", code=1)
    assert "shows an expression from the front" in capsys.readouterr().err
    monkeypatch.setattr(systems, "load", lambda path, device: actor._still)
    evaluate(tmp_path, "expression-identity", code=2)
    assert '"eg3d" shows a still face' in capsys.readouterr().err
