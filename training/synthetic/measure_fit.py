# SPDX-License-Identifier: Apache-2.0
"""How well does the face fit find what is known of rendered people?

    python -m training.synthetic.measure_fit DATA [--limit 200] [--max-yaw 75] [--first 150] [--together] [--json FILE]

Every picture of a data set is looked at by itself, as a stranger's photo is, unless ``--together``: FaceMesh finds the
landmarks, patches of the picture say more about eyes and mouth, the fit makes camera, identity, actions and gaze of
both, and the record says what they should have been.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields, replace
from itertools import groupby
from pathlib import Path
from typing import Annotated

import numpy as np
import tyro
from numpy.typing import NDArray
from PIL import Image
from rich.console import Console
from rich.table import Table

from neural_core.capture.align import cut, first_crop
from neural_core.capture.detect import FaceFinder
from neural_core.capture.fit import FaceFit, fit_face
from neural_core.capture.patches import SEEN_AT, Evidence, Patches, shipped_patches
from neural_core.capture.photo import look_again
from neural_core.errors import InputError
from neural_core.human.anny import load_anny_head
from neural_core.human.arkit import ACTIONS
from neural_core.human.landmarks import eye_distance
from neural_core.human.model import FaceModel
from neural_core.records import HEAD_TO_MODEL, Record
from training.data.folders import record_files

Array = NDArray[np.float64]

_GREY = (168, 174, 184)  # behind people without a background


@dataclass(frozen=True)
class Seen:
    """A rendered picture in which FaceMesh looked for a face."""

    record: Record
    index: int
    """Which of the record's pictures."""
    points: Array | None
    """[478, 2] FaceMesh's landmarks, 0..1, or None where it found no face."""
    crop: NDArray[np.uint8] | None = None
    """[256, 256, 3] the face upright, as ``capture.patches`` reads it."""
    crop_points: Array | None = None
    """[478, 2] the landmarks in it, 0..1."""

    @property
    def rotation(self) -> Array:
        """[3, 3] from head axes to the true camera's."""
        return self.record.cameras[self.index, :16].reshape(4, 4)[:3, :3].T.astype(np.float64)

    @property
    def origin(self) -> Array:
        """[3] metres: the head's origin in the true camera."""
        place = self.record.cameras[self.index, :16].reshape(4, 4)[:3, 3].astype(np.float64)
        return -self.rotation @ place / HEAD_TO_MODEL

    @property
    def focal(self) -> float:
        """Focal length, picture widths."""
        return float(self.record.cameras[self.index, 16])

    @property
    def yaw(self) -> float:
        """Degrees that the camera stands to the side."""
        place = -self.rotation.T @ self.origin
        return float(np.degrees(np.arctan2(place[0], place[2])))


def look(data: Path, limit: int = 0, max_yaw: float = 75.0, first: int = 0) -> Iterator[Seen]:
    """Yield the pictures of a data set with what FaceMesh finds in them; close-ups are left out.

    Args:
        data: A data set with records.
        limit: Pictures at most; 0 takes all.
        max_yaw: Degrees to the side that the face is turned at most.
        first: Number of the person to begin with.
    """
    count, model = 0, load_anny_head()
    with FaceFinder() as finder:
        for file in record_files(data):
            if int(file.stem) < first:
                continue
            record = Record.load(file)
            for index, name in enumerate(record.images):
                seen = Seen(record, index, None)
                if (len(record.close_up) and record.close_up[index]) or abs(seen.yaw) > max_yaw:
                    continue
                yield _looked_at(finder, model, _picture(data / name), seen)
                count += 1
                if count == limit:
                    return


def _looked_at(finder: FaceFinder, model: FaceModel, photo: NDArray[np.uint8], seen: Seen) -> Seen:
    """Return what capturing sees of a photo [h, w, 3]: landmarks and the crop about the face, or nothing."""
    faces = finder.faces(photo)
    if not faces:
        return seen
    crop = first_crop(faces[0].points, model)
    points = look_again(finder, photo, crop)
    if points is None:
        return seen
    small = cut(photo, crop, SEEN_AT)[0]
    return replace(
        seen, points=points / [photo.shape[1], photo.shape[0]], crop=small, crop_points=crop.from_photo(points)
    )


