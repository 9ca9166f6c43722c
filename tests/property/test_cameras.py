# SPDX-License-Identifier: Apache-2.0
"""Cameras and rays, for any view."""

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch.testing import assert_close

from neural_core.cameras import Camera, orbit
from neural_core.rendering.rays import camera_rays

patient = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])

angle = st.floats(-180, 180)
tilt = st.floats(-80, 80)
small = st.floats(-0.3, 0.3)


@patient
@given(angle, tilt, st.floats(0.5, 5), st.tuples(small, small, small))
def test_label_round_trip(yaw, pitch, radius, target):
    camera = orbit(yaw, pitch, radius, target)
    again = Camera.from_label(camera.label())
    assert torch.equal(again.cam2world, camera.cam2world)
    assert torch.equal(again.intrinsics, camera.intrinsics)


@patient
@given(angle, tilt, st.floats(0.5, 5), st.tuples(small, small, small))
def test_orbit_keeps_distance_and_looks_at_its_target(yaw, pitch, radius, target):
    camera = orbit(yaw, pitch, radius, target)
    centre = torch.tensor([target])
    assert (camera.cam2world[:, :3, 3] - centre).norm().item() == pytest.approx(radius, rel=1e-4)
    assert_close(camera.project(centre[None]), torch.full((1, 1, 2), 0.5), atol=1e-4, rtol=0)


@patient
@given(angle, tilt, st.floats(0, 1), st.floats(0, 1), st.floats(0.1, 4), st.floats(-0.2, 0.2))
def test_projection_inverts_rays(yaw, pitch, u, v, distance, skew):
    camera = orbit(yaw, pitch, 2.0)
    intrinsics = camera.intrinsics.clone()
    intrinsics[:, 0, 1] = skew
    camera = Camera(camera.cam2world, intrinsics)
    pixel = torch.tensor([[u, v]])
    origins, directions = camera_rays(camera, pixel)
    assert directions.norm(dim=-1).item() == pytest.approx(1, abs=1e-5)
    assert_close(camera.project(origins + distance * directions)[0], pixel, atol=1e-3, rtol=0)


@patient
@given(angle, tilt, st.floats(0.2, 5), st.tuples(small, small, small))
def test_scaling_there_and_back(yaw, pitch, scale, shift):
    camera = orbit(yaw, pitch, 2.0)
    back = tuple(-value / scale for value in shift)
    again = camera.scaled(scale, shift).scaled(1 / scale, back)
    assert_close(again.cam2world, camera.cam2world, atol=1e-4, rtol=0)
