# SPDX-License-Identifier: Apache-2.0
"""The messages between the add-on and the worker, a dataclass each. Standard library only.

`protocol.py` says how they travel, and exports all names of this file. Annotations are part of the protocol: a field
is one of int, float, str, tuple[float, ...] (a camera label) and dict[str, Any] (plain JSON values).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

ITEM_BYTES = {"u1": 1, "i4": 4, "i8": 8, "f2": 2, "f4": 4, "f8": 8}
"""Array item types, little-endian, named as numpy does without the byte order."""


@dataclass(frozen=True)
class RawArray:
    """An array as it travels: item type, shape, and C-ordered little-endian bytes.

    `numpy.frombuffer(a.data, "<" + a.dtype).reshape(a.shape)` makes an array of it.
    """

    dtype: str
    shape: tuple[int, ...]
    data: bytes

    @property
    def nbytes(self) -> int:
        """Number of bytes that dtype and shape ask for."""
        return ITEM_BYTES[self.dtype] * math.prod(self.shape)


Arrays = Mapping[str, RawArray]


@dataclass(frozen=True)
class Message:
    """What all messages have. `id` is chosen by the client, and unique among its requests."""

    type: ClassVar[str] = ""
    id: int


# Requests -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Hello(Message):
    """First request. `done` gives: version, protocol, python, torch, device, device_name, memory_mb, threads."""

    type = "hello"
    client_version: str


@dataclass(frozen=True)
class List(Message):
    """`done` gives models: a list of {name, system, licence, licence_url, use, size_mb, path, problem}, and default."""

    type = "list"


@dataclass(frozen=True)
class Load(Message):
    """Read a model into memory, so that the next Create is fast."""

    type = "load"
    model: str


@dataclass(frozen=True)
class Create(Message):
    """Make a portrait from a seed, and keep it in the worker under the client's name `portrait`.

    A `mix` between 0 and 1 mixes so much of the person of `mix_seed` in.
    `done` gives model, model_hash, system, licence, licence_url, use, seed, truncation, camera (25 numbers, head
    space: where the creation picture is taken from), joint_names, action_names, animatable (whether Render and Mesh
    take controls), controls (a list of {name, dimension, unit, minimum, maximum, meaning}), sliders (what Person takes,
    a list of {name, group, label, low, high, value}; [] for people who have none); and arrays shape f4[K],
    portrait u1[n] (the bytes of a .portrait file), rig/vertices f4[V,3], rig/faces i4[F,3], rig/uv f4[U,2],
    rig/uv_faces i4[F,3], rig/weights f4[V,J], rig/joints f4[J,3], rig/parents i4[J], rig/actions f4[A,V,3].
    """

    type = "create"
    model: str
    seed: int
    truncation: float
    portrait: str
    mix_seed: int = 0
    mix: float = 0.0


@dataclass(frozen=True)
class Reconstruct(Message):
    """Make a portrait of the person in a photo or a clip, and keep it under the client's name `portrait`.

    `photo` is a file that the worker can read; of a clip at most `frames` frames are looked at, from its start, and the
    best from the front and from the sides are taken. The person is looked for in `latent_iterations` steps, then the
    weights are tuned in `weight_iterations`. Until it is finished, `image` answers show the person so far. `done` is
    that of Create, without seed and truncation, but with psnr (decibels between photo and portrait), frames (numbers of
    those that were taken from a clip) and notes (sentences).
    """

    type = "reconstruct"
    model: str
    photo: str
    portrait: str
    latent_iterations: int = 450
    weight_iterations: int = 500
    frames: int = 250


@dataclass(frozen=True)
class Stylise(Message):
    """Make a portrait of the person of portrait `source` in a style that `text` describes; keep it as `portrait`.

    Until it is finished, `image` answers show the person so far. `done` is that of Create.
    """

    type = "stylise"
    source: str
    text: str
    portrait: str
    iterations: int = 200


@dataclass(frozen=True)
class Person(Message):
    """Make another person of portrait `source`, and keep them under the client's name `portrait`, perhaps the same.

    First a `mix` between 0 and 1 mixes so much of the person of `mix_seed` in. Then `sliders` are put to their values,
    by the names that Create tells: 0 is the mean person, 1 a standard deviation. Others change as little as possible.
    What inversion found of a photo stays. `done` is that of Create.
    """

    type = "person"
    source: str
    portrait: str
    sliders: dict[str, Any] = field(default_factory=dict[str, Any])
    mix_seed: int = 0
    mix: float = 0.0


@dataclass(frozen=True)
class Open(Message):
    """Take the portrait of a .portrait file (array `file`, u1[n]) into the worker. `done` is that of Create."""

    type = "open"
    portrait: str
    arrays: Arrays = field(default_factory=dict[str, RawArray])


@dataclass(frozen=True)
class Render(Message):
    """Draw a portrait. Answers one `image`, then `done` with size and seconds.

    `camera` is a camera label in head space. `size` is the side of the picture in pixels. `quality` is "draft"
    (with fewer rays, in half the time) or "full". `controls` is what the face does, as in `controls.py`; {} is neutral.
    `background` is "" for a head that is cut out, "model" for the picture as the network draws it, opaque.
    """

    type = "render"
    portrait: str
    camera: tuple[float, ...]
    size: int
    quality: str = "full"
    controls: dict[str, Any] = field(default_factory=dict[str, Any])
    background: str = ""


@dataclass(frozen=True)
class Mesh(Message):
    """Extract the surface. `detail` is the number of grid cells along a side of the box; `controls` as in Render.

    `done` gives arrays vertices f4[n,3] (head space, metres), faces i4[m,3], colours f4[n,3] (sRGB, 0..1),
    bind_index i4[n,k] (vertices of the rig's mesh), bind_weight f4[n,k] (non-negative, rows sum to 1), and
    rest f4[n,3]: where the vertices are when the rig, which follows the same controls, is at rest.
    """

    type = "mesh"
    portrait: str
    detail: int
    controls: dict[str, Any] = field(default_factory=dict[str, Any])


@dataclass(frozen=True)
class Export(Message):
    """Write a file on the worker's side. `kind` is glb, obj, ply or portrait. `done` gives path and bytes.

    A mesh shows the face that `controls` asks for, as in Render.
    """

    type = "export"
    portrait: str
    path: str
    kind: str
    detail: int = 128
    controls: dict[str, Any] = field(default_factory=dict[str, Any])


@dataclass(frozen=True)
class Speak(Message):
    """Listen to speech and tell what a face does that says it. `audio` is a file that the worker can read.

    `fps` is the curves' rate, `strength` the size of the mouth's movements, `gestures` that of brows and head (0 leaves
    out the blinks, too), `seed` decides when somebody blinks and nods. `done` gives fps, seconds, names (of curves as
    in portrait-curves/1; those that never move are left out), and array curves f4[frames, names].
    """

    type = "speak"
    audio: str
    fps: float = 25.0
    strength: float = 1.0
    gestures: float = 1.0
    seed: int = 0


@dataclass(frozen=True)
class Track(Message):
    """Follow the face in a clip and tell what it does. `clip` is a file that the worker can read.

    At most `frames` of its frames are looked at, from its start. `smoothing` is the deviation of a filter over time,
    seconds. `done` gives fps (as many values a second as the clip has frames), start (seconds from the clip's first
    frame to the first value), seconds, names (as of Speak), sound (whether the clip has any), notes (sentences), and
    array curves f4[frames, names].
    """

    type = "track"
    clip: str
    frames: int = 250
    smoothing: float = 0.0


@dataclass(frozen=True)
class Face(Message):
    """Read a face model of the user's (FLAME or SMPL, as `faces import` brought it in): `face` "" for the only one.

    At most `shapes` of its identity shapes and `expressions` of its expressions are sent: K and E. `done` gives name,
    kind ("flame" or "smpl"), licence, joint_names, action_names; and arrays vertices f4[V,3] (the mean person, head
    space, metres), faces i4[F,3], weights f4[V,J], joints f4[J,3], parents i4[J], shapes f4[K,V,3],
    expressions f4[E,V,3], and how these move the joints: joint_shapes f4[K,J,3], joint_expressions f4[E,J,3];
    correctives f4[9(J-1),V,3] where it has them: of the entries of R - I of each joint but the first, row by row. Where
    our actions mean something to it, also action_expressions f4[A,E] and action_turns f4[A,J,3] (axis-angle, radians):
    what each is at its value 1.
    """

    type = "face"
    face: str
    shapes: int = 10
    expressions: int = 50


@dataclass(frozen=True)
class Import(Message):
    """Bring a file of the user's in, as `name`. `kind` is "model" (weights, published or ours) or "face" (FLAME, SMPL).

    `path` is a file that the worker can read; nothing in it is executed. `face` names the imported face model that
    drives published weights, "" for the only one of its kind. `done` gives name, path, licence, use and note.
    """

    type = "import"
    kind: str
    path: str
    name: str
    face: str = ""


@dataclass(frozen=True)
class Free(Message):
    """Drop all models and portraits from memory. `done` gives memory_mb."""

    type = "free"


@dataclass(frozen=True)
class Cancel(Message):
    """Stop request `target`, which then answers `error` of kind "cancelled". Answered at once by `done`."""

    type = "cancel"
    target: int


# Answers ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Progress(Message):
    """Work goes on: `done` of `total` steps of the named stage."""

    type = "progress"
    stage: str
    done: int
    total: int


@dataclass(frozen=True)
class Image(Message):
    """A picture: array `image` u1[h,w,4], sRGB with straight alpha, first row on top."""

    type = "image"
    arrays: Arrays = field(default_factory=dict[str, RawArray])


@dataclass(frozen=True)
class Array(Message):
    """Arrays that are ready before the request is done."""

    type = "array"
    arrays: Arrays = field(default_factory=dict[str, RawArray])


@dataclass(frozen=True)
class Done(Message):
    """The request succeeded. `fields` are named in the request's docstring."""

    type = "done"
    fields: dict[str, Any] = field(default_factory=dict[str, Any])
    arrays: Arrays = field(default_factory=dict[str, RawArray])


@dataclass(frozen=True)
class Error(Message):
    """The request failed. `kind` is that of `errors.PortraitError`; `trace` is for the log, not for the user."""

    type = "error"
    kind: str
    message: str
    hint: str = ""
    trace: str = ""


REQUESTS: tuple[type[Message], ...] = (
    *(Hello, List, Load, Create, Reconstruct, Stylise, Person, Open, Render, Mesh, Export),
    *(Speak, Track, Face, Import, Free, Cancel),
)
ANSWERS: tuple[type[Message], ...] = (Progress, Image, Array, Done, Error)
MESSAGES: dict[str, type[Message]] = {message.type: message for message in REQUESTS + ANSWERS}
