# SPDX-License-Identifier: GPL-3.0-or-later
"""What a press of a button asks of the worker, as generators: yield a step, get its reply, return the result.

The same generator runs from a timer in the window and in a plain loop in the background; it touches no Blender data, so
stopping it at any moment leaves the scene as it was.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from . import answers, requests
from .neural_core import errors, protocol


@dataclass(frozen=True)
class Step:
    """One request, and what the progress bar says meanwhile."""

    label: str
    request: protocol.Message


@dataclass(frozen=True)
class Reply:
    """Everything that a request was answered with."""

    fields: dict[str, Any]
    arrays: dict[str, np.ndarray] = field(default_factory=dict)


Task = Generator[Step, Reply, Any]


@dataclass(frozen=True)
class Portrait:
    """A created portrait as the worker describes it: facts, and arrays in head space."""

    identifier: str
    fields: dict[str, Any]
    arrays: dict[str, np.ndarray]


@dataclass(frozen=True)
class Picture:
    """The network's picture [h, w, 4] uint8, sRGB, straight alpha, first row on top, and its camera label."""

    pixels: np.ndarray
    camera: tuple[float, ...]


@dataclass(frozen=True)
class Surface:
    """A coloured surface in head space, bound to the rig's mesh; its vertices are those of the rig at rest."""

    vertices: np.ndarray
    faces: np.ndarray
    colours: np.ndarray
    bind_index: np.ndarray
    bind_weight: np.ndarray


@dataclass(frozen=True)
class FaceRig:
    """A FLAME or SMPL of the user's; its arrays are described by `messages.Face`."""

    name: str
    kind: str
    licence: str
    joints: list[str]
    actions: list[str]
    arrays: dict[str, np.ndarray]


@dataclass(frozen=True)
class ExactSurface:
    """The surface of one instant as it is, bound to nothing: vertices in head space, faces, colours in 0..1."""

    vertices: np.ndarray
    faces: np.ndarray
    colours: np.ndarray


@dataclass(frozen=True)
class Created:
    """All that one press of Create brings back."""

    choice: requests.CreateChoice
    portrait: Portrait
    picture: Picture | None
    surface: Surface | None
    motion: Motion | None = None
    """What the person does in the clip that they are from, if that was wanted."""


@dataclass(frozen=True)
class Person:
    """Another person for a portrait of the scene, with what was asked for of it."""

    portrait: Portrait
    picture: Picture | None
    surface: Surface | None


@dataclass(frozen=True)
class SurfaceWish:
    """A surface of so many grid cells along a side, of a face that does what the controls say."""

    detail: int
    controls: dict[str, Any]


def create(choice: requests.CreateChoice, followed: requests.TrackChoice | None = None) -> Task:
    """Make a portrait, its picture from the creation camera and its surface, as far as they are wanted.

    What somebody does in a clip comes with it if one is to be `followed`.
    """
    label = "Finding the person" if choice.photo else "Creating the portrait"
    reply = yield Step(label, requests.create(choice))
    if choice.sliders:
        other = requests.PersonChoice(choice.sliders, identifier=choice.identifier)
        reply = yield Step("Changing the person", requests.person(choice.identifier, other))
    created = yield from _created(choice, reply)
    motion = (yield from track(followed)) if followed is not None else None
    return dataclasses.replace(created, motion=motion)


def variations(choices: Sequence[requests.CreateChoice]) -> Task:
    """Draw people of whom nothing but a picture is wanted; returns Pictures by their seeds."""
    pictures = {}
    for number, choice in enumerate(choices):
        label = f"Variation {number + 1} of {len(choices)}"
        reply = yield Step(label, requests.create(choice))
        answers.check_portrait(reply.fields, reply.arrays)
        shot = requests.Shot(tuple(reply.fields["camera"]))
        pictures[choice.seed] = yield from _picture(choice.identifier, shot, choice.size, label=label)
    return pictures


def stylise(kept: KeptPortrait, text: str, choice: requests.CreateChoice) -> Task:
    """Make a portrait of the same person in another style; what comes with it is as `create` makes it."""
    yield from _open(kept)
    reply = yield Step("Changing the style", requests.stylise(kept.identifier, text, choice.identifier))
    return (yield from _created(choice, reply))


def person(
    kept: KeptPortrait, choice: requests.PersonChoice, shot: requests.Shot | None, size: int, wish: SurfaceWish | None
) -> Task:
    """Make another person of a portrait of the scene, with a picture and a surface if they are wanted; a Person."""
    yield from _open(kept)
    reply = yield Step("Changing the person", requests.person(kept.identifier, choice))
    answers.check_portrait(reply.fields, reply.arrays)
    picture = (yield from _picture(choice.identifier, shot, size)) if shot else None
    surface = (yield from _surface(choice.identifier, wish.detail, wish.controls)) if wish else None
    return Person(Portrait(choice.identifier, reply.fields, reply.arrays), picture, surface)


def read_person(kept: KeptPortrait) -> Task:
    """Ask what the sliders of a portrait of the scene are, and where they stand; a list of answers.Slider."""
    reply = yield Step("Reading the person", requests.open_portrait(kept.identifier, kept.data))
    answers.check_portrait(reply.fields, reply.arrays)
    return answers.sliders(reply.fields)


def _created(choice: requests.CreateChoice, reply: Reply) -> Task:
    answers.check_portrait(reply.fields, reply.arrays)
    portrait = Portrait(choice.identifier, reply.fields, reply.arrays)
    picture = surface = None
    if choice.make_plane:
        picture = yield from _picture(choice.identifier, requests.Shot(tuple(reply.fields["camera"])), choice.size)
    if choice.make_mesh:
        surface = yield from _surface(choice.identifier, choice.detail, {})
    return Created(choice, portrait, picture, surface)


