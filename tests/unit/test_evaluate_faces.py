# SPDX-License-Identifier: Apache-2.0
"""The evaluator's figures of faces: found, recognised, compared, and read again by our capture."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from neural_core import others, systems
from neural_core.cameras import Camera
from neural_core.human.anny import load_anny_head
from neural_core.human.landmarks import eye_distance
from neural_core.records import Record
from tests.spheres import write_spheres
from tests.tiny_evaluation import PEOPLE, SIZE, VIEWS, evaluate, write_folder
from training.metrics import judge_faces, judge_identity, judge_truth, sources
from training.metrics.fit_distances import Fit
from training.metrics.truth import Truth, TruthDistances


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_folder(tmp_path_factory.mktemp("evaluate"))


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
