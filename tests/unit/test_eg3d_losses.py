# SPDX-License-Identifier: Apache-2.0
"""The adversarial recipe's losses and gradients, in double precision: by hand, and by finite differences of networks of
two pixels."""

import dataclasses
import math

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from neural_core.systems.common import Rendering
from neural_core.systems.eg3d.config import EG3DConfig
from training.blur import blurred
from training.conditioning import swapped_labels
from training.draws import Draws
from training.fades import fade
from training.losses.adversarial import non_saturating_discriminator, non_saturating_generator, r1
from training.losses.density import density_smoothness
from training.recipe import Step
from training.recipes.adversarial_config import BlurConfig, LossConfig, PoseConfig
from training.recipes.eg3d import Adversarial, Config


@pytest.fixture(autouse=True)
def double():
    torch.set_default_dtype(torch.float64)
    torch.manual_seed(0)
    yield
    torch.set_default_dtype(torch.float32)


# The terms, by hand.


def test_non_saturating_losses_by_hand():
    real = torch.tensor([[2.0], [-1.0]], requires_grad=True)
    fake = torch.tensor([[0.5], [-3.0]], requires_grad=True)
    loss = non_saturating_discriminator(real, fake)
    by_hand = [math.log(1 + math.exp(-2)), math.log(1 + math.exp(1)), math.log(1 + math.exp(0.5))]
    assert loss.item() == pytest.approx((sum(by_hand) + math.log(1 + math.exp(-3))) / 2, rel=1e-12)
    loss.backward()
    sigmoid = [1 / (1 + math.exp(-x)) for x in (-2, 1, 0.5, -3)]
    assert real.grad.flatten().tolist() == pytest.approx([-sigmoid[0] / 2, -sigmoid[1] / 2], rel=1e-12)
    assert fake.grad.flatten().tolist() == pytest.approx([sigmoid[2] / 2, sigmoid[3] / 2], rel=1e-12)

    fake.grad = None
    loss = non_saturating_generator(fake)
    by_hand = [math.log(1 + math.exp(-0.5)), math.log(1 + math.exp(3))]
    assert loss.item() == pytest.approx(sum(by_hand) / 2, rel=1e-12)
    loss.backward()
    # the surer the discriminator is of a fake, the larger the gradient: that is what "non-saturating" says
    assert fake.grad.flatten().tolist() == pytest.approx([-(1 - sigmoid[2]) / 2, -(1 - sigmoid[3]) / 2], rel=1e-12)


def test_r1_of_two_pixels_by_hand():
    """D(p, q) = a p q + b p^2 has the gradient (a q + 2 b p, a p)."""
    a, b = torch.tensor(0.7, requires_grad=True), torch.tensor(-1.3, requires_grad=True)
    p, q = torch.tensor([0.5, -2.0]), torch.tensor([1.5, 0.25])
    picture = torch.stack([p, q], dim=1).reshape(2, 1, 1, 2).requires_grad_()
    left, right = picture.flatten(1).unbind(1)
    penalty = r1((a * left * right + b * left**2)[:, None], picture)
    (dp, dq), (av, bv) = (0.7 * q - 2.6 * p, 0.7 * p), (0.7, -1.3)
    assert_close(penalty, (dp**2 + dq**2).mean())
    penalty.backward()
    assert_close(a.grad, (2 * dp * q + 2 * av * p**2).mean())
    assert_close(b.grad, (2 * dp * 2 * p).mean())
    assert bv == b.item()


def test_r1_adds_the_gradients_of_both_pictures():
    image, raw = torch.randn(3, 1, 1, 2, requires_grad=True), torch.randn(3, 1, 1, 1, requires_grad=True)
    logits = (2 * image.sum((1, 2, 3)) - 3 * raw.sum((1, 2, 3)))[:, None]
    assert r1(logits, image, raw).item() == pytest.approx(2 * 2**2 + 3**2)
    assert r1(logits, image).item() == pytest.approx(2 * 2**2)


def test_density_smoothness_of_a_linear_density():
    """Of sigma(x) = g . x the differences are g . step wherever the points are; the gradient is sign(g . step) step."""
    g = torch.tensor([0.3, -2.0, 1.0], requires_grad=True)
    points, steps = torch.randn(2, 5, 3), torch.randn(2, 5, 3)
    loss = density_smoothness(lambda where: (where @ g)[..., None], points, steps)
    along = (steps @ g).detach()
    assert_close(loss, along.abs().mean())
    loss.backward()
    assert_close(g.grad, (along.sign()[..., None] * steps).mean((0, 1)))


