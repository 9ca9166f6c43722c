# SPDX-License-Identifier: Apache-2.0
"""Styles by text: the loss and what it follows, which weights move, CLIP from the user's folder, and the command."""

import dataclasses
import json
import socket
from collections.abc import Sequence

import imageio.v3 as iio
import numpy as np
import pytest
import torch
from PIL import Image

from neural_core import checkpoints, models, systems
from neural_core.cli import main
from neural_core.errors import InputError, PortraitError, UsageError
from neural_core.fitting.clip import DEVIATION, MEAN, load_clip
from neural_core.fitting.stylise import (
    MAX_PITCH,
    MAX_YAW,
    Options,
    Stylisation,
    directional_loss,
    stylise,
    text_direction,
    trained_names,
)
from neural_core.fitting.tunable import PREFIX
from neural_core.others import MissingNetwork
from neural_core.systems.eg3d.generator import EG3DGenerator
from neural_core.systems.eg3d.system import EG3D
from tests.tiny_clip import LONGEST, write_tiny_clip
from tests.tiny_models import save_tiny, save_tiny_next3d
from tests.unit.test_eg3d_system import PLAIN


class Colours:
    """Stands for CLIP: pictures lie where their mean colour is, texts name a colour."""

    def pictures(self, pictures: torch.Tensor) -> torch.Tensor:
        self.seen = pictures
        return torch.nn.functional.normalize(pictures.mean((2, 3)), dim=-1)

    def texts(self, texts: Sequence[str]) -> torch.Tensor:
        colours = {"red": [1.0, 0, 0], "grey": [0.58, 0.58, 0.58]}
        return torch.tensor([next(colour for name, colour in colours.items() if name in text) for text in texts])


def published() -> EG3D:
    torch.manual_seed(3)
    return EG3D(EG3DGenerator(PLAIN))


def ours(tmp_path) -> EG3D:
    return systems.load(save_tiny(tmp_path / "tiny.safetensors"))


RED = Options("red", "grey", iterations=8, rate=0.02)


def test_the_loss_is_one_minus_the_cosine_between_the_changes():
    generator = torch.Generator().manual_seed(0)
    before, after = torch.randn(2, 5, 7, generator=generator).double() * 100
    direction = torch.nn.functional.normalize(torch.randn(7, generator=generator).double(), dim=0)
    cosines = [np.dot(b - a, direction) / np.linalg.norm(b - a) for a, b in zip(before, after, strict=True)]
    assert float(directional_loss(before, after, direction)) == pytest.approx(1 - np.mean(cosines), abs=1e-5)


def test_no_change_has_no_direction_and_a_bounded_gradient():
    direction = torch.tensor([1.0, 0.0])
    after = torch.zeros(1, 2, requires_grad=True)
    loss = directional_loss(torch.zeros(1, 2), after, direction)
    loss.backward()
    assert loss.item() == 1
    assert 0 < float(-after.grad[0, 0]) < 100
    assert float(after.grad[0, 1]) == 0


def test_the_way_of_texts_is_that_between_the_means_of_their_sentences():
    expected = np.array([1 - 0.58, -0.58, -0.58])
    found = text_direction(Colours(), "grey", "red")
    np.testing.assert_allclose(found, expected / np.linalg.norm(expected), rtol=1e-5)
    with pytest.raises(UsageError, match='no difference between "grey" and "grey"'):
        text_direction(Colours(), "grey", "grey")


@pytest.mark.parametrize(
    ("make", "learning"),
    [
        (lambda path: published().generator, {"backbone"}),
        (lambda path: systems.load(save_tiny(path)).generator, {"synthesis"}),
        (lambda path: systems.load(save_tiny_next3d(path)).generator, {"synthesis", "texture_synthesis", "mouth"}),
    ],
    ids=["published", "ours", "moving"],
)
def test_synthesis_learns_but_not_the_lower_to_rgb_layers_nor_the_rest(make, learning, tmp_path):
    generator = make(tmp_path / "x.safetensors")
    names = trained_names(generator)
    assert {name.split(".")[0] for name in names} == learning
    last = {}
    for name in names:
        part, kind, size, *_ = name.split(".")
        if kind == "blocks":
            last[part] = max(last.get(part, 0), int(size))
    assert all(f"{part}.blocks.{size}.to_rgb.weight" in names for part, size in last.items())
    for name, _ in generator.named_parameters():
        part = name.split(".")
        lower = "to_rgb" in part and part[2] != str(last[part[0]]) if part[0] in learning else False
        assert (name in names) == (part[0] in learning and not lower), name


