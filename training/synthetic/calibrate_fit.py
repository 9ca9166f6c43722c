# SPDX-License-Identifier: Apache-2.0
"""How FaceMesh sees the face model, and what pixels tell beside it: measured on rendered people.

    python -m training.synthesize portraits --out CYCLES --people 250 --instants 2 --views 1 --max-yaw 30 --size 256
           --variety wide --samples 10 --seed 2000000
    python -m training.synthesize portraits --out RASTER --people 220 --instants 4 --views 1 --max-yaw 45 --size 256
           --variety wide --renderer raster --seed 7000                                  # 127 people are enough
    python -m training.synthetic.calibrate_fit CYCLES RASTER --people 150

It writes ``assets/face/facemesh_anny_head.npz`` and ``facemesh_patches.npz`` (``calibrate_patches.py``).

For every picture the camera and the face are known, so that what FaceMesh says differs from the truth by a vector of
the picture plane, in metres at the head. Over all pictures it is split (as in ``neural_core/capture/measured.py``)

    difference = P (template + views q + identity s + actions a + errors w) + noise

with P what the camera keeps of three dimensions: first a ridge regression on the known q, s and a (how FaceMesh
moves its landmarks, beyond the geometry), then factor analysis of the rest by expectation maximisation.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import tyro
from numpy.typing import NDArray

from neural_core.capture import patches
from neural_core.capture.landmark_problem import Frame, Problem
from neural_core.capture.measured import (
    NAME,
    SHIPPED,
    VIEW_TERMS,
    Calibration,
    LandmarkModel,
    landmark_model,
    view_terms,
)
from neural_core.errors import InputError
from neural_core.human.anny import load_anny_head
from neural_core.human.arkit import ACTIONS
from neural_core.human.model import FaceModel
from training.synthetic.calibrate_patches import learn_patches
from training.synthetic.expressions import sample_expression
from training.synthetic.measure_fit import Seen, look

Array = NDArray[np.float64]

# Standard deviations: what is expected of the corrections before anything is seen (of coefficients: a share of how far
# they move the landmark, and metres), and of one picture's noise, metres.
_TEMPLATE, _VIEWS, _IDENTITY, _ACTIONS, _ERRORS, _NOISE = 0.01, 0.005, (0.3, 5e-5), (0.4, 3e-4), 0.0015, 0.003
_PATTERNS = 12
_FOLDS = 5
_ASTRAY = 0.03  # metres off: FaceMesh looked at something else
_ROUNDS = 8
_FEWEST = 60
_EXPRESSIONS = 4000
_UNUSUAL = 0.1  # people do more than we sample: standard deviation added to every action's ...
_SHUT = 0.3  # ... and to that of blinking, because eyes are open or shut and seldom between


@dataclass(frozen=True)
class Differences:
    """What FaceMesh says minus the geometry, of n pictures."""

    vectors: Array
    """[n, 478, 2] metres at the head."""
    planes: Array
    """[n, 478, 2, 3] how the picture moves with the landmark, in the same unit."""
    regressors: Array
    """[n, 6 + K + E] one, where the camera stands, identity, actions."""
    people: NDArray[np.int64]
    """[n] who it is, 0, 1, 2 ..."""

    def only(self, here: NDArray[np.bool_]) -> Differences:
        """Some of the pictures."""
        return Differences(self.vectors[here], self.planes[here], self.regressors[here], self.people[here])

    def without(self, linear: Array) -> Array:
        """The vectors less linear functions [478, 3, 6 + K + E] of the regressors."""
        return self.vectors - np.einsum("njac,jck,nk->nja", self.planes, linear, self.regressors, optimize=True)


def differences(model: FaceModel, pictures: list[Seen]) -> Differences:
    """Compare FaceMesh's landmarks with the geometry of the true face in the true camera."""
    geometry = landmark_model(model)
    vectors, planes, regressors = [], [], []
    for seen in pictures:
        if seen.points is None:
            continue
        shape = seen.record.shape.astype(np.float64)
        actions = seen.record.actions[seen.index].astype(np.float64)
        problem = Problem(geometry, (seen.points - 0.5)[None], seen.focal)
        x, y, z = seen.origin
        place = np.array([seen.focal * x / z, seen.focal * y / z, np.log(z)])
        frame = Frame(seen.rotation, place, actions, np.zeros(0))
        deviations = problem.deviations(frame)
        equations = problem.equations(frame, shape, 0)
        vector = -equations.residuals * deviations[:, None]
        if np.median(np.linalg.norm(vector, axis=1)) > _ASTRAY:
            continue
        vectors.append(vector)
        planes.append(problem.plane(frame, shape))
        regressors.append(np.concatenate([[1.0], view_terms(frame.towards(seen.focal)), shape, actions]))
    stacked = np.stack(regressors)
    shape = slice(1 + VIEW_TERMS, 1 + VIEW_TERMS + model.shapedirs.shape[2])
    people = np.unique(stacked[:, shape], axis=0, return_inverse=True)[1]
    return Differences(np.stack(vectors), np.stack(planes), stacked, people.reshape(-1))


