# SPDX-License-Identifier: GPL-3.0-or-later
"""Small pictures that panels show as icons."""

import bpy
import numpy as np
from numpy.typing import NDArray


def set_pixels(preview: bpy.types.ImagePreview, pixels: NDArray[np.uint8]) -> None:
    """Let an icon show a picture.

    Args:
        preview: of a collection of previews.
        pixels: [h, w, 4] sRGB, straight alpha, first row on top. Blender draws icons as if the colours were multiplied
            by alpha already: a picture that is not gets a bright rim.
    """
    shown = pixels[::-1].astype(np.float32) / 255.0
    shown[..., :3] *= shown[..., 3:]
    preview.image_size = pixels.shape[1::-1]
    preview.image_pixels_float.foreach_set(shown.ravel())