def test_neighbours_are_asked_in_one_go():
    """Planes with random noise would differ between two calls; the published code asks once, too."""
    asked = []

    def density(where):
        asked.append(where)
        return where[..., :1]

    density_smoothness(density, torch.zeros(1, 4, 3), torch.ones(1, 4, 3))
    assert [part.shape for part in asked] == [(1, 8, 3)]


# Schedules and conditioning.


@pytest.mark.parametrize(
    ("images", "kimg", "expected"), [(0, 2, 10), (500, 2, 7.5), (2000, 2, 0), (9999, 2, 0), (0, 0, 0), (5, 0, 0)]
)
def test_a_fade_is_linear_and_then_ends(images, kimg, expected):
    assert fade(images, kimg, 10.0, 0.0) == pytest.approx(expected)


def test_labels_are_swapped_with_the_sample_before():
    labels = torch.arange(4.0)[:, None]
    chances = torch.tensor([[0.1], [0.6], [0.3], [0.9]])
    assert swapped_labels(labels, 0.5, chances).flatten().tolist() == [3, 1, 1, 3]
    assert swapped_labels(labels, 0.0, chances).equal(labels)
    assert swapped_labels(labels, 1.0, chances).flatten().tolist() == [3, 0, 1, 2]


def test_blur_spreads_a_point_by_its_taps():
    picture = torch.zeros(1, 1, 9, 9)
    picture[0, 0, 4, 4] = 1
    taps = [2 ** -((k / 1.2) ** 2) for k in range(-3, 4)]  # 3 sigma are 3.6 pixels: three taps to either side
    row = torch.tensor([0, *taps, 0]) / sum(taps)
    assert_close(blurred(picture, 1.2)[0, 0], row[:, None] * row)
    assert blurred(picture, 0.3) is picture


# The recipe's phases, on a generator and a discriminator of two pixels.


class TwoPixelGenerator(nn.Module):
    """Code and camera -> two pixels, and a density; what the recipe asks of EG3D's generator, small enough to check."""

    def __init__(self) -> None:
        super().__init__()
        self.code, self.told = nn.Parameter(torch.randn(3, 6)), nn.Parameter(torch.randn(25, 6))
        self.mapping_network = self
        self.w_mean = torch.zeros(6)

    def mapping(self, z, label):
        return (z @ self.code + label @ self.told)[:, None]

    def track(self, w):
        self.w_mean = w.detach().mean(0)

    def person(self, w_plus, noise):
        return w_plus[:, 0].tanh()

    def field(self, person):
        return lambda points, directions: ((points.sin() @ person.unflatten(1, (3, 2)))[..., :1], None)

    def render(self, person, camera, size, sampling):
        image = (person + camera.cam2world[:, 0, :1]).sin().reshape(-1, 3, 1, 2)
        return Rendering(image, image, image, image[:, :1], image[:, :1])


class TwoPixelDiscriminator(nn.Module):
    """Two pixels and a camera -> logit, curved in the pixels so that R1 has a gradient in every weight."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Parameter(torch.randn(6, 5)), nn.Parameter(torch.randn(5, 1))
        self.label = nn.Parameter(torch.randn(25, 5))

    def forward(self, picture, label):
        return (picture.flatten(1) @ self.first + label @ self.label).tanh() @ self.second


class Cameras:
    """A data set of cameras alone."""

    def __init__(self) -> None:
        self.labels = torch.randn(7, 25)


CONFIG = Config(
    model=dataclasses.replace(EG3DConfig(), z_dim=3),
    blur=BlurConfig(sigma=0.0),
    pose=PoseConfig(swap=0.5, fade_kimg=0.0),
    loss=LossConfig(r1_gamma=3.0, density_points=4, density_step=0.1),
)
BATCH = {"picture": torch.randint(256, (4, 3, 1, 2), dtype=torch.uint8), "label": torch.randn(4, 25).double()}


@pytest.fixture
def recipe():
    return Adversarial(CONFIG, Cameras(), TwoPixelGenerator(), TwoPixelDiscriminator())


def loss_of(recipe, phase):
    """Return the loss of a phase at one and the same step."""
    step = Step(0, 0, 0.0, Draws(1, phase, range(4)))
    (value,) = recipe.losses(phase, BATCH, step).values()
    return value


def codes_and_cameras(recipe, phase):
    """Return codes, cameras and told cameras of a phase, drawn as the recipe draws them: camera, code, swap."""
    draws = Draws(1, phase, range(4))
    cameras = recipe.pictures.labels[draws.integers(7)]
    z, swaps = draws.normal(3), draws.uniform(1) < 0.5
    assert swaps.any()
    assert not swaps.all()
    return z, cameras, torch.where(swaps, cameras[[3, 0, 1, 2]], cameras)


def generated(recipe, phase):
    """Return the generator's pixels [4, 6] and the cameras, from its formula."""
    z, cameras, told = codes_and_cameras(recipe, phase)
    person = (z @ recipe.generator.code + told @ recipe.generator.told).tanh()
    return (person + cameras[:, :1]).sin(), cameras