@pytest.mark.parametrize("whole", [True, False], ids=["model", "portrait"])
def test_the_loss_falls_and_what_is_frozen_stays_bit_for_bit(whole):
    system = published()
    before = {name: value.clone() for name, value in system.generator.state_dict().items()}
    portrait = None if whole else system.create(5)
    work = Stylisation(system, Colours(), RED, portrait)
    losses = [work.step() for _ in range(RED.iterations)]
    assert np.mean(losses[-3:]) < losses[0] - 0.3
    after, names = work.trained.state_dict(), set(trained_names(system.generator))
    for name, value in before.items():
        assert torch.equal(system.generator.state_dict()[name], value), "the system's own network serves others"
        assert torch.equal(after[name], value) or name in names, name
    moved = {name for name in names if not torch.equal(after[name], before[name])}
    # Noise is drawn with strength 0 at first; everything else of these layers has a gradient.
    assert {name for name in names if "noise_strength" not in name} <= moved
    then, now = (one.preview()[..., :3].mean((0, 1)) for one in (Stylisation(system, Colours(), RED, portrait), work))
    assert (now - then).argmax() == 0, "redder"


def test_people_cameras_and_grey_are_those_that_were_asked_for(tmp_path, monkeypatch):
    system, seen = ours(tmp_path), []
    see = system.see

    def watched(generator, latents, camera, controls):
        seen.append((generator, latents, camera))
        return see(generator, latents, camera, controls)

    monkeypatch.setattr(system, "see", watched)
    judge = Colours()
    work = Stylisation(system, judge, dataclasses.replace(RED, batch=3))
    work.step()
    (frozen, people, camera), (trained, same_people, same_camera) = seen
    assert frozen is system.generator
    assert trained is work.trained
    assert people is same_people
    assert camera is same_camera
    assert len({tuple(z.tolist()) for z in people["z"]}) == 3
    place = camera.cam2world[:, :3, 3]
    yaw = torch.rad2deg(torch.atan2(place[:, 0], place[:, 2]))
    pitch = torch.rad2deg(torch.atan2(place[:, 1], place[:, [0, 2]].norm(dim=1)))
    assert yaw.abs().max() <= MAX_YAW
    assert pitch.abs().max() <= MAX_PITCH
    assert yaw.std() > 1
    rendering = see(work.frozen, people, camera, None)
    corner = rendering.opacity[:, 0, 0, 0]
    assert corner.max() < 0.01, "the ball does not reach the corner"
    np.testing.assert_allclose(judge.seen.detach()[:, :, 0, 0], 0.5, atol=0.01)
    alone = Stylisation(system, judge, dataclasses.replace(RED, batch=2), system.create(9))
    alone.step()
    for z in seen[-1][1]["z"]:
        assert torch.equal(z, system.create(9).tensors["z"][0])


def test_an_animatable_model_learns_with_expressions(tmp_path, monkeypatch):
    system, asked = systems.load(save_tiny_next3d(tmp_path / "x.safetensors")), []
    see = system.see

    def watched(generator, latents, camera, controls):
        asked.append(controls)
        return see(generator, latents, camera, controls)

    monkeypatch.setattr(system, "see", watched)
    work = Stylisation(system, Colours(), RED, system.create(1))
    losses = [work.step() for _ in range(RED.iterations)]
    assert np.mean(losses[-3:]) < losses[0] - 0.01  # a small ball before grey
    actions = torch.stack([controls["actions"] for controls in asked])
    assert actions.shape == (2 * RED.iterations, 52)
    assert torch.equal(actions[::2], actions[1::2]), "both networks do the same"
    assert len({tuple(row.tolist()) for row in actions}) > 2
    assert 0 <= actions.min() <= actions.max() <= 1
    changed = {name.removeprefix(PREFIX).split(".")[0] for name in work.portrait().tensors if name.startswith(PREFIX)}
    assert changed == {"synthesis", "texture_synthesis", "mouth"}
    camera, controls = system.creation_camera(), asked[-1]
    shown = system.pose(work.portrait(), controls).render(camera).image
    with torch.no_grad():
        expected = see(work.trained, system.latents(system.create(1)), camera, controls).image
    assert torch.allclose(shown, expected, atol=0.02), "half precision"


