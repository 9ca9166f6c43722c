# SPDX-License-Identifier: Apache-2.0
"""A worker without networks: speaks the protocol and answers with an egg that has a jaw.

Tests stage the add-on and put this file in the place of its `run_worker.py`, so that the add-on starts it exactly as it
starts the real worker. The name of the model decides how it behaves:

- "default-next3d": answers at once;  "slow": works for a minute, but obeys cancel;  "deaf": the same without obeying;
- "dies": says why on stderr and is gone;  "babble": writes nonsense;
- "mute": says nothing for a minute;
- "missing", "memory": answers an error of that kind;
- "heavy": has no memory to draw or to extract a surface;  "too heavy": is killed for that;
- "moving": can be animated: jawOpen makes its pictures bluer, and its surfaces are told as they look then;
- "crashes": the same, but it is gone when it shall draw a jaw that is open by 0.7 or more;
- "nameless": its people have no sliders;
- "crawls": the same as "moving", but a picture takes most of a second.
"""

from __future__ import annotations

import contextlib
import os
import queue
import signal
import sys
import threading
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent))

from neural_core import __version__, protocol

RADII = np.array([0.08, 0.12, 0.10], np.float32)  # metres
PREVIEW_S = 0.15  # longer than a tick of the add-on
MOVING = (b"moving", b"crashes", b"crawls")
CRAWL_S = 0.6
JAW_DROP = np.array([0.0, -0.03, -0.01], np.float32)
SPEECH_JAW, SPEECH_YAW = 0.4, 0.2  # the latter radians
CLIP_JAW, CLIP_YAW = 0.8, 0.4
JOINTS = ("root", "neck", "head", "jaw", "left_eye", "right_eye")
PARENTS = (-1, 0, 1, 2, 2, 2)
SIDES = ("Left", "Right")
BOTH = (
    *("eyeBlink", "eyeLookDown", "eyeLookIn", "eyeLookOut", "eyeLookUp", "eyeSquint", "eyeWide"),
    *("mouthSmile", "mouthFrown", "mouthDimple", "mouthStretch", "mouthPress", "mouthLowerDown", "mouthUpperUp"),
    *("browDown", "browOuterUp", "cheekSquint", "noseSneer"),
)
SINGLE = (
    *("jawForward", "jawLeft", "jawRight", "jawOpen", "mouthClose", "mouthFunnel", "mouthPucker", "mouthLeft"),
    *("mouthRight", "mouthRollLower", "mouthRollUpper", "mouthShrugLower", "mouthShrugUpper", "browInnerUp"),
    *("cheekPuff", "tongueOut"),
)
ACTIONS = tuple(stem + side for stem in BOTH for side in SIDES) + SINGLE
CAMERA = (
    *(1.0, 0.0, 0.0, 0.0, 0.0, -1.0, 0.0, 0.0, 0.0, 0.0, -1.0, 1.35, 0.0, 0.0, 0.0, 1.0),
    *(4.2647, 0.0, 0.5, 0.0, 4.2647, 0.5, 0.0, 0.0, 1.0),
)


CHANGED = 10_000
"""A person who was changed has the seed of before, and so many times this one as they were asked to be taller."""
SLIDERS = {
    "age": ("Face", "Age", "young", "old", 0.25),
    **{f"shape_{n:02d}": ("Shape", f"Shape {n}", "", "", -1.0) for n in range(1, 13)},
    "hair_length": ("Hair", "Hair Length", "cropped", "to the shoulders", 0.5),
}
"""Group, label, low and high, and where everybody is who was not changed."""


