# SPDX-License-Identifier: GPL-3.0-or-later
"""The camera that goes around a portrait: where it stands at each frame, computed from the camera that it began as."""

import math

import bpy
import numpy as np
import pytest
from neural_portrait.scene import find, turntable

FRAMES, START = 8, 5


@pytest.fixture
def add(portrait, scene):
    """Add a turntable; returns a function of the frame that gives position and view direction in head space."""
    portrait.location = (1.0, 2.0, 3.0)
    bpy.context.view_layer.update()

    def add(**options):
        scene.camera = find.part(portrait, "CAMERA")
        made = turntable.add(portrait, scene, FRAMES, START, **options)
        assert scene.camera == made
        assert (scene.frame_preview_start, scene.frame_preview_end) == (START, START + FRAMES - 1)

        def at(frame):
            scene.frame_set(frame)
            matrix = np.array(portrait.matrix_world.inverted() @ made.matrix_world)
            return matrix[:3, 3], -matrix[:3, 2]

        return at

    return add


def test_all_the_way_round_at_even_steps(add):
    at = add()
    position, _ = at(START)
    assert abs(position[0]) < 1e-5  # before the face
    distance = math.hypot(position[0], position[2])
    for step in range(FRAMES):
        place, looks = at(START + step)
        turn = 2 * math.pi * step / FRAMES
        expected = [distance * math.sin(turn), position[1], distance * math.cos(turn)]  # towards the subject's left
        np.testing.assert_allclose(place, expected, atol=1e-5)
        across = np.cross([looks[0], 0, looks[2]], [place[0], 0, place[2]])
        np.testing.assert_allclose(across, 0, atol=1e-5)  # looks at the axis
        assert looks @ place < 0
    np.testing.assert_allclose(at(START + FRAMES)[0], position, atol=1e-5)  # a loop


def test_from_side_to_side(add):
    at = add(yaw_deg=30)
    yaws = [math.degrees(math.atan2(*at(START + step)[0][[0, 2]])) for step in range(FRAMES)]
    np.testing.assert_allclose(yaws, [30 * math.sin(2 * math.pi * step / FRAMES) for step in range(FRAMES)], atol=1e-3)


def test_from_above(add):
    (low, _), (high, looks) = add()(START), add(pitch_deg=20)(START)
    np.testing.assert_allclose(np.linalg.norm(low), np.linalg.norm(high), rtol=1e-5)
    angles = [math.degrees(math.asin(place[1] / np.linalg.norm(place))) for place in (low, high)]
    np.testing.assert_allclose(angles[1] - angles[0], 20, atol=1e-3)
    assert looks[1] < 0


def test_the_camera_it_began_as_stays(add, portrait, scene):
    own = find.part(portrait, "CAMERA")
    before, lens = own.matrix_world.copy(), own.data.lens
    at = add()
    at(START + 3)
    assert own.matrix_world == before
    assert own.data.lens == lens
    made = scene.camera
    assert made != own
    assert made.data != own.data
    assert made.data.lens == lens
