# SPDX-License-Identifier: GPL-3.0-or-later
"""A day's work in each Blender: create, key, scrub, speak, render, save, open again; nothing is a stand-in here.

`inside/day.py` works, the same in all Blenders (see blenders.py), and says what it saw. What it should have seen is
computed here by the library, which knows no Blender: rigs by our own skinning, pictures by the network itself.
"""

import json
import os
import shutil
import struct
import subprocess
import sys
import wave

import numpy as np
import pytest
import torch
import trimesh
from blenders import COMMANDS, script
from scipy.spatial import cKDTree
from staging import HERE
from test_batch import read_png
from torch.nn.functional import grid_sample

from neural_core import rigs
from neural_core.audio.speech import Manner, speak
from neural_core.cameras import Camera
from neural_core.human.arkit import ACTIONS
from neural_core.records import JOINTS
from neural_core.studio import Studio

KEYS = {
    1: {},
    3: {"jawOpen": 1.0},
    5: {"eyeBlinkLeft": 1.0, "eyeBlinkRight": 1.0},
    7: {"mouthSmileLeft": 0.8, "mouthSmileRight": 0.8, "browInnerUp": 0.6},
    9: {},
}
"""The sliders that are keyed, by frame; those that are not named are keyed at 0."""
TURNS = {1: 0.0, 5: 0.0, 7: 0.3, 9: 0.0}
"""Turns of the head to its left, radians, by frame."""
FPS, SPEECH, LAST = 24, 10, 21
SAID = (13, 17)
BY_HAND = {"mouthPucker": 0.9}
"""What is set on top of frame OPENED after the file was opened again."""
OPENED = 3
SIZE, RENDERED, DETAIL = 128, 96, 64
PLAN = {
    "keys": KEYS,
    "head": TURNS,
    "fps": FPS,
    "speech": SPEECH,
    "last": LAST,
    "said": SAID,
    "by_hand": BY_HAND,
    "opened": OPENED,
    "alone": (OPENED, SAID[0]),
    "size": SIZE,
    "rendered": RENDERED,
    "detail": DETAIL,
}
EXPORT = """
[[job]]
do = "export"
[job.scene]
blend = "scene.blend"
[job.export]
out = {out}
"""
SKIN_M = 3e-4
"""How far a vertex may be off: Blender keeps weights in 255 steps."""
LEVELS = 4
"""How far a pixel may be off, of 255: the engine may add up in another order."""
EYES, MOUTH = slice(36, 48), slice(48, 68)  # of the 68 landmarks

pytestmark = [pytest.mark.slow, pytest.mark.parametrize("command", COMMANDS)]


class Day:
    """The sittings of one Blender, each when it is first asked for; then what they found."""

    def __init__(self, command, stage, folder):
        self.command, self.stage, self.folder = command, stage, folder
        self._results = {}
        (folder / "plan.json").write_text(json.dumps(PLAN))
        write_voice(folder / "hello.wav")

    @property
    def work(self):
        return self._once("work", lambda: self._sit("work", self.folder))

    @property
    def again(self):
        assert self.work
        return self._once("again", lambda: self._sit("again", self.folder))

    @property
    def alone(self):
        """What is seen on a machine that got the .blend and the frames beside it, but has no add-on."""
        assert self.work
        return self._once("alone", self._carry_away)

    @property
    def job(self):
        """The summary of the job that `work` has written, with an export behind it."""
        assert self.work
        return self._once("job", self._run_job)

    @property
    def library(self):
        assert self.work
        files = self.folder / "person.portrait", self.folder / "hello.wav"
        return self._once("library", lambda: Library(files[0].read_bytes(), files[1]))

    @property
    def elsewhere(self):
        return self.folder / "elsewhere"

    def picture(self, name):
        """Return a picture of the folder with its colours over black, [h, w, 4] in 0..255."""
        return over_black(read_png(self.folder / name))

    def _once(self, name, do):
        """Return what `do` returned the first time; what failed then is not tried again."""
        if name not in self._results:
            self._results[name] = None
            self._results[name] = do()
        if self._results[name] is None:
            pytest.fail(f'"{name}" has failed before.')
        return self._results[name]

    def _carry_away(self):
        self.elsewhere.mkdir()
        for name in ("plan.json", "scene.blend"):
            shutil.copyfile(self.folder / name, self.elsewhere / name)
        shutil.copytree(self.folder / "portrait_cache", self.elsewhere / "portrait_cache")
        return self._sit("alone", self.elsewhere)

    def _run_job(self):
        path = self.folder / "job.toml"
        facts, _ = self.work
        kinds = ["glb", "obj", "ply", "stl", "portrait", *(["usdc"] if facts["has_usd"] else [])]
        path.write_text(path.read_text() + EXPORT.format(out=json.dumps([f"day.{kind}" for kind in kinds])))
        said = self._run(self.stage / "neural_portrait" / "batch.py", path, "--frames", f"1,{OPENED}")
        last = [line for line in said.splitlines() if line.startswith("PORTRAIT ")][-1]
        return json.loads(last.removeprefix("PORTRAIT "))

    def _sit(self, name, folder):
        self._run(HERE / "inside" / "day.py", name, self.stage, folder)
        facts = json.loads((folder / f"{name}.json").read_text())
        print(f"{name}: {facts['seconds']}")
        return facts, dict(np.load(folder / f"{name}.npz"))

    def _run(self, path, *arguments):
        run = subprocess.run(
            script(self.command, path, *arguments),
            env={**os.environ, "NEURAL_PORTRAIT_PYTHON": sys.executable},
            capture_output=True,
            text=True,
            timeout=1200,
            check=False,
            errors="replace",
        )
        said = run.stdout[-4000:] + run.stderr[-4000:]
        assert run.returncode == 0, said
        assert "Traceback" not in run.stdout + run.stderr, said
        return run.stdout


