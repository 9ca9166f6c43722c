# SPDX-License-Identifier: Apache-2.0
"""Schedules, averages, losses, configuration files: answers that can be worked out by hand."""

import dataclasses

import pytest
import torch
from torch import nn

from neural_core.errors import UsageError
from training.config import build, read_toml
from training.ema import EMA
from training.losses.reconstruction import (
    depth_l1,
    edge_l1,
    hollow,
    line_of_sight,
    texture_distance,
    texture_filters,
)
from training.metrics.pictures import median_pairwise_l1, over_grey, psnr
from training.schedules import early_decay, half_life_decay, lazy_share, warmup_cosine


def test_learning_rate_rises_then_falls():
    assert warmup_cosine(0.05, 0.1) == pytest.approx(0.5)
    assert warmup_cosine(0.1, 0.1) == pytest.approx(1)
    assert warmup_cosine(0.55, 0.1, floor=0.2) == pytest.approx(0.6)  # half way down a cosine
    assert warmup_cosine(2.0, 0.1, floor=0.2) == pytest.approx(0.2)


def test_average_is_the_recursion():
    module = nn.Linear(1, 1, bias=False)
    nn.init.zeros_(module.weight)
    ema = EMA(module)
    nn.init.ones_(module.weight)
    ema.update(module, early_decay(0.9, step=1))  # 2 / 11, not 0.9
    assert ema.module.weight.item() == pytest.approx(9 / 11)
    ema.update(module, early_decay(0.9, step=10_000))
    assert ema.module.weight.item() == pytest.approx(1 - 0.9 * 2 / 11)


def test_half_life_of_the_average():
    """After `kimg` thousand pictures half is forgotten; before, after a share of what was seen."""
    assert half_life_decay(32, 10**9, 10, 0.05) ** (10_000 / 32) == pytest.approx(0.5)
    assert half_life_decay(32, 40_000, 10, 0.05) ** (2_000 / 32) == pytest.approx(0.5)
    assert half_life_decay(32, 40_000, 10, 0) ** (10_000 / 32) == pytest.approx(0.5)
    assert half_life_decay(32, 0, 10, 0.05) == 0  # the first step: all is forgotten


def test_lazy_regularisers_take_their_share_of_the_steps():
    assert lazy_share([]) == 1
    assert lazy_share([16]) == pytest.approx(16 / 17)
    assert lazy_share([4, 16]) == pytest.approx(16 / 21)  # 16 steps: 16 main ones, 4 and 1 besides


def test_edge_loss_ignores_a_constant_shift_and_sees_a_step():
    truth, weight = torch.rand(1, 3, 4, 4), torch.ones(1, 1, 4, 4)
    assert edge_l1(truth + 0.3, truth, weight) == pytest.approx(0, abs=1e-6)
    other = truth.clone()
    other[..., 2:] += 0.5  # a step between the second and third column
    assert edge_l1(other, truth, weight) == pytest.approx(0.5 * 4 / 12)
    weight[..., :2, 2] = 3.0  # half of the step counts three times
    assert edge_l1(other, truth, weight) == pytest.approx(0.5 * (2 + 3 * 2) / 12)


def test_depth_loss_counts_solid_pixels_only():
    depth, truth = torch.tensor([[1.0, 5.0, 7.0]]), torch.tensor([[1.5, 0.0, 1.0]])
    assert depth_l1(depth, truth, torch.tensor([[1.0, 1.0, 0.5]])) == pytest.approx(0.5)


def test_hollow_is_zero_for_an_opaque_inside():
    assert hollow(torch.tensor([[60.0, 600.0]])) == 0
    assert hollow(torch.tensor([[0.0, 30.0]])) == pytest.approx(0.75)


def test_texture_counts_what_there_is_and_not_where():
    torch.manual_seed(0)
    strands = (torch.rand(1, 1, 1, 64) > 0.5).float().expand(1, 3, 64, 64)
    elsewhere = strands.roll(20, dims=3)
    blurred = strands.mean(dim=3, keepdim=True).expand_as(strands)
    filters = texture_filters(16, 3, 5, torch.Generator().manual_seed(1))
    assert filters.flatten(1).norm(dim=1).sub(1).abs().max() < 1e-6
    assert filters.sum(dim=(2, 3)).abs().max() < 1e-5
    everywhere = torch.ones(1, 1, 64, 64)
    assert texture_distance(strands + 0.2, strands, filters, everywhere) < 1e-6  # flat colour does not count
    near, far = (texture_distance(picture, strands, filters, everywhere) for picture in (elsewhere, blurred))
    assert near < 0.1 * far
    lower = torch.arange(64)[:, None].expand(64, 64)[None, None] >= 32
    half = torch.cat([blurred[:, :, :32], strands[:, :, 32:]], dim=2)  # wrong only where it does not count
    assert (
        texture_distance(half, strands, filters, lower.float())
        < 1e-6
        < texture_distance(half, strands, filters, everywhere)
    )
    one = torch.zeros(1, 1, 1, 1) + 1.0  # a filter of one pixel: sorted pixels are compared, by hand
    a, b = torch.tensor([[3.0, 1.0], [0.0, 9.0]]), torch.tensor([[8.0, 1.0], [3.0, 0.5]])
    assert (
        texture_distance(a[None, None], b[None, None], one, torch.ones(1, 1, 2, 2)) == (0.5 + 0 + 0 + 1) / 4
    )  # 0 1 3 9 and 0.5 1 3 8