def _picture(path: Path) -> NDArray[np.uint8]:
    """A picture [h, w, 3] over grey where it is transparent."""
    image = Image.open(path).convert("RGBA")
    grey = Image.new("RGBA", image.size, (*_GREY, 255))
    grey.alpha_composite(image)
    return np.asarray(grey.convert("RGB"))


@dataclass(frozen=True)
class Accuracy:
    """What the fit of some pictures is worth. Angles in degrees, lengths in distances between the eyes."""

    pictures: int
    found: int
    """In how many FaceMesh saw a face."""
    refused: int
    """How many the fit refused."""
    camera_angle: float
    """Median angle of the rotation between true and fitted camera."""
    camera_angle_90: float
    """The same, of which 90 % are below."""
    yaw: float
    """Median absolute error."""
    pitch: float
    roll: float
    distance: float
    """Median absolute error of the camera's distance, share of it."""
    landmarks: float
    """Median over the pictures of the mean distance between fitted and true landmarks in the picture."""
    landmarks_90: float
    facemesh: float
    """The same for FaceMesh's own landmarks."""
    shape: float
    """Root mean square error of the neutral landmarks of the person, millimetres, median over the pictures."""
    gaze: float
    """Median angle between true and fitted direction of an eye that is at least half open."""
    correlation: dict[str, float]
    """Of every action that moves, with the truth."""
    deviation: dict[str, float]
    """Mean absolute error of every action."""


def measure(data: Path, limit: int = 0, max_yaw: float = 75.0, first: int = 0, together: bool = False) -> Accuracy:
    """Fit the pictures of a data set and compare with their records.

    Args:
        data: A data set with records.
        limit: Pictures at most; 0 takes all.
        max_yaw: Degrees to the side that the face is turned at most.
        first: Number of the person to begin with.
        together: All pictures of a person have one identity, as in a clip; else every picture is a stranger's.
    """
    model = load_anny_head()
    looks = list(look(data, limit, max_yaw, first))
    found = [seen for seen in looks if seen.points is not None]
    pairs: list[tuple[Seen, FaceFit]] = []
    for _, group in groupby(enumerate(found), lambda entry: entry[1].record.images if together else entry[0]):
        same = [seen for _, seen in group]
        points = np.stack([seen.points for seen in same if seen.points is not None])
        try:
            fit = fit_face(model, points, focal=same[0].focal, evidence=[pixels_say(seen) for seen in same])
        except InputError:
            continue
        pairs += [(seen, _frame(fit, number)) for number, seen in enumerate(same)]
    if not pairs:
        raise InputError(f"No face in {data} could be fitted.", "Give a folder that training.synthesize made.")
    return _compare(pairs, len(looks), len(found))


def _frame(fit: FaceFit, number: int) -> FaceFit:
    """One picture's part of a fit."""
    shared = ("shape", "notes")
    return replace(
        fit, **{f.name: getattr(fit, f.name)[number : number + 1] for f in fields(fit) if f.name not in shared}
    )


def pixels_say(seen: Seen, patches: Patches | None = None) -> Evidence | None:
    """Return what patches of the picture tell the fit; the default is what the project ships."""
    patches = patches or shipped_patches()
    if patches is None or seen.crop is None or seen.crop_points is None:
        return None
    return patches.evidence(seen.crop, seen.crop_points)


