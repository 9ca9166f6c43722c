# SPDX-License-Identifier: Apache-2.0
"""Augmentation of what the discriminator sees: against scipy, loops, closed forms, and counts by hand."""

import colorsys
import math

import numpy as np
import pytest
import scipy.ndimage
import torch
from torch.autograd import gradcheck, gradgradcheck
from torch.nn import functional as F

from neural_core.errors import UsageError
from training.augment import AdaptiveProbability, Augment, AugmentConfig
from training.augment_colour import change_of, draw_colour, recolour
from training.augment_corruption import POWER, amplify, draw_gains, draw_hole, draw_noise, filter_bank
from training.augment_geometry import SYM6, blit, draw_blit, draw_movement, fold, mirror_pad, resample
from training.draws import Draws

ALL = ("blit", "geometric", "colour", "filter", "corruption")


def draws(count=4, first=0, phase="D_main"):
    return Draws(3, phase, range(first, first + count))


def pictures(count=4, size=16, channels=3, dtype=torch.float32):
    return torch.rand(count, channels, size, size, generator=torch.Generator().manual_seed(1), dtype=dtype) * 2 - 1


def smooth(size, count=1):
    """Pictures without fine detail, so that every good interpolation agrees about them."""
    y, x = torch.meshgrid(torch.arange(size), torch.arange(size), indexing="ij")
    waves = [torch.sin(2 * math.pi * (x * a + y * b) / size + a) for a, b in ((1, 0.5), (0.4, -1), (-1, 1.3))]
    return torch.stack(waves).double()[None].repeat(count, 1, 1, 1)


def affine(*rows):
    return torch.tensor([[*rows[0]], [*rows[1]], [0, 0, 1]], dtype=torch.float64)[None]


def by_scipy(picture, movement, order):
    """The picture moved by scipy, whose arrays count (y, x) from the corner and want the way back."""
    back = np.linalg.inv(movement[0].numpy())
    flip = np.array([[0, 1], [1, 0]])
    matrix, shift = flip @ back[:2, :2] @ flip, flip @ back[:2, 2]
    centre = (picture.shape[-1] - 1) / 2
    offset = centre + shift - matrix @ [centre, centre]
    moved = [
        scipy.ndimage.affine_transform(channel.numpy(), matrix, offset, order=order, mode="mirror")
        for channel in picture[0]
    ]
    return torch.from_numpy(np.stack(moved))[None]


# --- the whole ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("groups", [ALL, *[(group,) for group in ALL]])
def test_probability_zero_leaves_every_bit(groups):
    picture = pictures(channels=6)
    assert torch.equal(Augment(groups)(picture, 0.0, draws()), picture)
    assert not torch.equal(Augment(groups)(picture, 1.0, draws()), picture)


def test_a_pair_without_augmentation_is_what_the_discriminator_sees_anyway():
    image, raw = pictures(size=32), pictures(size=8)
    found_image, found_raw = Augment().alike([image, raw], 0.0, draws())
    enlarged = F.interpolate(raw, size=(32, 32), mode="bilinear", align_corners=False, antialias=True)
    assert torch.equal(found_image, image)
    assert torch.equal(found_raw, enlarged)
    again = F.interpolate(found_raw, size=(32, 32), mode="bilinear", align_corners=False, antialias=True)
    assert torch.equal(again, enlarged)


def test_both_pictures_of_a_pair_get_the_same_transform():
    image = pictures(size=16)
    one, other = Augment(ALL[:4]).alike([image, image], 1.0, draws())
    torch.testing.assert_close(one, other)
    assert not torch.allclose(one, image)


@pytest.mark.parametrize("probability", [0.3, 1.0])
def test_a_sample_does_not_depend_on_its_micro_batch(probability):
    picture, augment = pictures(6), Augment(ALL)
    whole = augment(picture, probability, draws(6))
    parts = [augment(picture[i : i + 2], probability, draws(2, first=i)) for i in (0, 2, 4)]
    torch.testing.assert_close(torch.cat(parts), whole, rtol=0, atol=2e-6)  # 1e-6 seen: sums in another order


