# SPDX-License-Identifier: Apache-2.0
"""The square of a photo that EG3D would have cut out of it.

FFHQ (Karras et al. 2019, appendix A) turns and scales a photo by the middles of the eyes and of the mouth; EG3D (Chan
et al. 2022, supplement) cuts that once more, so that every head fills the picture as a camera of focal length 4.2647 at
distance 2.7 sees it. Here the second cut is not a copied number: it is where the mean head of the face model lies in
FFHQ's square when that camera photographs it. A fitted head then places the square exactly (:func:`framing_head`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from ..cameras import EG3D_FOCAL, EG3D_RADIUS, orbit
from ..human.landmarks import LEFT_EYE_CORNERS, RIGHT_EYE_CORNERS
from ..human.model import FaceModel
from ..records import HEAD_TO_MODEL

MOUTH_CORNERS = (61, 291)  # MediaPipe's indices
CROP_SIZE = 512

Array = NDArray[np.float64]

# FFHQ's square: this many times the distance of the eyes, or of eyes and mouth if that is more; its centre lies this
# part of the way from the eyes to the mouth (Karras et al. 2019; the numbers are those of the published data).
_EYES, _EYES_TO_MOUTH, _TOWARDS_MOUTH = 4.0, 3.6, 0.1
_BLUR, _FADE = 0.02, 0.05  # outside the photo: deviation of the blur, and after what distance it is full, in crop sides


@dataclass(frozen=True)
class Crop:
    """A square in a photo.

    Attributes:
        centre: x and y in pixels of the photo.
        side: its width in pixels of the photo.
        angle: radians by which its upper edge is turned from the photo's x towards its y (clockwise to the eye).
    """

    centre: tuple[float, float]
    side: float
    angle: float = 0.0

    @property
    def matrix(self) -> Array:
        """[2, 3]: places (u, v, 1) of the crop, 0..1 from its top left corner, to pixels of the photo."""
        across = self.side * np.array([math.cos(self.angle), math.sin(self.angle)])
        down = np.array([-across[1], across[0]])
        return np.stack([across, down, np.array(self.centre) - (across + down) / 2], axis=1)

    def to_photo(self, places: Array) -> Array:
        """Return pixels of the photo [..., 2] of places in the crop [..., 2], 0..1."""
        return places @ self.matrix[:, :2].T + self.matrix[:, 2]

    def from_photo(self, pixels: Array) -> Array:
        """Return places in the crop [..., 2], 0..1, of pixels of the photo [..., 2]."""
        return (pixels - self.matrix[:, 2]) @ np.linalg.inv(self.matrix[:, :2]).T

    def inner(self, centre: Array, side: float, angle: float) -> Crop:
        """Return a square inside (or around) this one: its centre [2] and side in 0..1 of this one, turned by angle."""
        x, y = self.to_photo(np.asarray(centre, np.float64))
        return Crop((float(x), float(y)), self.side * side, self.angle + angle)

    def to_json(self) -> dict[str, object]:
        """Return what a record keeps of it."""
        return {"centre": list(self.centre), "side": self.side, "angle": self.angle}


def ffhq_square(points: Array) -> Crop:
    """Return FFHQ's square around a face.

    Args:
        points: [478, 2] landmarks in pixels.

    The square's x axis is the mean of the line from eye to eye and of the normal to the line from eyes to mouth.
    """
    right, left = (points[list(corners)].mean(0) for corners in (RIGHT_EYE_CORNERS, LEFT_EYE_CORNERS))
    eyes, mouth = (right + left) / 2, points[list(MOUTH_CORNERS)].mean(0)
    between, down = left - right, mouth - eyes
    across = between + np.array([down[1], -down[0]])
    centre = eyes + _TOWARDS_MOUTH * down
    side = max(_EYES * math.hypot(*between), _EYES_TO_MOUTH * math.hypot(*down))
    return Crop((float(centre[0]), float(centre[1])), side, math.atan2(across[1], across[0]))


def first_crop(points: Array, model: FaceModel) -> Crop:
    """Return EG3D's crop as well as landmarks alone tell, from landmarks [478, 2] in pixels of the photo."""
    centre, side, angle = _eg3d_cut(model)
    return ffhq_square(points).inner(centre, side, angle)


