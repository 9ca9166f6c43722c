# SPDX-License-Identifier: Apache-2.0
"""Do faces have their features where they should, and where the other views have them? FaceMesh says where they are."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from neural_core.cameras import Camera
from neural_core.human.landmarks import MEDIAPIPE_OF_68, eye_distance
from neural_core.rendering.rays import camera_rays

from .faces import STABLE_POINTS

AKD_SIZE = 256
"""AKD is counted in pixels of pictures of this size, whatever size was looked at."""
_PARALLEL = 1e-4  # smallest share of a direction in which the rays to a point must disagree, squared


def average_keypoint_distance(
    found: Sequence[NDArray | None], truth: Sequence[NDArray | None], size: int
) -> NDArray[np.float64]:
    """Return AKD of each pair of pictures: mean distance of iBUG's 68 landmarks, pixels of a 256 x 256 picture.

    Real3D-Portrait (Ye et al. 2024, section 4.2): between the landmarks of a rendered frame and those of the true one.

    Args:
        found: n times [478, 2] landmarks of the rendered pictures in pixels (``faces.detect``), or None without a face.
        truth: the same of the true pictures.
        size: side of both in pixels.

    Returns:
        [n], nan where either picture shows no face: how many these are belongs beside the mean of the others.

    Note:
        The paper finds the points by FAN (Bulat & Tzimiropoulos 2017), whose weights are the user's to bring; these are
        FaceMesh's nearest ones, so figures compare among themselves, not with published ones. The paper gives neither
        norm nor unit: here the Euclidean distance, in pixels of 256 as in the works that introduced AKD.
    """
    chosen = list(MEDIAPIPE_OF_68)
    distances = [
        np.nan if a is None or b is None else np.linalg.norm(a[chosen] - b[chosen], axis=1).mean()
        for a, b in zip(found, truth, strict=True)
    ]
    return np.array(distances, np.float64) * AKD_SIZE / size


def multiview_landmark_consistency(
    found: Sequence[NDArray | None], cameras: Camera, size: int, points: Sequence[int] = STABLE_POINTS
) -> float:
    """Return how far the landmarks of one still person, seen from several sides, are from being points in space.

    Each view's landmark is a ray. The point nearest to a landmark's rays (least squares) is where it must be; the
    result is the root mean square distance of the rays from it, over views and landmarks, in distances between the eyes
    (measured between such points). 0 for a person whose features stay where they are.

    No paper of ours defines it; it is what PV3D's CD and WE ask of surfaces and colours, asked of features. FaceMesh
    itself turns with the head a little less than the head does: read it beside the figure of true pictures, taken from
    the same sides.

    Args:
        found: v times [478, 2] landmarks in pixels (``faces.detect``), or None where a view shows no face: such views
            are left out.
        cameras: the v cameras.
        size: side of the pictures in pixels.
        points: indices of the landmarks that count.

    Returns:
        nan if fewer than two views show a face.

    Raises:
        ValueError: all views that show a face look from the same side.
    """
    seen = [view for view, landmarks in enumerate(found) if landmarks is not None]
    if len(seen) < 2:
        return float("nan")
    places = np.stack([landmarks for landmarks in found if landmarks is not None]) / size
    camera = Camera(cameras.cam2world[seen].double(), cameras.intrinsics[seen].double())
    origins, directions = (t.numpy() for t in camera_rays(camera, torch.from_numpy(places)))
    # Distance of x from a ray: |A (x - o)| with A = I - d d^T, so sum A x = sum A o for the nearest x.
    across = np.eye(3) - directions[..., :, None] * directions[..., None, :]
    normal = across.sum(0)
    if np.linalg.eigvalsh(normal)[:, 0].min() < _PARALLEL:
        raise ValueError("landmarks cannot be located from views that look from the same side")
    nearest = np.linalg.solve(normal, np.einsum("vnij,vnj->ni", across, origins)[..., None])[..., 0]
    apart = np.einsum("vnij,vnj->vni", across, nearest - origins)[:, list(points)]
    return float(np.sqrt((apart**2).sum(-1).mean()) / eye_distance(nearest))