def _compare(pairs: list[tuple[Seen, FaceFit]], pictures: int, found: int) -> Accuracy:
    from neural_core.capture.fit import view_angles

    model = load_anny_head()
    rows = []
    truth = np.stack([seen.record.actions[seen.index] for seen, _ in pairs]).astype(float)
    fitted = np.stack([fit.actions[0] for _, fit in pairs]).astype(float)
    gaze = []
    for seen, fit in pairs:
        record, index = seen.record, seen.index
        rotation = fit.cameras[0, :16].reshape(4, 4)[:3, :3].T.astype(float)
        angle = np.degrees(np.arccos(np.clip((np.trace(rotation @ seen.rotation.T) - 1) / 2, -1, 1)))
        angles = np.abs(fit.angles[0] - view_angles(seen.rotation, seen.origin))
        distance = np.linalg.norm(fit.cameras[0, :16].reshape(4, 4)[:3, 3]) / HEAD_TO_MODEL
        true_distance = np.linalg.norm(seen.origin)
        unit = eye_distance(record.landmarks_478[index]) * seen.focal / seen.origin[2]  # picture widths
        errors = [
            np.linalg.norm(points - record.points_478[index], axis=1).mean() / unit
            for points in (fit.points_478[0], seen.points)
            if points is not None
        ]
        neutral = [model.landmarks(model.vertices(shape), "478") for shape in (fit.shape, record.shape)]
        shape = 1e3 * np.sqrt(((neutral[0] - neutral[1]) ** 2).sum(1).mean())
        rows.append([angle, *angles, abs(distance / true_distance - 1), *errors, shape])
        for side, name in enumerate(("eyeBlinkLeft", "eyeBlinkRight")):
            if record.actions[index, ACTIONS.index(name)] < 0.5:
                directions = [_direction(eyes[side]) for eyes in (fit.gaze[0], record.gaze[index])]
                gaze.append(np.degrees(np.arccos(np.clip(directions[0] @ directions[1], -1, 1))))
    middle, most = np.median(rows, axis=0), np.quantile(rows, 0.9, axis=0)
    moving = [i for i in range(len(ACTIONS)) if truth[:, i].std() > 0.02]
    return Accuracy(
        pictures=pictures,
        found=found,
        refused=found - len(pairs),
        camera_angle=middle[0],
        camera_angle_90=most[0],
        yaw=middle[1],
        pitch=middle[2],
        roll=middle[3],
        distance=middle[4],
        landmarks=middle[5],
        landmarks_90=most[5],
        facemesh=middle[6],
        shape=middle[7],
        gaze=float(np.median(gaze)) if gaze else float("nan"),
        correlation={
            ACTIONS[i]: float(np.corrcoef(truth[:, i], fitted[:, i])[0, 1]) if fitted[:, i].std() > 0 else 0.0
            for i in moving
        },
        deviation={ACTIONS[i]: float(np.abs(truth[:, i] - fitted[:, i]).mean()) for i in moving},
    )


def _direction(angles: NDArray) -> Array:
    yaw, pitch = angles.astype(float)
    return np.array([np.sin(yaw) * np.cos(pitch), np.sin(pitch), np.cos(yaw) * np.cos(pitch)])


def show(accuracy: Accuracy, console: Console) -> None:
    """Print the tables."""
    console.print(f"{accuracy.pictures} pictures, {accuracy.found} faces found, {accuracy.refused} refused")
    table = Table("what", "median", "90 %")
    table.add_row("camera angle, degrees", f"{accuracy.camera_angle:.2f}", f"{accuracy.camera_angle_90:.2f}")
    for name in ("yaw", "pitch", "roll"):
        table.add_row(f"  {name}", f"{getattr(accuracy, name):.2f}", "")
    table.add_row("distance, %", f"{100 * accuracy.distance:.1f}", "")
    table.add_row(
        "landmarks, % of eye distance", f"{100 * accuracy.landmarks:.1f}", f"{100 * accuracy.landmarks_90:.1f}"
    )
    table.add_row("  FaceMesh's own", f"{100 * accuracy.facemesh:.1f}", "")
    table.add_row("neutral face, mm", f"{accuracy.shape:.2f}", "")
    table.add_row("gaze, degrees", f"{accuracy.gaze:.1f}", "")
    console.print(table)
    table = Table("action", "correlation", "mean error")
    for name, value in accuracy.correlation.items():
        table.add_row(name, f"{value:.2f}", f"{accuracy.deviation[name]:.3f}")
    console.print(table)


@dataclass(frozen=True)
class Options:
    """Measure the face fit on rendered people."""

    data: Annotated[Path, tyro.conf.Positional]
    """A data set of training.synthesize."""
    limit: int = 0
    """Pictures at most; 0 takes all."""
    max_yaw: float = 75.0
    """Leaves out faces that are turned further."""
    first: int = 0
    """Number of the person to begin with: earlier ones may have served for the calibration."""
    together: bool = False
    """Give all pictures of a person one identity, as in a clip."""
    json: Path | None = None
    """Also write the numbers to this file."""


def main() -> int:
    """Command line."""
    options = tyro.cli(Options, prog="training.synthetic.measure_fit")
    accuracy = measure(options.data, options.limit, options.max_yaw, options.first, options.together)
    show(accuracy, Console())
    if options.json is not None:
        options.json.write_text(json.dumps(asdict(accuracy), indent=2) + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
