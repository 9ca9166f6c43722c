# SPDX-License-Identifier: Apache-2.0
"""Parts of the evaluator: the worst cases, laziness, the user's networks, faces, and the table in the docs."""

import dataclasses
import gc
import itertools
import json
import subprocess
import sys
import weakref
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import scipy.linalg
import torch
from torch import nn

from neural_core import others, perceptual, systems
from neural_core.cameras import Camera, orbit
from neural_core.errors import InputError, UsageError
from neural_core.human.anny import load_anny_head
from neural_core.human.landmarks import eye_distance
from neural_core.records import Record
from tests.spheres import write_spheres
from tests.tiny_models import save_tiny
from training.evaluate import main
from training.metrics import (
    judge_faces,
    judge_films,
    judge_held_out,
    judge_identity,
    judge_sets,
    judge_truth,
    sources,
)
from training.metrics.fit_distances import Fit
from training.metrics.protocol import Case, Setting
from training.metrics.registry import METRICS
from training.metrics.sync import Sync as SyncFigures
from training.metrics.truth import Truth, TruthDistances
from training.metrics.worst import KEPT, Worst, sheet

PEOPLE, VIEWS, SIZE = 6, 2, 16


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("evaluate_parts")
    save_tiny(folder / "tiny.safetensors")
    write_spheres(folder / "data", PEOPLE, VIEWS, SIZE, z_dim=64)
    return folder


def evaluate(folder: Path, out: Path, metrics: str, *more: str) -> dict:
    asked = ["--model", str(folder / "tiny.safetensors"), "--data", str(folder / "data"), "--metrics", metrics,
             "--seeds", "4", "--compare-size", str(SIZE), "--device", "cpu", "--out", str(out), *more]  # fmt: skip
    assert main(asked) == 0
    return json.loads((out / "metrics.json").read_text())


def picture(value: int) -> np.ndarray:
    return np.full((2, 3, 3), value, np.uint8)


def test_the_worst_are_those_of_a_sort_whoever_saw_them():
    badness = np.random.default_rng(0).permutation(50) // 2  # each value twice
    expected = sorted(range(50), key=lambda index: (-badness[index], index))[:KEPT]
    whole, halves = Worst(), (Worst(), Worst())
    for index in range(50):
        case = Case(float(badness[index]), picture(index))
        whole.see(index, [case])
        halves[index % 2].see(index, [case])
    halves[0].merge(halves[1])
    for worst in (whole, halves[0]):
        ranked = worst.ranked()
        assert [index for index, _ in ranked] == expected
        assert all((case.picture == index).all() for index, case in ranked)


def test_the_sheet_shows_the_worst_first_and_every_case():
    canvas = sheet([Case(5 - value, picture(value)) for value in range(5)])
    shown = [canvas[row : row + 2, column : column + 3] for row in (0, 6) for column in (0, 7, 14, 21)]
    assert [int(part[0, 0, 0]) for part in shown] == [0, 1, 2, 3, 4, 255, 255, 255]
    assert all((part == part[0, 0]).all() for part in shown)


def test_one_person_is_in_memory_at_a_time(folder, tmp_path, monkeypatch):
    alive, most = weakref.WeakSet(), []
    read = sources.TruePictures.__init__

    def counted(self, path, **more):
        gc.collect()
        read(self, path, **more)
        alive.add(self)
        most.append(len(alive))

    monkeypatch.setattr(sources.TruePictures, "__init__", counted)
    evaluate(folder, tmp_path, "psnr,depth")
    assert len(most) == PEOPLE
    assert max(most) <= 2, "the one before may still be held while the next is read"


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


def truths(folder: Path) -> list[np.ndarray]:
    """All true pictures over grey, [3, h, w], 0..255."""
    import imageio.v3 as iio

    found = []
    for file in sorted((folder / "data" / "00000").glob("*.png")):
        rgba = iio.imread(file).astype(np.float64)
        alpha = rgba[..., 3:] / 255
        found.append(np.rint(rgba[..., :3] * alpha + 127.5 * (1 - alpha)).transpose(2, 0, 1).astype(np.uint8))
    return found


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


