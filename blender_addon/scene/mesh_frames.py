# SPDX-License-Identifier: GPL-3.0-or-later
"""Surfaces of single frames: an object for each, visible at its frame only, by keys that need no add-on."""

from __future__ import annotations

import bpy
import numpy as np
from mathutils import Matrix

from . import curves, find, materials, mesh

_MARK = "portrait_frames"


def of(root: bpy.types.Object) -> bpy.types.Collection | None:
    """Return the collection of a portrait's surfaces by frame, if it has one."""
    children = [child for collection in root.users_collection for child in collection.children]
    return next((child for child in children if _MARK in child), None)


def begin(root: bpy.types.Object) -> bpy.types.Collection:
    """Return a new, empty collection for the surfaces of a portrait, in the place of the one that it had."""
    clear(root)
    parent = root.users_collection[0]
    collection = bpy.data.collections.new(f"{parent.name} frames")
    collection[_MARK] = True
    parent.children.link(collection)
    return collection


def add(
    root: bpy.types.Object,
    frame: int,
    following: int | None,
    vertices: np.ndarray,
    faces: np.ndarray,
    colours: np.ndarray,
) -> bpy.types.Object:
    """Add the surface of a frame: vertices [n, 3] in head space, faces [m, 3], colours [n, 3] sRGB.

    It is visible from `frame` until `following`; the first one that is added also before, one without `following` also
    after. It is carried by the skull, as head space is.
    """
    collection = of(root)
    assert collection is not None
    name = f"{root.users_collection[0].name} frame {frame}"
    data = mesh.from_arrays(name, vertices, faces)
    mesh.set_colours(data, colours, materials.COLOUR)
    earlier = next(iter(collection.objects), None)
    data.materials.append(
        earlier.data.materials[0] if earlier else materials.vertex_colours(collection.name, colours, None)
    )
    ob = bpy.data.objects.new(name, data)
    collection.objects.link(ob)
    ob.portrait.role = "FRAME"
    _carry(ob, root)
    hidden = [*([(frame - 1, 1.0)] if earlier else []), (frame, 0.0), *([(following, 1.0)] if following else [])]
    times, values = np.array(hidden, np.float64).T
    for path in ("hide_viewport", "hide_render"):
        curves.set_curve(ob, path, times, values, interpolation="CONSTANT")
    ob.update_tag()
    return ob


def clear(root: bpy.types.Object) -> None:
    """Remove a portrait's surfaces by frame."""
    collection = of(root)
    if collection is None:
        return
    shared = {material for ob in collection.objects for material in ob.data.materials}
    for ob in list(collection.objects):
        data, action = ob.data, ob.animation_data.action if ob.animation_data else None
        bpy.data.objects.remove(ob)
        bpy.data.meshes.remove(data)
        if action is not None and not action.users:
            bpy.data.actions.remove(action)
    for material in shared:
        bpy.data.materials.remove(material)
    bpy.data.collections.remove(collection)


def _carry(ob: bpy.types.Object, root: bpy.types.Object) -> None:
    """Make the object a child of the rig's head bone such that at rest it is in the space of the root."""
    armature = find.part(root, "RIG")
    bone = armature.data.bones.get("head") if armature is not None else None
    if armature is None or bone is None:
        ob.parent = root
        return
    ob.parent, ob.parent_type, ob.parent_bone = armature, "BONE", bone.name
    # Children of a bone stand at its tail, turned as it is.
    ob.matrix_parent_inverse = (bone.matrix_local @ Matrix.Translation((0.0, bone.length, 0.0))).inverted()