def test_work_tells_how_far_it_is_and_stops_when_told(tmp_path):
    system, told, shown = published(), [], []
    options = dataclasses.replace(RED, iterations=5, preview_every=2)
    stylise(system, Colours(), options, None, lambda *said: told.append(said), lambda *said: shown.append(said))
    assert told[0] == ("Learning the style", 0, 5)
    assert told[-1] == ("Learning the style", 5, 5)
    assert {done for _, done, _ in told} == {0, 1, 2, 3, 4, 5}
    assert [iteration for _, iteration in shown] == [2, 4, 5]
    size = system.info.image_size
    assert shown[0][0].shape == (size, size, 4)
    assert shown[0][0].dtype == np.uint8

    def stop(stage: str, done: int, total: int) -> None:
        if done == 1:
            raise PortraitError("Stopped.", kind="cancelled")

    with pytest.raises(PortraitError, match="Stopped"):
        stylise(system, Colours(), options, None, stop)


def test_a_portrait_keeps_its_person_and_takes_its_style_along():
    system = published()
    portrait = system.create(5)
    work = stylise(system, Colours(), RED, portrait)
    made = work.portrait()
    assert torch.equal(made.tensors["w_plus"], portrait.tensors["w_plus"])
    assert {name for name in made.tensors if name != "w_plus"} <= {PREFIX + name for name in work.names}
    assert made.provenance["style"] == {"text": "red", "from": "grey", "iterations": RED.iterations}
    camera = system.creation_camera()
    with torch.no_grad():
        expected = system.see(work.trained, system.latents(portrait), camera).image
    shown = system.pose(made).render(camera).image
    assert torch.allclose(shown, expected, atol=0.02), "half precision"
    assert (shown - system.pose(portrait).render(camera).image).abs().max() > 0.05
    again = Stylisation(system, Colours(), RED, made)
    apart = again.preview().astype(int) - work.preview()
    assert np.abs(apart).max() <= 5, "a style is put on top of another"


def test_a_model_file_has_the_style_and_everything_else_bit_for_bit(tmp_path):
    system = ours(tmp_path)
    original = checkpoints.load(tmp_path / "tiny.safetensors")
    work = stylise(system, Colours(), RED)
    digest = work.save_model(tmp_path / "red.safetensors", original)
    saved = checkpoints.load(tmp_path / "red.safetensors")
    assert saved.hash == digest
    assert saved.config == original.config
    assert saved.metadata["licence"] == original.metadata["licence"]
    style = json.loads(saved.metadata["source"])["style"]
    assert style["text"] == "red"
    assert style["model_sha256"] == original.hash
    names = set(trained_names(system.generator))
    changed = {name for name, value in saved.tensors.items() if not torch.equal(value, original.tensors[name])}
    assert changed
    assert changed <= names
    camera = system.creation_camera()
    latents = system.latents(system.create(2))
    with torch.no_grad():
        expected = system.see(work.trained, latents, camera).image
    loaded = systems.load(tmp_path / "red.safetensors")
    assert torch.allclose(loaded.pose(loaded.create(2)).render(camera).image, expected, atol=1e-5)


def test_nonsense_is_a_sentence():
    system = published()
    with pytest.raises(UsageError, match="no text"):
        Stylisation(system, Colours(), dataclasses.replace(RED, text=" "))


# ---- CLIP ------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A user's model folder with a tiny CLIP."""
    folder = tmp_path_factory.mktemp("models")
    write_tiny_clip(folder / "others" / "clip-vit-base-patch32")
    return folder


@pytest.fixture
def clip(home, monkeypatch):
    monkeypatch.setenv(models.FOLDER_VARIABLE, str(home))

    def nothing_is_fetched(*_: object) -> None:
        raise AssertionError("the network was asked")

    monkeypatch.setattr(socket.socket, "connect", nothing_is_fetched)
    return load_clip("The test")


