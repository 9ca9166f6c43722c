# SPDX-License-Identifier: Apache-2.0
"""Adaptive discriminator augmentation (ADA; Karras et al. 2020, "Training GANs with Limited Data").

All that the discriminator sees, real or generated, is transformed by chance. As long as each transform is less than
certain, the generator still has to match the untransformed distribution (section 2.2). The probability follows how
surely the discriminator knows the training pictures (section 3).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from neural_core.errors import UsageError

from . import augment_colour, augment_corruption, augment_geometry
from .config import above_zero
from .draws import Draws

Group = Literal["blit", "geometric", "colour", "filter", "corruption"]


@dataclass(frozen=True)
class AugmentConfig:
    """Which augmentation a run uses. EG3D: none for FFHQ and ShapeNet, adaptive for AFHQ."""

    mode: Literal["none", "fixed", "adaptive"] = "none"
    """EG3D's noaug, fixed and ada."""
    probability: float = 0.2
    """Of each transform in the mode "fixed"."""
    target: float = 0.6
    """Wanted mean sign of the logits of real pictures in the mode "adaptive"."""
    kimg: float = 500.0
    """Thousands of pictures in which the probability moves by one; the published runs from given weights use 100."""
    every: int = 4
    """Steps between adjustments of the probability."""
    groups: tuple[Group, ...] = ("blit", "geometric", "colour")
    """EG3D uses these three ("bgc"); "filter" and "corruption" (noise and holes) exist besides."""

    def __post_init__(self) -> None:
        """Refuse what makes no sense."""
        for name, low, high in (("probability", 0, 1), ("target", -1, 1)):
            if not low <= getattr(self, name) <= high:
                raise UsageError(f"augment.{name} is {getattr(self, name)}, but has to lie in {low}..{high}.")
        above_zero("augment", self, "kimg", "every")


class Augment(nn.Module):
    """Transforms pictures by chance (appendix B); the groups act in the paper's order."""

    def __init__(self, groups: Sequence[Group] = ("blit", "geometric", "colour")) -> None:
        """Choose groups of transforms."""
        super().__init__()
        self.groups = frozenset(groups)

    def forward(self, image: Float[Tensor, "b c s s"], probability: float, draws: Draws) -> Float[Tensor, "b c s s"]:
        """Return transformed pictures; differentiable any number of times in them.

        Args:
            image: in -1..1; c is a multiple of three, and pictures stacked in channels get the same transform.
            probability: of each transform, 0..1; 0 returns the pictures bit for bit.
            draws: of these samples. The number of draws does not depend on the probability.

        Raises:
            ValueError: the pictures are not square, or their channels are not threes.
        """
        _, channels, height, width = image.shape
        if height != width or channels % 3:
            raise ValueError(f"Augmentation takes square pictures of 3 channels each, not {tuple(image.shape)}.")
        if image.dtype in (torch.float16, torch.bfloat16):
            image = image.float()
        with torch.autocast(image.device.type, enabled=False):  # rounding would be seen as noise
            image = self._move(image, probability, draws)
            if "colour" in self.groups:
                change, changed = augment_colour.draw_colour(draws, probability)
                image = _some(changed, augment_colour.recolour, image, change)
            if "filter" in self.groups:
                gains = augment_corruption.draw_gains(draws, probability)
                image = _some((gains != 1).any(1), augment_corruption.amplify, image, gains)
            if "corruption" in self.groups:
                image = image + augment_corruption.draw_noise(draws, probability, image.shape).to(image)
                image = image * augment_corruption.draw_hole(draws, probability, height, width).to(image)
        return image

    def alike(
        self, pictures: Sequence[Float[Tensor, "b c _ _"]], probability: float, draws: Draws
    ) -> list[Float[Tensor, "b c s s"]]:
        """Return a picture and what belongs to it (its volume rendering, its driving mesh), transformed in one way.

        All have the first's size then. The discriminator enlarges them anyway, and leaves what has its size as it is;
        the published code shrinks the rendering back before, which blurs it once more.
        """
        size = pictures[0].shape[-2:]
        others = [
            F.interpolate(other, size=size, mode="bilinear", align_corners=False, antialias=True)
            for other in pictures[1:]
        ]
        stacked = self(torch.cat([pictures[0], *others], dim=1), probability, draws)
        return list(stacked.split(pictures[0].shape[1], dim=1))

    def _move(self, image: Float[Tensor, "b c s s"], probability: float, draws: Draws) -> Float[Tensor, "b c s s"]:
        size = image.shape[-1]
        movement = torch.eye(3, dtype=torch.float64).expand(len(image), 3, 3)
        off_pixels = torch.zeros(len(image), dtype=torch.bool)
        if "blit" in self.groups:
            movement = augment_geometry.draw_blit(draws, probability, size)
        if "geometric" in self.groups:
            after, off_pixels = augment_geometry.draw_movement(draws, probability, size)
            movement = after @ movement
        still = (movement == torch.eye(3, dtype=torch.float64)).flatten(1).all(1)
        image = _some(~off_pixels & ~still, augment_geometry.blit, image, movement)
        return _some(off_pixels, augment_geometry.resample, image, movement)


class AdaptiveProbability:
    """The probability of augmentation: rises while the discriminator is too sure of real pictures (section 3, r_t)."""

    def __init__(self, target: float = 0.6, kimg: float = 500.0, every: int = 4) -> None:
        """Start at 0.

        Args:
            target: mean sign of the logits of real pictures at which nothing changes.
            kimg: thousands of pictures in which the probability moves by one.
            every: steps between adjustments.
        """
        self.target, self.kimg, self.every = target, kimg, every
        self.value = 0.0
        """The probability, 0..1."""
        self._steps, self._images, self._signs = 0, 0, 0.0

    def update(self, sign: float, images: int) -> None:
        """Note a step; adjust after every few.

        Args:
            sign: mean of sign(D(real)) over the global batch, -1..1.
            images: in the global batch.
        """
        self._steps, self._images, self._signs = self._steps + 1, self._images + images, self._signs + sign * images
        if self._steps < self.every:
            return
        surplus = self._signs / self._images - self.target
        step = self._images / (1000 * self.kimg)
        self.value += step * ((surplus > 0) - (surplus < 0))
        self.value = min(max(self.value, 0.0), 1.0)
        self._steps, self._images, self._signs = 0, 0, 0.0

    def state(self) -> dict[str, Any]:
        """Return what a resumed run needs."""
        return {"value": self.value, "steps": self._steps, "images": self._images, "signs": self._signs}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Take back what `state` returned."""
        self.value, self._steps = float(state["value"]), int(state["steps"])
        self._images, self._signs = int(state["images"]), float(state["signs"])


def _some(chosen: Tensor, transform: Any, image: Tensor, by: Tensor) -> Tensor:
    """Return pictures of which the chosen ones are transformed, each by its own row of `by`."""
    if not chosen.any():
        return image
    rows = chosen.nonzero().flatten()
    changed = transform(image[rows.to(image.device)], by[rows])
    return image.index_copy(0, rows.to(image.device), changed)
