# SPDX-License-Identifier: GPL-3.0-or-later
"""What is behind the head: as it is written, and laid under pictures."""

import importlib
import sys

import numpy as np
import pytest


@pytest.fixture(scope="module")
def load(stub_stage):
    sys.path.insert(0, str(stub_stage))
    yield lambda name: importlib.import_module(f"neural_portrait.{name}")
    sys.path.remove(str(stub_stage))


@pytest.fixture(scope="module")
def backgrounds(load):
    return load("backgrounds")


def test_a_colour_is_written_as_its_bytes(backgrounds):
    assert backgrounds.of_colour((1.0, 0.5, 0.0)) == "#ff8000"
    assert backgrounds.colour_of("#ff8000") == (1.0, 128 / 255, 0.0)
    assert [backgrounds.colour_of(other) for other in ("", "model")] == [None, None]


@pytest.mark.parametrize("text", ["transparent", "#FF8000", "#ff80", "#ff80001", "red", "model\n", "#00000\n"])
def test_what_is_no_background_is_refused(backgrounds, load, text):
    with pytest.raises(load("neural_core.errors").UsageError, match="is no background"):
        backgrounds.check(text)
    assert [backgrounds.check(known) for known in ("", "model", "#00ff7f")] == ["", "model", "#00ff7f"]


def test_a_colour_under_a_picture_mixes_by_its_opacity(backgrounds):
    pixels = np.array([[[200, 100, 0, 255], [200, 100, 0, 51], [200, 100, 0, 0]]], np.uint8)  # 1, a fifth, nothing
    under = backgrounds.laid_under(pixels, "#0a14ff")
    expected = [[200, 100, 0, 255], [40 + 8, 20 + 16, 204, 255], [10, 20, 255, 255]]
    np.testing.assert_array_equal(under[0], expected)
    assert under.dtype == np.uint8
    np.testing.assert_array_equal(backgrounds.laid_under(under, "#00ff00"), under)  # nothing is left to be seen through
    for other in ("", "model"):
        assert backgrounds.laid_under(pixels, other) is pixels


def test_the_engine_is_asked_for_its_own_background_only(load):
    requests = load("requests")
    for written, asked in (("", ""), ("#102030", ""), ("model", "model")):
        shot = requests.Shot((0.0,) * 25, {"actions": {"jawOpen": 1.0}}, written)
        assert requests.render("p", shot, 64, "full").background == asked
        assert shot.drawn == requests.Shot(shot.camera, shot.controls, asked)
