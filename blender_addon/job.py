# SPDX-License-Identifier: GPL-3.0-or-later
"""Job files: what `batch.py` is asked to do. Pure. `docs/batch.md` shows a file of each kind.

A job file is TOML: `version = 1`, then jobs, each begun by `[[job]]`, done in their order. The dataclasses below are
its tables: `[job.scene]` is SceneTable, and so on. Relative paths are relative to the job file; `//` is the folder of
the job's .blend, if it has one. Every job begins with its .blend as it lies on the disk: to go on from another job's
result let that one write `policy.save_blend` and name the file in `scene.blend`.
"""

from __future__ import annotations

import dataclasses
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from . import backgrounds
from .expressions import NAMES
from .job_tables import between, check_keys, keys_of, make, one_of, override, read_toml, suggestion, write
from .neural_core.errors import PortraitError, UsageError
from .requests import (
    CLIP_FRAMES,
    CLIP_FRAMES_LIMIT,
    DEFAULT_MODEL,
    DETAIL_RANGE,
    SEED_LIMIT,
    SIZE_RANGE,
    SMOOTHING_LIMIT,
    STRENGTH_LIMIT,
    CreateChoice,
)

VERSION = 1
MAX_FRAMES = 100_000
MAX_SAMPLES = 65_536
TRANSPARENT = "transparent"
"""Of a job's backgrounds the one that `backgrounds` writes as nothing."""


@dataclass(frozen=True)
class CreateTable:
    """A person from a seed, a photo or a clip: `create = { seed = 7 }`, on one line."""

    model: str = DEFAULT_MODEL
    seed: int = 7
    truncation: float = 0.7
    mix_seed: int = 8
    mix: float = field(default=0.0, metadata=between(0.0, 1.0))
    """How much of the person of `mix_seed` is mixed in."""
    photo: str = ""
    """A file with somebody's photo; seed, truncation and mix then mean nothing."""
    clip: str = ""
    """Instead: a video of somebody, of which the best frames are taken."""
    clip_frames: int = field(default=CLIP_FRAMES, metadata=between(1, CLIP_FRAMES_LIMIT))
    """How many frames of it are looked at, from its start."""
    latent_iterations: int = 450
    weight_iterations: int = 500
    """A photo's or clip's: steps that look for the person, and steps that tune the network to them."""
    make: tuple[str, ...] = field(default=("rig", "plane", "mesh"), metadata=one_of("rig", "plane", "mesh"))
    detail: int = field(default=128, metadata=between(*DETAIL_RANGE))
    """Grid cells along a side of the model's box, for the surface."""
    size: int = field(default=512, metadata=between(*SIZE_RANGE))
    """Side of the network's picture on the card, pixels."""
    sliders: dict[str, float] = field(default_factory=dict)
    """What is to be different about the person, as `neural-portrait generate --set` has it."""

    def choice(self) -> CreateChoice:
        """Return what the engine is asked, the photo or clip as it is named. Raises UsageError for what is wrong."""
        if self.photo and self.clip:
            raise UsageError("There are both photo and clip.", "Give one of them.")
        return CreateChoice(
            model=self.model,
            seed=self.seed,
            truncation=self.truncation,
            mix_seed=self.mix_seed,
            mix=self.mix,
            sliders=self.sliders,
            photo=self.photo or self.clip,
            frames=self.clip_frames,
            latent_iterations=self.latent_iterations,
            weight_iterations=self.weight_iterations,
            make_rig="rig" in self.make,
            make_plane="plane" in self.make,
            make_mesh="mesh" in self.make,
            detail=self.detail,
            size=self.size,
        )


@dataclass(frozen=True)
class KeyTable:
    """Slider values at a frame."""

    frame: int
    expression: dict[str, float] = field(default_factory=dict, metadata=keys_of(NAMES))


@dataclass(frozen=True)
class SceneTable:
    """Where the portrait is."""

    blend: str = ""
    """Default: the .blend of the command line, else an empty scene."""
    camera: str = ""
    """Default: the scene's camera; in an empty scene the portrait's own."""
    frames: str = ""
    """Such as "1-120,150". Default: the scene's range, in an empty scene that of the animation; --frames beats it."""


