# SPDX-License-Identifier: Apache-2.0
"""The worker's engine with a system that moves: what its controls do to pictures, surfaces and rigs."""

import dataclasses

import numpy as np
import pytest

from neural_core import protocol, rigs
from neural_core.cameras import orbit
from neural_core.errors import UsageError
from neural_core.human.arkit import ACTIONS
from neural_core.progress import silent
from neural_core.records import JOINTS
from neural_core.worker.engine import Engine
from tests import moving_ball, tiny_models

SIZE = 64
WIDE = {"actions": {"jawOpen": 1.0}}


@pytest.fixture
def engine(tmp_path, monkeypatch, sent):
    """An engine that knows the moving ball."""
    moving_ball.register(monkeypatch)
    monkeypatch.setenv("NEURAL_PORTRAIT_MODELS", str(tmp_path))
    moving_ball.save(tmp_path / "ball.safetensors")
    return Engine("cpu", sent.append)


@pytest.fixture
def sent():
    """What an engine sent before it was done."""
    return []


@pytest.fixture
def made(engine):
    """The answer to a request for the portrait "p"."""
    return ask(engine, protocol.Create(1, "ball", 3, 0.7, "p"))[-1]


def ask(engine, request):
    return list(engine.answer(request, silent))


def array(raw):
    return np.frombuffer(raw.data, "<" + raw.dtype).reshape(raw.shape)


def picture(engine, made, **controls):
    camera = tuple(made.fields["camera"])
    image, _ = ask(engine, protocol.Render(2, "p", camera, SIZE, controls=controls))
    return array(image.arrays["image"])


def test_create_says_that_it_moves_and_what_moves_it(made):
    assert made.fields["animatable"] is True
    assert [(c["name"], c["dimension"]) for c in made.fields["controls"]] == [("actions", 52), ("joints", 30)]


def test_the_picture_follows_the_actions_and_the_neck(engine, made):
    """Areas of discs and places of their middles, from the pinhole equations."""
    for jaw in (0.0, 0.5, 1.0):
        drawn = picture(engine, made, actions={"jawOpen": jaw})[..., 3] > 0
        radius = moving_ball.pixel_radius(moving_ball.RADIUS + moving_ball.GROWTH * jaw, SIZE)
        assert drawn.sum() == pytest.approx(np.pi * radius**2, rel=0.03)
    drawn = picture(engine, made, joints={"neck": [0.0, 0.25, 0.0]})[..., 3] > 0
    expected = SIZE / 2 + 4.2647 * 0.25 * moving_ball.SHIFT / moving_ball.DISTANCE * SIZE
    assert np.nonzero(drawn)[1].mean() + 0.5 == pytest.approx(expected, abs=0.3)


def test_the_models_own_background_is_the_picture_as_it_is_drawn(engine, made, monkeypatch):
    """A grey ball before black; what is cut out and what is whole come of one drawing."""
    drawn, drawing = [], engine._studio.drawing
    monkeypatch.setattr(engine._studio, "drawing", lambda *given: drawn.append(given[2]) or drawing(*given))
    cut = picture(engine, made)
    camera = tuple(made.fields["camera"])
    ball, (whole, _) = cut[..., 3] > 0, ask(engine, protocol.Render(2, "p", camera, SIZE, background="model"))
    pixels = array(whole.arrays["image"])
    assert (pixels[..., 3] == 255).all()
    assert (pixels[ball][:, :3] == 128).all()
    assert not pixels[~ball][:, :3].any()
    np.testing.assert_array_equal(picture(engine, made), cut)
    assert drawn == [SIZE]
    ask(engine, protocol.Render(2, "p", camera, 32, background="model"))
    picture(engine, made, **WIDE)
    picture(engine, made)
    assert drawn == [SIZE, 32, SIZE, SIZE]
    with pytest.raises(UsageError, match='no background "sky"'):
        ask(engine, protocol.Render(2, "p", camera, SIZE, background="sky"))


