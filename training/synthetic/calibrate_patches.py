# SPDX-License-Identifier: Apache-2.0
"""Learns to read the actions of eyes and mouths from their pixels, and what the readings are worth.

Ridge regression from the features of rendered patches to the actions; how strong the ridge has to be, how the readings
answer to the truth and how far they err is found on people who were left out (``neural_core/capture/patches.py`` has
the equation). Every eye is seen as a right one, every mouth also in the mirror: faces have no better side.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from neural_core.capture.patches import (
    Patches,
    Reader,
    eye_actions,
    eye_features,
    mouth_actions,
    mouth_features,
)
from neural_core.human.arkit import ACTIONS, mirrored
from training.synthetic.measure_fit import Seen

Array = NDArray[np.float64]

_FOLDS = 5
_RIDGES = np.geomspace(30, 30000, 10)  # squared standard deviation of what is read over that of a weight
_RESPONSE_RIDGE = 1.0  # pictures' worth of disbelief in that readings answer to actions that seldom move
_LEAST_VARIANCE = 0.03**2  # of the errors of a reading: people are not our renderings
_USUAL = 0.95  # share of the patches of people left out that are like those that were learnt from


def learn_patches(pictures: Sequence[Seen]) -> Patches:
    """Return the readers of eyes and mouths, learnt from the pictures in which FaceMesh saw a face."""
    looks = [(seen.crop, seen.crop_points) for seen in pictures]
    looks = [(crop, points) for crop, points in looks if crop is not None and points is not None]
    found = [seen for seen in pictures if seen.crop is not None]
    truth = np.stack([seen.record.actions[seen.index].astype(np.float64) for seen in found])
    people = np.unique(np.stack([seen.record.shape for seen in found]), axis=0, return_inverse=True)[1].reshape(-1)
    sides = ("Left", "Right")
    eyes = [eye_features(*look, side) for side in sides for look in looks]
    lids = [truth[:, eye_actions(side)] for side in sides]
    mouths = [mouth_features(*look, mirrored=side) for side in (False, True) for look in looks]
    swapped = [ACTIONS.index(mirrored(ACTIONS[index])) for index in mouth_actions()]
    lips = [truth[:, mouth_actions()], truth[:, swapped]]
    twice = np.tile(people, 2)
    return Patches(
        learn(np.stack(eyes), np.concatenate(lids), twice), learn(np.stack(mouths), np.concatenate(lips), twice)
    )


def learn(features: Array, truth: Array, people: NDArray[np.int64]) -> Reader:
    """Return the reader of a kind of patch.

    Args:
        features: [n, d].
        truth: [n, m] the actions that it is to read.
        people: [n] who it is: nobody is learnt from and judged by at once.
    """
    left_out, squares = np.zeros((len(_RIDGES), *truth.shape)), np.zeros(len(features))
    for fold in range(_FOLDS):
        out = people % _FOLDS == fold
        mean, scale, weights, offset = _ridge(features[~out], truth[~out])
        standard = (features[out] - mean) / scale
        left_out[:, out] = standard @ weights + offset
        squares[out] = (standard**2).mean(1)
    errors = ((left_out - truth) ** 2).mean(1) / np.maximum(truth.var(0), 1e-6)
    best = int(errors.mean(1).argmin())
    readings = left_out[best]
    centred = truth - truth.mean(0)
    gram = centred.T @ centred + _RESPONSE_RIDGE * np.eye(len(centred.T))
    response = np.linalg.solve(gram, centred.T @ (readings - readings.mean(0))).T
    bias = readings.mean(0) - response @ truth.mean(0)
    noise = readings - bias - truth @ response.T
    covariance = noise.T @ noise / len(noise) + _LEAST_VARIANCE * np.eye(len(response))
    mean, scale, weights, offset = _ridge(features, truth)
    usual = np.quantile(squares, _USUAL)
    return Reader(mean, scale, weights[best], offset, response, bias, covariance, np.array(usual))


def _ridge(features: Array, truth: Array) -> tuple[Array, Array, Array, Array]:
    """Return mean [d] and scale [d] of features, weights [r, d, m] for every ridge, and the offset [m]."""
    mean, scale = features.mean(0), features.std(0) + 1e-3
    standard, offset = (features - mean) / scale, truth.mean(0)
    values, vectors = np.linalg.eigh(standard.T @ standard)
    right = vectors.T @ (standard.T @ (truth - offset))
    return mean, scale, np.stack([vectors @ (right / (values + ridge)[:, None]) for ridge in _RIDGES]), offset