@dataclass(frozen=True)
class PortraitTable:
    """Who, and what the face does."""

    rig: str = ""
    """A portrait that is in the .blend: any of its objects, or its collection. Default: the only one there."""
    create: CreateTable | None = None
    """Instead of rig: a new one."""
    actions: tuple[str, ...] = ()
    """Curves files (portrait-curves/1), put on the rig from `start`."""
    start: int = 1
    key: tuple[KeyTable, ...] = ()
    """Keys on the 52 sliders."""
    show: str = field(default="", metadata=one_of("MESH", "PICTURE", "BOTH"))
    """As in the panel; default: as the scene is."""


@dataclass(frozen=True)
class RandomTable:
    """What somebody does who does nothing: `random = { seed = 3, frames = 250 }`. Amounts are 1 for natural ones."""

    frames: int = field(metadata=between(1, MAX_FRAMES))
    seed: int = field(default=0, metadata=between(0, SEED_LIMIT))
    blinks: float = field(default=1.0, metadata=between(0.0, 4.0))
    gaze: float = field(default=1.0, metadata=between(0.0, 3.0))
    head: float = field(default=1.0, metadata=between(0.0, 5.0))
    micro: float = field(default=1.0, metadata=between(0.0, 4.0))
    """Fleeting expressions."""


@dataclass(frozen=True)
class AnimateTable:
    """Motion that is laid over what the rig does otherwise."""

    csv: str = ""
    """A recording of Live Link Face."""
    csv_fps: float = field(default=0.0, metadata=between(0.0, 1000.0))
    """What its times count in; 0: find out."""
    csv_head: str = field(default="HALF_TURNS", metadata=one_of("NONE", "HALF_TURNS", "RADIANS", "DEGREES"))
    """What its angles of the head are written in; NONE leaves them out."""
    clip: str = ""
    """A video of somebody, who is followed by the engine."""
    clip_frames: int = field(default=CLIP_FRAMES, metadata=between(1, CLIP_FRAMES_LIMIT))
    """How many frames of it are looked at, from its start."""
    clip_strength: float = field(default=1.0, metadata=between(0.0, STRENGTH_LIMIT))
    """Size of the face's movements."""
    clip_smoothing: float = field(default=0.0, metadata=between(0.0, SMOOTHING_LIMIT))
    """Seconds."""
    clip_head: bool = True
    """Turn the head, too."""
    clip_sound: bool = True
    """Add its sound, if it has any, to the sequencer."""
    random: RandomTable | None = None
    start: int = 1
    """The first frame of them all."""


@dataclass(frozen=True)
class SpeakTable:
    """Speech that is laid over what the rig does otherwise."""

    audio: str
    """A recording: WAV, MP3, FLAC, M4A, OGG."""
    start: int = 1
    strength: float = field(default=1.0, metadata=between(0.0, STRENGTH_LIMIT))
    """Size of the mouth's movements."""
    gestures: float = field(default=1.0, metadata=between(0.0, STRENGTH_LIMIT))
    """Size of those of brows and head; 0 leaves out the blinks, too."""
    seed: int = field(default=0, metadata=between(0, SEED_LIMIT))
    """Of when somebody blinks and nods."""
    sound: bool = True
    """Add the recording to the sequencer."""
    curves: str = ""
    """Write the motion to this file as well (portrait-curves/1)."""


@dataclass(frozen=True)
class TurntableTable:
    """A camera like the scene's that goes around the portrait's head; the last frame goes over into the first."""

    frames: int = field(default=48, metadata=between(2, MAX_FRAMES))
    start: int = 1
    yaw: float = field(default=0.0, metadata=between(0.0, 180.0))
    """How far to each side, degrees; 0: all the way round."""
    pitch: float = field(default=0.0, metadata=between(-80.0, 80.0))
    """How much higher than the scene's camera, degrees."""

    @property
    def numbers(self) -> range:
        """The frames of the round."""
        return range(self.start, self.start + self.frames)