@pytest.mark.parametrize("groups", [ALL, *[(group,) for group in ALL]])
def test_the_number_of_draws_does_not_depend_on_the_probability(groups):
    never, always, some = draws(), draws(), draws()
    for stream, probability in ((never, 0.0), (always, 1.0), (some, 0.4)):
        Augment(groups)(pictures(), probability, stream)
    assert torch.equal(after := never.uniform(), always.uniform())
    assert torch.equal(after, some.uniform())


def test_gradients_of_first_and_second_order():
    picture = pictures(2, size=5, dtype=torch.float64).requires_grad_()
    augment = Augment(ALL)

    def logits(x):
        return augment(x, 0.8, draws(2)).sin()  # so that second derivatives are not zero

    assert gradcheck(logits, [picture], fast_mode=True)
    assert gradgradcheck(logits, [picture], fast_mode=True)


def test_pictures_that_are_not_square_or_not_in_colour_are_refused():
    with pytest.raises(ValueError, match="square"):
        Augment()(torch.zeros(1, 3, 4, 5), 0.5, draws(1))
    with pytest.raises(ValueError, match="3 channels"):
        Augment()(torch.zeros(1, 4, 4, 4), 0.5, draws(1))


def test_half_precision_does_not_reach_the_transforms():
    picture = pictures().to(torch.bfloat16)
    with torch.autocast("cpu", torch.bfloat16):
        found = Augment()(picture, 1.0, draws())
    assert torch.equal(found, Augment()(picture.float(), 1.0, draws()))


# --- geometry -------------------------------------------------------------------------------------------------------


def test_flips_happen_half_of_the_time_and_are_flips():
    picture = pictures(400, size=2)
    moved = draw_blit(draws(400), 1.0, size=2)  # a shift of at most an eighth of two pixels is none
    straight = moved.clone()
    straight[:, :2, :2] = torch.eye(2)
    assert torch.equal(straight, torch.eye(3).double().expand(400, 3, 3))
    flipped = torch.linalg.det(moved) < 0
    assert 0.4 < flipped.double().mean() < 0.6  # 4 standard deviations
    found = blit(picture, moved)
    turned = [torch.rot90(picture, k, (2, 3)) for k in range(4)] + [
        torch.rot90(picture.flip(3), k, (2, 3)) for k in range(4)
    ]
    which = torch.stack([(candidate == found).flatten(1).all(1) for candidate in turned])
    assert (which.sum(0) == 1).all()
    assert torch.equal(which[4:].any(0), flipped)
    assert (which.sum(1) > 30).all()  # 50 of each are expected: all eight are as likely


def test_blits_against_numpy():
    picture = pictures(1, size=6)
    for shift_x, shift_y, turns, flip in ((2, -1, 0, False), (0, 3, 1, True), (-2, 1, 3, False), (1, 1, 2, True)):
        cos, sin = ((1, 0), (0, 1), (-1, 0), (0, -1))[turns]
        movement = affine((cos, -sin, 0), (sin, cos, 0)) @ affine((-1 if flip else 1, 0, 0), (0, 1, 0))
        movement = affine((1, 0, shift_x), (0, 1, shift_y)) @ movement
        expected = picture[0].numpy()[:, :, ::-1] if flip else picture[0].numpy()
        expected = np.rot90(expected, -turns, (1, 2))  # from x to y, which points down, is clockwise
        padded = np.pad(expected, ((0, 0), (3, 3), (3, 3)), mode="reflect")
        expected = padded[:, 3 - shift_y : 9 - shift_y, 3 - shift_x : 9 - shift_x]
        np.testing.assert_array_equal(blit(picture, movement)[0].numpy(), expected)


def test_shifts_reach_an_eighth_of_the_picture():
    shifts = draw_blit(draws(500), 1.0, size=64)[:, :2, 2]
    assert torch.equal(shifts, shifts.round())
    assert shifts.abs().max() == 8
    assert shifts.mean(0).abs().max() < 0.9  # 4 deviations of the mean of a uniform number in -8..8


def test_the_wavelet_is_orthogonal_and_has_six_vanishing_moments():
    taps = np.array(SYM6)
    for shift in range(6):
        assert np.dot(taps[: 12 - 2 * shift], taps[2 * shift :]) == pytest.approx(float(shift == 0), abs=1e-11)
    for power in range(6):
        assert np.dot((-1.0) ** np.arange(12), taps * np.arange(12.0) ** power) == pytest.approx(0, abs=1e-8)