class Library:
    """A portrait without Blender: its controls by frame, and what they do to its rig and to its picture."""

    def __init__(self, data, recording):
        self._studio = Studio("cpu")
        self._loaded, self.portrait = self._studio.open(data, "person")
        self.curves = speak(recording, Manner(fps=FPS))
        self.camera = self._loaded.system.creation_camera()
        self.landmarks = rigs.face_model().landmarks(rigs.driver_vertices(self.portrait), "68")

    def controls(self, frame):
        """Return what is asked of the face at a keyed frame, or while it speaks."""
        if frame in KEYS:
            return {"actions": KEYS[frame], "joints": {"head": [0.0, TURNS.get(frame, 0.0), 0.0]}}
        row = frame - SPEECH
        actions = dict(zip(ACTIONS, self.curves.actions[row].tolist(), strict=True))
        return {"actions": actions, "joints": dict(zip(JOINTS, self.curves.joints()[row].tolist(), strict=True))}

    def vertices(self, controls):
        """Return the rig's mesh [V, 3] where the shoulders stand still, as in Blender."""
        motion = rigs.head_motion(self.portrait, controls)
        return rigs.posed(self.portrait, controls).vertices @ motion[:3, :3].T + motion[:3, 3]

    def seen_by(self, controls):
        """Return cam2world [4, 4] of the creation camera in head space, which moves with the skull."""
        return np.linalg.inv(rigs.head_motion(self.portrait, controls)) @ self.camera.cam2world[0].numpy()

    def draw(self, controls, label):
        """Return the network's picture over black."""
        field = self._studio.pose(self._loaded, self.portrait, controls)
        return over_black(self._studio.draw(field, Camera.from_label(torch.tensor([label])), SIZE))

    def surface(self, controls):
        """Return the vertices of the surface, the shoulders standing still."""
        field = self._studio.pose(self._loaded, self.portrait, controls)
        motion = rigs.head_motion(self.portrait, controls)
        return self._studio.surface(field, DETAIL).vertices @ motion[:3, :3].T + motion[:3, 3]

    def place(self, landmarks):
        """Return where the creation camera sees the middle of some landmarks: u, v in 0..1 from the top left."""
        points = torch.from_numpy(self.landmarks[landmarks]).float()[None]
        return self.camera.project(points)[0].mean(0).numpy()


def write_voice(path):
    """Write half a second of "a", twice louder and softer: the overtones of 120 Hz under that vowel's formants."""
    times = np.arange(8000) / 16000
    tones = 120.0 * np.arange(1, 30)[:, None]
    formants = ((730, 120, 1.0), (1090, 120, 0.5), (2440, 200, 0.25))
    loud = 0.02 + sum(gain * np.exp(-(((tones - middle) / width) ** 2)) for middle, width, gain in formants)
    sound = (loud * np.sin(2 * np.pi * tones * times)).sum(0) * np.sin(np.pi * (times / 0.25 % 1.0))
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16000)
        file.writeframes(np.rint(0.5 * sound / np.abs(sound).max() * 32767).astype("<i2").tobytes())


