# SPDX-License-Identifier: Apache-2.0
"""How the figures are taken: which pictures are rendered, what they are compared with, what is written to look at."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from rich.progress import track
from torch import Tensor

from neural_core.cameras import Camera
from neural_core.human.anny import load_anny_head
from neural_core.systems.eg3d.system import EG3D

from ..data.portraits import load_portraits
from ..pictures import save_picture
from .faces import detect, landmark_distance
from .pictures import median_depth_error, median_pairwise_l1, over_grey, psnr


@dataclass(frozen=True)
class FrontalPortraits:
    """Pictures of seeds 0..n-1 from the front, over grey, and where the rig has its landmarks."""

    pictures: Tensor
    """[n, 3, h, w] in 0..1."""
    landmarks: np.ndarray
    """[n, 478, 2] the face model's landmarks of each portrait's shape, in pixels."""


def held_out(system: EG3D, folder: Path, out: Path) -> dict[str, float]:
    """PSNR and depth error on people that training never saw, from their true codes.

    Every picture of the data set is rendered at its own camera and size, twice: the person, and the mean person (code
    0). Writes `held_out.png`: truth above network, eight people.
    """
    data = load_portraits(folder)
    head_depth = float(np.ptp(load_anny_head().v_template[:, 2]))
    mean_person = system.pose(system.portrait_of(torch.zeros(1, data.codes.shape[1])))
    scores: dict[str, list[Tensor]] = {"person": [], "mean": [], "depth": []}
    shown = []
    for index in track(range(data.people), "held-out people"):
        field = system.pose(system.portrait_of(data.codes[index : index + 1]))
        truth_alpha = data.rgba[index, :, 3:].float() / 255
        truth = over_grey(data.rgba[index, :, :3].float() / 255 * truth_alpha, truth_alpha)
        camera = system.to_head_space(Camera.from_label(data.cameras[index]))
        pictures, depth, opacity = _render(field, camera, data.size)
        scores["person"].append(psnr(pictures, truth))
        scores["mean"].append(psnr(_render(mean_person, camera, data.size)[0], truth))
        truth_depth = data.depth[index].float() / system.config.head_to_model.scale
        valid = (truth_alpha[:, 0] > 0.95) & (truth_depth > 0) & (opacity[:, 0] > 0.5)
        scores["depth"].append(median_depth_error(depth[:, 0], truth_depth, valid, head_depth))
        if index < 8:
            shown.append(torch.cat([truth[0], pictures[0]], dim=1))
    save_picture(out / "held_out.png", torch.cat(shown, dim=2), "training.evaluate")
    mean = {name: float(torch.cat(values).mean()) for name, values in scores.items() if name != "depth"}
    return {
        "people held out": float(data.people),
        "PSNR held-out, dB": mean["person"],
        "PSNR of the mean person, dB": mean["mean"],
        "gain over the mean person, dB": mean["person"] - mean["mean"],
        "median depth error / head depth": float(torch.cat(scores["depth"]).median()),
    }


def portraits(system: EG3D, seeds: int, truncation: float, size: int, out: Path) -> FrontalPortraits:
    """Render seeds 0..seeds-1 from the front; writes `seeds.png`, ten in a row."""
    face = load_anny_head()
    camera = system.creation_camera()
    pictures, landmarks = [], []
    for seed in track(range(seeds), "portraits"):
        portrait = system.create(seed, truncation)
        pictures.append(_render(system.pose(portrait), camera, size)[0][0])
        if portrait.shape is None:
            continue
        points = face.landmarks(face.vertices(portrait.shape.numpy()), "478")
        landmarks.append(camera.project(torch.from_numpy(points).float()[None])[0].numpy() * size)
    sheet = [torch.cat(pictures[i : i + 10], dim=2) for i in range(0, len(pictures) - len(pictures) % 10, 10)]
    save_picture(out / "seeds.png", torch.cat(sheet, dim=1), "training.evaluate")
    return FrontalPortraits(torch.stack(pictures), np.stack(landmarks))


def faces(seen: FrontalPortraits) -> dict[str, float]:
    """How many portraits FaceMesh finds a face in, and how far its landmarks lie from the rig's (median)."""
    found = detect((seen.pictures.movedim(1, -1) * 255).round().byte().numpy())
    pairs = zip(found, seen.landmarks, strict=True)
    distances = [landmark_distance(points, expected) for points, expected in pairs if points is not None]
    return {
        "portraits": float(len(found)),
        "faces found": float(len(distances)),
        "median landmark distance / inter-ocular": float(np.median(distances)) if distances else float("nan"),
    }


def diversity(seen: FrontalPortraits, folder: Path) -> dict[str, float]:
    """Median pairwise L1 between portraits and between as many training people's most frontal pictures."""
    data = load_portraits(folder, limit=len(seen.pictures))
    forward = Camera.from_label(data.cameras.flatten(0, 1)).cam2world[:, 2, 2].unflatten(0, data.cameras.shape[:2])
    usual = data.cameras[..., 16].median()  # close-ups have a longer focal length
    frontal = torch.where(data.cameras[..., 16] <= usual * 1.01, forward, 2.0).argmin(dim=1)
    rgba = data.rgba[torch.arange(data.people), frontal].float() / 255
    people = over_grey(rgba[:, :3] * rgba[:, 3:], rgba[:, 3:])
    ours = torch.nn.functional.interpolate(seen.pictures, size=data.size, mode="bilinear", antialias=True)
    between, truth = median_pairwise_l1(ours), median_pairwise_l1(people)
    return {
        "pairwise L1 between portraits": between,
        "pairwise L1 between training people": truth,
        "ratio of the two": between / truth,
    }


@torch.inference_mode()
def _render(field, camera: Camera, size: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return pictures over grey [b, 3, h, w] in 0..1, depth and opacity [b, 1, h, w]."""
    pictures, depths, opacities = [], [], []
    for index in range(camera.cam2world.shape[0]):
        view = Camera(camera.cam2world[index : index + 1], camera.intrinsics[index : index + 1])
        seen = field.render(view, size)
        pictures.append(over_grey((seen.image + 1) / 2, seen.opacity).clamp(0, 1))
        depths.append(seen.depth)
        opacities.append(seen.opacity)
    return torch.cat(pictures), torch.cat(depths), torch.cat(opacities)
