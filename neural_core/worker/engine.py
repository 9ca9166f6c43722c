# SPDX-License-Identifier: Apache-2.0
"""What each request does: a handler a request, from a message to the fields and arrays of its answer."""

from __future__ import annotations

import dataclasses
import platform
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from .. import __version__, controls, devices, media, mesh, models, people, portraits, protocol, rigs, studio
from ..cameras import Camera
from ..capture.last_clip import LastClip
from ..curves import Curves, columns
from ..errors import ProtocolError, UsageError
from ..human.arkit import ACTIONS
from ..mixing import Mix
from ..progress import Report
from ..records import JOINTS
from ..studio import Drawing, Loaded, Studio
from ..systems.common import Field, Portrait

PREVIEW_EVERY = 10
"""Iterations between two pictures of a portrait that is being made: seconds apart without a graphics card."""
BACKGROUNDS = ("", "model")
"""What Render knows."""
PORTRAITS_KEPT = 8
"""Portraits with their planes that stay in memory; the one not used for longest goes first."""

_ITEM_TYPES = {"uint8": "u1", "int32": "i4", "int64": "i8", "float16": "f2", "float32": "f4", "float64": "f8"}


@dataclass(frozen=True)
class Result:
    """What `done` carries, and a picture to send before it."""

    fields: Mapping[str, Any]
    arrays: Mapping[str, np.ndarray] = field(default_factory=dict)
    image: np.ndarray | None = None


@dataclass
class Held:
    """A portrait in memory, ready to be drawn: with its model, and as it was asked for last."""

    loaded: Loaded
    portrait: Portrait
    asked: controls.Plain
    field: Field


