# SPDX-License-Identifier: Apache-2.0
"""How much of every pixel a person covers: MediaPipe's selfie segmentation, refined along the picture's own edges."""

from __future__ import annotations

from types import TracebackType

import numpy as np
from numpy.typing import NDArray

from ._quiet import quiet
from .align import Crop, cut
from .detect import check_available

_WIDER = 1.6  # side of the second, wider look: a body is known by its shoulders
_LOOK = 256  # pixels of it: what the network sees
_RADIUS = 1 / 80  # of the guided filter's window, in sides of the picture
_SMOOTH = 2e-4  # its regularisation: variance of colour (0..1) that counts as an edge
_SURE = 0.08  # what the filter leaves of nothing, and lacks of everything


class Matter:
    """Finds people's alpha. A context manager: it holds MediaPipe's network."""

    def __init__(self) -> None:
        check_available()
        from mediapipe.python.solutions.selfie_segmentation import SelfieSegmentation

        with quiet():
            self._network = SelfieSegmentation(model_selection=0)
            self._network.process(np.zeros((_LOOK, _LOOK, 3), np.uint8))  # the first picture makes it talk

    def __enter__(self) -> Matter:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._network.close()

    def alpha(self, photo: NDArray[np.uint8], crop: Crop, picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return the alpha [s, s] of the person in a crop.

        Args:
            photo: [h, w, 3].
            crop: where in it.
            picture: [s, s, 3] the crop, as ``align.cut`` gives it.
        """
        size = len(picture)
        near = self._segment(picture)
        around, _ = cut(photo, crop.inner(np.array([0.5, 0.5]), _WIDER, 0.0), _LOOK)
        wide = _middle(self._segment(around), 1 / _WIDER, size)
        both = ((near + wide) / 2)[..., None]
        refined = guided_filter(picture / 255, both, max(2, round(_RADIUS * size)))[..., 0]
        sure = np.clip((refined - _SURE) / (1 - 2 * _SURE), 0, 1)
        return np.rint(sure * 255).astype(np.uint8)

    def _segment(self, picture: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return how likely every pixel [h, w] is a person, 0..1."""
        with quiet():
            found = self._network.process(np.ascontiguousarray(picture))
        return np.asarray(getattr(found, "segmentation_mask"), np.float32)  # noqa: B009 (made at run time)


def guided_filter(guide: NDArray[np.floating], masks: NDArray[np.floating], radius: int) -> NDArray[np.float64]:
    """Return masks as locally linear functions of the picture's colour (He, Sun and Tang 2010, section 3.4).

    In every window a mask is approximated by a . colour + b; a pixel takes the mean of its windows.

    Args:
        guide: [h, w, 3] picture, 0..1.
        masks: [h, w, k] in 0..1.
        radius: a window is 2 radius + 1 pixels wide.
    """
    from scipy.ndimage import uniform_filter

    def mean(values: NDArray) -> NDArray[np.float64]:
        return uniform_filter(values.astype(np.float64), 2 * radius + 1, mode="nearest", axes=(0, 1))

    colour, level = mean(guide), mean(masks)
    spread = mean(guide[..., :, None] * guide[..., None, :]) - colour[..., :, None] * colour[..., None, :]
    common = mean(guide[..., :, None] * masks[..., None, :]) - colour[..., :, None] * level[..., None, :]
    slope = np.linalg.solve(spread + _SMOOTH * np.eye(3), common)
    offset = level - (colour[..., None, :] @ slope)[..., 0, :]
    return (guide[..., None, :] @ mean(slope))[..., 0, :] + mean(offset)


def _middle(mask: NDArray[np.float32], share: float, size: int) -> NDArray[np.float32]:
    """Return the middle of a square mask, `share` of its side, as [size, size]."""
    from PIL import Image

    margin = (1 - share) / 2 * len(mask)
    box = (margin, margin, len(mask) - margin, len(mask) - margin)
    return np.asarray(Image.fromarray(mask).resize((size, size), Image.Resampling.BILINEAR, box=box))
