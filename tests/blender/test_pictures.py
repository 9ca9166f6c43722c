# SPDX-License-Identifier: GPL-3.0-or-later
"""Pictures in memory: the newest stay, up to a limit in bytes."""

import importlib
import sys

import numpy as np
import pytest


@pytest.fixture(scope="module")
def pictures(stub_stage):
    sys.path.insert(0, str(stub_stage))
    yield importlib.import_module("neural_portrait.pictures")
    sys.path.remove(str(stub_stage))


def picture(value, side=4):
    return np.full((side, side, 4), value, np.uint8)  # 64 bytes of side 4


def test_what_was_not_asked_for_longest_goes_first(pictures):
    cache = pictures.PictureCache(3 * 64)
    for name, value in (("a", 1), ("b", 2), ("c", 3)):
        cache.put(name, picture(value))
    assert cache.get("a")[0, 0, 0] == 1
    cache.put("d", picture(4))
    assert cache.get("b") is None
    assert [cache.get(name) is not None for name in "acd"] == [True] * 3
    assert (len(cache), cache.nbytes) == (3, 3 * 64)


def test_a_key_is_kept_once_and_the_newest_counts(pictures):
    cache = pictures.PictureCache(2 * 64)
    cache.put("a", picture(1))
    cache.put("a", picture(2))
    assert (len(cache), cache.nbytes, cache.get("a")[0, 0, 0]) == (1, 64, 2)


def test_a_picture_above_the_limit_is_not_kept_and_drives_nothing_out(pictures):
    cache = pictures.PictureCache(100)
    cache.put("a", picture(1))
    cache.put("large", picture(2, side=8))
    assert cache.get("large") is None
    assert cache.get("a") is not None
    cache.clear()
    assert (len(cache), cache.nbytes) == (0, 0)
