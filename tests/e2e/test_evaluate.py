# SPDX-License-Identifier: Apache-2.0
"""The evaluator from the command line, on a tiny model and spheres: right figures, alone and shared, and sentences."""

import json
import os
import subprocess
import sys
from pathlib import Path

import imageio.v3 as iio
import numpy as np
import pytest
import torch

from neural_core import systems
from neural_core.cameras import Camera
from neural_core.human.anny import load_anny_head
from tests.spheres import write_spheres
from tests.tiny_models import save_tiny
from training.data.folders import record_file
from training.evaluate import main
from training.metrics.registry import METRICS

PEOPLE, VIEWS, SIZE, COMPARED = 5, 3, 32, 16
FREE = "psnr,ssim,l1,swd,view-variance,depth,faces,cd,we,diversity"
"""What needs nobody's network."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("evaluate")
    save_tiny(folder / "tiny.safetensors")
    write_spheres(folder / "data", PEOPLE, VIEWS, SIZE, z_dim=64)
    return folder


def command(folder: Path, out: str, *more: str) -> list[str]:
    return [
        "--model", str(folder / "tiny.safetensors"), "--data", str(folder / "data"), "--train-data",
        str(folder / "data"), "--seeds", "3", "--compare-size", str(COMPARED), "--device", "cpu",
        "--out", str(folder / out), *more,
    ]  # fmt: skip


@pytest.fixture(scope="module")
def report(folder):
    """What one process writes."""
    assert main(command(folder, "alone", "--metrics", FREE)) == 0
    return json.loads((folder / "alone" / "metrics.json").read_text())


def truth(folder: Path, person: int, view: int) -> np.ndarray:
    """A true picture over grey [h, w, 3] in 0..1, averaged down, by numpy alone."""
    number = person * VIEWS + view
    rgba = iio.imread(folder / "data" / "00000" / f"img{number:08d}.png") / 255
    over = rgba[..., :3] * rgba[..., 3:] + 0.5 * (1 - rgba[..., 3:])
    return over.reshape(COMPARED, SIZE // COMPARED, COMPARED, SIZE // COMPARED, 3).mean((1, 3))


def shown(folder: Path) -> dict[tuple[int, int], tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Person and view -> the model's picture, averaged down, its depth in metres and the true one, by another road."""
    system = systems.load(folder / "tiny.safetensors")
    seen = {}
    for person in range(PEOPLE):
        with np.load(record_file(folder / "data", person)) as record:
            code, labels, depth = record["z"], record["cameras"], record["depth"] * 1e-4  # steps of a record's file
        field = system.pose(system.portrait_of(torch.from_numpy(code)[None]))
        for view in range(VIEWS):
            camera = system.to_head_space(Camera.from_label(torch.from_numpy(labels[view : view + 1])))
            image = field.render(camera, SIZE)
            rgb = ((image.image + 1) / 2 + 0.5 * (1 - image.opacity))[0].permute(1, 2, 0).clamp(0, 1).numpy()
            pooled = rgb.reshape(COMPARED, SIZE // COMPARED, COMPARED, SIZE // COMPARED, 3).mean((1, 3))
            solid = image.opacity[0, 0].numpy() >= 0.5
            metres = np.where(solid, np.nan_to_num(image.depth[0, 0].numpy()), 0)
            seen[person, view] = pooled, metres, depth[view] / 2
    return seen


def test_picture_figures_are_those_of_numpy(folder, report):
    pictures = shown(folder)
    squared = {key: ((picture - truth(folder, *key)) ** 2).mean() for key, (picture, _, _) in pictures.items()}
    psnr = {key: -10 * np.log10(value) for key, value in squared.items()}
    figures = report["figures"]
    assert figures["psnr"]["value"] == pytest.approx(np.mean(list(psnr.values())), abs=1e-3)
    assert figures["psnr"]["count"] == PEOPLE * VIEWS
    l1 = [np.abs(picture - truth(folder, *key)).mean() for key, (picture, _, _) in pictures.items()]
    assert figures["l1"]["value"] == pytest.approx(np.mean(l1), rel=1e-4)
    by_view = np.array([[psnr[person, view] for view in range(VIEWS)] for person in range(PEOPLE)])
    assert figures["nvv_psnr"]["value"] == pytest.approx(by_view.std(axis=1).mean(), abs=1e-4)
    worst = report["worst"]["psnr"]
    assert worst[0]["item"] == by_view.min(axis=1).argmin()
    assert worst[0]["badness"] == pytest.approx(-by_view.min(), abs=1e-3)


def test_depth_is_compared_where_both_have_one(folder, report):
    head = float(np.ptp(load_anny_head().v_template[:, 2]))
    medians = []
    for _, depth, true in shown(folder).values():
        valid = (depth > 0) & (true > 0)
        medians.append(np.sort(np.abs(depth - true)[valid])[(valid.sum() - 1) // 2])
    expected = 100 * np.sort(medians)[len(medians) // 2] / head
    assert report["figures"]["depth_error"]["value"] == pytest.approx(expected, rel=1e-3)


def test_the_report_says_what_was_measured_and_how(folder, report):
    assert "--compare-size 16" in report["command"]
    assert report["compare_size"] == 16
    assert report["rendered_size"] == 32
    for figure in report["figures"].values():
        assert figure["definition"] == METRICS[figure["metric"]].definition
        assert figure["count"] > 0
    sheet = iio.imread(folder / "alone" / "worst_psnr.png")
    worst = report["worst"]["psnr"][0]["item"]
    # The worst case stands first, the truth on its left: one of that person's pictures.
    left = sheet[:COMPARED, :COMPARED] / 255
    assert min(np.abs(left - truth(folder, worst, view)).max() for view in range(VIEWS)) < 0.01


@pytest.mark.slow
def test_two_processes_say_what_one_says(folder, report):
    arguments = command(folder, "shared", "--metrics", FREE)
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--standalone"]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run([*torchrun, "-m", "training.evaluate", *arguments], env=environment, capture_output=True,
                          text=True, cwd=Path(__file__).resolve().parents[2])  # fmt: skip
    assert done.returncode == 0, done.stderr
    shared = json.loads((folder / "shared" / "metrics.json").read_text())
    assert shared["figures"].keys() == report["figures"].keys()
    for name, figure in report["figures"].items():
        found = shared["figures"][name]
        assert found["count"] == figure["count"], name
        # Matrix products depend on the number of threads in their last bits.
        assert found["value"] == pytest.approx(figure["value"], rel=1e-4), name
    assert {name: [case["item"] for case in cases] for name, cases in shared["worst"].items()} == {
        name: [case["item"] for case in cases] for name, cases in report["worst"].items()
    }
    assert done.stdout.count("figure ") == 1, "one table"


def test_a_damaged_person_is_named_and_left_out(folder, tmp_path, capsys):
    write_spheres(tmp_path / "data", PEOPLE, VIEWS, SIZE, z_dim=64)
    record_file(tmp_path / "data", 1).write_bytes(b"no record")
    (tmp_path / "data" / "00000" / f"img{3 * VIEWS:08d}.png").unlink()
    asked = command(folder, "damaged", "--metrics", "l1", "--data", str(tmp_path / "data"))
    assert main(asked) == 0
    report = json.loads((folder / "damaged" / "metrics.json").read_text())
    assert report["figures"]["l1"]["count"] == 3 * VIEWS
    assert set(report["not_read"]) == {"held-out people 1", "held-out people 3"}
    assert "not read: held-out people 1" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("change", "code", "words"),
    [
        (["--metrics", "beauty"], 2, "no metric 'beauty'"),
        (["--yaw", "30"], 2, "first yaw must be 0"),
        (["--yaw", "front"], 2, "no list of angles"),
        (["--metrics", "cd", "--yaw", "0"], 2, "two sides"),
        (["--metrics", "swd", "--compare-size", "24"], 2, "--compare-size 32"),
        (["--metrics", "psnr", "--data", "nowhere"], 1, "No people found in nowhere"),
        (["--model", "nobody"], 1, 'no model "nobody"'),
    ],
)
def test_what_is_wrong_is_said_in_a_sentence(folder, change, code, words, capsys):
    assert main(command(folder, "wrong", *change)) == code
    message = capsys.readouterr().err
    assert words in message
    assert "Traceback" not in message


def test_what_was_asked_for_by_name_needs_its_data_and_all_leaves_it_out(folder, capsys):
    asked = ["--model", str(folder / "tiny.safetensors"), "--seeds", "2", "--out", str(folder / "few")]
    assert main([*asked, "--metrics", "psnr"]) == 2
    assert "Give --data DIR" in capsys.readouterr().err
    assert main(asked) == 0
    report = json.loads((folder / "few" / "metrics.json").read_text())
    assert {"psnr", "depth", "diversity"} <= set(report["left_out"])
    assert report["left_out"]["psnr"].endswith("Give --data DIR.")
    assert {figure["metric"] for figure in report["figures"].values()} >= {"cd", "we"}


def test_the_list_of_metrics_needs_no_model(capsys):
    assert main(["--list"]) == 0
    listed = capsys.readouterr().out
    assert all(f"{name}: " in listed for name in METRICS)
