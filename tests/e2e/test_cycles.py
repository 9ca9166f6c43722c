# SPDX-License-Identifier: Apache-2.0
"""Cycles as a camera: the same picture whatever was taken before, depth and colours as arithmetic says."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

DISTANCE = 2.7  # of the camera from the origin, model units


@pytest.fixture(scope="module")
def pictures(tmp_path_factory, repository: Path):
    if importlib.util.find_spec("bpy") is None:
        pytest.skip("the bpy wheel is not installed (extra `blender`)")
    out = tmp_path_factory.mktemp("cycles") / "pictures.npz"
    command = [sys.executable, str(Path(__file__).with_name("cycles_pictures.py")), str(out)]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": os.fspath(repository)}
    run = subprocess.run(command, env=environment, cwd=repository, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr[-3000:]
    with np.load(out) as file:
        return dict(file)


def test_a_picture_does_not_know_what_was_taken_before_it(pictures):
    again = [name for name in pictures if name.startswith("again: ")]
    assert len(again) == 10
    for name in again:
        np.testing.assert_array_equal(pictures[name], pictures[name.removeprefix("again: ")], err_msg=name)
    assert (pictures["red.rgba"] != pictures["red moved.rgba"]).any()


def test_everybody_has_their_own_skin(pictures):
    middle = (slice(10, 14), slice(2, 22), slice(0, 3))
    red, green = (np.median(pictures[f"{name}.rgba"][middle], (0, 1)) for name in ("red", "green"))
    assert red[0] > 1.5 * red[1]
    assert green[1] > 1.5 * green[0]


def test_depth_is_the_distance_along_the_ray(pictures):
    depth = pictures["eye.depth"]
    centre = (np.arange(24) + 0.5) / 24 - 0.5
    x, y = np.meshgrid(centre / 4.2647, centre / 4.2647)
    np.testing.assert_allclose(depth, DISTANCE * np.sqrt(1 + x**2 + y**2), rtol=2e-3)  # a pixel's samples are spread
    assert pictures["red.depth"][0, 0] == 0
    assert pictures["red.rgba"][0, 0].tolist() == [0, 0, 0, 0]


def test_lenses_are_looked_through_and_frames_are_not(pictures):
    # A sample that the lens mirrors away tells of the lens; labels therefore come from ``sight.py``.
    through = np.abs(pictures["eye behind a lens.depth"] / pictures["eye.depth"] - 1) < 2e-3
    assert through.mean() > 0.95
    assert pictures["eye behind a lens.rgba"][..., 3].min() >= 250
    ratio = pictures["eye behind a lens.rgba"][..., :3].astype(float) / pictures["eye.rgba"][..., :3]
    assert 0.9 < np.median(ratio) < 1.25
    # Closer to the camera by 0.1 m, which is 0.2 model units.
    np.testing.assert_allclose(
        pictures["eye behind a frame.depth"] / pictures["eye.depth"], (DISTANCE - 0.2) / DISTANCE, rtol=2e-3
    )


def test_a_plane_under_an_even_sky_shines_with_its_share_of_it(pictures):
    # Half of the sky's light comes back from grey paper, whatever its direction; cloth adds a little sheen.
    shown = pictures["paper.rgba"][11:13, 11:13, :3].mean((0, 1)) / 255
    linear = ((shown + 0.055) / 1.055) ** 2.4
    np.testing.assert_allclose(linear / linear[1], np.array([0.2, 0.3, 0.4]) / 0.3, rtol=0.06)
    assert 0.9 < linear[1] / (0.5 * 0.3) < 1.35


def test_developing_divides_by_alpha_exposes_and_lays_over_the_backdrop(pictures):
    # 0.5 and 0.2140 linear are 188 and 128 in sRGB; 0.25 is 137, 0.2 is 124, 0.4 is 170.
    assert pictures["developed"][0].tolist() == [[188, 137, 0, 128], [124, 124, 124, 255], [0, 0, 0, 0]]
    assert pictures["developed brighter"][0, 1].tolist() == [170, 170, 170, 255]
    grey = 0.21586  # linear of 128
    expected = [round(255 * (1.055 * (part + 0.5 * grey) ** (1 / 2.4) - 0.055)) for part in (0.25, 0.125, 0.0)]
    assert pictures["developed before grey"][0, 0].tolist() == [*expected, 128]
    assert pictures["developed before grey"][0, 2].tolist() == [128, 128, 128, 0]