def picture(
    kept: KeptPortrait, shot: requests.Shot, size: int, quality: str = "full", label: str = "Drawing the picture"
) -> Task:
    """Draw a portrait of the scene at one instant; returns a Picture. `label` is what the progress bar says."""
    yield from _open(kept)
    return (yield from _picture(kept.identifier, shot, size, quality, label))


def pictures(kept: KeptPortrait, shots: Sequence[requests.Shot], size: int) -> Task:
    """Draw a portrait of the scene in several ways; returns a Picture for each."""
    drawn = []
    for number, shot in enumerate(shots, 1):
        drawn.append((yield from picture(kept, shot, size, label=f"Picture {number} of {len(shots)}")))
    return drawn


def surface(kept: KeptPortrait, detail: int, controls: dict[str, Any]) -> Task:
    """Extract the surface of a portrait of the scene that does what the controls say; returns a Surface."""
    yield from _open(kept)
    return (yield from _surface(kept.identifier, detail, controls))


@dataclass(frozen=True)
class Speech:
    """What a face does that says what was recorded: values [n] by the name of a slider or of a turn of the head."""

    name: str
    fps: float
    tracks: dict[str, np.ndarray]


def speak(choice: requests.SpeakChoice) -> Task:
    """Listen to a recording; returns a Speech."""
    reply = yield Step("Listening", requests.speak(choice))
    tracks = answers.curves(reply.fields, reply.arrays)
    return Speech(Path(choice.audio).name, float(reply.fields["fps"]), tracks)


@dataclass(frozen=True)
class Motion:
    """What somebody does in a clip: values [n] by the name of a slider or of a turn of the head."""

    name: str
    fps: float
    start: float
    """Seconds from the clip's start to the first value."""
    tracks: dict[str, np.ndarray]
    sound: bool
    """Whether the clip can be heard."""
    notes: tuple[str, ...]
    """Sentences for the user."""

    def __len__(self) -> int:
        return max(len(values) for values in self.tracks.values())


def track(choice: requests.TrackChoice) -> Task:
    """Follow the face in a clip; returns a Motion."""
    reply = yield Step("Following the face", requests.track(choice))
    tracks, fields = answers.curves(reply.fields, reply.arrays), reply.fields
    answers.check_motion(fields)
    name, notes = Path(choice.clip).name, tuple(fields["notes"])
    return Motion(name, float(fields["fps"]), float(fields["start"]), tracks, fields["sound"], notes)


def face_rig(name: str, shapes: int, expressions: int) -> Task:
    """Read an imported face model with so many of its shapes and expressions; returns a FaceRig."""
    reply = yield Step("Reading the face model", requests.face(name, shapes, expressions))
    names = ("vertices", "faces", "weights", "joints", "parents", "shapes", "expressions")
    names += ("joint_shapes", "joint_expressions")
    missing = [name for name in names if name not in reply.arrays]
    if missing:
        raise errors.ProtocolError(f"The engine's face model lacks {', '.join(missing)}.")
    fields = reply.fields
    joints, actions = fields["joint_names"], fields["action_names"]
    return FaceRig(fields["name"], fields["kind"], fields["licence"], joints, actions, reply.arrays)


def exact_surface(kept: KeptPortrait, detail: int, controls: dict[str, Any], label: str) -> Task:
    """Extract the surface of a portrait that does what the controls say; returns an ExactSurface."""
    yield from _open(kept)
    reply = yield Step(label, requests.mesh(kept.identifier, detail, controls))
    answers.check_exact(reply.arrays)
    return ExactSurface(*(reply.arrays[name] for name in ("vertices", "faces", "colours")))


def test() -> Task:
    """Ask for nothing but the list of models: the engine has then started and answered; returns the fields."""
    return (yield Step("Testing the engine", protocol.List(0))).fields


def free() -> Task:
    """Let the worker drop its models and portraits; returns the memory that it still takes, MB."""
    return float((yield Step("Freeing memory", protocol.Free(0))).fields.get("memory_mb", 0.0))


def bring_in(kind: str, path: str, name: str, face: str = "") -> Task:
    """Import a file of the user's, a "model" or a "face"; returns the fields that say what it is."""
    reply = yield Step(f"Importing {Path(path).name}", requests.bring_in(kind, path, name, face))
    return {key: str(reply.fields.get(key) or "") for key in ("name", "path", "licence", "use", "note")}


@dataclass(frozen=True)
class KeptPortrait:
    """A portrait as the .blend keeps it: the bytes of its file, and whether the running worker has it already."""

    identifier: str
    data: bytes
    is_open: Callable[[str], bool]


def _open(kept: KeptPortrait) -> Task:
    if not kept.is_open(kept.identifier):
        yield Step("Loading the portrait", requests.open_portrait(kept.identifier, kept.data))


def _picture(
    identifier: str, shot: requests.Shot, size: int, quality: str = "full", label: str = "Drawing the picture"
) -> Task:
    reply = yield Step(label, requests.render(identifier, shot, size, quality))
    return Picture(answers.check_picture(reply.arrays), shot.camera)


def _surface(identifier: str, detail: int, controls: dict[str, Any]) -> Task:
    reply = yield Step("Extracting the surface", requests.mesh(identifier, detail, controls))
    answers.check_surface(reply.arrays)
    return Surface(*(reply.arrays[name] for name in answers.SURFACE))
