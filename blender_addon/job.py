# SPDX-License-Identifier: GPL-3.0-or-later
"""Job files: what `batch.py` is asked to do. Pure; reading is strict, and every complaint names its place.

A job file is TOML. Everything but `version`, `do` and a portrait has a default::

    version = 1

    [[job]]                           # as many as wanted, done in this order
    do = "create"                     # create | render
    name = "seven smiles"             # for messages

    [job.scene]
    blend = "scene.blend"             # default: the .blend of the command line, else an empty scene
    camera = "Camera"                 # default: the scene's camera; in an empty scene the portrait's
    frames = "1-120,150"              # default: the scene's range; --frames overrides

    [job.portrait]
    create = { model = "default-eg3d", seed = 7, truncation = 0.7, make = ["rig", "plane", "mesh"], detail = 128,
               size = 512 }           # on one line in the file: TOML asks for that
                                      # with photo = "me.jpg" instead of seed and truncation: whoever is in that photo
    rig = "Portrait 7 rig"            # instead of create: any object of a portrait that is in the .blend
    actions = ["speech.json"]         # curves files (portrait-curves/1), put on the rig from `start`
    start = 1
    key = [                           # keys on the 52 sliders
        { frame = 1, expression = { jawOpen = 0.0 } },
        { frame = 20, expression = { jawOpen = 1.0, mouthSmileLeft = 0.5 } },
    ]
    show = "MESH"                     # MESH | PICTURE | BOTH, as in the panel; default: as the scene is

    [job.render]                      # left out: nothing is rendered
    what = ["plane"]                  # plane: the network's picture from the camera; mesh: the head alone over nothing,
                                      # by Blender; scene: the scene as it is, by Blender
    size = 512                        # pixels; default: the .blend's resolution, 512 for plane and in an empty scene
    quality = "full"                  # full | draft: the network's
    engine = "CYCLES"                 # CYCLES | EEVEE | WORKBENCH
    samples = 32
    out = "render/smile_####.png"     # # is the frame; with several `what` its name is added to the stem

    [job.worker]
    python = "env:NEURAL_PORTRAIT_PYTHON"   # or a path
    models = ""                       # a folder with more models
    device = "auto"                   # auto | cpu | cuda | cuda:N
    timeout_s = 600                   # a request

    [job.policy]
    resume = true                     # skip frames whose file and key match; default false, --resume sets it
    on_frame_error = "stop"           # stop | skip
    save_blend = "result.blend"       # write the scene when all is done

Relative paths are relative to the job file; `//` is the folder of the .blend, if there is one.
"""

from __future__ import annotations

import dataclasses
import difflib
import math
import re
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .expressions import NAMES
from .neural_core.errors import UsageError
from .requests import DEFAULT_MODEL, CreateChoice

VERSION = 1
KINDS = ("create", "render")
LATER_KINDS = ("animate", "speak", "turntable", "export")
MAX_FRAMES = 100_000


def _one_of(*choices: str) -> dict[str, tuple[str, ...]]:
    return {"choices": choices}


@dataclass(frozen=True)
class CreateTable:
    """A person from a seed or a photo."""

    model: str = DEFAULT_MODEL
    seed: int = 7
    truncation: float = 0.7
    photo: str = ""
    latent_iterations: int = 450
    weight_iterations: int = 500
    make: tuple[str, ...] = field(default=("rig", "plane", "mesh"), metadata=_one_of("rig", "plane", "mesh"))
    detail: int = 128
    size: int = 512

    def choice(self) -> CreateChoice:
        """Return what the engine is asked, the photo as it is named. Raises UsageError for numbers out of range."""
        return CreateChoice(
            model=self.model,
            seed=self.seed,
            truncation=self.truncation,
            photo=self.photo,
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
    expression: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class SceneTable:
    """Where the portrait is."""

    blend: str = ""
    camera: str = ""
    frames: str = ""


@dataclass(frozen=True)
class PortraitTable:
    """Who, and what the face does."""

    rig: str = ""
    create: CreateTable | None = None
    actions: tuple[str, ...] = ()
    start: int = 1
    key: tuple[KeyTable, ...] = ()
    show: str = field(default="", metadata=_one_of("MESH", "PICTURE", "BOTH"))


@dataclass(frozen=True)
class RenderTable:
    """What is drawn."""

    out: str
    what: tuple[str, ...] = field(default=("plane",), metadata=_one_of("plane", "mesh", "scene"))
    size: int = 0
    quality: str = field(default="full", metadata=_one_of("full", "draft"))
    engine: str = field(default="CYCLES", metadata=_one_of("CYCLES", "EEVEE", "WORKBENCH"))
    samples: int = 32


@dataclass(frozen=True)
class WorkerTable:
    """The engine."""

    python: str = "env:NEURAL_PORTRAIT_PYTHON"
    models: str = ""
    device: str = "auto"
    timeout_s: float = 600.0


@dataclass(frozen=True)
class PolicyTable:
    """What happens when something is there already, or fails."""

    resume: bool = False
    on_frame_error: str = field(default="stop", metadata=_one_of("stop", "skip"))
    save_blend: str = ""


@dataclass(frozen=True)
class Job:
    """One job of a file."""

    do: str
    name: str = ""
    scene: SceneTable = field(default_factory=SceneTable)
    portrait: PortraitTable = field(default_factory=PortraitTable)
    render: RenderTable | None = None
    worker: WorkerTable = field(default_factory=WorkerTable)
    policy: PolicyTable = field(default_factory=PolicyTable)


_TABLES = {
    cls.__name__: cls
    for cls in (CreateTable, KeyTable, SceneTable, PortraitTable, RenderTable, WorkerTable, PolicyTable, Job)
}


def read(path: Path, overrides: tuple[str, ...] = ()) -> list[Job]:
    """Return the jobs of a file, after `overrides` such as "render.size=512" were set in each of them.

    Raises:
        UsageError: with one sentence about the first thing that is wrong, and a suggestion for unknown keys.
    """
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f'The job file "{path}" cannot be read: {error.strerror}.') from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f'"{path.name}" is no TOML: {error}.') from error
    _check_keys("the job file", content, ("version", "job"))
    version = content.get("version")
    if version != VERSION or isinstance(version, bool):
        raise UsageError(f"The job file has version {version!r}; this add-on reads version = {VERSION}.")
    tables = content.get("job")
    if not isinstance(tables, list) or not tables:
        raise UsageError("The job file has no job.", "Begin each with [[job]].")
    return [_job(f"job {number}", table, overrides) for number, table in enumerate(tables, 1)]


