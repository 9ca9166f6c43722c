# SPDX-License-Identifier: Apache-2.0
"""`training.reconstruction` on spheres and a tiny model: the right people, right figures, nothing done twice."""

import json
import math
import shutil

import imageio.v3 as iio
import numpy as np
import pytest

from neural_core import systems
from neural_core.cameras import orbit
from neural_core.records import Record
from tests.spheres import write_spheres
from tests.tiny_models import save_tiny
from training.reconstruction import SHOWN, main, sitters

PEOPLE, VIEWS, SIZE = 4, 3, 32


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("reconstruction")
    save_tiny(folder / "tiny.safetensors")
    write_spheres(folder / "data", PEOPLE, VIEWS, SIZE, z_dim=64)
    return folder


def command(folder, out, people=2, size=16):
    return [
        *("--model", folder / "tiny.safetensors", "--data", folder / "data", "--people", people, "--size", size),
        *("--latents", 12, "--weights", 2, "--json", "--out", folder / out),
    ]  # fmt: skip


def run(*words):
    return main([str(word) for word in words])


@pytest.fixture(scope="module")
def measured(folder):
    assert run(*command(folder, "out")) == 0
    return json.loads((folder / "out" / "reconstruction.json").read_text())


def yaws(folder, person):
    """Degrees of a person's cameras; those of spheres stand on a circle."""
    cameras = Record.load(folder / "data" / "records" / f"{person:06d}.npz").cameras
    return [math.degrees(math.atan2(camera[3], camera[11])) for camera in cameras]


def true_picture(folder, person, view, size=16):
    rgba = iio.imread(folder / "data" / "00000" / f"img{person * VIEWS + view:08d}.png") / 255
    over = rgba[..., :3] * rgba[..., 3:] + 0.5 * (1 - rgba[..., 3:])
    return over.reshape(size, SIZE // size, size, SIZE // size, 3).mean((1, 3))


def decibels(one, other):
    return -10 * math.log10(((one - other) ** 2).mean())


def test_the_view_nearest_to_30_degrees_beside_the_frontal_one_is_compared(folder):
    expected = []
    for person in range(PEOPLE):
        turns = yaws(folder, person)
        given = min(range(VIEWS), key=lambda view: abs(turns[view]))
        others = {view: abs(turns[view] - turns[given]) for view in range(VIEWS) if view != given}
        beside = min(others, key=lambda view: abs(others[view] - 30))
        expected.append((person, given, beside, others[beside]))
    expected.sort(key=lambda one: abs(one[3] - 30))
    found = [(int(s.file.stem), s.given, s.beside, s.angle) for s in sitters(folder / "data", 3)]
    assert [one[:3] for one in found] == [one[:3] for one in expected[:3]]
    assert [one[3] for one in found] == pytest.approx([one[3] for one in expected[:3]], abs=1e-2)


def test_figures_are_those_of_the_pictures(folder, measured):
    assert [person["person"] for person in measured["people"]] == [s.file.stem for s in sitters(folder / "data", 2)]
    sheet = iio.imread(folder / "out" / "reconstruction.png") / 255
    assert sheet.shape == (2 * 16, len(SHOWN) * 16, 3)
    system = systems.load(folder / "tiny.safetensors")
    mean = system.pose(system.create(0, 0.0))
    for sitter, figures, row in zip(sitters(folder / "data", 2), measured["people"], np.split(sheet, 2), strict=True):
        person = int(sitter.file.stem)
        given, own, beside, own_beside, mean_beside = np.split(row, len(SHOWN), axis=1)
        assert np.abs(given - true_picture(folder, person, sitter.given)).max() < 0.003
        assert np.abs(beside - true_picture(folder, person, sitter.beside)).max() < 0.003
        assert figures["given"]["reconstructed"] == pytest.approx(decibels(own, given), abs=0.05)
        assert figures["beside"]["reconstructed"] == pytest.approx(decibels(own_beside, beside), abs=0.05)
        assert figures["beside"]["mean_portrait"] == pytest.approx(decibels(mean_beside, beside), abs=0.05)
        camera = orbit(yaws(folder, person)[sitter.beside], 0.0, 1.35)
        seen = mean.render(camera, 32)
        over = ((seen.image + 1) / 2 + 0.5 * (1 - seen.opacity)).clamp(0, 1)[0].movedim(0, -1).numpy()
        assert np.abs(over.reshape(16, 2, 16, 2, 3).mean((1, 3)) - mean_beside).max() < 0.02
        assert figures["given"]["reconstructed"] > figures["given"]["mean_portrait"] + 0.5
    for view in ("given", "beside"):
        for name, value in measured["mean"][view].items():
            assert value == pytest.approx(np.mean([person[view][name] for person in measured["people"]]))


def test_finished_people_are_not_measured_again(folder, measured, capsys):
    shutil.copytree(folder / "out", folder / "again")  # what is written there is other tests', in any order
    kept = (folder / "again" / "people").glob("*.json")
    before = {file: file.read_text() for file in kept}
    assert len(before) == 2
    assert run(*command(folder, "again", people=3)) == 0
    said = capsys.readouterr().out
    third = sitters(folder / "data", 3)[2].file.stem
    assert [line.split(":")[0] for line in said.splitlines() if "dB given" in line] == [third]
    assert all(file.read_text() == text for file, text in before.items())
    assert json.loads(said.splitlines()[-1])["people"] == 3
    assert run(*command(folder, "again", people=1), "--weights", 0) == 0
    assert "dB given" in capsys.readouterr().out, "other settings are other work"


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [({"people": 9}, "4 people"), ({"people": 0}, "nothing to do"), ({"size": 24}, "does not divide")],
)
def test_what_makes_no_sense_is_refused(folder, capsys, changed, sentence):
    assert run(*command(folder, "refused", **changed)) in (1, 2)
    assert sentence in capsys.readouterr().err
    assert not (folder / "refused").exists()


@pytest.mark.slow
def test_several_processes_find_the_same(folder, measured):
    assert run(*command(folder, "shared"), "--workers", 2) == 0
    shared = json.loads((folder / "shared" / "reconstruction.json").read_text())
    for view in ("given", "beside"):
        assert shared["mean"][view] == pytest.approx(measured["mean"][view], abs=0.05)
