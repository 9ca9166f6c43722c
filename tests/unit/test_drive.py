# SPDX-License-Identifier: Apache-2.0
"""Films of portraits that are driven: what is read, and what the pictures show."""

import dataclasses
import json

import av
import numpy as np
import pytest

from neural_core import cli, drive
from neural_core.cameras import orbit
from neural_core.errors import InputError, UsageError
from neural_core.human.arkit import ACTIONS
from neural_core.records import JOINTS
from tests import moving_ball
from tests.spheres import empty_record

JAW = [0.0, 0.5, 1.0]
SIZE = 64


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder with a portrait of the moving ball, a curves file and a record."""
    moving_ball.register(monkeypatch)
    monkeypatch.setenv("NEURAL_PORTRAIT_MODELS", str(tmp_path))
    moving_ball.save(tmp_path / "ball.safetensors")
    assert cli.main(["generate", "--model", "ball", "--out", str(tmp_path / "p.portrait")]) == 0
    write_curves(tmp_path / "c.json", jawOpen=JAW)
    record().save(tmp_path / "r.npz")
    return tmp_path


def write_curves(path, **curves):
    path.write_text(json.dumps({"format": "portrait-curves/1", "fps": 5, "curves": curves}))


def record(times=(0.0, 0.2, 0.4)):
    """Three frames of an opening jaw, filmed from further and further away."""
    actions = np.zeros((3, 52), np.float32)
    actions[:, ACTIONS.index("jawOpen")] = JAW
    cameras = np.concatenate([orbit(0.0, 0.0, 2 * d).label().numpy() for d in (1.35, 2.7, 5.4)])  # model space
    return dataclasses.replace(
        empty_record(["0.png", "1.png", "2.png"]),
        actions=actions,
        joints=np.zeros((3, 10, 3), np.float32),
        cameras=cameras,
        time=np.array(times, np.float32),
    )


def animate(folder, source, *options):
    words = ["animate", folder / "p.portrait", "--drive", folder / source, "--out", folder / "f.mp4", "--size", SIZE]
    return cli.main([str(word) for word in (*words, "--background", "black", *options)])


def film(folder):
    with av.open(str(folder / "f.mp4")) as opened:
        frames = [frame.to_ndarray(format="rgb24") for frame in opened.decode(video=0)]
        return float(opened.streams.video[0].average_rate), frames


def radii(frames):
    """The radius in pixels of the disc in each frame, from its area; films blur outlines a little."""
    return [float(np.sqrt((frame[..., 1] > 64).sum() / np.pi)) for frame in frames]


def test_curves_move_the_face(folder):
    assert animate(folder, "c.json") == 0
    fps, frames = film(folder)
    assert fps == 5
    expected = [moving_ball.pixel_radius(moving_ball.RADIUS + moving_ball.GROWTH * jaw, SIZE) for jaw in JAW]
    assert radii(frames) == pytest.approx(expected, abs=0.6)


def test_a_record_moves_the_face_and_brings_its_cameras(folder):
    assert animate(folder, "r.npz", "--camera", "drive") == 0
    fps, frames = film(folder)
    assert fps == pytest.approx(5, rel=1e-3)
    sizes = [moving_ball.RADIUS + moving_ball.GROWTH * jaw for jaw in JAW]
    expected = [
        SIZE * 4.2647 * size / (distance**2 - size**2) ** 0.5
        for size, distance in zip(sizes, (1.35, 2.7, 5.4), strict=True)
    ]
    assert radii(frames) == pytest.approx(expected, abs=0.6)


def test_the_camera_stands_still_while_the_head_turns(folder):
    """The ball's own turn moves it by known metres along +X of head space; a still camera sees head space turned."""
    turn = 0.5
    write_curves(folder / "turn.json", headYaw=[turn])
    assert animate(folder, "turn.json") == 0
    (frame,) = film(folder)[1]
    seen = np.nonzero(frame[..., 1] > 64)[1].mean() + 0.5
    neck, head = joints_at_rest()
    # Neck and head turn by half each, about +Y at their places; the ball is carried by the neck's half in its own way.
    point = about(head, turn / 2, np.array([moving_ball.SHIFT * turn / 2, 0.0, 0.0]))
    point = about(neck, turn / 2, point)
    expected = SIZE * (0.5 + 4.2647 * point[0] / (moving_ball.DISTANCE - point[2]))
    assert seen == pytest.approx(expected, abs=0.4)


