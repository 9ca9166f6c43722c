# SPDX-License-Identifier: Apache-2.0
"""The non-saturating GAN loss with R1 (StyleGAN2, Karras et al. 2020, appendix B; EG3D, Chan et al. 2022, section 4).

Logits are positive for what the discriminator takes for real.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F


def non_saturating_generator(fake: Float[Tensor, "b 1"]) -> Float[Tensor, ""]:
    """Return -log sigmoid(logit), averaged: what the generator makes small (Goodfellow et al. 2014, section 3).

    Its gradient stays near -1 a logit where the discriminator is sure of a fake, while that of log(1 - sigmoid) dies.
    """
    return F.softplus(-fake).mean()


def non_saturating_discriminator(real: Float[Tensor, "b 1"], fake: Float[Tensor, "b 1"]) -> Float[Tensor, ""]:
    """Return the cross entropy of logits of real and of generated pictures, averaged over the samples."""
    return F.softplus(-real).mean() + F.softplus(fake).mean()


def r1(logits: Float[Tensor, "b 1"], *pictures: Float[Tensor, "b ..."]) -> Float[Tensor, ""]:
    """Return the squared gradient of real pictures' logits, summed over pixels, averaged over samples.

    Mescheder et al. 2018, equation 9, without its factor gamma / 2.

    Args:
        logits: of the real pictures.
        pictures: what the discriminator saw, with gradients required. EG3D's sees a finished and a raw picture at once;
            the squares of both gradients are added.

    Differentiable in the discriminator's weights. The minibatch deviation makes a logit depend a little on other
    samples of its group; as in the published code, the gradient is that of the sum of all logits.
    """
    gradients = torch.autograd.grad(logits.sum(), pictures, create_graph=True)
    squares = [gradient.square().flatten(1).sum(1) for gradient in gradients]
    return torch.stack(squares).sum(0).mean()
