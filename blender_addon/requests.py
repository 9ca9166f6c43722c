# SPDX-License-Identifier: GPL-3.0-or-later
"""What the panel or a job says -> messages of the protocol. Pure: no Blender.

Requests are made with id 0; the engine numbers them when it sends them.
"""

from __future__ import annotations

import dataclasses
import uuid
from dataclasses import dataclass, field
from typing import Any

from . import backgrounds
from .neural_core import errors, protocol

DEFAULT_MODEL = "default-next3d"
SEED_LIMIT = 2**31 - 1
DETAIL_RANGE = (32, 512)
SIZE_RANGE = (16, 2048)
SLIDER_LIMIT = 5.0
"""As `neural_core.people` has it."""
SPEECH_FPS_RANGE = (10.0, 120.0)
STRENGTH_LIMIT = 3.0
CLIP_FRAMES = 250
"""How many frames of a clip are looked at unless it is said otherwise."""
CLIP_FRAMES_LIMIT = 3000
SMOOTHING_LIMIT = 1.0
"""Seconds; both as `neural_core.capture.track` has them."""


def new_identifier() -> str:
    """Return a fresh name for a portrait, unique over files and sessions."""
    return uuid.uuid4().hex


@dataclass(frozen=True)
class CreateChoice:
    """What Create is asked to make."""

    model: str = DEFAULT_MODEL
    seed: int = 7
    truncation: float = 0.7
    mix_seed: int = 8
    mix: float = 0.0
    """How much of the person of `mix_seed` is mixed in, 0..1."""
    photo: str = ""
    """A file with somebody's photo, or a clip of them, instead of seed and truncation."""
    frames: int = CLIP_FRAMES
    """A clip's: how many frames are looked at, from its start."""
    latent_iterations: int = 450
    weight_iterations: int = 500
    """A photo's or clip's: steps that look for the person, and steps that tune the network to them."""
    make_rig: bool = True
    make_plane: bool = True
    make_mesh: bool = True
    detail: int = 128
    """Grid cells along a side of the model's box, for the surface."""
    size: int = 512
    """Side of the network's picture, pixels."""
    sliders: dict[str, float] = field(default_factory=dict)
    """What is to be different about the person, by the sliders' names."""
    identifier: str = field(default_factory=new_identifier)

    def __post_init__(self) -> None:
        """Raise UsageError for what no worker could do."""
        if not 0 <= self.seed <= SEED_LIMIT:
            raise errors.UsageError(f"The seed {self.seed} is not in 0 .. {SEED_LIMIT}.")
        _check_mix(self.mix_seed, self.mix)
        if not 0.0 <= self.truncation <= 2.0:
            raise errors.UsageError(f"The truncation {self.truncation:g} is not in 0 .. 2.")
        if min(self.latent_iterations, self.weight_iterations) < 0:
            raise errors.UsageError("A number of steps is negative.")
        _check_frames(self.frames)
        if not DETAIL_RANGE[0] <= self.detail <= DETAIL_RANGE[1]:
            raise errors.UsageError(f"The mesh detail {self.detail} is not in {DETAIL_RANGE[0]} .. {DETAIL_RANGE[1]}.")
        if not SIZE_RANGE[0] <= self.size <= SIZE_RANGE[1]:
            raise errors.UsageError(f"The picture size {self.size} is not in {SIZE_RANGE[0]} .. {SIZE_RANGE[1]}.")
        if not (self.make_rig or self.make_plane or self.make_mesh):
            raise errors.UsageError("Nothing is to be made.", "Switch on rig, image plane or mesh.")


@dataclass(frozen=True)
class PersonChoice:
    """What is to be different about a person."""

    sliders: dict[str, float] = field(default_factory=dict)
    """Values by name; 0 is the mean person."""
    mix_seed: int = 0
    mix: float = 0.0
    """How much of the person of `mix_seed` is mixed in first, 0..1."""
    identifier: str = field(default_factory=new_identifier)

    def __post_init__(self) -> None:
        """Raise UsageError for what no worker could do."""
        _check_mix(self.mix_seed, self.mix)
        if not (self.sliders or self.mix):
            raise errors.UsageError("Nothing about the person is to change.", "Move a slider, or mix somebody in.")


@dataclass(frozen=True)
class SpeakChoice:
    """What is said, and how."""

    audio: str
    """A sound file."""
    fps: float = 25.0
    """Curve values a second."""
    strength: float = 1.0
    """Size of the mouth's movements."""
    gestures: float = 1.0
    """Size of the movements of brows and head; 0 leaves out the blinks, too."""
    seed: int = 0
    """Of when somebody blinks and nods."""

    def __post_init__(self) -> None:
        """Raise UsageError for what no worker could do."""
        if not SPEECH_FPS_RANGE[0] <= self.fps <= SPEECH_FPS_RANGE[1]:
            raise errors.UsageError(
                f"{self.fps:g} frames a second are not in {SPEECH_FPS_RANGE[0]:g} .. {SPEECH_FPS_RANGE[1]:g}."
            )
        for name in ("strength", "gestures"):
            if not 0.0 <= getattr(self, name) <= STRENGTH_LIMIT:
                raise errors.UsageError(f"The {name} {getattr(self, name):g} is not in 0 .. {STRENGTH_LIMIT:g}.")
        if not 0 <= self.seed <= SEED_LIMIT:
            raise errors.UsageError(f"The seed {self.seed} is not in 0 .. {SEED_LIMIT}.")