def framing_head(crop: Crop, camera: NDArray[np.floating]) -> Crop:
    """Return the crop in which a fitted head stands as in EG3D's pictures.

    There the head's origin is in the middle, 2.7 model units away at focal length 4.2647, and its up is up.

    Args:
        crop: where the head was fitted.
        camera: [25] the fitted camera of that crop, model space.
    """
    pose, intrinsics = camera[:16].reshape(4, 4).astype(np.float64), camera[16:].reshape(3, 3).astype(np.float64)
    origin = -pose[:3, 3] @ pose[:3, :3]
    place = intrinsics @ (origin / origin[2])
    side = (intrinsics[0, 0] / origin[2]) / (EG3D_FOCAL / EG3D_RADIUS)
    # How the picture of the head's vertical axis leans, at the origin: derivative of the projection along +Y.
    up = pose[1, :3]
    lean = up[:2] - origin[:2] / origin[2] * up[2]
    return crop.inner(place[:2], side, math.atan2(lean[0], -lean[1]))


def cut(photo: NDArray[np.uint8], crop: Crop, size: int = CROP_SIZE) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """Return the crop of a photo, [size, size, 3], and which pixels [size, size] the photo has.

    It is sampled twice as densely as the result (after shrinking a photo that is much larger) and averaged. Where the
    crop leaves the photo, the photo is mirrored, and blurred more and more with the distance from its edge.

    Args:
        photo: [h, w, 3].
        crop: what is wanted.
        size: pixels along the side of the result.
    """
    from PIL import Image

    dense_step = crop.side / (2 * size)
    low, patch = _patch(photo, crop, margin=4 + round(4 * dense_step))
    image = Image.fromarray(patch)
    shrunk = np.array(image.size)
    if dense_step > 1:
        shrunk = np.ceil(shrunk / dense_step).astype(int)
        image = image.resize((int(shrunk[0]), int(shrunk[1])), Image.Resampling.LANCZOS, reducing_gap=3)
    matrix = crop.matrix - np.array([[0, 0, low[0]], [0, 0, low[1]]])
    matrix *= (shrunk / patch.shape[1::-1])[:, None]
    matrix[:, :2] /= 2 * size
    dense = image.transform(
        (2 * size, 2 * size), Image.Transform.AFFINE, tuple(matrix.ravel()), Image.Resampling.BICUBIC
    )
    picture = np.asarray(dense.reduce(2))
    outside = _outside(photo.shape, crop, size)
    if not outside.any():
        return picture, np.ones((size, size), bool)
    return _faded(picture, outside), outside == 0


def _eg3d_cut(model: FaceModel) -> tuple[Array, float, float]:
    """Return centre, side and angle of EG3D's picture of a model's mean head in FFHQ's square of that picture."""
    points = model.landmarks(model.v_template, "478") * HEAD_TO_MODEL
    camera = orbit(radius=EG3D_RADIUS, focal=EG3D_FOCAL)
    places = camera.project(torch.from_numpy(points)[None])[0].double().numpy()
    square = ffhq_square(places)
    return square.from_photo(np.array([0.5, 0.5])), 1 / square.side, -square.angle


def _patch(photo: NDArray[np.uint8], crop: Crop, margin: int) -> tuple[NDArray[np.int64], NDArray[np.uint8]]:
    """Return the left and top, in pixels of the photo, of an upright piece around the crop, and the piece.

    It is mirrored at the photo's edges as often as needed.
    """
    corners = crop.to_photo(np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0], [1.0, 1.0]]))
    low, high = np.floor(corners.min(0)).astype(int) - margin, np.ceil(corners.max(0)).astype(int) + margin
    rows, columns = (_mirrored(low[i], high[i], photo.shape[1 - i]) for i in (1, 0))
    return low, photo[rows[:, None], columns[None, :]]


def _mirrored(start: int, stop: int, extent: int) -> NDArray[np.int64]:
    """Return the indices start .. stop - 1 folded back into 0 .. extent - 1 by mirrors at its edges."""
    folded = np.arange(start, stop) % (2 * extent)
    return np.where(folded < extent, folded, 2 * extent - 1 - folded)


def _outside(shape: tuple[int, ...], crop: Crop, size: int) -> Array:
    """Return how far pixels [size, size] of a crop lie outside the photo, in sides of the crop; 0 inside."""
    centres = (np.arange(size) + 0.5) / size
    places = np.stack(np.meshgrid(centres, centres), axis=-1)
    pixels = crop.to_photo(places)
    extent = np.array([shape[1], shape[0]])
    beyond = np.maximum(np.maximum(-pixels, pixels - extent), 0)
    return np.hypot(beyond[..., 0], beyond[..., 1]) / crop.side


def _faded(picture: NDArray[np.uint8], outside: Array) -> NDArray[np.uint8]:
    """Return the picture blurred where it lies outside the photo."""
    from scipy.ndimage import gaussian_filter

    deviation = _BLUR * len(picture)
    blurred = gaussian_filter(picture.astype(np.float32), (deviation, deviation, 0), mode="nearest")
    weight = np.clip(outside / _FADE, 0, 1)[..., None]
    return np.rint(picture + (blurred - picture) * weight).astype(np.uint8)
