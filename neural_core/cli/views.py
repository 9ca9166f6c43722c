# SPDX-License-Identifier: Apache-2.0
"""Drawing portraits as the options ask."""

from __future__ import annotations

import math

from ..cameras import Camera
from ..errors import UsageError
from ..media import Picture, over
from ..progress import Report
from ..studio import Loaded, Studio, check_size, creation_view
from ..systems.common import Field, Portrait
from .options import View, parse_background, parse_expression

PITCH_LIMIT = 85.0


def pose(studio: Studio, loaded: Loaded, portrait: Portrait, view: View) -> Field:
    """Return the portrait with the expression that the options ask for."""
    return studio.pose(loaded, portrait, {"actions": parse_expression(view.expression)})


def picture_size(loaded: Loaded, view: View) -> int:
    """Return the side of the picture in pixels."""
    size = loaded.system.info.image_size if view.size is None else view.size
    check_size(size)
    return size


def camera(loaded: Loaded, view: View) -> Camera:
    """Return the camera that the options ask for, in head space."""
    if not (math.isfinite(view.yaw) and abs(view.pitch) <= PITCH_LIMIT):
        raise UsageError(f"Pitch {view.pitch:g} is not between -{PITCH_LIMIT:g} and {PITCH_LIMIT:g} degrees.")
    return creation_view(loaded.system, view.yaw, view.pitch)


def picture(studio: Studio, loaded: Loaded, field: Field, view: View, report: Report) -> Picture:
    """Return the picture that the options ask for, [h, w, 4], or [h, w, 3] on a background."""
    return picture_from(studio, loaded, field, camera(loaded, view), view, report)


def picture_from(studio: Studio, loaded: Loaded, field: Field, camera: Camera, view: View, report: Report) -> Picture:
    """Return the picture that a camera of one's own sees, otherwise as `picture`."""
    background = parse_background(view.background)
    drawn = studio.draw(field, camera, picture_size(loaded, view), report=report)
    return drawn if background is None else over(drawn, background)
