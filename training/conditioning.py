# SPDX-License-Identifier: Apache-2.0
"""Which camera a generator's mapping network is told of (EG3D, Chan et al. 2022, section 4.4).

Photographs show a person's pose together with much else (smiles look into the camera), so the code may know the camera
that such a person is photographed from. Were it always the camera of the rendering, the scene would turn with the view:
so it is swapped for another one with some probability.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor


def swapped_labels(
    labels: Float[Tensor, "b l"], probability: float, chances: Float[Tensor, "b 1"]
) -> Float[Tensor, "b l"]:
    """Return camera labels of which some are those of the sample before (the first one's is the last's).

    Args:
        labels: of the cameras that render.
        probability: that a label is swapped.
        chances: a uniform number in [0, 1) for each sample.

    Note:
        The paper draws another pose; the published code takes the neighbour's in the batch, which are independent too.
    """
    return torch.where(chances < probability, labels.roll(1, dims=0), labels)