def over_black(picture):
    """Return a picture [h, w, 4] in 0..255 with its colours times its alpha."""
    picture = np.asarray(picture, np.float64)
    return np.concatenate([picture[..., :3] * picture[..., 3:] / 255, picture[..., 3:]], axis=-1)


def centre(weights):
    """Return the centre of gravity of what stands out in [h, w]: u, v in 0..1 from the top left."""
    weights = np.where(weights > 0.25 * weights.max(), weights, 0.0)
    v, u = (np.arange(side) + 0.5 for side in weights.shape)
    middle = np.array([(weights.sum(0) * u).sum(), (weights.sum(1) * v).sum()]) / weights.sum()
    return middle / weights.shape[::-1]


def on_the_card(picture, intrinsics, camera):
    """Return a picture [h, w, 4] as it lies in the rendered frame: what its own camera saw, seen by `camera`."""
    own, seen = np.reshape(intrinsics, (3, 3)), camera.intrinsics[0].numpy()
    middles = (np.arange(RENDERED) + 0.5) / RENDERED
    place = np.stack([*np.meshgrid(middles, middles), np.ones((RENDERED, RENDERED))], axis=-1)
    place = place @ (own @ np.linalg.inv(seen)).T
    bands = torch.from_numpy(picture).movedim(-1, 0)[None]
    grid = torch.from_numpy(2 * place[None, ..., :2] - 1)
    return grid_sample(bands, grid, align_corners=False)[0].movedim(0, -1).numpy()


def apart(one, other):
    """Return the mean difference of two pictures, of 255."""
    return np.abs(one - other).mean()


@pytest.fixture(scope="session")
def days(real_stage, tmp_path_factory):
    """The Day of a command line; whatever the order of the tests, a Blender works but once."""
    found = {}

    def of(command):
        name = " ".join(command)
        if name not in found:
            found[name] = Day(command, real_stage, tmp_path_factory.mktemp("day"))
        return found[name]

    return of


@pytest.fixture
def day(command, days):
    return days(command)


def test_create_makes_everything_of_the_person_of_the_seed(day):
    facts, arrays = day.work
    assert set(facts["parts"]) == {"ROOT", "RIG", "DRIVER", "SURFACE", "CAMERA", "PLANE"}
    assert facts["model"] == "default-next3d"
    assert facts["animatable"]
    assert day.library.portrait.provenance["seed"] == 7
    np.testing.assert_allclose(arrays["driver_1"], rigs.person_rig(day.library.portrait).vertices, atol=1e-6)
    rest = day.library.surface({})
    assert arrays["surface_1"].shape == rest.shape
    assert np.linalg.norm(arrays["surface_1"] - rest, axis=1).mean() < 0.002  # a modifier smooths it


def test_the_rig_does_what_was_keyed(day):
    facts, arrays = day.work
    rest = arrays["driver_1"]
    for frame, sliders in KEYS.items():
        assert facts["sliders"][str(frame)] == pytest.approx(sliders, abs=1e-6), frame
        expected = day.library.vertices(day.library.controls(frame))
        assert np.abs(arrays[f"driver_{frame}"] - expected).max() < SKIN_M, frame
        if sliders:
            assert np.linalg.norm(expected - rest, axis=1).max() > 0.004, frame


def test_the_surface_goes_with_the_rig(day):
    """Points of the surface move as the nearest points of the rig do, chin and lids and all."""
    _, arrays = day.work
    rest, head = arrays["surface_1"], arrays["driver_1"]
    distance, nearest = cKDTree(head).query(rest)
    for frame in (3, 7, *SAID):
        moved, expected = arrays[f"surface_{frame}"] - rest, (arrays[f"driver_{frame}"] - head)[nearest]
        far = (np.linalg.norm(expected, axis=1) > 0.002) & (distance < 0.005)
        assert far.sum() > 50, frame
        off = np.linalg.norm(moved - expected, axis=1)[far] / np.linalg.norm(expected, axis=1)[far]
        assert np.median(off) < 0.25, frame


