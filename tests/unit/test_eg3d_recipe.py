# SPDX-License-Identifier: Apache-2.0
"""The adversarial recipe around its losses: what networks are shown and told, schedules, state, start and export."""

import dataclasses
import json
from pathlib import Path

import pytest
import torch
from torch.nn import functional as F
from torch.testing import assert_close

from neural_core import checkpoints, systems
from neural_core.cameras import orbit
from neural_core.errors import ModelError, UsageError
from neural_core.systems.eg3d.config import EG3DConfig
from neural_core.systems.eg3d.system import build_generator
from neural_core.systems.plane_config import DecoderConfig, HeadToModel, IdentityConfig, SuperResolutionConfig
from tests.tiny_models import METADATA, tiny_config
from training.augment import AugmentConfig
from training.blur import blurred
from training.config import build as read
from training.config import read_toml
from training.discriminators import Discriminator, DualDiscriminator
from training.draws import Draws
from training.recipe import Phase, Step
from training.recipes import eg3d_warm_start
from training.recipes.adversarial_config import ExportConfig, check, check_start
from training.recipes.eg3d import Adversarial, Config
from training.recipes.eg3d_config import new_generator
from training.recipes.eg3d_warm_start import WarmStart

CONFIGS = Path(__file__).resolve().parents[2] / "training" / "configs"
SETTINGS = """
{"model": {"z_dim": 5, "w_dim": 8,
           "backbone": {"resolution": 8, "plane_channels": 4, "channel_base": 64, "channel_max": 8},
           "decoder": {"hidden": 8, "features": 4}, "render": {"coarse": 4, "fine": 4, "neural_resolution": 16},
           "superresolution": {"kind": "2x", "channels": [4, 4]}},
 "discriminator": {"channel_base": 512, "channel_max": 8},
 "blur": {"sigma": 0.0}, "pose": {"swap": 0.25, "fade_kimg": 1.0}, "samples": {"people": 2, "frames": 3},
 "run": {"batch": 4}}
"""


def config_of(**tables) -> Config:
    """Return the small configuration with some tables changed."""
    settings = json.loads(SETTINGS)
    for name, table in tables.items():
        settings[name] = {**settings.get(name, {}), **table}
    return read(Config, settings, "test")


class Faces:
    """A data set of which the recipe needs the cameras."""

    labels = orbit(torch.linspace(-60, 60, 7)).label()


def recipe_of(config: Config, start=None) -> Adversarial:
    torch.manual_seed(0)
    size, options = config.model.image_size, config.discriminator
    kind = Discriminator if config.model.superresolution.kind == "none" else DualDiscriminator
    discriminator = kind(size, channel_base=options.channel_base, channel_max=options.channel_max)
    return Adversarial(config, Faces(), build_generator(config.model), discriminator, start)


