# SPDX-License-Identifier: Apache-2.0
"""From a photo or a clip to a portrait: the person is captured (`capture/`), then a model is fitted to them.

Of a clip the best frame from the front counts as the photo, and frames from the sides are further pictures.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from .. import checkpoints, others
from ..cameras import Camera
from ..errors import InputError, PortraitError, UsageError
from ..files import write_bytes
from ..media import Picture, is_clip
from ..models import DEFAULT_MODEL
from ..perceptual import SMALLEST, lpips
from ..progress import Report, silent
from ..records import HEAD_TO_MODEL, Record
from ..studio import Loaded, Studio
from ..systems.common import Portrait, System
from .inversion import Inversion, Length, Target, over
from .likeness import psnr
from .tunable import Tunable

if TYPE_CHECKING:
    from ..capture.labels import Captured, Tools
    from ..capture.last_clip import LastClip

Preview = Callable[[Picture, int], object]
"""Called with a picture of the person so far, [h, w, 4], and the number of iterations done."""

STATE_FORMAT = "portrait-fitting/1"

_WEIGHTS = {"head": 1.0, "torso": 0.4, "background": 0.4}
"""How much pixels matter. Shoulders stand differently in every photo, and no model's follow."""
_CAPTURED = 256  # pixels of the captured crop's side, for models of smaller pictures
_KEPT_EVERY = 30.0  # seconds


@dataclass(frozen=True)
class Options:
    """How a person is fitted."""

    model: str = DEFAULT_MODEL
    """Name of an installed model."""
    length: Length = dataclasses.field(default_factory=Length)
    """Iterations."""
    preview_every: int = 25
    """Iterations between two previews."""
    frames: int = 250
    """Of a clip: how many frames are looked at, from its start."""
    state: Path | None = None
    """A file in which the work is kept while it goes on: if the process ends, the same call goes on from there. It is
    deleted when the portrait is done."""


def reconstruct(
    studio: Studio,
    picture: Path | NDArray[np.uint8],
    options: Options,
    report: Report = silent,
    on_preview: Preview | None = None,
    memory: LastClip | None = None,
) -> Portrait:
    """Return the portrait of the person in a photo or a clip.

    Args:
        studio: keeps the model.
        picture: a file, or [h, w, 3] sRGB.
        options: which model, how long.
        report: told of progress; may raise to stop, and the state file then has the work so far.
        on_preview: shown the person so far.
        memory: keeps the face that was followed in a clip for others who want it.

    Raises:
        InputError: there is no face in the photo or clip, or the state file is of other work.
        ModelError: if the model is missing or damaged.
    """
    loaded = studio.load(options.model, report)
    system = loaded.system
    if not isinstance(system, Tunable):
        raise UsageError(f'Model "{loaded.model.name}" cannot be fitted to a photo.')
    report("Starting the face finder", 0, 1)
    from ..capture.labels import Tools

    size = max(_CAPTURED, system.info.image_size)
    with Tools() as tools:
        if isinstance(picture, Path) and is_clip(picture):
            captured, views = _of_clip(tools, picture, size, options.frames, report, memory)
        else:
            from ..capture.photo import capture_photo

            captured, views = capture_photo(tools, picture, size, report), [0]
    target, *others = (target_of(captured.record, captured.pictures[i], system, studio.device, i) for i in views)
    said = {
        **_facts(loaded),
        "source": captured.record.source["file"],
        "synthetic": False,
        "iterations": [options.length.latents, options.length.weights],
        "notes": list(captured.notes),
    }
    if "frames" in captured.record.source:
        said["frames"] = [captured.record.source["frames"][index] for index in views]
    return fit(system, target, options, said, report, on_preview, others)


def _of_clip(
    tools: Tools, path: Path, size: int, most: int, report: Report, memory: LastClip | None
) -> tuple[Captured, list[int]]:
    """Return the best frames of a clip, and their order: that from the front is the first."""
    from ..capture.clip import capture_frames, follow_clip
    from ..capture.views import choose_views

    followed = (memory.follow if memory else follow_clip)(tools, path, most, report)
    chosen = choose_views(followed)
    rising = sorted(chosen)
    captured = capture_frames(tools, path, followed, rising, size, report)
    shown = ", ".join(str(followed.numbers[index]) for index in chosen)
    taken = f'Of "{path.name}" the person is taken from frame {shown}, counted from 0.'
    captured = dataclasses.replace(captured, notes=(*captured.notes, taken))
    return captured, [rising.index(index) for index in chosen]