def rig_pixels(folder: Path, yaw: float, seed: int) -> np.ndarray:
    """Where the rig's 478 landmarks of a seed are in a portrait, 0..1: a pinhole camera by hand."""
    system = systems.load(folder / "tiny.safetensors")
    face = load_anny_head()
    shape = system.create(seed, 0.7).shape.numpy()
    points = face.landmarks(face.vertices(shape), "478")
    angle = np.deg2rad(yaw)
    forward = -np.array([np.sin(angle), 0, np.cos(angle)])
    right = np.array([np.cos(angle), 0, -np.sin(angle)])
    apart = points - -1.35 * forward  # radius 2.7 model units, 2 to the metre
    along = apart @ forward
    return 0.5 + 4.2647 * np.stack([apart @ right / along, -apart[:, 1] / along], axis=1)


def test_faces_are_counted_and_measured_at_each_yaw(folder, tmp_path, monkeypatch):
    asked: list[int] = []

    def detector(pictures: torch.Tensor) -> list[np.ndarray | None]:
        """No face from the side for seed 2; else the rig's landmarks, shifted by 0.01, at 30 degrees by 0.02."""
        seed = len(asked)
        asked.append(len(pictures))
        shifted = [rig_pixels(folder, yaw, seed) + shift for yaw, shift in ((0, [0.01, 0]), (30, [0, 0.02]))]
        return [shifted[0], None if seed == 2 else shifted[1]]

    monkeypatch.setattr(sources, "faces_in", detector)
    figures = evaluate(folder, tmp_path, "faces")["figures"]
    assert figures["faces_found_0"]["value"] == 4
    assert figures["faces_found_30"]["value"] == 3
    for yaw, shift, seeds in ((0, 0.01, (0, 1, 2, 3)), (30, 0.02, (0, 1, 3))):
        eyes = [rig_pixels(folder, yaw, seed)[[[362, 263], [33, 133]]].mean(1) for seed in seeds]
        expected = np.median([100 * shift / np.linalg.norm(left - right) for left, right in eyes])
        assert figures[f"landmark_distance_{yaw}"]["value"] == pytest.approx(expected, rel=1e-3)
        assert figures[f"landmark_distance_{yaw}"]["count"] == len(seeds)


class FirstPixels(nn.Module):
    """Stands for ArcFace: an embedding of what it is shown."""

    def __init__(self) -> None:
        super().__init__()
        self.anchor = nn.Parameter(torch.zeros(1))

    def forward(self, faces: torch.Tensor) -> torch.Tensor:
        return nn.functional.normalize(faces.mean((2, 3)), dim=1)


def test_identity_is_compared_where_both_faces_are_found(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(others, "find", lambda name, needed_by: tmp_path / name)
    monkeypatch.setattr(judge_identity, "arcface", lambda path, device: FirstPixels())
    points = np.zeros((478, 2))
    points[[33, 133], 0], points[[362, 263], 0], points[4], points[61], points[291] = 4, 12, (8, 8), (5, 12), (11, 12)
    points[[33, 133, 362, 263], 1] = 5
    points /= 16
    calls = []

    def detector(pictures: torch.Tensor) -> list[np.ndarray | None]:
        calls.append(len(pictures))
        return [None if len(calls) == 1 and number == 0 else points for number in range(len(pictures))]

    monkeypatch.setattr(sources, "faces_in", detector)
    figures = evaluate(folder, tmp_path, "csim,multi-view-id")["figures"]
    assert figures["csim"]["count"] == PEOPLE * VIEWS - 1
    assert figures["multi_view_id"]["count"] == 4
    assert 0.9 < figures["csim"]["value"] <= 1, "the means of colours are all positive"


def test_the_help_comes_without_torch():
    blocked = "import sys; sys.modules['torch'] = sys.modules['numpy'] = None\n"
    program = blocked + "from training.evaluate import main\nsys.exit(main(['--list']))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True,
                          cwd=Path(__file__).resolve().parents[2])  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "psnr: " in done.stdout


def test_the_table_in_the_docs_is_the_registry(repository):
    rows = {
        line.split("|")[1].strip().strip("`"): line
        for line in (repository / "docs" / "metrics.md").read_text().splitlines()
        if line.startswith("| `")
    }
    assert list(rows) == list(METRICS)
    for name, metric in METRICS.items():
        cells = [cell.strip() for cell in rows[name].strip("|").split("|")]
        assert cells[1] == metric.definition
        assert cells[2] == metric.paper
        files = others.NETWORKS[metric.network].files[0] if metric.network else ""
        assert cells[4].strip("`") == files


