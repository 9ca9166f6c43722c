# SPDX-License-Identifier: Apache-2.0
"""What is behind a person, guessed from what is beside them (Real3D-Portrait, appendix: KNN-based inpainting)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_NEIGHBOURS = 4
_MARGIN = 0.02  # so near to the person a pixel still has some of their colour, in sides of the picture
_SMOOTH = (0.012, 0.05)  # deviations of the blurs of what was filled in, in sides: near what is known, and further away
_UNKNOWN = 128


def inpaint_background(picture: NDArray[np.uint8], alpha: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return the picture [h, w, 3] without the person; grey if the person fills all of it.

    Args:
        picture: [h, w, 3].
        alpha: [h, w] of the person.
    """
    from scipy.ndimage import binary_dilation, distance_transform_edt, gaussian_filter

    covered = alpha > 12
    margin = max(1, round(_MARGIN * len(picture)))
    known = ~np.asarray(binary_dilation(covered, iterations=margin), bool)
    if not known.any():
        return np.full_like(picture, _UNKNOWN)
    filled = nearest_mean(picture, known, _NEIGHBOURS)
    distance = np.asarray(distance_transform_edt(~known))
    for deviation in (share * len(picture) for share in _SMOOTH):
        smooth = gaussian_filter(filled, (deviation, deviation, 0), mode="nearest")
        filled += (smooth - filled) * np.clip(distance / (2 * deviation), 0, 1)[..., None]
    return np.rint(filled).astype(np.uint8)


def nearest_mean(picture: NDArray[np.uint8], known: NDArray[np.bool_], neighbours: int) -> NDArray[np.float64]:
    """Return the picture [h, w, 3] with every unknown pixel the weighted mean of its nearest known ones.

    Weights are the inverse squared distances. Equally near pixels beyond the number of neighbours are left to chance's
    order in the tree, which is the same every time.

    Args:
        picture: [h, w, 3].
        known: [h, w], at least one.
        neighbours: how many; fewer if fewer are known.
    """
    from scipy.ndimage import binary_dilation
    from scipy.spatial import KDTree

    result = picture.astype(np.float64)
    # A pixel inside the known area is never the nearest: its rim hides it, unless the rim has too few pixels.
    rim = known & np.asarray(binary_dilation(~known, iterations=neighbours), bool)
    sources = np.argwhere(rim)
    targets = np.argwhere(~known)
    if not len(targets):
        return result
    count = min(neighbours, len(sources))
    distance, index = (np.reshape(found, (-1, count)) for found in KDTree(sources).query(targets, k=count))
    weight = distance**-2
    colours = picture[tuple(sources.T)].astype(np.float64)[index]
    result[~known] = (colours * weight[..., None]).sum(1) / weight.sum(1, keepdims=True)
    return result