@dataclass(frozen=True)
class RenderTable:
    """Pictures."""

    out: str = ""
    """Such as "render/smile_####.png": # is the frame. With several `what` its name is added to the stem."""
    what: tuple[str, ...] = field(default=("plane",), metadata=one_of("plane", "mesh", "scene", "card"))
    """plane: the network's picture from the camera; mesh: the head alone over nothing, by Blender; scene: the scene as
    it is, by Blender, cards with the network's picture of each frame; card: only these, into the cache beside the
    .blend, so that another machine can draw the scene without an engine."""
    size: int = field(default=0, metadata=between(0, 2 * SIZE_RANGE[1]))
    """Pixels. Default: the .blend's resolution; 512 for plane and in an empty scene."""
    quality: str = field(default="full", metadata=one_of("full", "draft"))
    """The network's."""
    background: str = ""
    """Behind the head in the network's pictures: "transparent", "model" (what the network draws there), or a colour
    such as "#808080". Default: as the portrait's card has it."""
    engine: str = field(default="CYCLES", metadata=one_of("CYCLES", "EEVEE", "WORKBENCH"))
    samples: int = field(default=32, metadata=between(1, MAX_SAMPLES))


@dataclass(frozen=True)
class ExportTable:
    """Files for other programs."""

    out: tuple[str, ...]
    """.glb .usd .usda .usdc (with rig and animation), .obj .ply .stl (one instant), .portrait (the person)."""
    what: str = field(default="surface", metadata=one_of("surface", "head"))
    """surface: the coloured one; head: the plain one with UVs."""
    frame: int = 1
    """The instant that .obj, .ply and .stl show."""


@dataclass(frozen=True)
class WorkerTable:
    """The engine."""

    python: str = "env:NEURAL_PORTRAIT_PYTHON"
    """A path, or env: and the name of the variable that holds it."""
    models: str = ""
    """A folder with more models."""
    device: str = "auto"
    timeout_s: float = field(default=600.0, metadata=between(0.001, 1e9))
    """A request."""


@dataclass(frozen=True)
class PolicyTable:
    """What happens when something is there already, or fails."""

    resume: bool = False
    """Keep files that are there, whole, and made from the same; --resume sets it."""
    on_frame_error: str = field(default="stop", metadata=one_of("stop", "skip"))
    save_blend: str = ""
    """Write the scene when all is done."""


@dataclass(frozen=True)
class Job:
    """One job of a file."""

    do: str
    name: str = ""
    """For messages."""
    scene: SceneTable = field(default_factory=SceneTable)
    portrait: PortraitTable = field(default_factory=PortraitTable)
    animate: AnimateTable = field(default_factory=AnimateTable)
    speak: SpeakTable | None = None
    turntable: TurntableTable | None = None
    render: RenderTable | None = None
    export: ExportTable | None = None
    worker: WorkerTable = field(default_factory=WorkerTable)
    policy: PolicyTable = field(default_factory=PolicyTable)


EXPORT_SUFFIXES = (".glb", ".usd", ".usda", ".usdc", ".obj", ".ply", ".stl", ".portrait")
KINDS = ("create", "reconstruct", "animate", "speak", "render", "turntable", "export")
_NEEDED_TABLES = {"speak": "speak", "render": "render", "turntable": "render", "export": "export"}


def read(path: Path, overrides: tuple[str, ...] = ()) -> list[Job]:
    """Return the jobs of a file, after `overrides` such as "render.size=512" were set in each of them.

    Raises:
        UsageError: with one sentence about the first thing that is wrong, and a suggestion for unknown keys.
    """
    content = read_toml(path)
    check_keys("the job file", content, ("version", "job"))
    version = content.get("version")
    if version != VERSION or isinstance(version, bool):
        raise UsageError(f"The job file has version {version!r}; this add-on reads version = {VERSION}.")
    tables = content.get("job")
    if not isinstance(tables, list) or not tables:
        raise UsageError("The job file has no job.", "Begin each with [[job]].")
    return [_job(f"job {number}", table, overrides) for number, table in enumerate(tables, 1)]


def text_of(job: Job) -> str:
    """Return a job file with this one job, without what is as it would be anyway."""
    tables = {f"job.{f.name}": getattr(job, f.name) for f in dataclasses.fields(job) if f.name not in ("do", "name")}
    head = f"version = {VERSION}\n\n[[job]]\n" + write({"": _Head(job.do, job.name)})
    return head + "\n" + write({name: table for name, table in tables.items() if table is not None})


@dataclass(frozen=True)
class _Head:
    do: str
    name: str = ""