def tallness(seed: int) -> float:
    """Return how tall the egg of a person is, against one who was not changed."""
    return 1.0 + 0.02 * (seed // CHANGED)


def egg(columns: int, rows: int, scale: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """Return vertices and outward triangles of an ellipsoid: a grid over longitude and latitude, seam left open."""
    longitude, latitude = np.meshgrid(np.linspace(-np.pi, np.pi, columns), np.linspace(-1.5, 1.5, rows))
    unit = np.stack(
        [np.sin(longitude) * np.cos(latitude), np.sin(latitude), np.cos(longitude) * np.cos(latitude)], axis=-1
    )
    index = np.arange(rows * columns).reshape(rows, columns)
    a, b, c, d = index[:-1, :-1], index[:-1, 1:], index[1:, 1:], index[1:, :-1]
    faces = np.concatenate([np.stack([a, b, c], -1).reshape(-1, 3), np.stack([a, c, d], -1).reshape(-1, 3)])
    return (unit.reshape(-1, 3) * RADII * scale).astype(np.float32), faces.astype(np.int32)


def jaw_weight(vertices: np.ndarray) -> np.ndarray:
    """Return 1 at the chin, 0 above the mouth and behind the ears."""
    below = np.clip((-0.03 - vertices[:, 1]) / 0.04, 0.0, 1.0)
    front = np.clip((vertices[:, 2] + 0.02) / 0.04, 0.0, 1.0)
    return (below * front).astype(np.float32)


def rig(seed: int) -> dict[str, np.ndarray]:
    """Return the arrays of Create's answer; the seed makes the egg wider, a change makes it taller."""
    vertices, faces = egg(49, 33)
    vertices *= (1.0 + 0.02 * (seed % 5), tallness(seed), 1.0)
    jaw = jaw_weight(vertices)
    weights = np.zeros((len(vertices), len(JOINTS)), np.float32)
    weights[:, JOINTS.index("jaw")], weights[:, JOINTS.index("head")] = jaw, 1.0 - jaw
    actions = np.zeros((len(ACTIONS), *vertices.shape), np.float32)
    for number, name in enumerate(ACTIONS):
        bump = np.exp(-(((vertices - vertices[number * 20]) / 0.02) ** 2).sum(axis=1, keepdims=True))
        actions[number] = jaw[:, None] * JAW_DROP if name == "jawOpen" else 0.002 * bump
    joints = np.array(
        [[0, -0.2, 0], [0, -0.12, -0.02], [0, -0.05, 0], [0, -0.02, 0.01], [0.03, 0.03, 0.08], [-0.03, 0.03, 0.08]]
    )
    uneven = np.where(np.arange(len(JOINTS))[:, None] == JOINTS.index("right_eye"), tallness(seed), 1.0)
    return {
        "shape": np.linspace(-1, 1, 40).astype(np.float32),
        "portrait": np.frombuffer(b"stub portrait %d" % seed, np.uint8),
        "rig/vertices": vertices,
        "rig/faces": faces,
        "rig/uv": np.stack([vertices[:, 0] * 5 + 0.5, vertices[:, 1] * 4 + 0.5], axis=1).astype(np.float32),
        "rig/uv_faces": faces,
        "rig/weights": weights,
        "rig/joints": (joints * (1.0, tallness(seed), 1.0) * uneven).astype(np.float32),
        "rig/parents": np.array(PARENTS, np.int32),
        "rig/actions": actions,
    }


def surface(seed: int, detail: int, jaw: float = 0.0) -> dict[str, np.ndarray]:
    """Return the arrays of Mesh's answer: a slightly larger egg, bound to the four nearest vertices of the rig.

    With an open jaw its vertices are lower than at rest, all of them, so that nobody can take one for the other.
    """
    vertices, faces = egg(detail // 2 + 1, detail // 3 + 1, scale=1.02)
    vertices *= (1.0 + 0.02 * (seed % 5), tallness(seed), 1.0)
    distance = np.linalg.norm(vertices[:, None] - rig(seed)["rig/vertices"][None], axis=2)
    index = np.argsort(distance, axis=1)[:, :4]
    weight = 1.0 / (np.take_along_axis(distance, index, axis=1) + 1e-4)
    return {
        "vertices": vertices + jaw * JAW_DROP,
        "rest": vertices,
        "faces": faces,
        "colours": np.clip(vertices / RADII / 2 + 0.5, 0.0, 1.0).astype(np.float32),
        "bind_index": index.astype(np.int32),
        "bind_weight": (weight / weight.sum(axis=1, keepdims=True)).astype(np.float32),
    }


def picture(size: int, jaw: float = 0.0) -> np.ndarray:
    """Return [size, size, 4]: red grows to the right, green grows downwards, blue with the jaw; opaque in a circle."""
    ramp = (np.arange(size) + 0.5) / size
    image = np.zeros((size, size, 4), np.float64)
    image[..., 0], image[..., 1], image[..., 2] = ramp[None, :], ramp[:, None], 0.25 + 0.5 * jaw
    image[..., 3] = np.hypot(ramp[None, :] - 0.5, ramp[:, None] - 0.5) < 0.45
    return np.rint(image * 255).astype(np.uint8)


def raw(arrays: dict[str, np.ndarray]) -> dict[str, protocol.RawArray]:
    """Return arrays as they travel."""
    return {name: protocol.RawArray(a.dtype.str[1:], a.shape, a.tobytes()) for name, a in arrays.items()}


_METHODS = {"import": "bring_in"}  # a word of Python's own


class Worker:
    """Reads on one thread, works on another."""

    def __init__(self) -> None:
        self.out = os.fdopen(os.dup(1), "wb")
        self.lock = threading.Lock()
        self.requests: queue.Queue[protocol.Message | None] = queue.Queue()
        self.cancelled: set[int] = set()
        self.portraits: dict[str, tuple[str, int]] = {}
        self.asked: dict[int, dict[str, float]] = {}

    def send(self, message: protocol.Message) -> None:
        with self.lock:
            protocol.write(self.out, message)

    def read(self) -> None:
        while (request := protocol.read(sys.stdin.buffer)) is not None:
            if isinstance(request, protocol.Cancel):
                self.cancelled.add(request.target)
                self.send(protocol.Done(request.id))
            else:
                self.requests.put(request)
        os._exit(0)

    def work(self) -> None:
        while (request := self.requests.get()) is not None:
            getattr(self, _METHODS.get(request.type, request.type))(request)

    def hello(self, request: protocol.Hello) -> None:
        self.send(protocol.Done(request.id, {"version": __version__, "python": "3", "torch": "none", "device": "stub"}))

    def list(self, request: protocol.List) -> None:
        self.send(protocol.Done(request.id, {"models": [{"name": "default-next3d"}]}))

    def bring_in(self, request: protocol.Import) -> None:
        """Take every file but one whose name has "flame" in it, which needs a face model first."""
        self.send(protocol.Progress(request.id, f"Reading {Path(request.path).name}", 0, 1))
        if "flame" in request.path and not request.face:
            message = f'"{Path(request.path).name}" is driven by the face model FLAME, which is not imported.'
            self.send(protocol.Error(request.id, "model", message, "Get FLAME from its owners' site."))
            return
        fields = {"name": request.name, "path": request.path, "licence": "MIT", "use": request.kind, "note": ""}
        self.send(protocol.Done(request.id, fields))

    def free(self, request: protocol.Free) -> None:
        self.portraits.clear()
        self.send(protocol.Done(request.id, {"memory_mb": 21.4}))

    def create(self, request: protocol.Create) -> None:
        if request.model in ("slow", "deaf"):
            self.linger(request, obey=request.model == "slow")
            return
        if request.model == "mute":
            time.sleep(60)
        if request.model == "dies":
            print("stub: the sky is falling", file=sys.stderr, flush=True)
            os._exit(3)
        if request.model == "babble":
            with self.lock:
                self.out.write(b"Hello, I am a print statement.\n" * 9)
                self.out.flush()
            time.sleep(60)
        if request.model in ("missing", "memory"):
            kind = {"missing": "model", "memory": "memory"}[request.model]
            self.send(protocol.Error(request.id, kind, f'Stub error of kind "{kind}".', "A hint.", "A trace."))
            return
        self.portraits[request.portrait] = (request.model, request.seed)
        self.send(protocol.Progress(request.id, "mapping", 1, 2))
        self.created(request.id, request.portrait, request.truncation)

    def reconstruct(self, request: protocol.Reconstruct) -> None:
        if not self.has_face(request.id, request.photo):
            return
        steps = request.latent_iterations + request.weight_iterations
        self.portraits[request.portrait] = (request.model, 5)
        self.previews(request.id, steps)
        self.created(request.id, request.portrait, None)

    def stylise(self, request: protocol.Stylise) -> None:
        if self.known(request.id, request.source):
            model, seed = self.portraits[request.source]
            self.portraits[request.portrait] = (model, seed + len(request.text))
            self.previews(request.id, request.iterations)
            self.created(request.id, request.portrait, 0.7)

    def person(self, request: protocol.Person) -> None:
        """A person who is taller by what was asked of all sliders and of the mix together."""
        if not self.known(request.id, request.source):
            return
        model, seed = self.portraits[request.source]
        taller = round(sum(abs(value) for value in request.sliders.values()) + request.mix * request.mix_seed)
        self.portraits[request.portrait] = (model, seed + CHANGED * taller)
        self.asked[seed + CHANGED * taller] = {**self.asked.get(seed, {}), **request.sliders}
        self.created(request.id, request.portrait, 0.7)

    def speak(self, request: protocol.Speak) -> None:
        """A second of speech: a jaw that opens and shuts, and a head that turns to its left if it may."""
        if not Path(request.audio).is_file():
            self.send(
                protocol.Error(request.id, "input", f'Cannot read "{request.audio}": No such file.', "WAV works.")
            )
            return
        share = np.arange(round(request.fps)) / round(request.fps)
        jaw, yaw = request.strength * SPEECH_JAW * np.sin(np.pi * share), request.gestures * SPEECH_YAW * share
        values = np.stack([jaw, yaw], axis=1).astype(np.float32)
        fields = {"fps": request.fps, "seconds": 1.0, "names": ["jawOpen", "headYaw"]}
        self.send(protocol.Done(request.id, fields, raw({"curves": values})))

    def track(self, request: protocol.Track) -> None:
        """A second of a clip at 50 frames a second: a jaw that opens evenly, a head that turns to its left.

        In "faceless" clips nobody is found; in "late" ones after a quarter of a second; "silent" ones have no sound.
        """
        name = Path(request.clip).name
        if not self.has_face(request.id, request.clip):
            return
        self.send(protocol.Progress(request.id, "Looking for the face", 1, 2))
        share = np.arange(51) / 50
        values = np.stack([CLIP_JAW * share, CLIP_YAW * share], axis=1).astype(np.float32)
        fields = {
            "fps": 50.0,
            "start": 0.25 if "late" in name else 0.0,
            "seconds": 51 / 50,
            "names": ["jawOpen", "headYaw"],
            "sound": "silent" not in name,
            "notes": ["2 of 53 frames disagreed and were dropped."] if "late" in name else [],
        }
        self.send(protocol.Done(request.id, fields, raw({"curves": values})))

    def has_face(self, number: int, clip: str) -> bool:
        if "faceless" in clip:
            message = f'No face can be followed in "{Path(clip).name}".'
            self.send(protocol.Error(number, "input", message, "It must be at least 64 pixels wide."))
        elif not Path(clip).is_file():
            self.send(protocol.Error(number, "input", f'Cannot read "{clip}".', "JPEG and MP4 files work."))
        else:
            return True
        return False

    def previews(self, number: int, steps: int) -> None:
        """Show two pictures on the way, the jaw more and more open."""
        for part in (1, 2):
            self.send(protocol.Image(number, raw({"image": picture(8, part / 2)})))
            self.send(protocol.Progress(number, "looking", steps * part // 2, steps))
            time.sleep(PREVIEW_S)

    def open(self, request: protocol.Open) -> None:
        _, kind, seed = request.arrays["file"].data.split()
        self.portraits[request.portrait] = (kind.decode() if kind in MOVING else "default-next3d", int(seed))
        self.created(request.id, request.portrait, 0.7)

    def created(self, number: int, portrait: str, truncation: float | None) -> None:
        model, seed = self.portraits[portrait]
        fields = {
            "model": model,
            "model_hash": "0123456789abcdef",
            "system": "stub",
            "licence": "CC0-1.0",
            "licence_url": "",
            "use": "any",
            "seed": None if truncation is None else seed % CHANGED,
            "truncation": truncation,
            "camera": list(CAMERA),
            "joint_names": list(JOINTS),
            "action_names": list(ACTIONS),
            "animatable": model.encode() in MOVING,
            "controls": [],
            "sliders": self.sliders(seed) if model != "nameless" else [],
            "notes": ["The face looks away."] if truncation is None else [],
        }
        arrays = rig(seed)
        if model.encode() in MOVING:
            arrays["portrait"] = np.frombuffer(b"stub %s %d" % (model.encode(), seed), np.uint8)
        self.send(protocol.Done(number, fields, raw(arrays)))

    def sliders(self, seed: int) -> list[dict[str, object]]:
        """Return what can be asked of a person, and where they are."""
        words = ("group", "label", "low", "high", "value")
        told = [{"name": name, **dict(zip(words, facts, strict=True))} for name, facts in SLIDERS.items()]
        return [{**one, "value": self.asked.get(seed, {}).get(one["name"], one["value"])} for one in told]

    def render(self, request: protocol.Render) -> None:
        if self.known(request.id, request.portrait):
            if self.portraits[request.portrait][0] == "crashes" and self.jaw(request) >= 0.7:
                os._exit(3)
            if self.portraits[request.portrait][0] == "crawls":
                time.sleep(CRAWL_S)
            image = picture(request.size, self.jaw(request))
            if request.background == "model":  # of the whole square, which is what the stub has for a background
                image[..., 3] = 255
            self.send(protocol.Image(request.id, raw({"image": image})))
            self.send(protocol.Done(request.id, {"size": request.size, "seconds": 0.0}))

    def mesh(self, request: protocol.Mesh) -> None:
        if self.known(request.id, request.portrait):
            seed = self.portraits[request.portrait][1]
            self.send(protocol.Done(request.id, {}, raw(surface(seed, request.detail, self.jaw(request)))))

    def jaw(self, request: protocol.Render | protocol.Mesh) -> float:
        """How far the jaw of the face that is asked for is open."""
        return request.controls.get("actions", {}).get("jawOpen", 0.0)

    def known(self, number: int, portrait: str) -> bool:
        if portrait in self.portraits:
            return self.has_memory(number, self.portraits[portrait][0])
        self.send(protocol.Error(number, "usage", f'There is no portrait "{portrait}".'))
        return False

    def has_memory(self, number: int, model: str) -> bool:
        if model == "too heavy":
            os.kill(os.getpid(), signal.SIGKILL)
        if model == "heavy":
            self.send(protocol.Error(number, "memory", "There is not enough memory for this.", "Choose less."))
        return model != "heavy"

    def linger(self, request: protocol.Create, obey: bool) -> None:
        for step in range(600):
            if obey and request.id in self.cancelled:
                self.send(protocol.Error(request.id, "cancelled", "Cancelled."))
                return
            self.send(protocol.Progress(request.id, "lingering", step, 600))
            time.sleep(0.1)


if __name__ == "__main__":
    worker = Worker()
    threading.Thread(target=worker.read, daemon=True).start()
    with contextlib.suppress(KeyboardInterrupt):
        worker.work()