class Engine:
    """Models and portraits of one worker."""

    def __init__(self, device: str, send: Callable[[protocol.Message], object]) -> None:
        """Choose the device. Raises UsageError if there is none of that name.

        Args:
            device: what `devices.choose` understands.
            send: takes answers that go out while a request is still worked on.
        """
        self._studio = Studio(device)
        self._send = send
        self._held: OrderedDict[str, Held] = OrderedDict()
        # The newest picture before it was cut out: another background needs nothing but compositing.
        self._drawn: tuple[Field, tuple[Any, ...], Drawing] | None = None
        self._clip = LastClip()
        self._handlers: dict[type[protocol.Message], Callable[[Any, Report], Result]] = {
            protocol.Hello: self._hello,
            protocol.List: self._list,
            protocol.Load: self._load,
            protocol.Create: self._create,
            protocol.Reconstruct: self._reconstruct,
            protocol.Stylise: self._stylise,
            protocol.Person: self._person,
            protocol.Open: self._open,
            protocol.Render: self._render,
            protocol.Mesh: self._mesh,
            protocol.Export: self._export,
            protocol.Speak: self._speak,
            protocol.Track: self._track,
            protocol.Face: self._face,
            protocol.Import: self._import,
            protocol.Free: self._free,
        }

    def answer(self, request: protocol.Message, report: Report) -> Iterator[protocol.Message]:
        """Do what is asked, and yield the picture, if there is one, then `done`. Raises what goes wrong."""
        result = self._handlers[type(request)](request, report)
        if result.image is not None:
            yield protocol.Image(request.id, {"image": raw(result.image)})
        arrays = {name: raw(array) for name, array in result.arrays.items()}
        yield protocol.Done(request.id, dict(result.fields), arrays)

    # Handlers --------------------------------------------------------------------------------------------------------

    def _hello(self, request: protocol.Hello, report: Report) -> Result:
        versions = {"version": __version__, "protocol": protocol.VERSION, "python": platform.python_version()}
        return Result({**versions, "torch": torch.__version__, **devices.describe(self._studio.device)})

    def _list(self, request: protocol.List, report: Report) -> Result:
        listed = [model.describe() for model in models.installed()]
        return Result({"models": listed, "default": models.DEFAULT_MODEL})

    def _load(self, request: protocol.Load, report: Report) -> Result:
        return Result(self._studio.load(request.model, report).model.describe())

    def _create(self, request: protocol.Create, report: Report) -> Result:
        mix = Mix(request.mix_seed, request.mix) if request.mix else None
        made = self._studio.create(request.model, request.seed, request.truncation, report, mix)
        return self._hold(request.portrait, *made, report)

    def _reconstruct(self, request: protocol.Reconstruct, report: Report) -> Result:
        from ..fitting.inversion import Length
        from ..fitting.reconstruct import Options, reconstruct

        length = Length(request.latent_iterations, request.weight_iterations)
        options = Options(request.model, length, PREVIEW_EVERY, request.frames)
        show = self._shower(request)
        portrait = reconstruct(self._studio, Path(request.photo), options, report, show, self._clip)
        return self._hold(request.portrait, self._studio.load(request.model, report), portrait, report)

    def _stylise(self, request: protocol.Stylise, report: Report) -> Result:
        from ..fitting.clip import load_clip
        from ..fitting.stylise import Options, stylise

        held = self._find(request.source)
        report("Loading CLIP", 0, 1)
        judge = load_clip("Stylisation", self._studio.device)
        options = Options(request.text, iterations=request.iterations, preview_every=PREVIEW_EVERY)
        work = stylise(held.loaded.system, judge, options, held.portrait, report, self._shower(request))
        return self._hold(request.portrait, held.loaded, work.portrait(), report)

    def _person(self, request: protocol.Person, report: Report) -> Result:
        held = self._find(request.source)
        mix = Mix(request.mix_seed, request.mix) if request.mix else None
        portrait = self._studio.change(held.loaded, held.portrait, request.sliders, mix)
        return self._hold(request.portrait, held.loaded, portrait, report)

    def _shower(self, request: protocol.Message) -> Callable[[np.ndarray, int], None]:
        """Return a function of a picture on the way, u1[h,w,4], and the iterations done, that sends it."""

        def show(picture: np.ndarray, iteration: int) -> None:
            self._send(protocol.Image(request.id, {"image": raw(picture)}))

        return show

    def _open(self, request: protocol.Open, report: Report) -> Result:
        file = request.arrays.get("file")
        if file is None or file.dtype != "u1":
            raise ProtocolError('An "open" message carries the array "file" of bytes.', "This is a bug of the client.")
        return self._hold(request.portrait, *self._studio.open(file.data, "portrait", report), report)

    def _hold(self, name: str, loaded: Loaded, portrait: Portrait, report: Report) -> Result:
        """Keep a portrait under the client's name, and return everything that Blender needs to build its rig."""
        report("Preparing the portrait", 0, 2)
        field = self._studio.pose(loaded, portrait)
        camera = loaded.system.creation_camera()
        portrait = rigs.with_shape(portrait, field, camera, report)
        report("Preparing the rig", 1, 2)
        face, arrays = rigs.face_model(), rigs.rig_arrays(portrait)
        arrays["portrait"] = np.frombuffer(portraits.to_bytes(portrait), np.uint8)
        self._held[name] = Held(loaded, portrait, {}, field)
        self._held.move_to_end(name)
        while len(self._held) > PORTRAITS_KEPT:
            self._held.popitem(last=False)
        known = ("seed", "truncation", "licence", "licence_url", "use", "psnr", "frames", "notes")
        fields = {
            **{key: portrait.provenance.get(key) for key in known},
            "model": loaded.model.name,
            "model_hash": portrait.checkpoint_hash,
            "system": portrait.system,
            "camera": camera.label()[0].tolist(),
            "joint_names": list(JOINTS),
            "action_names": list(face.expression_names),
            "animatable": bool(loaded.system.info.controls),
            "controls": [dataclasses.asdict(control) for control in loaded.system.info.controls],
            "sliders": people.described(portrait),
        }
        return Result(fields, arrays)

    def _render(self, request: protocol.Render, report: Report) -> Result:
        if request.background not in BACKGROUNDS:
            raise UsageError(f'There is no background "{request.background}".', 'Known: "" and "model".')
        camera = Camera.from_label(torch.tensor([request.camera]))
        field, view = self._posed(request.portrait, request.controls).field, _view(request)
        if self._drawn is None or self._drawn[0] is not field or self._drawn[1] != view:
            drawing = self._studio.drawing(field, camera, request.size, request.quality, report)
            self._drawn = field, view, drawing
        drawing = self._drawn[2]
        return Result({"size": request.size}, image=drawing.whole() if request.background else drawing.cut_out())

    def _mesh(self, request: protocol.Mesh, report: Report) -> Result:
        held = self._posed(request.portrait, request.controls)
        surface = self._studio.surface(held.field, request.detail, report)
        rig = rigs.posed(held.portrait, request.controls)
        index, weight = mesh.bind(surface.vertices, rig.vertices.astype(np.float32), rigs.outer_faces(), report)
        arrays = {"vertices": surface.vertices, "faces": surface.faces, "colours": surface.colours}
        rest = rig.at_rest(surface.vertices, index, weight)
        return Result({}, {**arrays, "bind_index": index, "bind_weight": weight, "rest": rest})

    def _export(self, request: protocol.Export, report: Report) -> Result:
        path = Path(request.path)
        if request.kind == "portrait":
            studio.save(self._find(request.portrait).portrait, path)
        else:
            mesh.check_kind(request.kind)
            field = self._posed(request.portrait, request.controls).field
            mesh.export(self._studio.surface(field, request.detail, report), path, request.kind)
        return Result({"path": str(path), "bytes": path.stat().st_size})

    def _speak(self, request: protocol.Speak, report: Report) -> Result:
        from ..audio.speech import Manner, speak

        manner = Manner(request.fps, request.strength, request.gestures, request.seed)
        curves = speak(Path(request.audio), manner, device=self._studio.device, report=report)
        return _told(curves)

    def _track(self, request: protocol.Track, report: Report) -> Result:
        from ..capture.labels import Tools
        from ..capture.track import check, curves_of

        path = Path(request.clip)
        check(request.frames, request.smoothing)
        followed = self._clip.recall(path, request.frames)
        if followed is None:
            report("Starting the face finder", 0, 1)
            with Tools() as tools:
                followed = self._clip.follow(tools, path, request.frames, report)
        tracked = curves_of(followed, request.smoothing)
        told = _told(tracked.curves)
        said = {"start": tracked.start, "sound": media.has_sound(path), "notes": list(tracked.notes)}
        return Result({**told.fields, **said}, told.arrays)

    def _face(self, request: protocol.Face, report: Report) -> Result:
        from .. import face_rigs

        report("Reading the face model", 0, 2)
        rig = face_rigs.read(request.face, request.shapes, request.expressions)
        report("Finding our actions in it", 1, 2)
        fields = {
            "name": rig.name,
            "kind": rig.kind,
            "licence": rig.face.licence,
            "joint_names": list(rig.face.joint_names),
            "action_names": list(ACTIONS),
        }
        return Result(fields, {**rig.arrays(), **rig.action_arrays()})

    def _import(self, request: protocol.Import, report: Report) -> Result:
        source = Path(request.path)
        if request.kind == "face":
            from ..human.face_import import import_face

            face = import_face(source, request.name, report)
            known = {
                "name": request.name,
                "path": str(face.path),
                "licence": face.licence,
                "use": "",
                "note": face.note,
            }
            return Result(known)
        if request.kind != "model":
            raise UsageError(f'"{request.kind}" is neither a model nor a face.')
        model = models.import_model(source, request.name, request.face, report)
        known = model.describe()
        return Result({**{key: known[key] for key in ("name", "path", "licence", "use")}, "note": ""})

    def _free(self, request: protocol.Free, report: Report) -> Result:
        self._held.clear()
        self._drawn = None
        self._clip = LastClip()
        self._studio.free()
        return Result({"memory_mb": devices.memory_mb(self._studio.device)})

    def _posed(self, name: str, asked: controls.Plain) -> Held:
        """Return a portrait as the controls ask for; one that stands so already keeps its field."""
        held = self._find(name)
        if held.asked != asked:
            held.field = self._studio.pose(held.loaded, held.portrait, asked)
            held.asked = asked
        return held

    def _find(self, name: str) -> Held:
        if name not in self._held:
            raise UsageError(f'The engine holds no portrait "{name}".', "Send its file with `open` first.")
        self._held.move_to_end(name)
        return self._held[name]


def _told(curves: Curves) -> Result:
    """Return the answer that carries curves: those that never move are left out."""
    moving = columns(curves)
    values = np.stack(list(moving.values()), axis=1).astype(np.float32)
    fields = {"fps": curves.fps, "seconds": len(curves) / curves.fps, "names": list(moving)}
    return Result(fields, {"curves": values})


def _view(request: protocol.Render) -> tuple[Any, ...]:
    """Return what decides how a posed portrait is drawn, its background aside."""
    return request.camera, request.size, request.quality


def raw(array: np.ndarray) -> protocol.RawArray:
    """Return an array as it travels."""
    little = np.ascontiguousarray(array, array.dtype.newbyteorder("<"))
    return protocol.RawArray(_ITEM_TYPES[array.dtype.name], array.shape, little.tobytes())