def regress(found: Differences, geometry: LandmarkModel) -> Array:
    """Return [478, 3, 6 + K + E]: how the landmarks differ, as linear functions of the regressors (ridge).

    FaceMesh exaggerates or damps what is there: the more a coefficient moves a landmark, the more it may be corrected.
    """
    count = found.regressors.shape[1]
    solution = np.empty((found.vectors.shape[1], 3, count))
    for landmark in range(len(solution)):
        moves = [np.linalg.norm(basis[landmark], axis=0) for basis in (geometry.identity, geometry.actions)]
        expected = np.concatenate(
            [
                [_TEMPLATE],
                np.full(VIEW_TERMS, _VIEWS),
                _IDENTITY[0] * moves[0] + _IDENTITY[1],
                _ACTIONS[0] * moves[1] + _ACTIONS[1],
            ]
        )
        precision = np.tile((_NOISE / expected) ** 2, 3)
        design = np.einsum("nac,nk->nack", found.planes[:, landmark], found.regressors).reshape(-1, 3 * count)
        target = found.vectors[:, landmark].reshape(-1)
        normal = design.T @ design + np.diag(precision)
        solution[landmark] = np.linalg.solve(normal, design.T @ target).reshape(3, count)
    return solution


def unexplained(found: Differences, geometry: LandmarkModel) -> Array:
    """Return the differences [n, 478, 2] that a regression on other people leaves: honest errors."""
    left = np.empty_like(found.vectors)
    for fold in range(_FOLDS):
        out = found.people % _FOLDS == fold
        linear = regress(found.only(~out), geometry)
        left[out] = found.only(out).without(linear)
    return left