@dataclass(frozen=True)
class TrackChoice:
    """Who is followed, and how."""

    clip: str
    """A video file."""
    frames: int = CLIP_FRAMES
    """How many of its frames are looked at, from its start."""
    smoothing: float = 0.0
    """Deviation of a filter over time, seconds."""

    def __post_init__(self) -> None:
        """Raise UsageError for what no worker could do."""
        _check_frames(self.frames)
        if not 0.0 <= self.smoothing <= SMOOTHING_LIMIT:
            raise errors.UsageError(f"A smoothing of {self.smoothing:g} s is not in 0 .. {SMOOTHING_LIMIT:g}.")


@dataclass(frozen=True)
class Shot:
    """A portrait at one instant: a camera label in head space, and what the face does (`messages.Render.controls`)."""

    camera: tuple[float, ...]
    controls: dict[str, Any] = field(default_factory=dict)
    background: str = backgrounds.NOTHING
    """As `backgrounds` writes it."""

    @property
    def drawn(self) -> Shot:
        """The same as the engine draws it, without a colour laid under it."""
        return dataclasses.replace(self, background=backgrounds.drawn_on(self.background))


def create(choice: CreateChoice) -> protocol.Create | protocol.Reconstruct:
    """Return the request that makes a portrait, of a seed or of the person in a photo."""
    if choice.photo:
        steps = choice.latent_iterations, choice.weight_iterations
        return protocol.Reconstruct(0, choice.model, choice.photo, choice.identifier, *steps, choice.frames)
    other = choice.mix_seed if choice.mix else 0
    return protocol.Create(0, choice.model, choice.seed, choice.truncation, choice.identifier, other, choice.mix)


def person(source: str, choice: PersonChoice) -> protocol.Person:
    """Return the request for another person of portrait `source`."""
    other = choice.mix_seed if choice.mix else 0
    return protocol.Person(0, source, choice.identifier, choice.sliders, other, choice.mix)


def stylise(source: str, text: str, identifier: str) -> protocol.Stylise:
    """Return the request for a portrait like `source`, in a style that a text describes."""
    return protocol.Stylise(0, source, text, identifier)


def speak(choice: SpeakChoice) -> protocol.Speak:
    """Return the request for the curves of a face that says what was recorded."""
    return protocol.Speak(0, choice.audio, choice.fps, choice.strength, choice.gestures, choice.seed)


def track(choice: TrackChoice) -> protocol.Track:
    """Return the request for what somebody does in a clip."""
    return protocol.Track(0, choice.clip, choice.frames, choice.smoothing)


def open_portrait(identifier: str, data: bytes) -> protocol.Open:
    """Return the request that gives a stored portrait back to the worker."""
    return protocol.Open(0, identifier, {"file": protocol.RawArray("u1", (len(data),), data)})


def face(name: str, shapes: int, expressions: int) -> protocol.Face:
    """Return the request for the rig of an imported face model, "" for the only one."""
    return protocol.Face(0, name, shapes, expressions)


def render(identifier: str, shot: Shot, size: int, quality: str) -> protocol.Render:
    """Return the request for a picture."""
    camera = tuple(float(number) for number in shot.camera)
    behind = backgrounds.drawn_on(shot.background)
    return protocol.Render(0, identifier, camera, size, quality, shot.controls, behind)


def bring_in(kind: str, path: str, name: str, face: str = "") -> protocol.Import:
    """Return the request that imports a file of the user's: "model" or "face"."""
    return protocol.Import(0, kind, path, name, face)


def mesh(identifier: str, detail: int, controls: dict[str, Any]) -> protocol.Mesh:
    """Return the request for the surface of a face that does what the controls say."""
    return protocol.Mesh(0, identifier, detail, controls)


def _check_mix(seed: int, share: float) -> None:
    if not (0 <= seed <= SEED_LIMIT and 0.0 <= share <= 1.0):
        raise errors.UsageError(f"Seed {seed} cannot be mixed in by {share:g}: 0 .. 1 is possible.")


def _check_frames(frames: int) -> None:
    if not 1 <= frames <= CLIP_FRAMES_LIMIT:
        raise errors.UsageError(f"{frames} frames of a clip are not in 1 .. {CLIP_FRAMES_LIMIT}.")
