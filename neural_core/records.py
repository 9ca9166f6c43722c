# SPDX-License-Identifier: Apache-2.0
"""What is known about pictures of one person: the record that a rendered frame and a captured photo share.

A record is one ``.npz`` file of plain arrays (``allow_pickle`` stays off) beside EG3D's ``dataset.json``. Whoever wrote
it, the meaning of every array is the same; what a photo cannot say is empty or estimated, and ``source`` says which.

Spaces: cameras and depth are in *model space* as EG3D's labels are (2 x head space: radius 2.7, focal length 4.2647);
everything else is in *head space*, metres, fixed to the skull of that frame: turning the head moves the camera and the
shoulders, not the head.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib.npyio import NpzFile
from numpy.typing import NDArray

from .errors import InputError
from .files import ARCHIVE_DAMAGE, make_folder, write_bytes

FORMAT = "portrait-record/1"
HEAD_TO_MODEL = 2.0
"""Model space = 2 x head space (metres)."""
DEPTH_STEP = 1e-4
"""Model units that depth is rounded to in files, where it is counted in these steps."""

BACKGROUND, SKIN, HAIR, TORSO, CLOTH, GLASSES = range(6)
"""Regions of a picture: SKIN is face, ears, eyes and mouth; TORSO is the skin of neck and shoulders."""

MASKS: dict[str, tuple[int, ...]] = {
    "background": (BACKGROUND,),
    "head": (SKIN, HAIR, GLASSES),
    "hair": (HAIR,),
    "torso": (TORSO, CLOTH),
}
"""Which regions make up the masks that training asks for."""

JOINTS = (
    *("root", "neck", "head", "jaw", "left_eye", "right_eye"),
    *("left_collar", "right_collar", "left_shoulder", "right_shoulder"),
)
"""Joints whose rotations a record keeps; the first six are the face model's."""
JOINT_PARENTS = (-1, 0, 1, 2, 2, 2, 0, 0, 6, 7)