def test_resampling_without_movement_gives_the_picture_back():
    picture = pictures(2, size=11, dtype=torch.float64)
    torch.testing.assert_close(resample(picture, torch.eye(3).double().expand(2, 3, 3)), picture, rtol=0, atol=1e-10)


@pytest.mark.parametrize("seed", range(4))
def test_ramps_move_exactly(seed):
    """The inside of c + a x + b y, moved anywhere, is the same ramp seen from the movement's inverse."""
    movement = draw_movement(draws(1, first=seed), 1.0, size=48)[0]
    movement[:, :2, 2] *= 0.2  # leave a part of the inside in the picture
    centre = torch.arange(48).double() - 23.5
    y, x = torch.meshgrid(centre, centre, indexing="ij")
    ramp = (0.1 + 0.01 * x - 0.02 * y)[None, None]
    source = torch.linalg.inv(movement)[0] @ torch.stack([x, y, torch.ones_like(x)]).flatten(1)
    expected = (0.1 + 0.01 * source[0] - 0.02 * source[1]).reshape(48, 48)
    inside = (source[:2].abs().amax(0) < 16).reshape(48, 48)
    inside[:6], inside[-6:], inside[:, :6], inside[:, -6:] = False, False, False, False
    assert inside.sum() > 100
    torch.testing.assert_close(resample(ramp, movement)[0, 0][inside], expected[inside], rtol=0, atol=1e-10)


@pytest.mark.parametrize(
    "movement",
    [
        affine((1, 0, 0.37), (0, 1, -2.61)),
        affine((math.cos(0.5), -math.sin(0.5), 0), (math.sin(0.5), math.cos(0.5), 0)),
        affine((1.3, 0, 1), (0, 0.8, -3)),
        affine((-0.9, 0.35, 2.2), (0.2, 1.1, 4.5)),
    ],
)
def test_resampling_of_smooth_pictures_against_scipy(movement):
    picture = smooth(64)
    found, expected = resample(picture, movement), by_scipy(picture, movement, order=5)
    assert (found - expected).abs().max() < 0.03  # at the mirror's creases, which the filter rounds: 0.020 seen
    # Linear reading of points half a pixel apart errs by 0.5^2 / 8 |f''|, f'' = (2 pi 1.64 / 64)^2 at most: 0.0008.
    middle = (..., slice(16, 48), slice(16, 48))
    assert (found - expected)[middle].abs().max() < 1e-3


def test_shrunk_stripes_turn_grey_instead_of_aliasing():
    stripes = torch.ones(1, 1, 64, 64, dtype=torch.float64)
    stripes[..., ::2] = -1
    movement = affine((0.6, 0, 0), (0, 0.6, 0))  # periods of 1.2 pixels: too fine for the result
    middle = (..., slice(20, 44), slice(20, 44))
    assert by_scipy(stripes, movement, order=1)[middle].abs().mean() > 0.5  # what plain interpolation makes of them
    assert resample(stripes, movement)[middle].abs().mean() < 0.1  # 0.066 seen


def test_movements_are_drawn_as_documented():
    """Scale, turn, stretch, turn, shift: determinant, angle and probability have known distributions."""
    movement, happened = draw_movement(draws(2000), 1.0, size=32)
    assert happened.all()
    logs = torch.linalg.det(movement).log2() / 2
    assert logs.std().item() == pytest.approx(0.2, abs=0.02)
    assert (movement[:, :2, 2] / 32).std().item() == pytest.approx(0.125, abs=0.01)
    singular = torch.linalg.svdvals(movement[:, :2, :2]).log2()
    assert ((singular[:, 0] - singular[:, 1]) / 2).square().mean().sqrt().item() == pytest.approx(0.2, abs=0.02)
    happened = draw_movement(draws(2000), 0.3, size=32)[1].double().mean().item()
    assert happened == pytest.approx(1 - 0.7**4, abs=0.05)  # scale, stretch, shift, and the turns together: 0.3 each


