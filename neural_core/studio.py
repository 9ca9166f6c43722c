# SPDX-License-Identifier: Apache-2.0
"""What can be done with a portrait of any system: create, open, draw, save. Worker and command line stand on it.

Cameras, lengths and meshes are in head space. Whatever takes long takes a `report` (see `progress`).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn import functional as F

from . import checkpoints, controls, devices, media, mesh, models, people, portraits, systems
from .cameras import Camera, orbit
from .errors import ModelError, UsageError
from .files import write_bytes
from .mixing import Mix, mixed
from .progress import Report, silent, stage
from .systems.common import Field, Portrait, System

SIZE_RANGE = (16, 2048)
QUALITIES = ("draft", "full")
USUAL_TRUNCATION = 0.7


@dataclass(frozen=True)
class Loaded:
    """A model in memory, and the sha256 of its file."""

    model: models.Model
    system: System
    hash: str

    @property
    def title(self) -> str:
        """What messages call it."""
        return f'Model "{self.model.name}" ({self.system.info.name})'


@dataclass(frozen=True)
class Drawing:
    """What a network draws: colours f4[h, w, 3] in 0..1 over the background that is its own, and opacity f4[h, w]."""

    colour: np.ndarray
    opacity: np.ndarray

    def cut_out(self) -> media.Picture:
        """Return the head alone, straight alpha. What networks draw has a black background, or is opaque."""
        return media.straight_alpha(self.colour, self.opacity)

    def whole(self) -> media.Picture:
        """Return the picture as the network draws it, opaque, its background among it."""
        return media.straight_alpha(self.colour, np.ones_like(self.opacity))


class Studio:
    """Keeps one model in memory, on one device."""

    def __init__(self, device: str = "auto") -> None:
        """Choose the device. Raises UsageError if there is none of that name."""
        self.device = devices.choose(device)
        self._loaded: Loaded | None = None

    def free(self) -> None:
        """Drop the model from memory."""
        self._loaded = None
        if self.device.type == "cuda":
            torch.cuda.empty_cache()

    def load(self, name: str, report: Report = silent) -> Loaded:
        """Read a model, or return the one in memory. Raises ModelError if it is missing or damaged."""
        if self._loaded is None or self._loaded.model.name != name:
            model = models.find(name)
            report(f"Loading {model.name}", 0, 1)
            self._loaded = None  # two models at once may not fit
            system = systems.load(model.path, self.device)
            self._loaded = Loaded(model, system, checkpoints.file_hash(model.path))
            report(f"Loading {model.name}", 1, 1)
        return self._loaded

    def create(
        self,
        name: str,
        seed: int,
        truncation: float = USUAL_TRUNCATION,
        report: Report = silent,
        mix: Mix | None = None,
    ) -> tuple[Loaded, Portrait]:
        """Return the portrait of a seed, or of somebody between two seeds, and the model that made it.

        Raises:
            UsageError: if a seed is negative, or the truncation out of range.
            ModelError: if the model is missing or damaged.
        """
        for one in (seed, mix.seed if mix else seed):
            if not 0 <= one < 1 << 63:
                raise UsageError(f"There is no seed {one}.", "Seeds are whole numbers from 0.")
        if not 0.0 <= truncation <= 2.0:
            raise UsageError(
                f"Truncation {truncation:g} is not between 0 and 2.", "0.7 is usual, 0 is the mean person."
            )
        loaded = self.load(name, report)
        report(f"Creating seed {seed}", 0, 1)
        portrait = loaded.system.create(seed, truncation)
        said: dict[str, Any] = {"seed": seed, "truncation": truncation}
        if mix is not None:
            portrait = mixed(loaded.system, portrait, loaded.system.create(mix.seed, truncation), mix.share)
            said |= {"mix_seed": mix.seed, "mix": mix.share}
        return loaded, _with_provenance(portrait, loaded.model, said)

    def change(
        self, loaded: Loaded, portrait: Portrait, sliders: Mapping[str, Any], mix: Mix | None = None
    ) -> Portrait:
        """Return a person with somebody mixed in, and then with some sliders elsewhere; the provenance says so.

        Args:
            loaded: the portrait's model.
            portrait: who it is now.
            sliders: values by name, as `people.changed` takes them.
            mix: of whom, and how much; they are as varied as the portrait's own seed was.

        Raises:
            UsageError: as `people.changed`, and if the model's people cannot be mixed.
        """
        said = dict(portrait.provenance)
        change: dict[str, Any] = {}
        if mix is not None:
            other = loaded.system.create(mix.seed, _truncation(portrait))
            portrait = mixed(loaded.system, portrait, other, mix.share)
            change |= {"mix_seed": mix.seed, "mix": mix.share}
        if sliders:
            portrait = people.changed(portrait, sliders)
            change["sliders"] = dict(sliders)
        if change:
            earlier = said.get("changes")
            said["changes"] = [*(earlier if isinstance(earlier, list) else []), change]
        return dataclasses.replace(portrait, provenance=said)

    def open(self, data: bytes, name: str, report: Report = silent) -> tuple[Loaded, Portrait]:
        """Return the portrait in a file's bytes, and the model that made it.

        Raises:
            InputError: if it is no portrait.
            ModelError: if its model is not installed, or another than then.
        """
        portrait = portraits.from_bytes(data, name, str(self.device))
        model = str(portrait.provenance.get("model", ""))
        made_with = f'"{name}" was made with model "{model}" (hash {portrait.checkpoint_hash[:8]})'
        try:
            loaded = self.load(model, report)
        except ModelError as error:
            raise ModelError(f"{made_with}, which cannot be loaded: {error.message}", error.hint) from error
        if loaded.hash != portrait.checkpoint_hash:
            raise ModelError(
                f"{made_with}; the one installed under that name is another (hash {loaded.hash[:8]}).",
                "Install the original model, or create the portrait again.",
            )
        return loaded, portrait

    def pose(self, loaded: Loaded, portrait: Portrait, asked: controls.Plain | None = None) -> Field:
        """Return a portrait at the instant that plain controls describe (see `controls`); neutral without any.

        Raises:
            UsageError: if the controls make no sense, or the model shows a still face and they ask for another.
        """
        known = loaded.system.info.controls
        return loaded.system.pose(portrait, controls.tensors(asked or {}, known, loaded.title, self.device))

    def draw(
        self, field: Field, camera: Camera, size: int, quality: str = "full", report: Report = silent
    ) -> media.Picture:
        """Return a picture [size, size, 4], sRGB, straight alpha: `drawing` with the head cut out."""
        return self.drawing(field, camera, size, quality, report).cut_out()

    def drawing(
        self, field: Field, camera: Camera, size: int, quality: str = "full", report: Report = silent
    ) -> Drawing:
        """Return what the network draws, from which pictures are made.

        Args:
            field: what to draw.
            camera: one camera, head space.
            size: side of the picture in pixels.
            quality: "draft" is coarser and faster, and enlarged.
            report: told of progress.
        """
        check_size(size)
        if quality not in QUALITIES:
            raise UsageError(f'There is no quality "{quality}".', f"Known: {', '.join(QUALITIES)}.")
        with torch.no_grad():
            rendering = field.render(camera.to(self.device), size, stage(report, "Drawing"), quality == "draft")
        colour = (_resized(rendering.image, size)[0] + 1) / 2
        opacity = _resized(rendering.opacity, size)[0, 0]
        return Drawing(colour.movedim(0, -1).float().cpu().numpy(), opacity.float().cpu().numpy())

    def surface(self, field: Field, detail: int, report: Report = silent) -> mesh.ColouredMesh:
        """Return the coloured surface of a field; see `mesh.extract`."""
        return mesh.extract(field, detail, device=self.device, report=report)


def check_size(size: int) -> None:
    """Raise UsageError unless a picture can have this side in pixels."""
    if not SIZE_RANGE[0] <= size <= SIZE_RANGE[1]:
        raise UsageError(f"A picture of {size} pixels is not between {SIZE_RANGE[0]} and {SIZE_RANGE[1]}.")


def creation_view(system: System, yaw_deg: float, pitch_deg: float) -> Camera:
    """Return the system's creation camera, carried around the head's centre.

    Args:
        system: whose camera.
        yaw_deg: positive carries it towards +X, the subject's left.
        pitch_deg: positive carries it up.
    """
    camera = system.creation_camera()
    radius = float(camera.cam2world[0, :3, 3].norm())
    return Camera(orbit(float(yaw_deg), float(pitch_deg), radius).cam2world, camera.intrinsics.cpu())


def save(portrait: Portrait, path: Path) -> None:
    """Write a .portrait file. Raises PortraitError of kind "output" if it cannot be written."""
    write_bytes(path, portraits.to_bytes(portrait))


def provenance(portrait: Portrait) -> dict[str, Any]:
    """Return what files made from this portrait say about it."""
    return {**portrait.provenance, "model_sha256": portrait.checkpoint_hash}


def _with_provenance(portrait: Portrait, model: models.Model, made_of: Mapping[str, Any]) -> Portrait:
    about = model.describe()
    facts = {key: about[key] for key in ("licence", "licence_url", "use")}
    said = {**portrait.provenance, **facts, "model": model.name, **made_of}
    return dataclasses.replace(portrait, provenance=said)


def _truncation(portrait: Portrait) -> float:
    """Return how varied a portrait's seed was made; the usual where it came of none."""
    said = portrait.provenance.get("truncation")
    return float(said) if isinstance(said, (int, float)) else USUAL_TRUNCATION


def _resized(picture: torch.Tensor, size: int) -> torch.Tensor:
    """Return a picture [1, c, h, w] at another size, smoothed when it shrinks."""
    if picture.shape[-1] == size:
        return picture
    return F.interpolate(picture, (size, size), mode="bilinear", antialias=True)