def logit(recipe, pixels, cameras):
    d = recipe.discriminator
    return (pixels @ d.first + cameras @ d.label).tanh() @ d.second


def test_values_of_all_phases_from_the_formulas(recipe):
    real = BATCH["picture"].flatten(1) / 127.5 - 1
    d = recipe.discriminator
    with torch.no_grad():
        found = loss_of(recipe, "G_main")
        assert_close(found, (1 + (-logit(recipe, *generated(recipe, "G_main"))).exp()).log().mean())

        found = loss_of(recipe, "D_main")
        fake_logits, real_logits = logit(recipe, *generated(recipe, "D_main")), logit(recipe, real, BATCH["label"])
        assert_close(found, (1 + (-real_logits).exp()).log().mean() + (1 + fake_logits.exp()).log().mean())
        assert recipe.figures() == pytest.approx({
            "sign_real": real_logits.sign().mean().item(), "logit_real": real_logits.mean().item(),
            "sign_generated": fake_logits.sign().mean().item(), "logit_generated": fake_logits.mean().item(),
        })  # fmt: skip
        z, _, told = codes_and_cameras(recipe, "D_main")
        assert_close(recipe.generator.w_mean, (z @ recipe.generator.code + told @ recipe.generator.told).mean(0))

    # d logit / d pixel = first (second (1 - tanh^2))
    slope = 1 - (real @ d.first + BATCH["label"] @ d.label).tanh().square()
    gradient = (slope * d.second.T) @ d.first.T
    assert_close(loss_of(recipe, "D_r1"), 3 / 2 * gradient.square().sum(1).mean())

    draws = Draws(1, "G_density", range(4))
    draws.integers(7), draws.normal(3), draws.uniform(1)
    points, steps = 2 * draws.uniform(4, 3) - 1, 0.1 * draws.normal(4, 3)
    z, _, told = codes_and_cameras(recipe, "G_density")
    person = (z @ recipe.generator.code + told @ recipe.generator.told).tanh()[:, ::2]  # the column of the density
    rough = (points.sin() * person[:, None]).sum(-1) - ((points + steps).sin() * person[:, None]).sum(-1)
    assert_close(loss_of(recipe, "G_density"), 0.25 * rough.abs().mean())


@pytest.mark.parametrize(("phase", "network"), [("G_main", "G"), ("G_density", "G"), ("D_main", "D"), ("D_r1", "D")])
def test_gradients_are_finite_differences(recipe, phase, network):
    """Of every weight of the phase's network; the other network gets none."""
    loss_of(recipe, phase).backward()
    for name, parameter in recipe.networks()[network].named_parameters():
        numbers, found = parameter.data.view(-1), parameter.grad.view(-1).tolist()
        differences = []
        for k in range(len(numbers)):
            start, sides = numbers[k].item(), []
            for side in (1e-5, -1e-5):
                numbers[k] = start + side
                sides.append(loss_of(recipe, phase).item())
            numbers[k] = start
            differences.append((sides[0] - sides[1]) / 2e-5)
        assert found == pytest.approx(differences, rel=1e-6, abs=1e-8), name
        assert any(found), name
    if phase == "D_main":  # the generator is not even asked for gradients
        assert all(parameter.grad is None for parameter in recipe.generator.parameters())
