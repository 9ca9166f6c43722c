# SPDX-License-Identifier: Apache-2.0
"""From what stood before the camera to what is known of its pictures: one ``Record`` per person.

Everything geometric comes from the posed figure; the depth is the renderer's own, that of the surface in the picture.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neural_core.human.model import FaceModel
from neural_core.records import HEAD_TO_MODEL, Record
from training.synthetic.figure import Figure
from training.synthetic.people import Person, Take, View
from training.synthetic.picture import Picture
from training.synthetic.sight import Sight, visible

LICENCE = "CC0-1.0"


@dataclass(frozen=True)
class FrameLabels:
    """The row of each per-frame array of a ``Record``, by the same names."""

    cameras: NDArray[np.float32]
    actions: NDArray[np.float32]
    joints: NDArray[np.float32]
    gaze: NDArray[np.float32]
    landmarks_68: NDArray[np.float32]
    landmarks_478: NDArray[np.float32]
    points_68: NDArray[np.float32]
    points_478: NDArray[np.float32]
    depth: NDArray[np.float16]
    alpha: NDArray[np.uint8]
    regions: NDArray[np.uint8]
    visible: NDArray[np.bool_]
    time: NDArray[np.float32]
    clip: NDArray[np.int32]
    close_up: NDArray[np.bool_]


def frame_labels(model: FaceModel, figure: Figure, take: Take, sight: Sight, picture: Picture) -> FrameLabels:
    """What is known of one picture.

    Args:
        model: The face model, for its landmarks.
        figure: The person as posed for the take.
        take: The moment.
        sight: What one of the take's cameras sees of the figure.
        picture: What the renderer made of them.
    """
    view = sight.view
    landmarks = {which: model.landmarks(figure.vertices, which) for which in ("68", "478")}
    return FrameLabels(
        cameras=view.label(),
        actions=take.pose.actions.astype(np.float32),
        joints=take.pose.joints.astype(np.float32),
        gaze=figure.gaze.astype(np.float32),
        landmarks_68=landmarks["68"],
        landmarks_478=landmarks["478"],
        points_68=view.project(landmarks["68"]).astype(np.float32),
        points_478=view.project(landmarks["478"]).astype(np.float32),
        depth=picture.depth.astype(np.float16),
        alpha=picture.rgba[..., 3],
        regions=sight.regions,
        visible=visible(figure, view, landmarks["478"]),
        time=np.float32(take.time),
        clip=np.int32(take.clip),
        close_up=np.bool_(view.close_up),
    )


def ray_depth(planar: NDArray, view: View) -> NDArray[np.float32]:
    """Depth along the ray in model units from depth along the camera's axis in metres; 0 where there is nothing.

    Args:
        planar: [h, w] metres along the axis of the camera, huge where nothing was hit.
        view: The camera.
    """
    height, width = planar.shape
    x = ((np.arange(width) + 0.5) / width - view.intrinsics[0, 2]) / view.intrinsics[0, 0]
    y = ((np.arange(height) + 0.5) / height - view.intrinsics[1, 2]) / view.intrinsics[1, 1]
    slant = np.sqrt(1 + x[None, :] ** 2 + y[:, None] ** 2)
    return np.where(planar < 1e3, planar * slant * HEAD_TO_MODEL, 0.0).astype(np.float32)


def record(
    person: Person, names: Sequence[str], frames: Sequence[FrameLabels], source: Mapping[str, Any], shape_size: int = 40
) -> Record:
    """The record of a person.

    Args:
        person: Who.
        names: Names of the pictures, relative to the data set.
        frames: What is known of each.
        source: How they were made; who it is, attire and licence are added.
        shape_size: How many numbers of the code are identity coefficients.
    """
    stacked = {name: np.stack([getattr(frame, name) for frame in frames]) for name in FrameLabels.__dataclass_fields__}
    backdrops = [take.setting.backdrop for take in person.takes for _ in take.views]
    background = (
        np.zeros((0, 0, 0, 3), np.uint8)
        if any(backdrop is None for backdrop in backdrops)
        else np.stack([backdrop for backdrop in backdrops if backdrop is not None])
    )
    said = {"kind": "rendered", "licence": LICENCE, "index": person.index, "attire": asdict(person.attire), **source}
    return Record(
        images=tuple(names),
        shape=person.code[:shape_size],
        z=person.code,
        background=background,
        source=said,
        **_EMPTY,
        **stacked,
    )


_EMPTY: dict[str, NDArray] = {
    "pncc": np.zeros((0, 0, 0, 3), np.uint8),
    "driver": np.zeros((0, 0, 0, 3), np.uint8),
}
