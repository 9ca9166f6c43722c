# SPDX-License-Identifier: Apache-2.0
"""Everything that is known of captured frames, once the face has been found and fitted: the rows of a ``Record``."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ..cameras import Camera
from ..human.anny import load_anny_head
from ..human.driver import driver
from ..human.model import FaceModel
from ..human.pncc import pncc
from ..records import HAIR, HEAD_TO_MODEL, Record
from .align import Crop, cut
from .detect import FaceFinder
from .fit import FaceFit
from .inpaint import inpaint_background
from .matting import Matter
from .overlay import Sight, see
from .regions import find_regions

_HIDDEN = 0.02  # model units by which a landmark must lie behind what is seen to be hidden


class Tools:
    """What capturing needs and is slow to set up: MediaPipe's networks and the face model. A context manager."""

    def __init__(self) -> None:
        self.finder = FaceFinder()
        self.matter = Matter()
        self.model: FaceModel = load_anny_head()

    def __enter__(self) -> Tools:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.finder.__exit__(kind, error, at)
        self.matter.__exit__(kind, error, at)


@dataclass(frozen=True)
class Captured:
    """n frames of a person in EG3D's crop, and what is known of them.

    Attributes:
        record: its images are named 000000.png, 000001.png, ...; rename them with ``dataclasses.replace``.
        pictures: [n, s, s, 3] the crops.
        vertices: [n, V, 3] the fitted face, head space.
        detected: [n, 478, 2] landmarks as they were found, 0..1 of the crops; the record has the fitted ones.
        crops: where in the photos they are.
        notes: sentences for the user.
    """

    record: Record
    pictures: NDArray[np.uint8]
    vertices: NDArray[np.float32]
    detected: NDArray[np.float64]
    crops: tuple[Crop, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Shot:
    """A frame of which the crop is known.

    Attributes:
        photo: [h, w, 3] all of it.
        crop: EG3D's.
        points: [478, 2] detected landmarks in pixels of the photo.
        time: seconds since the clip's start.
    """

    photo: NDArray[np.uint8]
    crop: Crop
    points: NDArray[np.float64]
    time: float = 0.0


def captured(
    tools: Tools, shots: Iterable[Shot], fit: FaceFit, size: int, source: Mapping[str, Any], notes: Sequence[str]
) -> Captured:
    """Return everything about some frames of one person.

    Args:
        tools: the networks and the face model that was fitted.
        shots: n frames; each is looked at once and let go, since all photos of a clip would not fit into memory.
        fit: the face in their crops.
        size: side of the pictures in pixels.
        source: what the record says about where it comes from; kind, crops and errors are added.
        notes: sentences for the user.
    """
    rows: dict[str, list[NDArray]] = defaultdict(list)
    crops = []
    for index, shot in enumerate(shots):
        crops.append(shot.crop)
        for name, value in _row(tools, shot, fit, index, size).items():
            rows[name].append(value)
    pictures, vertices, detected, inside = (
        np.stack(rows.pop(name)) for name in ("picture", "vertices", "detected", "inside")
    )
    count = len(crops)
    said = {
        "kind": "captured",
        "crops": [crop.to_json() for crop in crops],
        "angles": [[round(float(angle), 2) for angle in angles] for angles in fit.angles],
        "inside": [round(float(share), 4) for share in inside],
        "fit_error": [round(float(error), 5) for error in fit.error],
        **source,
    }
    record = Record(
        images=tuple(f"{index:06d}.png" for index in range(count)),
        cameras=fit.cameras,
        shape=fit.shape,
        actions=fit.actions,
        joints=fit.joints,
        gaze=fit.gaze,
        landmarks_68=fit.landmarks_68,
        landmarks_478=fit.landmarks_478,
        points_68=fit.points_68,
        points_478=fit.points_478,
        clip=np.zeros(count, np.int32),
        close_up=np.zeros(count, bool),
        source=said,
        **{name: np.stack(values) for name, values in rows.items()},
    )
    return Captured(record, pictures, vertices, detected, tuple(crops), tuple(notes))


def _row(tools: Tools, shot: Shot, fit: FaceFit, index: int, size: int) -> dict[str, NDArray]:
    """Return what is known of one frame: by names of the record, and its picture, vertices and landmarks as found."""
    model, label = tools.model, fit.cameras[index]
    picture, inside = cut(shot.photo, shot.crop, size)
    vertices = model.vertices(fit.shape, fit.actions[index])
    seen = see(model, vertices, label, size)
    alpha = tools.matter.alpha(shot.photo, shot.crop, picture)
    detected = shot.crop.from_photo(shot.points)
    regions = find_regions(picture, alpha, model, seen, detected)
    batch = torch.from_numpy(vertices)[None]
    camera = Camera.from_label(torch.from_numpy(label)[None])
    return {
        "picture": picture,
        "inside": np.array(inside.mean()),
        "vertices": vertices,
        "detected": detected,
        "time": np.array(shot.time, np.float32),
        "depth": seen.depth.astype(np.float32),
        "alpha": alpha,
        "regions": regions,
        "background": inpaint_background(picture, alpha),
        "visible": _visible(fit.landmarks_478[index], fit.points_478[index], label, seen, regions),
        "pncc": _bytes(pncc(model, batch, size=size)),
        "driver": _bytes(driver(model, batch, camera, size=size)),
    }


def _visible(
    landmarks: NDArray[np.float32],
    points: NDArray[np.float32],
    camera: NDArray[np.float32],
    seen: Sight,
    regions: NDArray[np.uint8],
) -> NDArray[np.bool_]:
    """Return which landmarks [478] neither the mesh nor hair hides."""
    size = len(regions)
    column, row = np.clip(np.floor(points * size).astype(int), 0, size - 1).T
    distance = np.linalg.norm(landmarks * HEAD_TO_MODEL - camera[:16].reshape(4, 4)[:3, 3], axis=1)
    before = seen.depth[row, column]
    return ((before == 0) | (distance < before + _HIDDEN)) & (regions[row, column] != HAIR)


def _bytes(picture: torch.Tensor) -> NDArray[np.uint8]:
    """Return a picture [1, 3, h, w] in 0..1 as [h, w, 3]."""
    return (picture[0].movedim(0, -1) * 255).round().to(torch.uint8).numpy()