def test_the_same_controls_are_posed_once(engine, made):
    system = engine._held["p"].loaded.system
    before = system.posed
    for _ in range(3):
        picture(engine, made, **WIDE)
    assert system.posed == before + 1


def test_a_camera_that_moves_needs_no_planes_and_an_expression_only_its_own(tmp_path, monkeypatch, sent):
    tiny_models.save_tiny_next3d(tmp_path / "moving.safetensors")
    monkeypatch.setenv("NEURAL_PORTRAIT_MODELS", str(tmp_path))
    engine = Engine("cpu", sent.append)
    made = ask(engine, protocol.Create(1, "moving", 3, 0.7, "p"))[-1]
    generator, calls = engine._held["p"].loaded.system.generator, []
    for name in ("person", "instant"):
        plain = getattr(generator, name)
        monkeypatch.setattr(
            generator, name, lambda *args, name=name, plain=plain: (calls.append(name), plain(*args))[1]
        )

    def drawn(yaw, quality, **controls):
        camera = tuple(orbit(yaw, 0.0, 1.35).label()[0].tolist())
        calls.clear()
        ask(engine, protocol.Render(2, "p", camera, 32, quality, controls))
        return list(calls)

    assert len(made.fields["controls"]) == 2
    assert drawn(0.0, "draft") == []
    assert drawn(10.0, "draft") == drawn(20.0, "full") == []
    assert drawn(20.0, "draft", **WIDE) == ["instant"]
    assert drawn(20.0, "full", **WIDE) == drawn(0.0, "full", **WIDE) == []
    assert drawn(0.0, "draft", actions={"jawOpen": 0.5}) == ["instant"]


def test_a_surface_is_that_of_the_expression(engine, made):
    for jaw in (0.0, 1.0):
        done = ask(engine, protocol.Mesh(2, "p", 64, {"actions": {"jawOpen": jaw}}))[-1]
        radii = np.linalg.norm(array(done.arrays["vertices"]), axis=1)
        expected = moving_ball.surface_radius(moving_ball.RADIUS + moving_ball.GROWTH * jaw)
        assert np.median(radii) == pytest.approx(expected, abs=0.004)  # half a cell of the grid
        assert radii.std() < 0.002


def test_a_surface_at_rest_comes_back_when_the_rig_does_what_it_was_asked(engine, made):
    """Skinning as Blender does it, written out: bind, add the actions, turn joint after joint about its place."""
    asked = {"actions": {"jawOpen": 0.6, "mouthSmileLeft": 0.3}, "joints": {"jaw": [0.3, 0, 0], "neck": [0, 0.2, 0]}}
    arrays = {name: array(raw) for name, raw in ask(engine, protocol.Mesh(2, "p", 32, asked))[-1].arrays.items()}
    rig = {name.removeprefix("rig/"): array(raw).astype(float) for name, raw in made.arrays.items() if "/" in name}
    index, weight = arrays["bind_index"], arrays["bind_weight"]
    vertices = arrays["rest"].astype(float)
    for name, strength in asked["actions"].items():
        moved = rig["actions"][ACTIONS.index(name)]
        vertices += strength * np.einsum("nk,nki->ni", weight, moved[index])
    shares = np.einsum("nk,nkj->nj", weight, rig["weights"][index])
    result = np.zeros_like(vertices)
    names = made.fields["joint_names"]
    jaw, neck = turn(0, 0.3), turn(1, 0.2)
    places = dict(zip(names, rig["joints"], strict=True))
    # The skull stands still, so what the neck does is taken back from all: root and neck turn the other way.
    for joint, place in ((name, np.asarray(places[name])) for name in names):
        if joint == "root" or joint.endswith(("collar", "shoulder")):
            moved = (vertices - places["neck"]) @ neck + places["neck"]
        elif joint == "jaw":
            moved = (vertices - place) @ jaw.T + place
        else:  # the neck carries the head as one piece
            moved = vertices
        result += shares[:, [names.index(joint)]] * moved
    np.testing.assert_allclose(result, arrays["vertices"], atol=2e-6)
    assert np.abs(result - arrays["rest"]).max() > 0.005