def test_a_movement_follows_the_blit():
    picture, stream = smooth(32, count=6), draws(6)
    first = blit(picture, draw_blit(stream, 1.0, 32))
    expected = resample(first, draw_movement(stream, 1.0, 32)[0])
    difference = (Augment(("blit", "geometric"))(picture, 1.0, draws(6)) - expected).abs().flatten(1)
    assert (
        difference.median(1).values.max() < 0.02
    )  # not everywhere: a blit's mirror image may be moved into the picture


def test_mirrors_repeat_without_end():
    row = torch.arange(4.0).expand(1, 1, 4, 4)
    np.testing.assert_array_equal(mirror_pad(row, 7)[0, 0, 0], np.pad([0, 1, 2, 3], 7, mode="reflect"))
    assert torch.equal(fold(torch.tensor([-0.25, 3.25]), 4), torch.tensor([0.25, 2.75]))


# --- colour ---------------------------------------------------------------------------------------------------------


def change(offset=0.0, factor=1.0, flipped=False, angle=0.0, saturation=1.0):
    return change_of(
        *(torch.tensor([number], dtype=torch.float64) for number in (offset, factor)),
        torch.tensor([flipped]),
        *(torch.tensor([number], dtype=torch.float64) for number in (angle, saturation)),
    )


def test_each_colour_change_is_its_closed_form():
    picture = pictures(1, size=4, channels=6, dtype=torch.float64)
    threes = picture.unflatten(1, (2, 3))
    grey = threes.mean(2, keepdim=True)
    for arguments, expected in (
        ({"offset": 0.3}, threes + 0.3),
        ({"factor": 1.7}, 1.7 * threes),
        ({"flipped": True}, threes - 2 * grey),  # the mirror image in the plane of colours that have no luma
        ({"angle": 2 * math.pi / 3}, threes.roll(1, 2)),  # a third of a turn: red becomes green, green blue
        ({"saturation": 0.25}, grey + 0.25 * (threes - grey)),
        ({"offset": 0.3, "factor": 1.7}, 1.7 * (threes + 0.3)),
    ):
        torch.testing.assert_close(recolour(picture, change(**arguments)), expected.flatten(1, 2))


def test_hue_turns_as_in_colorsys_for_sixths_of_a_turn():
    """The hexagon of HSV and the circle around grey agree at its six corners."""
    for corner in range(6):
        full = torch.tensor(colorsys.hsv_to_rgb(corner / 6, 1, 1), dtype=torch.float64)
        third = torch.tensor(colorsys.hsv_to_rgb(corner / 6 + 1 / 3, 1, 1), dtype=torch.float64)
        found = recolour(full.view(1, 3, 1, 1), change(angle=2 * math.pi / 3)).flatten()
        torch.testing.assert_close(found, third, rtol=0, atol=1e-12)


def test_colour_changes_are_drawn_as_documented():
    matrix, changed = draw_colour(draws(2000), 1.0)
    assert changed.all()
    grey = torch.ones(3, dtype=torch.float64)
    along = (matrix[:, :3, :3] @ grey)[:, 0]  # plus or minus the contrast
    assert ((along < 0).double().mean() - 0.5).abs() < 0.05
    assert along.abs().log2().std().item() == pytest.approx(0.5, abs=0.04)
    assert (matrix[:, 0, 3] / along).std().item() == pytest.approx(0.2, abs=0.02)
    across = (matrix[:, :3, :3] @ torch.tensor([1.0, -1, 0]).double()).norm(dim=1) / math.sqrt(2)
    assert (across / along.abs()).log2().std().item() == pytest.approx(1, abs=0.08)
    changed = draw_colour(draws(2000), 0.2)[1].double().mean().item()
    assert changed == pytest.approx(1 - 0.8**4 * 0.9, abs=0.05)  # a luma flip that is chosen happens half of the time


# --- frequencies, noise, holes --------------------------------------------------------------------------------------