def joints_at_rest():
    from neural_core.rigs import face_model

    face = face_model()
    places = dict(zip(face.joint_names, face.joints(face.vertices()), strict=True))
    return places["neck"].astype(float), places["head"].astype(float)


def about(place, angle, point):
    """Turn a point about +Y through a place."""
    x, y, z = point - place
    c, s = np.cos(angle), np.sin(angle)
    return np.array([c * x + s * z, y, c * z - s * x]) + place


def test_next3d_is_driven_too(folder):
    """With random weights: the frames differ where the curves do."""
    from tests.tiny_models import save_tiny_next3d

    save_tiny_next3d(folder / "moving.safetensors")
    assert cli.main(["generate", "--model", "moving", "--out", str(folder / "p.portrait")]) == 0
    write_curves(folder / "same.json", jawOpen=[0.0, 1.0, 0.0])
    assert animate(folder, "same.json") == 0
    first, wide, last = (frame.astype(float) for frame in film(folder)[1])
    assert np.abs(first - wide).mean() > 5 * np.abs(first - last).mean()


def test_a_film_can_be_cut(folder):
    assert animate(folder, "c.json", "--frames", 2) == 0
    assert len(film(folder)[1]) == 2


def test_controls_name_what_moves():
    driven = drive.Drive(25.0, np.zeros((1, 52)), np.zeros((1, 10, 3)))
    driven.actions[0, ACTIONS.index("cheekPuff")] = 0.25
    driven.joints[0, JOINTS.index("jaw"), 0] = 0.5
    assert driven.controls(0) == {"actions": {"cheekPuff": 0.25}, "joints": {"jaw": [0.5, 0.0, 0.0]}}


@pytest.mark.parametrize(
    ("source", "options", "code", "says"),
    [
        ("none.wav", (), 1, "none.wav"),
        ("s.txt", (), 2, "Nothing can be driven"),
        ("none.json", (), 1, "none.json"),
        ("c.json", ("--camera", "drive"), 2, "not filmed"),
        ("c.json", ("--expression", "jawOpen=1"), 2, "own expressions"),
        ("c.json", ("--frames", "0"), 2, "at least 1"),
    ],
)
def test_what_cannot_drive_is_a_sentence(folder, capsys, source, options, code, says):
    assert animate(folder, source, *options) == code
    assert says in capsys.readouterr().err
    assert not (folder / "f.mp4").exists()


def test_a_still_model_says_so_before_anything_is_read(folder, capsys):
    from tests.tiny_models import save_tiny

    save_tiny(folder / "tiny.safetensors")
    assert cli.main(["generate", "--model", "tiny", "--out", str(folder / "p.portrait")]) == 0
    assert animate(folder, "none.mp4") == 2
    assert "still face" in capsys.readouterr().err


def test_pictures_without_times_or_expressions_are_no_drive():
    with pytest.raises(InputError, match="no film"):
        drive.of_record(record(times=(0, 0, 0)), "r")
    with pytest.raises(InputError, match="does not say what the face does"):
        drive.of_record(dataclasses.replace(record(), actions=np.zeros((0, 52), np.float32)), "r")


def test_kinds_go_by_names(tmp_path):
    names = ("a.MP4", "a.json", "a.npz", "a.WAV", "a.ogg")
    assert [drive.kind_of(tmp_path / name) for name in names] == ["clip", "curves", "record", "speech", "speech"]
    with pytest.raises(UsageError):
        drive.kind_of(tmp_path / "a.txt")