def parse_frames(text: str) -> list[int]:
    """Return the frames of "1-120,150", in order and each once.

    Raises:
        UsageError: if the text is something else.
    """
    frames: set[int] = set()
    for part in filter(None, (part.strip() for part in text.split(","))):
        found = re.fullmatch(r"(-?\d+)(?:-(-?\d+))?", part)
        if not found:
            raise UsageError(f'"{part}" are no frames.', 'Write them like "1-120,150".')
        first, last = int(found[1]), int(found[2] or found[1])
        if first > last:
            raise UsageError(f'"{part}" are frames from last to first.', f'Write "{last}-{first}".')
        if last - first >= MAX_FRAMES:
            raise UsageError(f'"{part}" are more than {MAX_FRAMES} frames.')
        frames.update(range(first, last + 1))
    return sorted(frames)


def with_frames(job: Job, frames: str) -> Job:
    """Return the job for other frames. Raises UsageError if these are none."""
    parse_frames(frames)
    return dataclasses.replace(job, scene=dataclasses.replace(job.scene, frames=frames))


def resumed(job: Job) -> Job:
    """Return the job that keeps what is there already."""
    return dataclasses.replace(job, policy=dataclasses.replace(job.policy, resume=True))


def _job(where: str, table: Any, overrides: tuple[str, ...]) -> Job:
    if isinstance(table, dict):
        for text in overrides:
            override(table, text)
        kind = table.get("do")
        if isinstance(kind, str) and kind not in KINDS:
            known = f"Known: {', '.join(KINDS)}."
            raise UsageError(f'{where}: there is no do = "{kind}".{suggestion(kind, KINDS)}', known)
        if kind == "turntable":
            table.setdefault(kind, {})  # all of its keys have defaults
    job: Job = make(where, table, Job)
    _check_tables(where, job)
    _check_portrait(where, job)
    _at(f"{where}: scene.frames", lambda: parse_frames(job.scene.frames))
    if job.render is not None and job.render.background != TRANSPARENT:
        _at(f"{where}: render.background", lambda: backgrounds.check(job.render.background))
    for number, name in enumerate(job.export.out if job.export else ()):
        if Path(name).suffix.lower() not in EXPORT_SUFFIXES:
            raise UsageError(
                f'{where}: export.out[{number}] is "{name}", no file that can be exported.',
                f"Known: {', '.join(EXPORT_SUFFIXES)}.",
            )
    return job


def _check_tables(where: str, job: Job) -> None:
    if job.turntable is not None and job.do != "turntable":
        raise UsageError(f'{where}: the table [job.turntable] belongs to do = "turntable", not to "{job.do}".')
    needed = _NEEDED_TABLES.get(job.do)
    if needed and getattr(job, needed) is None:
        raise UsageError(f'{where}: do = "{job.do}" needs a [job.{needed}] table.')
    if job.render and set(job.render.what) - {"card"} and not job.render.out:
        raise UsageError(f"{where}: render lacks out.", 'For example out = "render/f_####.png".')
    if not (job.render or job.export or job.policy.save_blend or (job.speak and job.speak.curves)):
        raise UsageError(
            f"{where}: it writes nothing.", "Give it a [job.render] or [job.export] table, or policy.save_blend."
        )


def _check_portrait(where: str, job: Job) -> None:
    portrait = job.portrait
    if portrait.create is None:
        if job.do in ("create", "reconstruct"):
            example = '{ photo = "me.jpg" }' if job.do == "reconstruct" else "{ seed = 7 }"
            raise UsageError(f'{where}: do = "{job.do}" needs portrait.create.', f"For example create = {example}.")
    else:
        if portrait.rig:
            raise UsageError(f"{where}: portrait has both rig and create.", "Give one of them.")
        if job.do == "reconstruct" and not (portrait.create.photo or portrait.create.clip):
            raise UsageError(f'{where}: portrait.create lacks photo (or clip), which do = "reconstruct" needs.')
        _at(f"{where}: portrait.create", portrait.create.choice)
    layered = job.animate
    if job.do == "animate" and not (portrait.actions or portrait.key or layered.csv or layered.clip or layered.random):
        hint = "Give animate.clip, animate.csv, animate.random, portrait.actions or portrait.key."
        raise UsageError(f'{where}: do = "animate" has nothing to animate with.', hint)


def _at(place: str, check: Any) -> None:
    """Call a check that does not know its place in the file."""
    try:
        check()
    except PortraitError as error:
        raise UsageError(f"{place}: {error.message}", error.hint) from error