def test_bands_add_up_to_the_identity_and_divide_the_frequencies_into_octaves():
    bank = filter_bank()
    identity = torch.zeros(bank.shape[1], dtype=torch.float64)
    identity[len(identity) // 2] = 1
    torch.testing.assert_close(bank.sum(0), identity)
    torch.testing.assert_close(bank, bank.flip(1))  # no phase
    place = torch.arange(bank.shape[1]) - bank.shape[1] // 2
    for band, frequency in enumerate((1 / 16, 3 / 16, 3 / 8, 3 / 4)):  # middles of the octaves, 1 the highest
        response = (bank * torch.cos(math.pi * frequency * place)).sum(1)
        assert response.argmax() == band
        assert response[band] > 0.7  # 0.71 seen; four taps make soft edges
    assert bank.sum(1).tolist() == pytest.approx([1, 0, 0, 0])  # a constant is all in the lowest


def test_amplifying_one_band_against_scipy_and_at_the_same_power():
    gains = draw_gains(draws(300), 1.0)
    assert ((gains.square() @ torch.tensor(POWER).double()) - 1).abs().max() > 0.1  # only each factor is normalised
    one = torch.tensor([[1.0, 1.0, 3.0, 1.0]]).double()
    picture = pictures(1, size=12, dtype=torch.float64)
    taps = (one @ filter_bank())[0].numpy()
    expected = picture.numpy()
    for axis in (2, 3):
        expected = scipy.ndimage.convolve1d(expected, taps, axis=axis, mode="mirror")
    np.testing.assert_allclose(amplify(picture, one), expected, atol=1e-12)


def test_a_single_amplified_band_keeps_the_expected_power():
    class OneBand(Draws):
        """Chance chooses the second band alone, whose factor is 2."""

        def uniform(self, *shape):
            self.count = getattr(self, "count", -1) + 1
            return torch.tensor([0.0 if self.count == 1 else 0.9])

        def normal(self, *shape):
            return torch.ones(1)

    gains = draw_gains(OneBand(0, "", [0]), 0.5)
    power = math.sqrt(10 / 13 + 4 / 13 + 2 / 13)
    torch.testing.assert_close(gains, torch.tensor([[1, 2, 1, 1]]).double() / power)


def test_noise_and_holes():
    noise = draw_noise(draws(400), 1.0, torch.Size((400, 3, 8, 8)))
    deviation = noise.flatten(1).std(1)
    assert deviation.mean().item() == pytest.approx(0.1 * math.sqrt(2 / math.pi), abs=0.012)  # of a half-normal number
    hole = draw_hole(draws(400), 1.0, 16, 16)
    assert hole.unique().tolist() == [0, 1]
    covered = (1 - hole).mean((1, 2, 3))
    assert covered.max().item() == pytest.approx(0.25)  # half by half, where it lies inside
    assert covered.mean().item() == pytest.approx((7 / 16) ** 2, abs=0.01)  # its mean side: 1/2 less 1/16 cut off
    assert draw_hole(draws(), 0.0, 16, 16).all()


# --- the probability ------------------------------------------------------------------------------------------------


def test_the_probability_follows_the_signs_by_hand():
    p = AdaptiveProbability(target=0.6, kimg=1, every=2)
    seen = []
    for sign in (1.0, 1.0, 0.9, 0.5, 0.0, 1.0, 0.6, 0.6, -1.0, -1.0, -1.0, -1.0):
        p.update(sign, 50)
        seen.append(round(p.value, 12))
    # Means 1, 0.7, 0.5, 0.6, -1, -1: up, up, down, nothing, down, and no lower than 0; 100 pictures of 1000 a move.
    assert seen == [0, 0.1, 0.1, 0.2, 0.2, 0.1, 0.1, 0.1, 0.1, 0, 0, 0]


def test_the_probability_ends_at_one():
    p = AdaptiveProbability(kimg=0.1, every=1)
    for _ in range(3):
        p.update(1.0, 40)
    assert p.value == 1


def test_the_probability_can_be_resumed_between_adjustments():
    p = AdaptiveProbability(kimg=1, every=3)
    for _ in range(5):
        p.update(1.0, 40)
    other = AdaptiveProbability(kimg=1, every=3)
    other.load_state(p.state())
    for probability in (p, other):
        probability.update(0.5, 10)  # 0.94 over 90 pictures: up, which 0.5 alone would not do
    assert other.value == p.value == pytest.approx(0.12 + 0.09)
    assert other.state() == p.state()


@pytest.mark.parametrize(("name", "value"), [("probability", 1.5), ("target", -2.0), ("kimg", 0.0), ("every", 0)])
def test_settings_that_make_no_sense_are_said(name, value):
    with pytest.raises(UsageError, match=f"augment.{name} is {value}"):
        AugmentConfig(**{name: value})
