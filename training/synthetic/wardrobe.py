# SPDX-License-Identifier: Apache-2.0
"""What people wear in the wide variety of data: hair style, glasses and garment, drawn beside the code."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from neural_core.human.anny import load_anny_head
from training.synthetic.figure import Attire
from training.synthetic.garments import GARMENTS
from training.synthetic.glasses import GLASSES
from training.synthetic.hair_styles import likely_styles
from training.synthetic.looks import look_of

_GLASSES_SHARE = 0.2


def sample_attire(rng: np.random.Generator, code: NDArray) -> Attire:
    """What the person with this code [64] wears: hair styles are drawn as they are likely for the look."""
    styles = likely_styles(look_of(code, load_anny_head()))
    hair = str(rng.choice(list(styles), p=list(styles.values())))
    garment = str(rng.choice(list(GARMENTS)))
    kind = str(rng.choice(list(GLASSES)))
    return Attire(hair=hair, glasses=kind if rng.random() < _GLASSES_SHARE else None, garment=garment)
