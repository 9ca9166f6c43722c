# SPDX-License-Identifier: Apache-2.0
"""The evaluator with the user's networks, with stand-ins for them: what they see, what becomes of their answers."""

import json
from pathlib import Path

import numpy as np
import pytest
import scipy.linalg
import torch
from torch import nn

from neural_core import others, perceptual, systems
from neural_core.cameras import orbit
from neural_core.errors import InputError
from tests.tiny_evaluation import PEOPLE, SIZE, VIEWS, evaluate, truths, write_folder
from training.evaluate import main
from training.metrics import judge_films, judge_held_out, judge_sets
from training.metrics.sync import Sync as SyncFigures


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_folder(tmp_path_factory.mktemp("evaluate"))


class ColourMeans(nn.Module):
    """Stands for Inception: its features are the channels' means and a mixture; it remembers what it was shown."""

    def __init__(self) -> None:
        super().__init__()
        self.anchor = nn.Parameter(torch.zeros(1))
        self.shown: list[torch.Tensor] = []

    def forward(self, pictures: torch.Tensor) -> tuple[torch.Tensor]:
        assert pictures.dtype == torch.uint8
        self.shown.append(pictures)
        means = pictures.float().mean((2, 3)) / 255
        return (torch.cat([means, means.prod(1, keepdim=True)], dim=1),)


def test_fid_and_kid_lay_random_people_beside_all_pictures_of_the_data(folder, tmp_path, monkeypatch):
    network = ColourMeans()
    monkeypatch.setattr(others, "find", lambda name, needed_by: tmp_path / name)
    monkeypatch.setattr(judge_sets, "_inception", lambda path, device: network)
    report = evaluate(folder, tmp_path, "fid,kid", "--generated", "5")
    real = [pictures for pictures in network.shown if any(np.array_equal(pictures[0], true) for true in truths(folder))]
    made = [pictures for pictures in network.shown if not any(pictures is one for one in real)]
    assert (len(made), len(real)) == (5, PEOPLE * VIEWS), "each once, though two metrics look at it"
    assert report["figures"]["fid"]["count"] == 5
    a, b = (torch.cat([network(one)[0] for one in some]).double().numpy() for some in (made, real))
    root = scipy.linalg.sqrtm(np.cov(a, rowvar=False) @ np.cov(b, rowvar=False)).real
    expected = ((a.mean(0) - b.mean(0)) ** 2).sum()
    expected += np.trace(np.cov(a, rowvar=False) + np.cov(b, rowvar=False) - 2 * root)
    assert report["figures"]["fid"]["value"] == pytest.approx(expected, rel=1e-3, abs=1e-6)


def test_random_people_are_not_truncated_and_seen_by_the_datas_cameras(folder):
    from training.metrics.set_sources import GeneratedPictures
    from training.metrics.subject import Subject

    system = systems.load(folder / "tiny.safetensors")
    source = GeneratedPictures(Subject(system, SIZE), folder / "data", 3)
    labels = source.real.labels
    for seed in range(3):
        label = source.label(seed)
        assert (labels == label).all(1).any()
        camera = source.subject.in_head_space(label)
        seen = system.pose(system.create(seed, 1.0)).render(camera, 32)
        expected = ((seen.image + 1) / 2 + 0.5 * (1 - seen.opacity))[0].clamp(0, 1)
        expected = expected.reshape(3, SIZE, 2, SIZE, 2).mean((2, 4))  # no larger than the data's pictures
        torch.testing.assert_close(source[seed].pictures()["generated"], expected, atol=1e-6, rtol=0)


