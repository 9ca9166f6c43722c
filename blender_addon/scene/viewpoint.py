# SPDX-License-Identifier: GPL-3.0-or-later
"""Where a 3D view looks from when a portrait has just been made, and what it shows of surfaces."""

from __future__ import annotations

import math

import bpy
from mathutils import Euler, Quaternion, Vector

from . import find

SENSOR_MM = 72.0
"""Width of what a 3D view sees at the distance of its lens: twice Blender's sensor of 36 mm."""
_FROM = Euler((math.radians(83), 0.0, math.radians(13)))
"""From the front, a little from above and from the subject's left: a head that is seen to be one."""
_MARGIN = 1.1


def face(area: bpy.types.Area, root: bpy.types.Object) -> None:
    """Turn a view to a portrait's face, so that all that is shown of it is in sight beside the sidebar.

    A view through a camera is left alone.
    """
    space = area.spaces.active
    view = space.region_3d
    if view.view_perspective == "CAMERA":
        return
    window, sidebar = (next(region for region in area.regions if region.type == kind) for kind in ("WINDOW", "UI"))
    overlap = sidebar.width if space.show_region_ui and bpy.context.preferences.system.use_region_overlap else 0
    centre, size = _extent(root, rotation := _FROM.to_quaternion())
    free = max(window.width - overlap, 1), max(window.height, 1)
    across = _MARGIN * max(size.x / free[0], size.y / free[1]) * max(window.width, window.height)
    view.view_perspective = "PERSP"
    view.view_rotation = rotation
    view.view_distance = across * space.lens / SENSOR_MM + size.z / 2  # what is nearest looks largest
    beside = overlap / 2 * across / max(window.width, window.height)
    view.view_location = centre + rotation @ Vector((beside, 0.0, 0.0))


def show_colours(space: bpy.types.SpaceView3D, on_software: bool) -> None:
    """Let a solid view that was left as Blender opens it show the portrait's colours.

    Only Material Preview shows surface and card alike. Where no graphics card draws it (`on_software`), its shaders
    take a minute to compile: there the solid view gets the surface's colours, and the card stays grey.
    """
    shading = space.shading
    if shading.type != "SOLID" or shading.color_type != "MATERIAL":
        return
    if on_software:
        shading.color_type = "VERTEX"
    else:
        shading.type = "MATERIAL"


def _extent(root: bpy.types.Object, rotation: Quaternion) -> tuple[Vector, Vector]:
    """Return centre (world) and size (as the view sees it, metres) of what is shown of a portrait."""
    parts = (find.part(root, role) for role in ("SURFACE", "DRIVER", "PLANE"))
    shown = [ob for ob in parts if ob is not None and not ob.hide_get()]
    corners = [rotation.inverted() @ (ob.matrix_world @ Vector(corner)) for ob in shown for corner in ob.bound_box]
    low, high = (Vector(tuple(pick(axis) for axis in zip(*corners, strict=True))) for pick in (min, max))
    return rotation @ ((low + high) / 2), high - low