def test_a_picture_is_asked_of_what_the_frame_shows(day):
    facts, arrays = day.work
    for frame in KEYS:
        asked, controls = facts["asked"][str(frame)], day.library.controls(frame)
        assert asked["size"] == SIZE
        assert asked["controls"].get("actions", {}) == pytest.approx(controls["actions"], abs=1e-5)
        seen = np.reshape(asked["camera"][:16], (4, 4))
        np.testing.assert_allclose(seen, day.library.seen_by(controls), atol=1e-4)
        picture = over_black(arrays[f"picture_{frame}"])
        assert np.abs(picture - day.library.draw(controls, asked["camera"])).max() < LEVELS, frame
    pictures = [over_black(arrays[f"picture_{frame}"]) for frame in KEYS]
    assert np.abs(pictures[0] - pictures[-1]).max() < LEVELS  # the same face again
    assert min(np.abs(pictures[0] - other).max() for other in pictures[1:-1]) > 10 * LEVELS


def test_speech_is_a_layer_that_leaves_the_keys_alone(day):
    facts, arrays = day.work
    assert facts["layers"] == ["Speech hello.wav"]
    assert facts["kept_keys"] == facts["hand_keys"]
    hand = {path.split('"')[1]: keys for path, keys in facts["hand_keys"].items() if path.startswith("[")}
    assert hand.keys() == set(ACTIONS)
    assert hand["jawOpen"] == [[float(frame), sliders.get("jawOpen", 0.0)] for frame, sliders in KEYS.items()]
    jaw = day.library.curves.actions[:, ACTIONS.index("jawOpen")]
    assert jaw.max() > 0.15
    assert jaw.max() - jaw.min() > 0.08
    found = [facts["jaw"][str(SPEECH + row)] for row in range(len(jaw))]
    assert found == pytest.approx(jaw.tolist(), abs=2e-4)
    for frame in SAID:
        controls = day.library.controls(frame)
        said = {name: value for name, value in controls["actions"].items() if value > 1e-3}
        assert {name: facts["sliders"][str(frame)][name] for name in said} == pytest.approx(said, abs=2e-4)
        assert np.abs(arrays[f"driver_{frame}"] - day.library.vertices(controls)).max() < SKIN_M, frame
    assert facts["sounds"] == ([["hello.wav", SPEECH]] if facts["has_sound"] else [])


def test_what_is_baked_is_what_was_seen(day):
    facts, arrays = day.work
    assert facts["baked"] == LAST - 1  # frames 1 and 9 show the same; nothing is remembered from before
    assert facts["missing"] == facts["asked_by_render"] == 0
    folder = day.folder / "portrait_cache" / "Portrait 7" / "full"
    assert facts["sequence"] == {
        "source": "SEQUENCE",
        "folder": str(folder),
        "file": "f_0001.png",
        "packed": ["Portrait 7 picture"],
    }
    assert sorted(path.name for path in folder.glob("*.png")) == [f"f_{frame:04d}.png" for frame in range(1, LAST + 1)]
    for frame in KEYS:
        baked = day.picture(folder / f"f_{frame:04d}.png")
        assert np.abs(baked - over_black(arrays[f"picture_{frame}"])).max() < LEVELS, frame


def test_a_render_shows_the_person_upright_where_the_head_is(day):
    """What a blink changes lies where the eyes are, what the jaw changes about mouth and chin, eyes above mouth."""
    facts, _ = day.work
    frames = {frame: day.picture(f"rendered_{frame:04d}.png") for frame in KEYS}
    for frame, rendered in frames.items():
        baked = day.picture(day.folder / "portrait_cache" / "Portrait 7" / "full" / f"f_{frame:04d}.png")
        expected = on_the_card(baked, facts["asked"][str(frame)]["camera"][16:], day.library.camera)
        assert apart(rendered, expected) < 3, frame
        assert apart(rendered[::-1], expected) > 4 * apart(rendered, expected), frame
        face = np.s_[40:70, 38:58]
        np.testing.assert_allclose(rendered[face].mean((0, 1)), expected[face].mean((0, 1)), atol=3)
        assert rendered[face].mean((0, 1))[0] > 50, frame
    eyes, mouth = (centre(np.abs(frames[frame] - frames[1]).sum(-1)) for frame in (5, 3))
    np.testing.assert_allclose(eyes, day.library.place(EYES), atol=0.04)
    np.testing.assert_allclose(mouth, day.library.place(MOUTH), atol=0.1)
    assert eyes[1] < mouth[1] - 0.1


