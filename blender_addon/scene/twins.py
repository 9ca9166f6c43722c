# SPDX-License-Identifier: GPL-3.0-or-later
"""Portraits that a user duplicated, appended a second time or pasted: they begin as the same person with one picture.

Before the engine works for one of them it gets an identifier and a card of its own, so that results find their way.
"""

from __future__ import annotations

import uuid

import bpy

from . import find, image_plane


def part_from(root: bpy.types.Object) -> None:
    """Give a portrait an identifier and a card of its own if another one of the file has the same."""
    identity = find.identity_of(root)
    others = {other for scene in bpy.data.scenes for other in find.roots(scene)} - {root}
    if not any(find.identity_of(other).uuid == identity.uuid for other in others):
        return
    identity.uuid = uuid.uuid4().hex
    plane = find.part(root, "PLANE")
    if plane is not None and plane.library is None:
        _own_card(plane)


def _own_card(plane: bpy.types.Object) -> None:
    """Let a card share mesh, material and images with no other."""
    shown = image_plane.image_of(plane)
    if plane.data.users > 1:
        plane.data = plane.data.copy()
    plane.data.materials[0] = plane.data.materials[0].copy()
    for name in ("live_image", "baked_image"):
        image = getattr(plane.portrait, name)
        if image is not None:
            if image.is_dirty:
                image.pack()  # a copy has what was packed, not what was drawn since
            setattr(plane.portrait, name, image.copy())
            if image == shown:
                image_plane.node_of(plane).image = getattr(plane.portrait, name)