def turn(axis, angle):
    """A rotation [3, 3] about x (0) or y (1)."""
    c, s = np.cos(angle), np.sin(angle)
    return np.array([[1, 0, 0], [0, c, -s], [0, s, c]] if axis == 0 else [[c, 0, s], [0, 1, 0], [-s, 0, c]])


def test_a_rig_that_is_asked_nothing_is_at_rest(engine, made):
    arrays = {name: array(raw) for name, raw in ask(engine, protocol.Mesh(2, "p", 32))[-1].arrays.items()}
    np.testing.assert_allclose(arrays["rest"], arrays["vertices"], atol=1e-6)
    rig = rigs.posed(engine._held["p"].portrait, {})
    np.testing.assert_allclose(rig.vertices, array(made.arrays["rig/vertices"]), atol=1e-6)


def test_joints_are_those_of_records():
    assert rigs.CONTROLS[1].dimension == 3 * len(JOINTS)


def test_a_photo_becomes_a_portrait_with_pictures_on_the_way(engine, sent, monkeypatch, tmp_path):
    """What fits the model has its own tests; here it is asked right, and its pictures and portrait go on."""
    from neural_core.fitting import reconstruct

    pictures = [np.full((4, 4, 4), shade, np.uint8) for shade in (1, 2)]
    asked = []

    def fit(studio, photo, options, report, on_preview, memory):
        asked.append((photo, options.model, options.length.latents, options.length.weights, options.frames))
        for picture in pictures:
            on_preview(picture, 10)
        portrait = studio.load(options.model, report).system.create(8)
        said = {"model": options.model, "psnr": 30.0, "notes": ["Far away."], "licence": "CC0-1.0"}
        return dataclasses.replace(portrait, provenance=said)

    monkeypatch.setattr(reconstruct, "reconstruct", fit)
    done = ask(engine, protocol.Reconstruct(7, "ball", str(tmp_path / "me.jpg"), "q", 3, 4, 60))[-1]
    assert asked == [(tmp_path / "me.jpg", "ball", 3, 4, 60)]
    assert [message.id for message in sent] == [7, 7]
    for message, picture in zip(sent, pictures, strict=True):
        np.testing.assert_array_equal(array(message.arrays["image"]), picture)
    assert (done.fields["seed"], done.fields["psnr"], done.fields["notes"]) == (None, 30.0, ["Far away."])
    assert done.fields["animatable"]
    opened = ask(engine, protocol.Open(8, "again", {"file": done.arrays["portrait"]}))[-1]
    assert opened.fields == done.fields
    assert isinstance(ask(engine, protocol.Render(9, "q", tuple(done.fields["camera"]), SIZE))[-1], protocol.Done)


def test_a_style_makes_another_portrait_of_the_same_person(engine, made, sent, monkeypatch):
    from neural_core.fitting import clip, stylise

    asked = []

    class Work:
        def __init__(self, portrait):
            self._portrait = portrait

        def portrait(self):
            return dataclasses.replace(self._portrait, provenance={**self._portrait.provenance, "style": "x"})

    def learn(system, judge, options, portrait, report, on_preview):
        asked.append((judge, options.text, options.iterations, portrait.provenance["seed"]))
        on_preview(np.array([[[0, 128, 255, 255]]], np.uint8), 10)
        return Work(portrait)

    monkeypatch.setattr(clip, "load_clip", lambda who, device: "judge")
    monkeypatch.setattr(stylise, "stylise", learn)
    done = ask(engine, protocol.Stylise(7, "p", "a drawing", "q", 20))[-1]
    assert asked == [("judge", "a drawing", 20, 3)]
    assert array(sent[0].arrays["image"]).tolist() == [[[0, 128, 255, 255]]]
    assert done.fields["seed"] == 3
    assert engine._held["q"].portrait.provenance["style"] == "x"
    assert "style" not in engine._held["p"].portrait.provenance
