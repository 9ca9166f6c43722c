# SPDX-License-Identifier: Apache-2.0
"""Light and backdrops: what arithmetic says about them, and that no face gets lost in them."""

import numpy as np
import pytest

from training.synthetic.backdrops import sample_backdrop
from training.synthetic.lighting import STUDIO, Lamp, Setting, light_on_face, sample_setting
from training.synthetic.looks import linear_to_srgb, srgb_to_linear

SETTINGS = [sample_setting(np.random.default_rng([5, number]), 48) for number in range(80)]


def test_srgb_there_and_back_and_at_known_values():
    light = np.linspace(0, 1, 1001)
    np.testing.assert_allclose(srgb_to_linear(linear_to_srgb(light)), light, atol=1e-7)
    np.testing.assert_allclose(
        linear_to_srgb(np.array([0.0, 0.0031308, 0.2140411, 1.0])), [0, 0.04045, 0.5, 1], atol=1e-5
    )


def test_light_of_one_lamp_and_of_the_sky():
    white = np.ones(3)
    ahead = Setting((Lamp(np.array([0.0, 0.0, 2.0]), 0.5, 10.0, white),), 0.2 * white)
    # A face that looks at a lamp of 10 W in 2 m receives 10 / (pi 4) W/m2 and sends 1 / pi of it to every side.
    assert light_on_face(ahead)[0] == pytest.approx(0.2 + 10 / (4 * np.pi) / np.pi)
    behind = Setting((Lamp(np.array([0.0, 0.0, -2.0]), 0.5, 10.0, white),), 0.2 * white)
    np.testing.assert_allclose(light_on_face(behind), 0.2)
    left = light_on_face(Setting((Lamp(np.array([2.0, 0.0, 0.0]), 0.5, 10.0, white),), np.zeros(3)))
    assert left[1] > 0
    assert left[2] == 0


def test_settings_keep_the_face_readable():
    studio = light_on_face(STUDIO)
    for setting in SETTINGS:
        shown = light_on_face(setting) * 2.0**setting.exposure
        assert 0.7 * studio.mean() < shown.mean() < 2 * studio.mean()
        assert shown.max() <= 1.5 * studio.max() + 1e-9
        assert shown.max() / shown.min() < 7
        assert all(1.0 < np.linalg.norm(lamp.place) < 2.5 for lamp in setting.lamps)
        assert all(lamp.width >= 0.4 and lamp.power > 0 and (lamp.colour > 0.5).all() for lamp in setting.lamps)


def test_settings_differ():
    sides = [light_on_face(setting)[1] > light_on_face(setting)[2] for setting in SETTINGS]
    assert 0.25 < np.mean(sides) < 0.75
    assert np.std([setting.exposure for setting in SETTINGS]) > 0.1
    assert {len(setting.lamps) for setting in SETTINGS} == {1, 2, 3}
    warmth = [setting.sky[0] / setting.sky[2] for setting in SETTINGS]
    assert min(warmth) < 1 < max(warmth)


def test_the_same_numbers_give_the_same_setting_at_any_size():
    small, again, large = (sample_setting(np.random.default_rng(8), size) for size in (64, 64, 128))
    assert small.backdrop is not None
    assert again.backdrop is not None
    np.testing.assert_array_equal(small.backdrop, again.backdrop)
    assert small.exposure == again.exposure == large.exposure
    for one, other in zip(small.lamps, large.lamps, strict=True):
        np.testing.assert_array_equal(one.place, other.place)
    assert large.backdrop is not None
    halved = large.backdrop.reshape(64, 2, 64, 2, 3).astype(float).mean((1, 3))
    assert np.abs(halved - small.backdrop).mean() < 3


def test_backdrops_are_neither_black_nor_white_and_differ():
    pictures = np.stack([setting.backdrop for setting in SETTINGS if setting.backdrop is not None])
    assert pictures.shape == (80, 48, 48, 3)
    assert pictures.dtype == np.uint8
    brightness = srgb_to_linear(pictures / 255).mean((1, 2, 3))
    assert brightness.min() > 0.015
    assert brightness.max() < 0.72
    means = pictures.mean((1, 2))
    assert np.std(means, 0).min() > 20
    flat = pictures.astype(float).std((1, 2)).max(1)
    assert (flat > 15).mean() > 0.5  # most show something


def test_backdrops_are_out_of_focus():
    pictures = np.stack([sample_backdrop(np.random.default_rng([6, number]), 96) for number in range(30)]).astype(int)
    bends = np.abs(np.diff(pictures, 2, axis=2)).reshape(30, -1)
    # A sharp edge bends by as much as it steps, up to 190 here; only small lights in the evening come close to 35.
    assert np.percentile(bends, 99.5, axis=1).max() < 45


def test_warm_light_is_warmer():
    cool, warm = (sample_backdrop(np.random.default_rng(2), 32, warmth).astype(float) for warmth in (-1.0, 1.0))
    assert (warm[..., 0].mean() / warm[..., 2].mean()) > (cool[..., 0].mean() / cool[..., 2].mean())