def parse_frames(text: str) -> list[int]:
    """Return the frames of "1-120,150", in order and each once.

    Raises:
        UsageError: if the text is something else.
    """
    frames: set[int] = set()
    for part in filter(None, (part.strip() for part in text.split(","))):
        found = re.fullmatch(r"(-?\d+)(?:-(-?\d+))?", part)
        first, last = (int(found[1]), int(found[2] or found[1])) if found else (0, -1)
        if first > last or last - first > MAX_FRAMES:
            raise UsageError(f'"{text}" are no frames.', 'Write them like "1-120,150".')
        frames.update(range(first, last + 1))
    return sorted(frames)


def _job(where: str, table: Any, overrides: tuple[str, ...]) -> Job:
    kind = table.get("do") if isinstance(table, dict) else None
    if kind in LATER_KINDS:
        raise UsageError(f'{where}: do = "{kind}" is not there yet.', f"This version does {' and '.join(KINDS)}.")
    if isinstance(kind, str) and kind not in KINDS:
        raise UsageError(
            f'{where}: there is no do = "{kind}".{_suggestion(kind, KINDS)}', f"Known: {', '.join(KINDS)}."
        )
    for override in overrides:
        _override(table, override)
    job: Job = _table(where, table, Job)
    if job.portrait.create is not None:
        if job.portrait.rig:
            raise UsageError(f"{where}: portrait has both rig and create.", "Give one of them.")
        job.portrait.create.choice()  # numbers out of range are complaints about the job
    elif job.do == "create":
        raise UsageError(f'{where}: do = "create" needs portrait.create.', "For example create = { seed = 7 }.")
    elif job.render is None:
        raise UsageError(f'{where}: do = "{job.do}" needs a [job.render] table.')
    parse_frames(job.scene.frames)
    return job


def _override(table: dict[str, Any], override: str) -> None:
    """Set "render.size=512" in a job's table; the value is TOML, or else text."""
    path, equals, text = override.partition("=")
    keys = path.strip().split(".")
    if not equals or not all(keys):
        raise UsageError(f'--set "{override}" is not key=value.', "For example --set render.size=512.")
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        value = text
    for key in keys[:-1]:
        table = table.setdefault(key, {})
        if not isinstance(table, dict):
            raise UsageError(f'--set "{override}": {key} is no table.')
    table[keys[-1]] = value


def _table(where: str, table: Any, cls: type) -> Any:
    """Make a dataclass of a table, checking keys and types."""
    if not isinstance(table, dict):
        raise UsageError(f"{where} is no table.")
    fields = {f.name: f for f in dataclasses.fields(cls)}
    _check_keys(where, table, tuple(fields))
    for name, f in fields.items():
        if name not in table and f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING:
            raise UsageError(f"{where} lacks {name}.")
    values = {}
    for name, value in table.items():
        place = f"{where}: {name}" if cls is Job else f"{where}.{name}"
        values[name] = _value(place, value, str(fields[name].type))
        for word in _words(values[name]) if "choices" in fields[name].metadata else ():
            choices = fields[name].metadata["choices"]
            if word not in choices:
                raise UsageError(f'{place} is "{word}".{_suggestion(word, choices)}', f"Known: {', '.join(choices)}.")
    return cls(**values)


def _value(where: str, value: Any, kind: str) -> Any:
    """Check a value against the annotation of its field, as written above."""
    kind = kind.removesuffix(" | None")
    if kind in _TABLES:
        return _table(where, value, _TABLES[kind])
    if kind.startswith("tuple["):
        if not isinstance(value, list):
            raise UsageError(f"{where} must be a list, not {value!r}.")
        inner = kind.removeprefix("tuple[").removesuffix(", ...]")
        return tuple(_value(f"{where}[{number}]", item, inner) for number, item in enumerate(value))
    if kind == "dict[str, float]":
        _check_keys(where, value, NAMES)
        return {name: _value(f"{where}.{name}", number, "float") for name, number in value.items()}
    if kind == "float" and isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value):
        return float(value)
    expected = {"int": (int, "a whole number"), "str": (str, "text"), "bool": (bool, "true or false")}
    wanted, words = expected.get(kind, (type(None), "a number"))
    if type(value) is not wanted:
        raise UsageError(f"{where} must be {words}, not {value!r}.")
    return value


def _check_keys(where: str, table: Any, known: tuple[str, ...]) -> None:
    if not isinstance(table, dict):
        raise UsageError(f"{where} is no table.")
    for key in table:
        if key not in known:
            raise UsageError(f'{where}: unknown key "{key}".{_suggestion(key, known)}')


def _suggestion(word: str, known: tuple[str, ...]) -> str:
    close = difflib.get_close_matches(word, known, 1)
    return f' Did you mean "{close[0]}"?' if close else ""


def _words(value: Any) -> tuple[str, ...]:
    return value if isinstance(value, tuple) else (value,)