def test_landmarks_of_held_out_people_are_compared_with_those_of_the_truth(folder, tmp_path, monkeypatch):
    """A detector that projects one head to all pictures; in the model's it is 3/256 too high and too low in turn."""
    records = [Record.load(folder / "data" / "records" / f"{person:06d}.npz") for person in range(PEOPLE)]
    face = load_anny_head()
    points = torch.from_numpy(face.landmarks(face.v_template, "478")).float()
    calls = []

    def detector(pictures: torch.Tensor) -> list[np.ndarray | None]:
        person, true = divmod(len(calls), 2)  # the model's pictures are asked for first
        calls.append(len(pictures))
        cameras = Camera.from_label(torch.from_numpy(records[person].cameras)).scaled(0.5)
        places = cameras.project(points.expand(VIEWS, -1, -1)).double().numpy()
        return [None if (person, true, view) == (4, 1, 0) else places[view] + [0, (1 - true) * (-1) ** view * 3 / 256]
                for view in range(VIEWS)]  # fmt: skip

    monkeypatch.setattr(sources, "faces_in", detector)
    report = evaluate(folder, tmp_path, "akd,landmark-consistency-held-out")
    figures = report["figures"]
    assert figures["akd"]["value"] == pytest.approx(3, abs=1e-3)
    assert figures["akd"]["count"] == PEOPLE * VIEWS - 1
    assert figures["landmark_consistency_held_out"]["count"] == PEOPLE - 1, "of one person one view is left"
    assert figures["landmark_consistency_truth"]["value"] == pytest.approx(0, abs=1e-3)
    # Both rays pass the point half way between them at 3/256 of what a picture is wide there: about 1.3 m away.
    apart = 3 / 256 * 1.3 / 4.2647
    expected = 100 * apart / eye_distance(points.numpy())
    assert figures["landmark_consistency_held_out"]["value"] == pytest.approx(expected, rel=0.05)


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


def test_expression_and_pose_are_fitted_once_for_both_figures(folder, tmp_path, monkeypatch):
    fits = []

    def fit(network: object, batches: list[tuple[torch.Tensor, torch.Tensor]]) -> Fit:
        """The model's pictures have expression 0.5 and are turned by 0.3 about y; the true ones are zero."""
        (pictures, landmarks), true = batches[0], len(fits) % 2
        assert len(pictures) == len(landmarks)
        fits.append(len(pictures))
        rotation = torch.tensor([[0.0, 0.3 * (1 - true), 0.0]]).expand(len(pictures), -1)
        expression = torch.full((len(pictures), 50), 0.5 * (1 - true))
        return Fit(torch.zeros(len(pictures), 100), expression, rotation, rotation)

    monkeypatch.setattr(others, "find", lambda name, needed_by: tmp_path / name)
    monkeypatch.setattr(judge_faces, "_deca", lambda path, device: None)
    monkeypatch.setattr(judge_faces, "fit", fit)
    monkeypatch.setattr(sources, "faces_in", lambda pictures: [np.full((478, 2), 0.5)] * len(pictures))
    figures = evaluate(folder, tmp_path, "aed,apd")["figures"]
    assert figures["aed"]["value"] == pytest.approx(0.5)
    assert figures["apd"]["value"] == pytest.approx(0.1)
    assert fits == [VIEWS] * (2 * PEOPLE)


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


