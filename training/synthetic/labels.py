# SPDX-License-Identifier: Apache-2.0
"""From what stood before the camera to what is known of its pictures: one ``Record`` per person.

Everything geometric comes from the posed figure; the depth is the renderer's own, that of the surface in the picture.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from neural_core.cameras import Camera
from neural_core.human.appearance import IDENTITY_SIZE
from neural_core.human.driver import driver
from neural_core.human.model import FaceModel
from neural_core.human.pncc import pncc
from neural_core.records import Record
from training.synthetic.eyeballs import IRIS_VERTICES
from training.synthetic.figure import Figure
from training.synthetic.people import Person, Take
from training.synthetic.picture import Picture
from training.synthetic.sight import Sight, visible

LICENCE = "CC0-1.0"
_IRISES = {"right_eye": slice(468, 473), "left_eye": slice(473, 478)}


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
    visible: NDArray[np.bool_]
    depth: NDArray[np.float32]
    alpha: NDArray[np.uint8]
    regions: NDArray[np.uint8]
    pncc: NDArray[np.uint8]
    driver: NDArray[np.uint8]
    time: np.float32
    clip: np.int32
    close_up: np.bool_


def take_labels(
    model: FaceModel, figure: Figure, take: Take, sights: Sequence[Sight], pictures: Sequence[Picture]
) -> list[FrameLabels]:
    """What is known of the pictures of a moment.

    Args:
        model: The face model, for its landmarks.
        figure: The person as posed for the take.
        take: The moment.
        sights: What each of the take's cameras sees of the figure.
        pictures: What the renderer made of them.
    """
    landmarks = {"68": model.landmarks(figure.vertices, "68"), "478": _landmarks_478(model, figure)}
    vertices = torch.from_numpy(figure.vertices).float()[None]
    size = len(pictures[0].depth)
    cameras = [Camera.from_label(torch.from_numpy(sight.view.label())[None]) for sight in sights]
    code = _pixels(pncc(model, vertices, size=size))
    return [
        FrameLabels(
            cameras=sight.view.label(),
            actions=take.pose.actions.astype(np.float32),
            joints=take.pose.joints.astype(np.float32),
            gaze=figure.gaze.astype(np.float32),
            landmarks_68=landmarks["68"],
            landmarks_478=landmarks["478"],
            points_68=sight.view.project(landmarks["68"]).astype(np.float32),
            points_478=sight.view.project(landmarks["478"]).astype(np.float32),
            visible=visible(figure, sight.view, landmarks["478"], min(512, max(256, 2 * size))),
            depth=picture.depth,
            alpha=picture.rgba[..., 3].copy(),  # a view would keep the whole picture until the person is done
            regions=sight.regions,
            pncc=code,
            driver=_pixels(driver(model, vertices, camera, size)),
            time=np.float32(take.time),
            clip=np.int32(take.clip),
            close_up=np.bool_(sight.view.close_up),
        )
        for sight, camera, picture in zip(sights, cameras, pictures, strict=True)
    ]


def _landmarks_478(model: FaceModel, figure: Figure) -> NDArray[np.float32]:
    """MediaPipe's landmarks [478, 3]: on the face model; the irises are those of the painted eyeballs."""
    places = model.landmarks(figure.vertices, "478")
    for part in figure.parts:
        if part.name in _IRISES:
            places[_IRISES[part.name]] = part.vertices[list(IRIS_VERTICES)]
    return places


def _pixels(picture: torch.Tensor) -> NDArray[np.uint8]:
    """[h, w, 3] of 0..255 from [1, 3, h, w] of 0..1."""
    return (picture[0].movedim(0, -1) * 255).round().to(torch.uint8).numpy()


def record(person: Person, names: Sequence[str], frames: Sequence[FrameLabels], source: Mapping[str, Any]) -> Record:
    """The record of a person.

    Args:
        person: Who.
        names: Names of the pictures, relative to the data set.
        frames: What is known of each.
        source: How they were made; who it is, attire and licence are added.
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
        shape=person.code[:IDENTITY_SIZE],
        z=person.code,
        background=background,
        source=said,
        **stacked,
    )
