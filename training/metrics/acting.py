# SPDX-License-Identifier: Apache-2.0
"""How well an animatable model shows held-out people who do something: what an ablation compares."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from ..data.portraits import Portraits
from .expressions import READ, line_within, read_expression, rig_values
from .pictures import over_grey, psnr
from .subject import Subject

READABLE = 128
"""Pixels from which on FaceMesh finds the faces of pictures reliably."""
_MOUTH, _EYES = 0.2, 0.12
"""Sides of the squares, in picture widths, around mouth and eyes that are looked at by themselves."""
_FRONTAL = 35.0
"""Degrees by which a picture may look from the side for landmarks to be read off it."""

Figures = dict[str, float]
Finder = Callable[[Float[Tensor, "n 3 h w"]], Sequence[NDArray[np.float64] | None]]


def measure(subject: Subject, people: Portraits, find: Finder | None) -> Figures:
    """Return how well a model shows held-out people who do something.

    * psnr, psnr_mouth, psnr_eyes: dB, over grey, of pictures and of squares around mouth and eyes;
    * gain_mouth, gain_eyes: dB by which these exceed the same person's resting face: what the motion is worth;
    * follow_mouth, follow_eyes: correlation, over the pixels of all these squares, of what the expression changes in
      the model with what would have to change in its resting face, each square's mean colour taken off both. So it is
      indifferent to how far an expression goes and to the tone of skin that somebody has; 0 where nothing moves;
    * jawOpen, eyeBlink, mouthSmile: correlation of the rig with what landmarks on the model's frontal pictures say,
      each person's mean taken off; left out where too few faces were found.

    Args:
        subject: the model.
        people: their pictures, at least as large as those that are compared.
        find: landmarks (0..1 of the picture) of each of some pictures, None where there is no face; None for no
            landmarks, where pictures are too small.
    """
    scores: dict[str, list[float]] = {}
    changes: dict[str, list[tuple[Tensor, Tensor]]] = {}
    rig, seen, who = [], [], []
    for person in range(people.people):
        portrait = subject.system.portrait_of(people.codes[person][None].to(subject.system.device))
        for view in range(people.cameras.shape[1]):
            actions, joints = people.actions[person, view], people.joints[person, view]
            camera = subject.in_head_space(people.cameras[person, view][None])
            moving, resting = (
                subject.see(subject.acting(portrait, face, joints), camera).compared
                for face in (actions, torch.zeros_like(actions))
            )
            rgba = people.rgba[person, view].float()[None] / 255
            truth = F.adaptive_avg_pool2d(over_grey(rgba[:, :3] * rgba[:, 3:], rgba[:, 3:]), subject.pixels)
            scores.setdefault("psnr", []).append(float(psnr(moving, truth)))
            *eyes, mouth = people.features[person, view]
            for name, places, side in (("mouth", [mouth], _MOUTH), ("eyes", eyes, _EYES)):
                for where in (place[:2] for place in places if place[2] > 0):
                    shown, rest, true = (_square(picture, where, side) for picture in (moving, resting, truth))
                    score = float(psnr(shown, true))
                    scores.setdefault(f"psnr_{name}", []).append(score)
                    scores.setdefault(f"gain_{name}", []).append(score - float(psnr(rest, true)))
                    changes.setdefault(name, []).append((_pattern(shown - rest), _pattern(true - rest)))
            if find is not None and _is_frontal(people.cameras[person, view]):
                rig.append(actions.numpy())
                seen.append(next(iter(find(moving))))
                who.append(person)
    figures = {name: statistics.fmean(values) for name, values in scores.items()}
    figures |= {f"follow_{name}": _agreement(pairs) for name, pairs in changes.items()}
    return figures | _correlations(np.array(rig).reshape(-1, 52), seen, np.array(who))


def _square(picture: Float[Tensor, "1 3 h w"], where: Float[Tensor, " 2"], side: float) -> Tensor:
    """Return the square around a place, moved into the picture where it would leave it."""
    size = picture.shape[-1]
    extent = max(1, round(side * size))
    left, top = ((where * size).round().long() - extent // 2).clamp(0, size - extent).tolist()
    return picture[..., top : top + extent, left : left + extent]


def _pattern(change: Float[Tensor, "1 3 h w"]) -> Float[Tensor, " n"]:
    """Return all values of a change, each channel's mean taken off."""
    return (change - change.mean((-2, -1), keepdim=True)).flatten()


def _agreement(pairs: Sequence[tuple[Tensor, Tensor]]) -> float:
    """Return the cosine between what was changed and what was wanted, all squares together."""
    changed, wanted = (torch.cat(values).double() for values in zip(*pairs, strict=True))
    lengths = float(changed.norm() * wanted.norm())
    return float(changed @ wanted) / lengths if lengths > 0 else 0.0


def _is_frontal(label: Float[Tensor, " 25"]) -> bool:
    """Return whether a camera looks at the face, whose direction is +z, from `_FRONTAL` degrees at most."""
    backwards = -label[:16].reshape(4, 4)[:3, 2]
    return bool(backwards[2] >= np.cos(np.radians(_FRONTAL)))


def _correlations(
    rig: Float[NDArray, "n 52"], seen: Sequence[NDArray[np.float64] | None], who: NDArray[np.integer]
) -> Figures:
    found = np.array([points is not None for points in seen], bool)
    if found.sum() < 3:
        return {}
    asked = rig_values(rig[found])
    said = np.stack([read_expression(points) for points in seen if points is not None])
    lines = (line_within(asked[:, k], said[:, k], who[found]) for k in range(len(READ)))
    return {name: line.correlation for name, line in zip(READ, lines, strict=True) if line is not None}