def fit(
    system: Tunable,
    target: Target,
    options: Options,
    provenance: Mapping[str, Any],
    report: Report = silent,
    on_preview: Preview | None = None,
    others: Sequence[Target] = (),
) -> Portrait:
    """Return the portrait of the person in a captured picture, and in others; arguments as `reconstruct` has them.

    The portrait's provenance says with "psnr" how near the person came to the picture, in decibels.
    """
    inversion = Inversion(system, target, options.length, users_lpips(target), others)
    key = _key(inversion)
    if options.state is not None and options.state.exists():
        _resume(inversion, options.state, key)
    kept = time.monotonic()
    while inversion.iteration < options.length.total:
        stage = "Tuning the model to the photo" if inversion.tunes else "Looking for the person"
        report(stage, inversion.iteration, options.length.total)
        inversion.step()
        if on_preview is not None and inversion.iteration % options.preview_every == 0:
            on_preview(_bytes(inversion.preview()), inversion.iteration)
        if options.state is not None and time.monotonic() - kept > _KEPT_EVERY:
            _keep(inversion, options.state, key)
            kept = time.monotonic()
    report("Tuning the model to the photo", options.length.total, options.length.total)
    portrait = inversion.portrait()
    said = {**portrait.provenance, **provenance, "psnr": round(_psnr(system, portrait, target), 2)}
    if options.state is not None:
        options.state.unlink(missing_ok=True)
    return dataclasses.replace(portrait, provenance=said)


def target_of(
    record: Record, picture: NDArray[np.uint8], system: System, device: torch.device | str, frame: int = 0
) -> Target:
    """Return what a captured photo asks of a model.

    Args:
        record: what is known of it.
        picture: [s, s, 3] the frame.
        system: the model.
        device: where the target goes.
        frame: which of the record's frames it is.
    """
    size = system.info.image_size
    label = torch.from_numpy(record.cameras[frame : frame + 1])

    def tensor(array: NDArray[Any]) -> Tensor:
        """Return [h, w] or [h, w, 3] as [1, c, size, size]."""
        image = torch.from_numpy(np.asarray(np.atleast_3d(array), np.float32)).movedim(-1, 0)[None]
        return F.interpolate(image, (size, size), mode="bilinear", antialias=True).to(device)

    known = {control.name for control in system.info.controls}
    controls = {"actions": torch.from_numpy(record.actions[frame]).to(device)} if "actions" in known else None
    return Target(
        picture=tensor(picture) / 255,
        alpha=tensor(record.alpha[frame]) / 255,
        background=tensor(record.background[frame]) / 255,
        weight=tensor(pixel_weights(record)[frame]),
        camera=Camera.from_label(label).scaled(1 / HEAD_TO_MODEL).to(device),
        shape=torch.from_numpy(record.shape).to(device),
        controls=controls,
    )


def pixel_weights(record: Record) -> NDArray[np.float32]:
    """Return how much the pixels [n, h, w] of a record's frames matter."""
    return np.sum([np.float32(value) * record.mask(name) for name, value in _WEIGHTS.items()], axis=0)


def users_lpips(target: Target) -> nn.Module | None:
    """Return the network of LPIPS if the user has brought it and the picture is large enough for it, else None."""
    size = min(target.picture.shape[2:])
    try:
        return lpips(others.find("alexnet", "LPIPS"), target.picture.device) if size >= SMALLEST else None
    except others.MissingNetwork:
        return None


def _facts(loaded: Loaded) -> dict[str, Any]:
    """Return what a portrait says of its model."""
    about = loaded.model.describe()
    return {"model": loaded.model.name, **{key: about[key] for key in ("licence", "licence_url", "use")}}


def _psnr(system: Tunable, portrait: Portrait, target: Target) -> float:
    """Return how near a portrait, as others will see it, is to the person in the picture."""
    found, _ = over(system.pose(portrait, target.controls).render(target.camera), target.background)
    return psnr(found.clamp(0, 1), target.picture, target.alpha)


def _bytes(picture: Tensor) -> Picture:
    return (picture * 255).round().to(torch.uint8).numpy()


def _key(inversion: Inversion) -> str:
    """Return a text that differs for every other work."""
    digest = hashlib.sha256(inversion.portrait().checkpoint_hash.encode())
    for target in (inversion.target, *inversion.others):
        for tensor in (target.picture, target.alpha, target.camera.label()):
            digest.update(tensor.cpu().numpy().tobytes())
    return json.dumps([digest.hexdigest(), dataclasses.asdict(inversion.length), inversion.lpips is not None])


def _keep(inversion: Inversion, path: Path, key: str) -> None:
    """Write the work so far, at once or not at all."""
    metadata = {"format": STATE_FORMAT, "key": key, "iteration": str(inversion.iteration)}
    tensors = {name: value.detach().cpu().contiguous() for name, value in inversion.state().items()}
    write_bytes(path, checkpoints.pack(tensors, metadata))


def _resume(inversion: Inversion, path: Path, key: str) -> None:
    """Take up the work in a file. Raises InputError if it is other work, or damaged."""
    hint = f'Delete "{path}" to begin again.'
    try:
        device = inversion.target.picture.device
        tensors, metadata = checkpoints.unpack(path.read_bytes(), STATE_FORMAT, path.name, str(device))
    except (OSError, PortraitError) as error:
        raise InputError(f'The unfinished work in "{path}" cannot be read: {error}', hint) from error
    if metadata.get("key") != key:
        raise InputError(
            f'The unfinished work in "{path}" is of another photo, another model, or other iterations.', hint
        )
    inversion.resume(int(metadata["iteration"]), tensors)