def test_a_job_draws_the_same_scene_and_exports_it(day):
    summary = day.job
    assert (summary["code"], [one["state"] for one in summary["jobs"]]) == (0, ["done", "done"])
    assert summary["jobs"][0]["frames"] == {"drawn": 2, "kept": 0, "skipped": []}
    for frame in (1, OPENED):
        assert apart(day.picture(f"job/{frame:04d}.png"), day.picture(f"rendered_{frame:04d}.png")) < 0.5, frame
    assert (day.folder / "day.portrait").read_bytes() == (day.folder / "person.portrait").read_bytes()
    facts, arrays = day.work
    x, y, z = arrays["surface_1"].T
    still = {kind: trimesh.load(day.folder / f"day.{kind}", process=False) for kind in ("obj", "ply", "stl")}
    for kind, places in (("obj", (x, y, z)), ("ply", (x, -z, y)), ("stl", (x, -z, y))):  # the first has Y up, as we do
        assert len(still[kind].faces) == len(still["obj"].faces) > len(x)
        assert cKDTree(np.stack(places, axis=1)).query(still[kind].vertices)[0].max() < 1e-5, kind
    assert not facts["has_usd"] or (day.folder / "day.usdc").read_bytes()[:8] == b"PXR-USDC"
    scene = gltf(day.folder / "day.glb")
    targets = {name for mesh in scene["meshes"] for name in mesh.get("extras", {}).get("targetNames", [])}
    assert targets == set(ACTIONS)
    assert set(JOINTS) <= {scene["nodes"][joint]["name"] for joint in scene["skins"][0]["joints"]}
    moved = {channel["target"]["path"] for one in scene["animations"] for channel in one["channels"]}
    assert {"weights", "rotation"} <= moved


def gltf(path):
    """Return what a .glb file says of its scene: its first chunk is JSON."""
    data = path.read_bytes()
    magic, _, _, length, kind = struct.unpack("<4sIII4s", data[:20])
    assert (magic, kind) == (b"glTF", b"JSON")
    return json.loads(data[20 : 20 + length])


def test_opened_again_all_of_it_is_live(day):
    before, seen = day.work
    facts, arrays = day.again
    assert facts["frame"] == OPENED
    assert facts["missing"] == 0  # the frames are still those of this scene
    assert facts["sequence"] == before["sequence"]
    assert facts["stored"] == before["hand_keys"]
    same_motion(facts, arrays, before, seen)
    assert np.abs(over_black(arrays["picture"]) - over_black(seen[f"picture_{OPENED}"])).max() < LEVELS
    controls = {"actions": KEYS[OPENED] | BY_HAND, "joints": {}}
    assert facts["asked"][-1]["controls"]["actions"] == pytest.approx(controls["actions"], abs=1e-5)
    expected = day.library.draw(controls, facts["asked"][-1]["camera"])
    assert np.abs(over_black(arrays["live"]) - expected).max() < LEVELS
    assert np.abs(over_black(arrays["live"]) - over_black(arrays["picture"])).max() > 5 * LEVELS
    assert facts["remark"] == ""
    assert np.abs(arrays["driver_by_hand"] - day.library.vertices(controls)).max() < SKIN_M
    expected = day.library.surface(controls)
    assert arrays["new_surface"].shape == expected.shape
    assert np.linalg.norm(arrays["new_surface"] - expected, axis=1).mean() < 0.002


def test_without_the_add_on_all_of_it_is_seen(day):
    before, seen = day.work
    facts, arrays = day.alone
    assert facts["frame"] == OPENED
    assert not facts["scripts"]
    assert facts["sequence"] == {
        **before["sequence"],
        "folder": str(day.elsewhere / "portrait_cache" / "Portrait 7" / "full"),
    }
    assert facts["colours"] == ["Colour"]
    assert set(JOINTS) <= set(facts["bones"])
    same_motion(facts, arrays, before, seen)
    by_hand = day.library.vertices({"actions": KEYS[OPENED] | BY_HAND})
    assert np.abs(arrays["driver_by_hand"] - by_hand).max() < SKIN_M
    for frame in PLAN["alone"]:
        rendered = day.picture(f"rendered_{frame:04d}.png")
        assert apart(day.picture(day.elsewhere / f"alone_{frame:04d}.png"), rendered) < 0.1, frame


def same_motion(facts, arrays, before, seen):
    """Raise AssertionError unless sliders and vertices are at all frames what they were before."""
    assert facts["sliders"].keys() == before["sliders"].keys()
    for frame, sliders in before["sliders"].items():
        assert facts["sliders"][frame] == pytest.approx(sliders, abs=1e-6), frame
        for part in ("driver", "surface"):
            np.testing.assert_allclose(arrays[f"{part}_{frame}"], seen[f"{part}_{frame}"], atol=1e-6)