def test_what_capture_reads_is_shown_beside_what_it_reads_of_the_truth(folder, tmp_path, monkeypatch):
    """A reader that is 2 mm off with the model's pictures and right with the true ones, which are smaller here."""
    monkeypatch.setattr(judge_truth, "PEOPLE", 4)
    monkeypatch.setattr(judge_truth, "FaceFinder", lambda: None)

    def read(finder: None, face: object, pictures: np.ndarray, truth: Truth) -> TruthDistances:
        assert pictures.dtype == np.uint8
        ours = pictures.shape[1] == 32
        unseen = np.where(np.arange(len(pictures)) == 0, np.nan, 0.25 if ours else 0.1)
        shape = np.zeros(40, np.float32) if ours else truth.shape
        return TruthDistances(shape, 2.0 if ours else 0.0, 3.0, unseen, 10 * unseen)

    monkeypatch.setattr(judge_truth, "distances_to_truth", read)
    shapes = np.random.default_rng(0).standard_normal((PEOPLE, 40)).astype(np.float32)
    data = tmp_path / "data"
    write_spheres(data, PEOPLE, VIEWS, SIZE, z_dim=64)
    for person, shape in enumerate(shapes):
        path = data / "records" / f"{person:06d}.npz"
        dataclasses.replace(
            Record.load(path), shape=shape, actions=np.zeros((VIEWS, 52), np.float32)
        ).save(path)  # fmt: skip
    figures = evaluate(folder, tmp_path / "out", "truth-distance", "--data", str(data))["figures"]
    assert figures["identity_distance"]["value"] == 2
    assert figures["identity_distance_of_truth"]["value"] == 0
    assert figures["identity_distance_of_mean"]["value"] == 3
    assert figures["identity_distance"]["count"] == 4
    assert figures["expression_distance"]["value"] == 0.25
    assert figures["expression_distance"]["count"] == 4 * (VIEWS - 1)
    assert figures["pose_distance_of_truth"]["value"] == pytest.approx(1)
    assert figures["recognised_of_truth"]["value"] == 100
    assert figures["recognised"]["value"] == 25, "who looks like the mean person is nearest to one of the four"


def lower_median_of_pairs(pictures: list[np.ndarray]) -> float:
    apart = sorted(np.abs(a - b).mean() for a, b in itertools.combinations(pictures, 2))
    return apart[(len(apart) - 1) // 2]


def test_diversity_compares_pairs_of_portraits_with_pairs_of_people(folder, tmp_path):
    figures = evaluate(folder, tmp_path, "diversity", "--train-data", str(folder / "data"))["figures"]
    system = systems.load(folder / "tiny.safetensors")
    portraits = []
    for seed in range(4):
        seen = system.pose(system.create(seed, 0.7)).render(system.creation_camera(), 32)
        picture = ((seen.image + 1) / 2 + 0.5 * (1 - seen.opacity))[0].clamp(0, 1).numpy()
        portraits.append(picture.reshape(3, SIZE, 2, SIZE, 2).mean((2, 4)))
    people = [picture / 255 for picture in truths(folder)[: 4 * VIEWS : VIEWS]]  # a ball looks the same from all sides
    assert figures["pairwise_l1_portraits"]["value"] == pytest.approx(lower_median_of_pairs(portraits), rel=1e-3)
    assert figures["pairwise_l1_people"]["value"] == pytest.approx(lower_median_of_pairs(people), rel=2e-2)
    ratio = lower_median_of_pairs(portraits) / lower_median_of_pairs(people)
    assert figures["diversity"]["value"] == pytest.approx(ratio, rel=2e-2)


def test_the_frontal_picture_is_no_close_up(folder, tmp_path):
    path = tmp_path / "records" / "000000.npz"
    record = Record.load(folder / "data" / "records" / "000000.npz")
    for yaws, close_up, expected in (
        ([60.0, -10.0, 5.0, 170.0], [], 2),
        ([60.0, -10.0, 5.0, 170.0], [False, False, True, False], 1),
    ):
        cameras = orbit(torch.tensor(yaws)).label().numpy()
        dataclasses.replace(record, cameras=cameras, close_up=np.array(close_up, bool)).save(path)
        assert sources.TruePictures(path).frontal == expected


def test_people_of_whom_the_code_does_not_say_all_are_left_out(folder, tmp_path):
    data = tmp_path / "data"
    write_spheres(data, 4, VIEWS, SIZE, z_dim=64)
    smiling = np.zeros((VIEWS, 52), np.float32)
    smiling[1, 40] = 0.5
    changes = {0: {"actions": smiling}, 1: {"source": {"variety": "wide"}}, 2: {"z": np.zeros(9, np.float32)}}
    for person, change in changes.items():
        path = data / "records" / f"{person:06d}.npz"
        dataclasses.replace(Record.load(path), **change).save(path)
    report = evaluate(folder, tmp_path / "out", "l1", "--data", str(data))
    assert report["figures"]["l1"]["count"] == VIEWS
    assert set(report["not_read"]) == {f"held-out people {person}" for person in range(3)}


def test_a_model_without_codes_is_not_asked_for_people(folder):
    seeds_alone = Setting(SimpleNamespace(code_size=0), data=folder / "data")
    with pytest.raises(UsageError, match="'psnr' asks for people by their code"):
        METRICS["psnr"].begin(seeds_alone)
    METRICS["cd"].begin(seeds_alone)