def step_of(images: int, phase: str = "D_main") -> Step:
    return Step(images // 4, images, 0.0, Draws(3, phase, range(images, images + 4)))


def batch_of(size: int = 128, channels: int = 3) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(5)
    pixels = torch.randint(256, (4, channels, size, size), dtype=torch.uint8, generator=generator)
    return {"picture": pixels, "label": Faces.labels[:4]}


def watch(module, seen: list) -> None:
    """Note a module's arguments whenever it is called."""
    module.register_forward_pre_hook(lambda module, arguments: seen.append(arguments))


# What is shown to the discriminator, and told to the generator.


def test_phases_and_rates():
    recipe = recipe_of(config_of())
    assert recipe.phases() == [
        Phase("G_main", "G"), Phase("G_density", "G", 4), Phase("D_main", "D"), Phase("D_r1", "D", 16)
    ]  # fmt: skip
    assert [phase.name for phase in recipe_of(config_of(loss={"density": 0.0})).phases()] == [
        "G_main",
        "D_main",
        "D_r1",
    ]
    assert [p.name for p in recipe_of(config_of(loss={"r1_gamma": 0.0})).phases()] == ["G_main", "G_density", "D_main"]
    optimisers = recipe.optimisers()
    for name, network, rate in (("G", recipe.generator, 0.0025), ("D", recipe.discriminator, 0.002)):
        (group,) = optimisers[name].groups
        assert (optimisers[name].betas, optimisers[name].eps, group.lr) == ((0.0, 0.99), 1e-8, rate)
        assert {id(p) for p in group.parameters} == {id(p) for p in network.parameters()}


@pytest.mark.parametrize(("images", "probability"), [(0, 1.0), (500, 0.625), (1000, 0.25), (9000, 0.25)])
def test_the_mapping_is_told_swapped_cameras_and_the_discriminator_the_true_ones(images, probability):
    recipe, told, judged = recipe_of(config_of()), [], []
    watch(recipe.generator.mapping_network, told)
    watch(recipe.discriminator, judged)
    recipe.losses("G_main", batch_of(), step_of(images, "G_main"))
    draws = Draws(3, "G_main", range(images, images + 4))
    cameras = Faces.labels[draws.integers(7)]
    z, swaps = draws.normal(5), draws.uniform(1) < probability
    ((found_z, found),) = told
    assert found_z.equal(z)
    assert found.equal(torch.where(swaps, cameras[[3, 0, 1, 2]], cameras))
    assert judged[0][2].equal(cameras)


def test_a_generator_without_pose_conditioning_is_told_nothing():
    """With a label of 0 numbers, with a label that is scaled away, and with a face code."""
    for model in ({"mapping": {"label_dim": 0}}, {"mapping": {"label_scale": 0.0}}):
        recipe = recipe_of(config_of(model={**json.loads(SETTINGS)["model"], **model}))
        told = []
        watch(recipe.generator.mapping_network, told)
        recipe.losses("G_main", batch_of(), step_of(0, "G_main"))
        ((_, found),) = told
        assert found is None or not found.any()
        assert "swap" not in recipe.after_step(step_of(0), {})


def test_real_pictures_are_seen_whole_and_shrunk():
    recipe, judged = recipe_of(config_of(blur={"sigma": 2.0, "fade_kimg": 1.0})), []
    watch(recipe.discriminator, judged)
    recipe.losses("D_main", batch_of(), step_of(500))
    _, (image, raw, label) = judged  # generated ones come first
    picture = batch_of()["picture"] / 127.5 - 1
    assert_close(image, blurred(picture, 1.0))
    # 128 pixels onto 16: bilinear with antialiasing is a tent over 8 pixels to either side; in the middle by hand
    tent = 1 - (torch.arange(16) - 7.5).abs() / 8
    shrunk = torch.einsum("bcyx,y,x->bc", picture[:, :, 52:68, 52:68], tent, tent) / tent.sum() ** 2
    sharp = F.interpolate(picture, (16, 16), mode="bilinear", antialias=True)
    assert_close(sharp[:, :, 7, 7], shrunk)
    assert_close(raw, blurred(sharp, 1.0))
    assert label.equal(batch_of()["label"])


@pytest.mark.parametrize(("white", "behind"), [(False, -1.0), (True, 1.0)])
def test_transparent_pictures_lie_over_what_the_model_renders(white, behind):
    model = json.loads(SETTINGS)["model"]
    recipe = recipe_of(config_of(model={**model, "render": {**model["render"], "white_back": white}}))
    judged, batch = [], batch_of(channels=4)
    watch(recipe.discriminator, judged)
    recipe.losses("D_main", batch, step_of(0))
    alpha = batch["picture"][:, 3:].double() / 255
    expected = alpha * (batch["picture"][:, :3].double() / 127.5 - 1) + (1 - alpha) * behind
    assert_close(judged[1][0], expected.float())
    # and what is generated beyond the planes' cube is just that
    assert_close(judged[0][1][:, :, 0, 0].mean(), torch.tensor(behind), atol=0.2, rtol=0)


def test_generated_raw_pictures_are_not_blurred():
    recipes = [recipe_of(config_of(blur={"sigma": sigma})) for sigma in (0.0, 3.0)]
    seen = []
    for recipe in recipes:
        watch(recipe.discriminator, seen)
        recipe.losses("D_main", batch_of(), step_of(0))
    (sharp, raw, _), _, (soft, same_raw, _), _ = seen
    assert raw.equal(same_raw)
    assert_close(soft, blurred(sharp, 3.0))


def test_r1_of_two_pictures_penalises_both():
    recipe = recipe_of(config_of())
    image = (batch_of()["picture"] / 127.5 - 1).requires_grad_()
    raw = F.interpolate(image.detach(), (16, 16), mode="bilinear", antialias=True).requires_grad_()
    recipe.discriminator(image, raw, batch_of()["label"]).sum().backward()
    squares = [picture.grad.square().sum() / 4 for picture in (image, raw)]
    assert squares[1] > 0.01 * squares[0]
    assert_close(recipe.losses("D_r1", batch_of(), step_of(0, "D_r1"))["r1"], sum(squares) / 2, rtol=1e-4, atol=0)


def test_the_mean_w_follows_the_codes_of_the_discriminator_step_alone():
    recipe = recipe_of(config_of())
    network = recipe.generator.mapping_network
    network.w_mean.fill_(2.0)
    for phase in ("G_main", "G_density", "D_r1"):
        recipe.losses(phase, batch_of(), step_of(0, phase))
    assert (network.w_mean == 2).all()
    made = []
    network.register_forward_hook(lambda module, arguments, result: made.append(result.detach()))
    recipe.losses("D_main", batch_of(), step_of(0))
    assert_close(network.w_mean, 0.998 * torch.full((8,), 2.0) + 0.002 * made[0].mean(0))


def test_a_model_without_super_resolution_is_judged_by_one_picture():
    recipe = recipe_of(Config(model=tiny_config(), run=config_of().run))
    assert isinstance(recipe.discriminator, Discriminator)
    for phase in ("G_main", "G_density", "D_main", "D_r1"):
        (loss,) = recipe.losses(phase, batch_of(32), step_of(0, phase)).values()
        loss.backward()
    for name, network in recipe.networks().items():
        assert sum(bool(p.grad is not None and p.grad.any()) for p in network.parameters()) > 5, name


def test_density_is_asked_inside_the_cube_that_is_configured():
    recipe = recipe_of(config_of(loss={"density_extent": 0.3, "density_points": 50, "density_step": 1e-6}))
    asked, field = [], recipe.generator.field

    def noted(person):
        ask = field(person)
        return lambda points, directions: (asked.append(points), ask(points, directions))[1]

    recipe.generator.field = noted
    recipe.losses("G_density", None, step_of(0, "G_density"))
    (points,) = asked
    assert points.shape == (4, 100, 3)
    assert 0.28 < points.abs().max() < 0.3 + 1e-4


def test_half_precision_is_for_the_discriminator_alone():
    """Under the trainer's autocast, pictures and densities are bit for bit those of 32 bits."""
    recipe, seen = recipe_of(config_of()), []
    watch(recipe.discriminator, seen)

    def losses(half: bool) -> list[torch.Tensor]:
        with torch.autocast("cpu", torch.bfloat16, enabled=half):
            found = [recipe.losses(phase.name, batch_of(), step_of(0, phase.name)) for phase in recipe.phases()]
        return [loss for terms in found for loss in terms.values()]

    exact, rounded = losses(False), losses(True)
    shown, again = seen[: len(seen) // 2], seen[len(seen) // 2 :]
    assert all(a.equal(b) for one, other in zip(shown, again, strict=True) for a, b in zip(one, other, strict=True))
    density, discriminator = 1, 2
    assert rounded[density] == exact[density]
    # bfloat16 has 8 bits: the discriminator did use it
    assert 0 < (rounded[discriminator] - exact[discriminator]).abs() < 0.02
    for loss, network in zip(rounded, "GGDD", strict=True):
        assert loss.dtype == torch.float32
        loss.backward()
        gradients = [p.grad for p in recipe.networks()[network].parameters() if p.grad is not None]
        assert all(gradient.isfinite().all() for gradient in gradients)


# Augmentation.


def test_augmentation_moves_both_pictures_alike_and_its_probability_adapts():
    config = config_of(augment={"mode": "adaptive", "kimg": 0.016, "every": 2, "groups": ["blit"]})
    recipe, seen = recipe_of(config), []
    watch(recipe.discriminator, seen)
    blots = torch.rand(4, 3, 6, 6, generator=torch.Generator().manual_seed(5)) * 255
    batch = {**batch_of(), "picture": F.interpolate(blots, (128, 128), mode="bicubic").clamp(0, 255).byte()}
    before = recipe.losses("D_main", batch, step_of(0))["discriminator"]
    for _ in range(8):  # 8 of 16 pictures between two adjustments: p rises by a half each, up to 1
        found = recipe.after_step(step_of(0), {"sign_real": 1.0})["augment"]
    assert found == recipe.adaptive.value == 1
    after = recipe.losses("D_main", batch, step_of(0))["discriminator"]
    assert after != before
    _, (plain, *_), _, (image, raw, _) = seen
    assert not torch.allclose(image, plain, atol=0.1)

    def likeness(a: torch.Tensor, b: torch.Tensor) -> float:
        a, b = (x[:, :, 32:96, 32:96] - x[:, :, 32:96, 32:96].mean() for x in (a, b))
        return ((a * b).sum() / (a.norm() * b.norm())).item()

    assert likeness(raw, image) > 0.95  # it is the shrunk picture, moved in the same way
    assert likeness(raw, plain) < 0.5

    other = recipe_of(config)
    other.load_state(json.loads(json.dumps(recipe.state())))
    assert (other.adaptive.value, other.images) == (1, recipe.images)
    assert other.losses("D_main", batch, step_of(0))["discriminator"] == after


def test_a_fixed_probability_stays():
    recipe = recipe_of(config_of(augment={"mode": "fixed", "probability": 1.0, "groups": ["blit"]}))
    plain = recipe_of(config_of())
    assert "augment" not in recipe.after_step(step_of(0), {"sign_real": 1.0})
    losses = [r.losses("D_r1", batch_of(), step_of(0, "D_r1"))["r1"] for r in (recipe, plain)]
    assert losses[0] != losses[1]
    assert AugmentConfig().mode == "none"


# Schedules, samples, export, start.


def test_the_rendering_grows_with_the_pictures_seen(tmp_path):
    recipe = recipe_of(config_of(neural_resolution={"final": 32, "fade_kimg": 1.0}))
    seen = []
    watch(recipe.discriminator, seen)
    for images in (0, 500, 2000):
        recipe.losses("D_main", batch_of(), step_of(images))
    assert [raw.shape[-1] for _, raw, _ in seen] == [16, 16, 24, 24, 32, 32]
    assert recipe.after_step(step_of(996), {})["neural_resolution"] == 32
    recipe.export({"G": recipe.generator}, {}, tmp_path / "model.safetensors")
    assert checkpoints.load(tmp_path / "model.safetensors").config["render"]["neural_resolution"] == 32


def test_samples_are_a_grid_and_a_turntable_of_the_same_people():
    recipe = recipe_of(config_of())
    grid, turntable = recipe.samples({"G": recipe.generator}, step_of(0))
    assert grid.name == "grid"
    assert grid.frames.shape == (1, 3, 3 * 128, 2 * 128)
    assert turntable.frames.shape == (3, 3, 128, 128)
    for sample in (grid, turntable):
        assert sample.frames.min() >= 0
        assert sample.frames.max() <= 1
    # the turntable's frames are the grid's first column, from the same three sides
    assert_close(torch.cat(list(turntable.frames), dim=1), grid.frames[0, :, :, :128])
    assert not torch.allclose(turntable.frames[0], turntable.frames[2], atol=1e-3)
    again, _ = recipe.samples({"G": recipe.generator}, step_of(400))
    assert again.frames.equal(grid.frames)
    recipe.pictures.labels = orbit(0.0, focal=2.0).label()  # the lens is the data's
    wider, _ = recipe.samples({"G": recipe.generator}, step_of(0))
    assert not torch.allclose(wider.frames, grid.frames, atol=1e-3)


@pytest.mark.parametrize("identity", [False, True])
def test_the_export_is_a_model(tmp_path, identity):
    config = Config(model=tiny_config()) if identity else config_of(export={"licence": "CC0-1.0", "use": "any"})
    recipe, path = recipe_of(config), tmp_path / "model.safetensors"
    recipe.export({"G": recipe.generator}, {"steps": 7}, path)
    system = systems.load(path)
    rendering = system.pose(system.create(7)).render(system.creation_camera())
    assert rendering.image.shape[-1] == config.model.image_size
    assert torch.isfinite(rendering.image).all()
    texts = checkpoints.read_header(path)
    assert texts.json("trained") == {"steps": 7}
    assert texts.metadata["use"] == ("not stated: ask who trained it" if identity else "any")


def test_training_starts_from_weights_and_inherits_their_licence(tmp_path):
    config = config_of()
    first = recipe_of(config)
    with torch.no_grad():
        first.generator.decoder.output.bias.fill_(0.25)
    path = tmp_path / "start.safetensors"
    checkpoints.save(path, first.generator.state_dict(), "eg3d", dataclasses.asdict(config.model), METADATA)
    start = checkpoints.load(path)
    check_start("eg3d", config.model, start)
    recipe_of(config, start).export({"G": first.generator}, {}, tmp_path / "model.safetensors")
    header = checkpoints.read_header(tmp_path / "model.safetensors")
    assert (header.metadata["licence"], header.metadata["use"]) == (METADATA["licence"], METADATA["use"])
    assert header.json("source")["started_from"]["sha256"] == start.hash

    model = dataclasses.replace(config.model, render=dataclasses.replace(config.model.render, coarse=9))
    check_start("eg3d", model, start)  # how it is rendered is free
    boxed = dataclasses.replace(config.model, render=dataclasses.replace(config.model.render, box=2.0))
    with pytest.raises(ModelError, match=r"render.box = 1.0, but the configuration says 2.0"):
        check_start("eg3d", boxed, start)
    with pytest.raises(ModelError, match=r"plane_axes"):
        check_start("eg3d", dataclasses.replace(config.model, plane_axes=("xy", "xz", "zy")), start)
    with pytest.raises(ModelError, match="a model of next3d"):
        check_start("eg3d", config.model, dataclasses.replace(start, system="next3d"))


@pytest.mark.parametrize(
    ("tables", "words"),
    [
        ({"model": {"mapping": {"label_dim": 7}}}, "label_dim is 7"),
        (
            {"model": {"superresolution": {"kind": "none"}, "render": {"neural_resolution": 24}}},
            "pictures of 24 pixels",
        ),
        ({"model": {"superresolution": {"kind": "none"}}, "neural_resolution": {"final": 64}}, "change the size"),
        ({"discriminator": {"group": 4}, "run": {"batch": 12, "micro_batch": 6}}, "does not divide 6 samples"),
        ({"discriminator": {"group": 4}, "run": {"micro_batch": 2}}, "does not divide 2 samples"),
        ({"discriminator": {"group": 1}, "run": {"micro_batch": 1}}, "Poses are swapped"),
        ({"discriminator": {"group": 1}, "pose": {"swap": 0.0}, "run": {"micro_batch": 1}}, "Poses are swapped"),
    ],
)
def test_settings_that_do_not_fit_are_refused_in_a_sentence(tables, words):
    check(config_of(), config_of().model)
    with pytest.raises(UsageError, match=words) as caught:
        check(config_of(**tables), config_of(**tables).model)
    assert caught.value.hint


@pytest.mark.parametrize(
    ("tables", "words"),
    [
        ({"loss": {"r1_every": 0}}, "loss.r1_every is 0, but has to be above 0"),
        ({"loss": {"density_every": 0}}, "loss.density_every is 0"),
        ({"loss": {"r1_gamma": -1.0}}, "loss.r1_gamma is -1.0, but cannot be negative"),
        ({"discriminator": {"group": 0}}, "discriminator.group is 0"),
        ({"data": {"limit": -1}}, "data.limit is -1"),
        ({"rates": {"generator": -0.1}}, "rates.generator is -0.1"),
    ],
)
def test_numbers_that_make_no_sense_are_refused(tables, words):
    with pytest.raises(UsageError, match=words):
        config_of(**tables)


def test_a_micro_batch_of_one_is_enough_where_nothing_is_compared():
    options = {"discriminator": {"group": 1}, "run": {"micro_batch": 1}}
    alone, swapping = config_of(**options, pose={"swap": 0.0, "fade_kimg": 0.0}), config_of(**options)
    check(alone, alone.model)
    assert recipe_of(alone).together() == 1
    assert recipe_of(swapping).together() == 2
    assert recipe_of(config_of()).together() == 4


def test_the_other_kind_of_weights_is_refused_in_a_sentence():
    published, ours = config_of().model, tiny_config()
    for model, other, hint in ((published, ours, "Set"), (ours, published, "Leave")):
        start = checkpoints.Checkpoint("eg3d", dataclasses.asdict(other), {}, {}, "0" * 64, "start")
        with pytest.raises(ModelError, match="one has a face code, one has none") as caught:
            check_start("eg3d", model, start)
        assert caught.value.hint.startswith(hint)


@pytest.mark.parametrize(
    ("identity", "changes"),
    [
        (True, {"superresolution": SuperResolutionConfig(kind="8xdc")}),
        (True, {"z_dim": 50, "identity": IdentityConfig(traits=True), "decoder": DecoderConfig(features=9)}),
        (True, {"identity": IdentityConfig(shape_dims=41)}),
        (False, {"superresolution": SuperResolutionConfig(kind="subpixel")}),
    ],
)
def test_a_model_that_cannot_be_built_is_a_sentence(identity, changes):
    model = tiny_config() if identity else config_of().model
    with pytest.raises(UsageError, match="This model cannot be built: "):
        new_generator(dataclasses.replace(model, **changes))


def test_pictures_are_limited_where_nobody_learns_from_them():
    """A clamped colour has no gradient, so the discriminator sees what lies beyond -1..1, too."""
    model = dataclasses.replace(tiny_config(), superresolution=SuperResolutionConfig(kind="subpixel", channels=(4, 4)))
    generator = new_generator(model)
    with torch.no_grad():
        generator.superresolution.layers[-2].bias.fill_(3.0)  # added to every pixel
        person = generator.person(torch.randn(1, 64))
        free = generator.train().render(person, model.frontal_camera(), 16)
        limited = generator.eval().render(person, model.frontal_camera(), 16)
    assert free.image.max() > 1
    assert_close(limited.image, free.image.clamp(-1, 1))
    assert_close(limited.opacity, free.opacity.clamp(0, 1))


def test_the_warm_start_looks_for_the_inside_of_heads_where_the_model_has_them():
    moved = dataclasses.replace(tiny_config(), head_to_model=HeadToModel(2.0, (0.1, 0.2, 0.3)))
    here, there = (
        WarmStart(eg3d_warm_start.Config(model=model), None, torch.device("cpu")).comparison.inside
        for model in (tiny_config(), moved)
    )
    assert_close(there - here, torch.tensor([0.1, 0.2, 0.3]).expand_as(here))


# The configurations that we ship.

PUBLISHED = {
    # neural resolution, its end, R1's gamma, swap, near, far, box, samples, white, pivot, augmentation, kind
    "eg3d-ffhq512": (64, 0, 1.0, 0.5, 2.25, 3.3, 1.0, 48, False, (0.0, 0.0, 0.2), "none", "8xdc"),
    "eg3d-ffhq512-128": (64, 128, 1.0, 0.5, 2.25, 3.3, 1.0, 48, False, (0.0, 0.0, 0.2), "none", "8xdc"),
    "eg3d-afhq512": (64, 128, 5.0, 0.8, 2.25, 3.3, 1.0, 48, False, (0.0, 0.0, -0.06), "adaptive", "8xdc"),
    "eg3d-shapenet128": (64, 0, 0.3, None, 0.1, 2.6, 1.6, 64, True, (0.0, 0.0, 0.0), "none", "2x"),
}
"""From the published training command and documentation (its fact sheet)."""


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_settings(name):
    config = read(Config, read_toml(CONFIGS / f"{name}.toml"), name)
    check(config, config.model)
    model, render = config.model, config.model.render
    swap = config.pose.swap if model.mapping.label_scale else None
    assert render.coarse == render.fine
    assert PUBLISHED[name] == (
        render.neural_resolution, config.neural_resolution.final, config.loss.r1_gamma, swap, render.ray_start,
        render.ray_end, render.box, render.coarse, render.white_back, model.camera_pivot, config.augment.mode,
        model.superresolution.kind,
    )  # fmt: skip
    # the rest is the same for all
    assert model.plane_axes == ("xy", "xz", "zx")
    assert (model.z_dim, model.w_dim, model.mapping.layers, model.mapping.label_dim) == (512, 512, 2, 25)
    assert (model.backbone.resolution, model.backbone.plane_channels) == (256, 32)
    assert model.backbone.channels == (512, 512, 512, 512, 512, 256, 128)
    assert (model.decoder.hidden, model.decoder.features) == (64, 32)
    assert config.loss == dataclasses.replace(Config().loss, r1_gamma=config.loss.r1_gamma)
    assert (config.loss.r1_every, config.loss.density, config.loss.density_every) == (16, 0.25, 4)
    assert (config.loss.density_points, config.loss.density_step, config.loss.density_extent) == (1000, 0.004, 1.0)
    assert (config.rates.generator, config.rates.discriminator) == (0.0025, 0.002)
    assert (config.run.batch, config.run.micro_batch, config.discriminator.group) == (32, 4, 4)
    # runs that start from weights have no blur and no fade, and adapt five times as quickly
    from_weights = name in ("eg3d-ffhq512-128", "eg3d-afhq512")
    assert (config.pose.fade_kimg, config.blur.sigma) == ((0, 0) if from_weights else (1000, 10))
    assert (config.run.ema_kimg, config.run.ema_rampup) == (10, 0 if from_weights else 0.05)
    assert config.augment.kimg == (100 if config.augment.mode == "adaptive" else 500)


def test_our_settings_are_those_of_the_weights_that_they_start_from():
    ours, started = read_toml(CONFIGS / "eg3d-256.toml"), read_toml(CONFIGS / "default-eg3d.toml")
    assert ours["model"] == started["model"]
    config = read(Config, ours, "eg3d-256")
    check(config, config.model)
    assert config.model.image_size == 256
    tiny = read(Config, read_toml(CONFIGS / "tiny.toml"), "tiny")
    check(tiny, tiny.model)


def test_the_defaults_are_the_published_ones():
    config = read(Config, read_toml(CONFIGS / "eg3d-ffhq512.toml"), "eg3d-ffhq512")
    assert config.model == EG3DConfig()
    defaults = Config()
    for name in ("discriminator", "loss", "pose", "blur", "neural_resolution", "augment", "rates"):
        assert getattr(config, name) == getattr(defaults, name), name
    assert config.export != ExportConfig()  # a default licence would be a lie