def test_a_missing_network_is_refused_by_name_or_left_out(folder, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("NEURAL_PORTRAIT_MODELS", str(tmp_path))
    asked = ["--model", str(folder / "tiny.safetensors"), "--data", str(folder / "data"), "--device", "cpu",
             "--seeds", "2", "--compare-size", str(SIZE), "--out", str(tmp_path / "out")]  # fmt: skip
    assert main([*asked, "--metrics", "l1,fid"]) == 1
    message = capsys.readouterr().err
    assert "'fid'" in message
    assert "pt_inception" in message
    assert str(tmp_path / "others") in message


class Numbered(nn.Module):
    """Stands for LPIPS' and DECA's networks."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = 0

    def forward(self, first: torch.Tensor, *second: torch.Tensor) -> torch.Tensor:
        self.asked += 1
        return (first - second[0]).abs().amax((1, 2, 3))


def test_lpips_sees_the_compared_pictures_between_minus_one_and_one(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(others, "find", lambda name, needed_by: tmp_path / name)
    monkeypatch.setattr(judge_held_out, "lpips", lambda path, device: Numbered())
    monkeypatch.setattr(judge_held_out, "SMALLEST", SIZE)
    monkeypatch.setattr(perceptual, "SMALLEST", SIZE)
    figures = evaluate(folder, tmp_path, "lpips")["figures"]
    # The largest difference is on the sphere's outline or in its colour: between 0 and 2, the range's width.
    assert 0.2 < figures["lpips"]["value"] <= 2
    assert figures["lpips"]["count"] == PEOPLE * VIEWS


def write_clips(folder: Path, clips: int, frames: int) -> None:
    """Folders of grey frames, as PV3D has them: clip k is k tenths bright; each camera stands 5 degrees further."""
    import imageio.v3 as iio

    labels = []
    for clip in range(clips):
        (folder / f"clip{clip}").mkdir(parents=True)
        for frame, label in enumerate(orbit(torch.arange(frames) * 5.0).label().tolist()):
            name = f"clip{clip}/{frame:03d}.png"
            iio.imwrite(folder / name, np.full((32, 32, 3), 25 * clip, np.uint8))
            labels.append([name, label])
    (folder / "dataset.json").write_text(json.dumps({"labels": labels}))


def test_fvd_lays_seeds_on_the_cameras_of_real_clips(folder, tmp_path, monkeypatch):
    write_clips(tmp_path / "clips", 3, 16)
    shown = []

    def features(network: object, batches: list[torch.Tensor]) -> torch.Tensor:
        shown.append(batches[0][0])
        return batches[0].mean((2, 3, 4))[:, :2]

    monkeypatch.setattr(others, "find", lambda name, needed_by: tmp_path / name)
    monkeypatch.setattr(judge_sets, "i3d", lambda path, device: None)
    monkeypatch.setattr(judge_sets, "video_features", features)
    report = evaluate(folder, tmp_path / "out", "fvd", "--clips", str(tmp_path / "clips"))
    assert report["figures"]["fvd"]["count"] == 3
    real = [clip for clip in shown if clip.std() < 1e-6]
    made = [clip for clip in shown if clip.std() >= 1e-6]
    assert [len(clip) for clip in real + made] == [16] * 6
    system = systems.load(folder / "tiny.safetensors")
    camera = system.to_head_space(orbit(15.0))  # the fourth frame's
    seen = system.pose(system.create(1, 1.0)).render(camera, 32)
    expected = ((seen.image + 1) / 2)[0].clamp(0, 1)  # the clips have no alpha: nothing is laid over grey
    torch.testing.assert_close(made[1][3], expected, atol=1e-5, rtol=0)


def test_sync_is_averaged_over_films_and_what_is_no_film_is_named(folder, tmp_path, monkeypatch):
    heard = {"a.mp4": SyncFigures(4.0, 8.0, 0), "b.mp4": SyncFigures(2.0, 10.0, 1)}

    def film_sync(network: object, path: Path) -> SyncFigures:
        if path.name not in heard:
            raise InputError(f'"{path.name}" has no sound.')
        return heard[path.name]

    for name in ("a.mp4", "b.mp4", "c.mp4", "notes.txt"):
        (tmp_path / name).touch()
    monkeypatch.setattr(others, "find", lambda name, needed_by: tmp_path / name)
    monkeypatch.setattr(judge_films, "syncnet", lambda path, device: None)
    monkeypatch.setattr(judge_films, "film_sync", film_sync)
    report = evaluate(folder, tmp_path / "out", "sync", "--films", str(tmp_path))
    assert report["figures"]["sync"]["value"] == 3
    assert report["figures"]["sync_distance"]["value"] == 9
    assert report["figures"]["sync"]["count"] == 2
    assert list(report["not_read"].values()) == ['"c.mp4" has no sound.']
