# SPDX-License-Identifier: Apache-2.0
"""MediaPipe landmarks by which pictures are compared with FaceMesh: where the two mean the same place of a face.

Chosen beforehand, on 47 people of seed 777 who are checked nowhere else (94 pictures of 128 pixels, wide variety):

    python -m training.synthesize portraits --out OTHERS --seed 777 --people 47 --views 2 --max-yaw 30 --variety wide
                                            --renderer raster
    python -m training.synthesize verify OTHERS --choose

Left out are the indices with a median error of 6 % of the distance between the eyes or more: most of them lie on the
sides of the face, where FaceMesh follows the outline of what it sees rather than a place on the skin.
"""

from __future__ import annotations

from neural_core.human.landmarks import MEDIAPIPE_COUNT

_LEFT_OUT = {
    *(21, 34, 58, 93, 127, 132, 137, 162, 172, 177, 215, 227, 234),  # the right side of the face
    *(251, 288, 323, 356, 361, 366, 367, 389, 397, 401, 435, 447, 454),  # and the left
    *(278, 294),  # the left wing of the nose
}
COMPARED: tuple[int, ...] = tuple(index for index in range(MEDIAPIPE_COUNT) if index not in _LEFT_OUT)
