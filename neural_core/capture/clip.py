# SPDX-License-Identifier: Apache-2.0
"""From a clip to records: one for every scene, the person shared by its frames, everything low-pass filtered over time.

As PV3D prepares its clips (Xu et al. 2023, appendix A.3): landmarks are filtered before the frames are aligned, crops
once more, and frames that disagree with the rest are dropped and counted; a scene with too many of them is left out.
PV3D compares faces by a recognition network that may not be shipped; here a frame disagrees if no face is seen in it at
a second look, or if the person that the scene's frames agree on does not fit it.

A clip is read twice, so that no more than one of its frames is in memory.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .. import media
from ..errors import InputError
from ..progress import Report, silent
from .align import Crop, cut, first_crop, framing_head
from .detect import SMALLEST_FACE, Face
from .fit import FaceFit, fit_face
from .labels import Captured, Shot, Tools, captured
from .patches import Evidence
from .photo import look_again, read_pixels
from .smoothing import smooth, smooth_crops

CLIP_SIZE = 256

Array = NDArray[np.float64]

_SHORTEST = 5  # frames of a scene
_LOW_PASS_POINTS, _LOW_PASS_CROPS = 0.03, 0.1  # deviation of the filters, seconds: a blink takes 0.1 s
_CUT = 0.1  # mean difference of two small grey frames, 0..1, beyond which there was a cut ...
_JUMP = 0.5  # ... or a face that moved by this share of its width
_SMALL = 32  # their sides
_JOINT_FRAMES = 16  # frames that say who the person is
_DISAGREES, _NOISE = 2.0, 0.01  # a frame's error is too large beyond so many medians and this
_MOST_DROPPED = 1 / 3  # share of the frames of a scene
_FACE_SHARE, _SHARP = 0.5, 128  # share of a crop's side that the face takes, and its pixels where it is seen sharply
_BY_FRAME = [field.name for field in fields(FaceFit) if field.name not in ("shape", "notes")]


@dataclass(frozen=True)
class _Seen:
    """What a first look at a frame tells."""

    number: int
    time: float
    points: Array | None
    """[478, 2] pixels; None without a face."""
    cut: bool
    """Whether a new scene begins here."""


@dataclass(frozen=True)
class Followed:
    """One face in the n frames of a scene that agree on who it is.

    Attributes:
        file: name of the clip.
        fps: its frames a second.
        span: seconds from the clip's start to the scene's first and last frame.
        numbers: which frames of the clip they are.
        times: [n] seconds since the clip's start.
        crops: EG3D's.
        points: [n, 478, 2] landmarks in pixels of the frames, filtered over time.
        sharpness: [n] mean square of the differences between neighbouring pixels of the face, grey 0..1.
        fit: the face in the crops.
        dropped: how many frames of the scene do not agree.
        notes: sentences for the user.
    """

    file: str
    fps: float
    span: tuple[float, float]
    numbers: tuple[int, ...]
    times: Array
    crops: tuple[Crop, ...]
    points: Array
    sharpness: Array
    fit: FaceFit
    dropped: int
    notes: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.numbers)


def follow_clip(tools: Tools, path: Path, most: int = 250, report: Report = silent) -> Followed:
    """Return the face in the longest scene of a clip, frame by frame; arguments and errors as of `capture_clip`."""
    seen, notes = _look(tools, path, most, report)
    found = _scenes(seen, path.name)
    followed = _follow_scene(tools, path, max(found, key=len), report)
    if len(found) > 1:
        notes.append(f'"{path.name}" has {len(found)} scenes; the longest was taken.')
    return replace(followed, notes=(*notes, *followed.notes))


def capture_frames(
    tools: Tools, path: Path, followed: Followed, chosen: Sequence[int], size: int = CLIP_SIZE, report: Report = silent
) -> Captured:
    """Return all that is known of some frames of a clip.

    Args:
        tools: the networks and the face model.
        path: the clip.
        followed: the face in it.
        chosen: indices of its frames, rising.
        size: side of the crops in pixels.
        report: told of the stages.
    """
    place_of = {followed.numbers[index]: index for index in chosen}

    def shots() -> Iterator[Shot]:
        for done, (number, photo) in enumerate(_photos(path, place_of)):
            report("Cutting the person out", done, len(place_of))
            index = place_of[number]
            time = followed.times[index] - followed.times[0]
            yield Shot(photo, followed.crops[index], followed.points[index], float(time))

    source = {
        "file": followed.file,
        "fps": round(followed.fps, 3),
        "frames": list(place_of),
        "dropped": followed.dropped,
    }
    return captured(tools, shots(), _picked(followed.fit, chosen), size, source, followed.notes)


def capture_clip(tools: Tools, path: Path, size: int = CLIP_SIZE, most: int = 250, report: Report = silent) -> Captured:
    """Return the person in the longest scene of a clip.

    Args:
        tools: the networks and the face model.
        path: the clip.
        size: side of the crops in pixels.
        most: how many frames at most, from the start.
        report: told of the stages.

    Raises:
        InputError: the file is no video, or there is no face in it that can be followed.
    """
    followed = follow_clip(tools, path, most, report)
    return capture_frames(tools, path, followed, range(len(followed)), size, report)


def capture_scenes(
    tools: Tools, path: Path, size: int = CLIP_SIZE, most: int = 250, report: Report = silent
) -> Iterator[Captured]:
    """Yield the person in each scene of a clip; arguments and errors as of `capture_clip`.

    A scene that cannot be used is left out. After the others, InputError says why.
    """
    seen, notes = _look(tools, path, most, report)
    problems: list[str] = []
    used = 0
    for scene in _scenes(seen, path.name):
        try:
            followed = _follow_scene(tools, path, scene, report)
        except InputError as error:
            problems.append(error.message)
            continue
        used += 1
        followed = replace(followed, notes=(*notes, *followed.notes))
        yield capture_frames(tools, path, followed, range(len(followed)), size, report)
        notes = []
    if problems:
        raise InputError(" ".join(problems), "The other scenes were used." if used else "Use another clip.")


def _look(tools: Tools, path: Path, most: int, report: Report) -> tuple[list[_Seen], list[str]]:
    """Return where the face is in every frame, and what to say about the clip.

    Frames with a face are compared with the one before them that has a face: what hides the face for a moment (a hand,
    a flash that leaves nothing to see) is no cut. A flash in which the face is still found is one, and so is its end.
    """
    seen: list[_Seen] = []
    total = min(most, media.frame_count(path) or most)
    before: tuple[Face, Array] | None = None
    for number, frame in enumerate(media.read_clip(path)):
        if number == most:
            return seen, [f'Only the first {most} frames of "{path.name}" were used.']
        report("Looking for the face", number, total)
        small = _small(frame.picture)
        cut = before is not None and float(np.abs(small - before[1]).mean()) > _CUT
        if before is None or cut:
            face = next(iter(tools.finder.faces(frame.picture)), None)
        else:
            face = tools.finder.follow(frame.picture, before[0])
        if face is None or face.width < SMALLEST_FACE:
            seen.append(_Seen(number, frame.time, None, cut=False))
            continue
        jumped = before is not None and _distance(face, before[0]) > _JUMP * before[0].width
        seen.append(_Seen(number, frame.time, face.points, cut or jumped))
        before = face, small
    return seen, []


def _small(picture: NDArray[np.uint8]) -> Array:
    """Return a frame in grey, [32, 32] in 0..1."""
    from PIL import Image

    small = Image.fromarray(picture).resize((_SMALL, _SMALL), Image.Resampling.BOX).convert("L")
    return np.asarray(small, np.float64) / 255


def _distance(face: Face, other: Face) -> float:
    return float(np.linalg.norm(face.points.mean(0) - other.points.mean(0)))


def _scenes(seen: Sequence[_Seen], name: str) -> list[list[_Seen]]:
    """Return the frames of each scene that shows a face for long enough, from the first to the last that show it.

    Before and after there may be anything: a title, a landscape. It is no fault of the scene.

    Raises:
        InputError: there is none.
    """
    scenes: list[list[_Seen]] = []
    for frame in seen:
        if frame.cut or not scenes:
            scenes.append([])
        scenes[-1].append(frame)
    usable: list[list[_Seen]] = []
    for scene in scenes:
        with_face = [index for index, frame in enumerate(scene) if frame.points is not None]
        if len(with_face) >= _SHORTEST:
            usable.append(scene[with_face[0] : with_face[-1] + 1])
    if not usable:
        raise InputError(
            f'No face can be followed in "{name}".',
            f"It must be at least {SMALLEST_FACE} pixels wide, for at least {_SHORTEST} frames of a scene.",
        )
    return usable


def _follow_scene(tools: Tools, path: Path, scene: list[_Seen], report: Report) -> Followed:
    """Return the face in a scene. Raises InputError if too many of its frames disagree."""
    faces = {frame.number: frame.points for frame in scene if frame.points is not None}
    time_of = {frame.number: frame.time for frame in scene}
    crops = [first_crop(points, tools.model) for points in faces.values()]
    at = np.array([time_of[number] for number in faces])
    wanted = dict(zip(faces, smooth_crops(crops, at, _LOW_PASS_CROPS), strict=True))
    found: dict[int, Array] = {}
    evidence: dict[int, Evidence | None] = {}
    sharpness: dict[int, float] = {}
    for done, (number, photo) in enumerate(_photos(path, wanted)):
        report("Looking closely", done, len(wanted))
        points = look_again(tools.finder, photo, wanted[number])
        if points is not None:
            found[number] = points
            evidence[number] = read_pixels(photo, wanted[number], points)
            sharpness[number] = _sharpness(photo, wanted[number])
    if len(found) < _SHORTEST:
        raise InputError(f'What looked like a face in "{path.name}" is none at a second look.', "Use another clip.")
    times = np.array([time_of[number] for number in found])
    points = smooth(np.stack(list(found.values())), times, _LOW_PASS_POINTS)
    crops = [wanted[number] for number in found]
    fit, crops, kept = _fit(tools, points, list(evidence.values()), crops, times, report)
    numbers = [list(found)[index] for index in kept]
    dropped = len(scene) - len(numbers)
    if dropped > _MOST_DROPPED * len(scene):
        raise InputError(
            f'{dropped} of {len(scene)} frames of a scene of "{path.name}" show no face that agrees with the others.',
            "Use a clip in which one face is seen all the time.",
        )
    span = scene[0].time, scene[-1].time
    note = (f"{dropped} of {len(scene)} frames disagreed and were dropped.",) if dropped else ()
    return Followed(
        file=path.name,
        fps=(len(scene) - 1) / (span[1] - span[0]) if span[1] > span[0] else 25.0,
        span=span,
        numbers=tuple(numbers),
        times=times[kept],
        crops=tuple(crops),
        points=points[kept],
        sharpness=np.array([sharpness[number] for number in numbers]),
        fit=fit,
        dropped=dropped,
        notes=(*note, *fit.notes),
    )


def _sharpness(photo: NDArray[np.uint8], crop: Crop) -> float:
    """Return how much neighbouring pixels of the middle of a crop differ, mean square of grey in 0..1."""
    inner = crop.inner(np.array([0.5, 0.5]), _FACE_SHARE, 0.0)
    grey = cut(photo, inner, _SHARP)[0].mean(axis=-1) / 255
    return float(np.square(np.diff(grey, axis=0)).mean() + np.square(np.diff(grey, axis=1)).mean())


def _photos(path: Path, wanted: Mapping[int, object]) -> Iterator[tuple[int, NDArray[np.uint8]]]:
    """Yield the frames of a clip that are wanted, with their numbers."""
    last = max(wanted)
    for number, frame in enumerate(islice(media.read_clip(path), last + 1)):
        if number in wanted:
            yield number, frame.picture


def _fit(
    tools: Tools,
    points: Array,
    evidence: list[Evidence | None],
    crops: list[Crop],
    times: Array,
    report: Report,
) -> tuple[FaceFit, list[Crop], list[int]]:
    """Return the fit of the frames that agree, their crops, and which they are.

    Args:
        tools: for the face model.
        points: [n, 478, 2] filtered landmarks in pixels of the frames.
        evidence: what their pixels say.
        crops: n crops about the faces.
        times: [n] seconds.
        report: told of the progress.
    """
    shape = _person(tools, points, evidence, crops, report)

    def fit_all(crops: list[Crop]) -> list[FaceFit | None]:
        fits = []
        for index, crop in enumerate(crops):
            report("Fitting the face", index, len(crops))
            fits.append(_try(lambda crop=crop, index=index: fit_face(
                tools.model, crop.from_photo(points[index])[None], shape=shape, evidence=[evidence[index]]
            )))  # fmt: skip
        return fits

    first = fit_all(crops)
    good = [index for index, fit in enumerate(first) if fit is not None]
    if not good:
        raise _nobody()
    errors = np.array([float(fit.error[0]) for fit in first if fit is not None])
    good = [i for i, error in zip(good, errors, strict=True) if error <= _DISAGREES * np.median(errors) + _NOISE]
    framed = [framing_head(crops[i], fit.cameras[0]) for i in good if (fit := first[i]) is not None]
    framed = smooth_crops(framed, times[good], _LOW_PASS_CROPS)
    points, evidence = points[good], [evidence[index] for index in good]
    second = fit_all(framed)
    kept = [index for index, fit in enumerate(second) if fit is not None]
    if not kept:
        raise _nobody()
    return _joined([fit for fit in second if fit is not None]), [framed[i] for i in kept], [good[i] for i in kept]


def _nobody() -> InputError:
    return InputError("In no frame of a scene could a face be fitted.", "Use another clip.")


def _person(
    tools: Tools, points: Array, evidence: list[Evidence | None], crops: list[Crop], report: Report = silent
) -> NDArray[np.float32]:
    """Return the identity that frames spread over a scene share."""

    def fit(chosen: Sequence[int]) -> FaceFit:
        places = np.stack([crops[index].from_photo(points[index]) for index in chosen])
        return fit_face(tools.model, places, evidence=[evidence[index] for index in chosen])

    chosen = np.unique(np.linspace(0, len(points) - 1, _JOINT_FRAMES).round().astype(int)).tolist()
    alone: dict[int, FaceFit] = {}
    for done, index in enumerate(chosen):
        report("Finding out who it is", done, len(chosen))
        found = _try(lambda index=index: fit([index]))
        if found is not None:
            alone[index] = found
    if not alone:
        return fit(chosen[:1]).shape  # raises, and says why
    together = _try(lambda: fit(list(alone)))
    if together is not None:
        return together.shape
    # One of them shows somebody else, or half a face: who fits best speaks for the scene.
    return min(alone.values(), key=lambda found: float(found.error[0])).shape


def _try(fit: Callable[[], FaceFit]) -> FaceFit | None:
    """Return a fit, or None for a frame that cannot be fitted."""
    try:
        return fit()
    except InputError:
        return None


def _joined(fits: list[FaceFit]) -> FaceFit:
    """Return fits of single frames with the same identity as one."""
    return replace(fits[0], **{name: np.concatenate([getattr(fit, name) for fit in fits]) for name in _BY_FRAME})


def _picked(fit: FaceFit, chosen: Sequence[int]) -> FaceFit:
    """Return the fit of some of its frames."""
    return replace(fit, **{name: getattr(fit, name)[list(chosen)] for name in _BY_FRAME})
