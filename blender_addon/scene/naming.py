# SPDX-License-Identifier: GPL-3.0-or-later
"""The name of a portrait, which its collection, objects and their data begin with."""

from __future__ import annotations

import bpy

from . import find


def rename(root: bpy.types.Object, name: str) -> None:
    """Give a portrait another name. What a user called otherwise keeps its name; baked frames stay where they are."""
    before = root.name
    collection = root.users_collection[0]
    parts = [ob for ob in collection.all_objects if find.root_of(ob) == root]
    owned = [one for ob in parts for one in (ob, ob.data, *_of_data(ob.data)) if one is not None]
    texts = [text for text in (find.identity_of(root).file,) if text is not None]
    inner = [child for child in collection.children if child.name.startswith(before)]
    for one in dict.fromkeys([collection, *inner, *owned, *texts]):
        if one.name == before or one.name.startswith((f"{before} ", f"{before}.")):
            one.name = name + one.name[len(before) :]


def _of_data(data: bpy.types.ID | None) -> list[bpy.types.ID]:
    """Return the materials of a mesh, and their pictures."""
    materials = [material for material in getattr(data, "materials", ()) if material is not None]
    nodes = [node for material in materials if material.node_tree for node in material.node_tree.nodes]
    return [*materials, *(node.image for node in nodes if getattr(node, "image", None) is not None)]