@dataclass(frozen=True)
class Record:
    """n frames of one person. Arrays of what is unknown are empty (first axis 0).

    Pictures have h x w pixels. Image coordinates are (u, v) in 0..1 from the top left corner.
    """

    images: tuple[str, ...]
    """n names of PNG files relative to the data set."""
    cameras: NDArray[np.float32]
    """[n, 25] cam2world (16, row by row) and normalised intrinsics (9): model space, OpenCV axes."""
    shape: NDArray[np.float32]
    """[40] identity coefficients of the face model, in standard deviations."""
    actions: NDArray[np.float32]
    """[n, 52] facial actions in 0..1, in the order of ``human/arkit.py``."""
    joints: NDArray[np.float32]
    """[n, 10, 3] rotations of ``JOINTS`` relative to their parents, axis-angle, radians."""
    gaze: NDArray[np.float32]
    """[n, 2, 2] yaw and pitch of the left and the right eye relative to the head, radians; positive towards the
    subject's left and up."""
    landmarks_68: NDArray[np.float32]
    """[n, 68, 3] iBUG's landmarks, head space."""
    landmarks_478: NDArray[np.float32]
    """[n, 478, 3] MediaPipe's landmarks, head space."""
    points_68: NDArray[np.float32]
    """[n, 68, 2] the same in the picture."""
    points_478: NDArray[np.float32]
    """[n, 478, 2] the same in the picture."""
    visible: NDArray[np.bool_]
    """[n, 478] whether nothing (hair, glasses, the head itself) is in front of the landmark."""
    depth: NDArray[np.floating]
    """[n, h, w] distance along the ray to the first surface, model units; 0 where nothing is. The file
    keeps ``DEPTH_STEP`` of it; half precision would be coarser than a pixel of a large picture is wide."""
    alpha: NDArray[np.uint8]
    """[n, h, w] how much of the pixel the person covers, 0..255."""
    regions: NDArray[np.uint8]
    """[n, h, w] one of BACKGROUND .. GLASSES."""
    pncc: NDArray[np.uint8]
    """[n, h, w, 3] projected normalised coordinate code of the face in a camera straight in front of it (Real3D's
    motion input; ``human/pncc.py``)."""
    driver: NDArray[np.uint8]
    """[n, h, w, 3] the driving mesh in the frame's own camera (Next3D's synthetic rendering)."""
    background: NDArray[np.uint8]
    """[n, h, w, 3] what is behind the person, sRGB."""
    time: NDArray[np.float32]
    """[n] seconds since the start of the clip; 0 for pictures."""
    clip: NDArray[np.int32]
    """[n] number of the clip, or of the instant that several cameras share."""
    z: NDArray[np.float32] = field(default_factory=lambda: np.zeros(0, np.float32))
    """[64] the code of a rendered person (``human/appearance.py``)."""
    close_up: NDArray[np.bool_] = field(default_factory=lambda: np.zeros(0, bool))
    """[n] whether only a part of the face fills the picture."""
    source: Mapping[str, Any] = field(default_factory=dict)
    """Where it comes from: ``{"kind": "rendered" | "captured", ...}``, JSON values only."""

    def __len__(self) -> int:
        return len(self.images)

    def mask(self, name: str) -> NDArray[np.bool_]:
        """Return a mask [n, h, w] of ``MASKS``: background, head, hair or torso."""
        return np.isin(self.regions, MASKS[name])

    def save(self, path: Path) -> None:
        """Write the record at once or not at all; equal records give equal files.

        Raises:
            PortraitError: It cannot be written.
            ValueError: Depth is negative or no number.
        """
        arrays = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in ("images", "source")}
        arrays["depth"] = _steps(self.depth)
        # Made in memory: what numpy leaves open when a disk is full would say so once more, in its own words.
        memory = io.BytesIO()
        np.savez_compressed(
            memory,
            images=np.array(self.images, np.str_),
            source=np.array(json.dumps({"format": FORMAT, **self.source}, sort_keys=True)),
            **arrays,
        )
        make_folder(path.parent)
        write_bytes(path, memory.getvalue())

    @classmethod
    def load(cls, path: Path, only: Iterable[str] | None = None) -> Record:
        """Read a record.

        Args:
            path: the file.
            only: names of the arrays to unpack; the others are empty, as if nothing were known. Unpacking is what takes
                time: depth and regions of a few frames are read ten times as fast as everything.

        Raises:
            InputError: The file is missing, damaged, or no record.
        """
        with _opened(path) as (file, source):
            arrays: dict[str, Any] = {}
            if only is None:
                only = [name for name in file.files if name not in ("images", "source")]
            else:
                arrays = {f.name: np.zeros(0, np.float32) for f in fields(cls) if f.name not in ("images", "source")}
            arrays |= {name: _array(file, name) for name in only}
            return cls(images=tuple(file["images"].tolist()), source=source, **arrays)

    @classmethod
    def names_and_cameras(cls, path: Path) -> tuple[tuple[str, ...], NDArray[np.float32]]:
        """Read ``images`` and ``cameras`` alone. Raises InputError as ``load`` does, or if their numbers differ."""
        record = cls.load(path, only=("cameras",))
        if len(record) != len(record.cameras):
            numbers = f"{len(record)} pictures, {len(record.cameras)} cameras"
            raise InputError(f"{path} is no portrait record ({numbers}).", "Make it again.")
        return record.images, record.cameras


@contextmanager
def _opened(path: Path) -> Iterator[tuple[NpzFile, dict[str, Any]]]:
    """A record's arrays, not unpacked yet, and its source; what is wrong with them becomes an InputError."""
    try:
        with path.open("rb") as opened, np.load(opened) as file:
            source = json.loads(str(file["source"]))
            if source.pop("format") != FORMAT:
                raise ValueError("another format")
            yield file, source
    except ARCHIVE_DAMAGE as error:
        raise InputError(f"{path} is no portrait record ({error}).", "Make it again.") from error


def _array(file: NpzFile, name: str) -> NDArray[Any]:
    """Unpack an array; depth in model units."""
    array = file[name]
    if name == "depth" and array.dtype.kind == "u":  # not in the first records, which kept half precision
        return array.astype(np.float32) * np.float32(DEPTH_STEP)
    return array


def _steps(depth: NDArray) -> NDArray[np.unsignedinteger]:
    """Depth in whole ``DEPTH_STEP``; two bytes hold 6.5 model units, which only few heads in clips are away from."""
    steps = np.rint(depth.astype(np.float64) / DEPTH_STEP)
    if not (np.isfinite(steps) & (steps >= 0)).all():
        raise ValueError("depth is a number from 0 upwards")
    return steps.astype(np.uint16 if steps.max(initial=0) < 2**16 else np.uint32)