def error_patterns(vectors: Array, planes: Array) -> tuple[Array, Array]:
    """Factor analysis of what is left [n, 478, 2]: patterns [478, 3, w] and deviations [478], metres."""
    count, landmarks = vectors.shape[:2]
    deviation = np.full(landmarks, _NOISE)
    lifted = np.einsum("njac,nja->njc", planes, vectors).reshape(count, -1)
    _, values, directions = np.linalg.svd(lifted, full_matrices=False)
    factors = (directions[:_PATTERNS] * values[:_PATTERNS, None] / np.sqrt(count)).T.reshape(landmarks, 3, -1)
    for _ in range(_ROUNDS):
        # Expectation: the mistakes w of every picture, mean and second moment.
        seen = np.einsum("njac,jcw->njaw", planes, factors) / deviation[:, None, None]
        flat = seen.reshape(count, -1, factors.shape[2])
        covariance = np.linalg.inv(np.eye(factors.shape[2]) + flat.transpose(0, 2, 1) @ flat)
        scaled = (vectors / deviation[:, None]).reshape(count, -1)
        mean = np.einsum("nvw,niw,ni->nv", covariance, flat, scaled, optimize=True)
        moment = covariance + mean[:, :, None] * mean[:, None, :]
        # Maximisation: each landmark's patterns, then its noise.
        for landmark in range(landmarks):
            plane = planes[:, landmark]
            gram = np.einsum("nac,nad->ncd", plane, plane)
            normal = np.einsum("ncd,nvw->cvdw", gram, moment, optimize=True).reshape(3 * len(mean.T), -1)
            right = np.einsum("nac,na,nw->cw", plane, vectors[:, landmark], mean, optimize=True).reshape(-1)
            ridge = (deviation[landmark] / _ERRORS) ** 2
            factors[landmark] = np.linalg.solve(normal + ridge * np.eye(len(normal)), right).reshape(3, -1)
        explained = np.einsum("njac,jcw,nw->nja", planes, factors, mean, optimize=True)
        unsure = np.einsum("njaw,nwv,njav->j", seen, covariance, seen, optimize=True) * deviation**2
        deviation = np.sqrt((((vectors - explained) ** 2).sum((0, 2)) + unsure) / (2 * count))
    return factors, deviation


def usual_actions() -> tuple[Array, Array]:
    """Mean [E] and covariance [E, E] of natural expressions; the tongue, which no landmark shows, stays in."""
    rng = np.random.default_rng(0)
    drawn = np.stack([sample_expression(rng).actions for _ in range(_EXPRESSIONS)])
    mean, covariance = drawn.mean(0), np.cov(drawn.T)
    tongue = ACTIONS.index("tongueOut")
    mean[tongue] = covariance[tongue] = covariance[:, tongue] = 0.0
    blinks = np.array([name.startswith("eyeBlink") for name in ACTIONS])
    return mean, covariance + np.diag(np.where(blinks, _SHUT, _UNUSUAL) ** 2)


def calibrate(model: FaceModel, pictures: list[Seen]) -> Calibration:
    """Return how FaceMesh sees a face model, from rendered pictures. Raises InputError if they are too few."""
    found = differences(model, pictures)
    if len(found.vectors) < _FEWEST:
        raise InputError(f"{len(found.vectors)} faces are too few to calibrate with.", f"Render at least {_FEWEST}.")
    geometry = landmark_model(model)
    linear = regress(found, geometry)
    factors, deviation = error_patterns(unexplained(found, geometry), found.planes)
    mean, covariance = usual_actions()
    first = 1 + VIEW_TERMS
    template, views, identity, actions = np.split(linear, [1, first, first + model.shapedirs.shape[2]], axis=2)
    return Calibration(template[..., 0], views, identity, actions, factors, deviation, mean, covariance)


@dataclass(frozen=True)
class Options:
    """Measure how FaceMesh sees the face model."""

    data: Annotated[tuple[Path, ...], tyro.conf.Positional]
    """Data sets of training.synthesize with expressions."""
    out: Path = SHIPPED.parent
    """Folder of the files to write."""
    max_yaw: float = 70.0
    """Leaves out faces that are turned further."""
    people: int = 0
    """Calibrates with the first so many people of each data set only: the others can be measured. 0 takes all."""


def main() -> int:
    """Command line."""
    options = tyro.cli(Options, prog="training.synthetic.calibrate_fit")
    pictures = [
        seen
        for data in options.data
        for seen in look(data, max_yaw=options.max_yaw)
        if not options.people or seen.record.source["index"] < options.people
    ]
    calibration = calibrate(load_anny_head(), pictures)
    calibration.save(options.out / NAME)
    learn_patches(pictures).save(options.out / patches.NAME)
    typical = 1e3 * np.median(calibration.deviation)
    print(f"{options.out}: {len(pictures)} pictures, {typical:.2f} mm remain")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