def test_clip_is_the_one_of_the_folder(home, clip):
    from transformers.models.clip.modeling_clip import CLIPModel
    from transformers.models.clip.tokenization_clip import CLIPTokenizer

    folder = home / "others" / "clip-vit-base-patch32"
    theirs = CLIPModel.from_pretrained(folder, local_files_only=True).eval()
    picture = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    normalised = torch.stack([(picture[:, i] - MEAN[i]) / DEVIATION[i] for i in range(3)], dim=1)
    tokens = CLIPTokenizer.from_pretrained(folder, local_files_only=True)(["a cat"], return_tensors="pt")
    with torch.no_grad():
        expected = theirs(pixel_values=normalised, **tokens)
    torch.testing.assert_close(clip.pictures(picture), expected.image_embeds)
    torch.testing.assert_close(clip.texts(["a cat"]), expected.text_embeds)
    assert len(clip.texts(["a cat", "x" * 3 * LONGEST])) == 2, "a text that is too long is cut"
    large = np.random.default_rng(0).integers(0, 256, (50, 50, 3), dtype=np.uint8)
    small = np.array(Image.fromarray(large).resize((16, 16), Image.Resampling.BICUBIC))  # as published for photos
    first, second = (clip.pictures(torch.from_numpy(x).movedim(-1, 0)[None] / 255) for x in (large, small))
    assert torch.allclose(first, second, atol=0.03), "but for rounding to bytes"
    assert not any(value.requires_grad for value in clip.network.parameters())


def test_the_loss_falls_with_clip_and_clip_stays_as_it_is(clip):
    before = {name: value.clone() for name, value in clip.network.state_dict().items()}
    system = published()
    work = Stylisation(system, clip, Options("a zebra", iterations=15, rate=0.02), system.create(1))
    losses = [work.step() for _ in range(15)]
    assert np.mean(losses[-3:]) < losses[0] - 0.1
    assert all(torch.equal(value, before[name]) for name, value in clip.network.state_dict().items())


def test_what_is_wrong_with_clips_folder_is_a_sentence(tmp_path, home, monkeypatch):
    monkeypatch.setenv(models.FOLDER_VARIABLE, str(tmp_path))
    with pytest.raises(MissingNetwork, match="Stylisation needs CLIP, which is not in"):
        load_clip("Stylisation")
    folder = tmp_path / "others" / "clip"
    folder.mkdir(parents=True)
    whole = home / "others" / "clip-vit-base-patch32"
    for path in whole.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    (folder / "model.safetensors").write_bytes((whole / "model.safetensors").read_bytes()[:-7])
    with pytest.raises(InputError, match=r'"model.safetensors" is damaged'):
        load_clip("Stylisation")
    for text, words in (("{", "no CLIP that can be read"), ('{"model_type": "bert"}', 'of type "bert"')):
        (folder / "config.json").write_text(text)
        with pytest.raises(InputError, match=words):
            load_clip("Stylisation")


def test_the_command_makes_models_and_portraits(home, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv(models.FOLDER_VARIABLE, str(home))
    model = str(save_tiny(home / "tiny.safetensors"))
    person, styled = tmp_path / "p.portrait", tmp_path / "styled.portrait"
    assert main(["generate", "--model", model, "--out", str(person), "--device", "cpu"]) == 0
    short = ["--text", "a zebra", "--iterations", "2", "--device", "cpu"]
    assert main(["stylise", str(person), *short, "--out", str(styled), "--preview", str(tmp_path / "x.png")]) == 0
    assert iio.imread(tmp_path / "x.png").shape == (32, 32, 4)
    assert main(["render", str(styled), "--out", str(tmp_path / "y.png"), "--device", "cpu"]) == 0
    out = tmp_path / "zebra.safetensors"
    assert main(["stylise", "--model", model, *short, "--out", str(out)]) == 0
    assert main(["generate", "--model", str(out), "--out", str(tmp_path / "z.png"), "--device", "cpu"]) == 0
    capsys.readouterr()
    for wrong, words in (
        (["stylise", str(person), *short, "--out", str(out)], ".portrait"),
        (["stylise", *short, "--out", str(out), "--batch", "0"], "batch"),
        (["stylise", *short, "--out", str(out), "--iterations", "0"], "iterations"),
    ):
        assert main(wrong) == 2
        assert words in capsys.readouterr().err


def test_a_missing_clip_is_one_sentence_of_the_command(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv(models.FOLDER_VARIABLE, str(tmp_path))
    model = str(save_tiny(tmp_path / "tiny.safetensors"))
    out = tmp_path / "zebra.safetensors"
    assert main(["stylise", "--model", model, "--text", "a zebra", "--out", str(out), "--device", "cpu"]) == 1
    said = capsys.readouterr().err
    assert "Stylisation needs CLIP" in said
    assert "clip-vit-base-patch32" in said
    assert not out.exists()