def test_line_of_sight_wants_nothing_before_the_surface_and_something_behind():
    distances = torch.tensor([[[1.0, 1.9, 2.0, 2.05, 2.5]]])
    depth, alpha = torch.tensor([[2.0]]), torch.tensor([[1.0]])
    right = torch.tensor([[[0.0, 7.0, 7.0, 60.0, 0.0]]])  # what lies within the margin or far behind does not count
    assert line_of_sight(right, distances, depth, alpha, 0.2) == pytest.approx(0)
    fog = torch.tensor([[[5.0, 0.0, 0.0, 60.0, 0.0]]])
    assert line_of_sight(fog, distances, depth, alpha, 0.2) == pytest.approx(1 - 2.718281828**-1)
    thin = torch.tensor([[[0.0, 0.0, 0.0, 15.0, 0.0]]])
    assert line_of_sight(thin, distances, depth, alpha, 0.2) == pytest.approx(0.75)
    assert line_of_sight(fog, distances, depth, torch.tensor([[0.5]]), 0.2) == 0  # hair's fringe
    background = torch.full((1, 1, 5), 5.0)
    assert line_of_sight(background, distances, 0 * depth, 0 * alpha, 0.2) == pytest.approx(1 - 2.718281828**-1)


def test_psnr_of_a_known_error():
    truth = torch.full((1, 3, 4, 4), 0.5)
    assert psnr(truth + 0.1, truth).item() == pytest.approx(20, abs=1e-4)
    torch.testing.assert_close(over_grey(torch.zeros(1, 3, 1, 1), torch.zeros(1, 1, 1, 1)), truth[..., :1, :1])


def test_median_pairwise_distance():
    pictures = torch.tensor([0.0, 0.1, 0.4])[:, None, None, None].expand(3, 3, 2, 2)
    assert median_pairwise_l1(pictures) == pytest.approx(0.3)


@dataclasses.dataclass(frozen=True)
class Inner:
    rate: float = 0.1
    sizes: tuple[int, ...] = (1,)


@dataclasses.dataclass(frozen=True)
class Outer:
    inner: Inner = dataclasses.field(default_factory=Inner)
    name: str = "x"


def test_configuration_is_read_and_extended(tmp_path):
    (tmp_path / "base.toml").write_text('name = "a"\n[inner]\nrate = 0.5\nsizes = [2, 3]\n')
    (tmp_path / "over.toml").write_text('extends = "base.toml"\n[inner]\nrate = 0.25\n')
    config = build(Outer, read_toml(tmp_path / "over.toml"), "over.toml")
    assert config == Outer(Inner(0.25, (2, 3)), "a")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("nome = 'a'", "there is no field nome. Did you mean name"),
        ("[inner]\nrat = 1.0", "there is no field inner.rat. Did you mean rate"),
        ("zzz = 1", "there is no field zzz. Run with --help"),
        ("[inner]\nrate = 'fast'", "inner.rate"),
        ("name = ", "not valid TOML"),
        ("name = 2020-01-01", "2020-01-01 is a date or a time"),
        ("extends = 3", "extends 3, which is no file name"),
    ],
)
def test_a_wrong_configuration_names_its_field(tmp_path, text, words):
    (tmp_path / "c.toml").write_text(text)
    with pytest.raises(UsageError, match=words):
        build(Outer, read_toml(tmp_path / "c.toml"), "c.toml")


def test_a_configuration_in_another_encoding_is_said(tmp_path):
    (tmp_path / "c.toml").write_bytes('name = "Zoë"'.encode("latin-1"))
    with pytest.raises(UsageError, match="not a text file in UTF-8"):
        read_toml(tmp_path / "c.toml")


def test_extends_goes_one_level(tmp_path):
    (tmp_path / "a.toml").write_text('extends = "b.toml"')
    (tmp_path / "b.toml").write_text('extends = "c.toml"')
    with pytest.raises(UsageError, match="itself extends"):
        read_toml(tmp_path / "a.toml")
