# SPDX-License-Identifier: GPL-3.0-or-later
"""Which portrait an object belongs to. References are looked up anew each time: undo makes old ones invalid."""

from __future__ import annotations

import bpy


def root_of(ob: bpy.types.Object | None) -> bpy.types.Object | None:
    """Return the root empty of the portrait that `ob` is part of, if any."""
    while ob is not None and ob.portrait.role != "ROOT":
        ob = ob.portrait.owner or ob.parent
    return ob


def part(root: bpy.types.Object | None, role: str) -> bpy.types.Object | None:
    """Return the portrait's object of a role: RIG, DRIVER, SURFACE, PLANE, CAMERA or ROOT."""
    if root is None:
        return None
    own = (root, *root.children_recursive)
    # A card that stands before a camera is that camera's child, and only owned by the root.
    lent = [ob for collection in root.users_collection for ob in collection.objects if ob.portrait.owner == root]
    return next((ob for ob in (*own, *lent) if ob.portrait.role == role), None)


def identity_of(root: bpy.types.Object | None) -> bpy.types.PropertyGroup | None:
    """Return who the portrait is: kept on the root, so that it outlives the rig; older versions kept it there."""
    if root is None or root.portrait.uuid:
        return root.portrait if root is not None else None
    return (part(root, "RIG") or root).portrait


def rig_of(ob: bpy.types.Object | None) -> bpy.types.Object | None:
    """Return the armature of the portrait that `ob` is part of, if any."""
    return part(root_of(ob), "RIG")


def roots(scene: bpy.types.Scene) -> list[bpy.types.Object]:
    """Return the roots of all portraits of a scene."""
    return [ob for ob in scene.objects if ob.portrait.role == "ROOT"]


def by_uuid(scene: bpy.types.Scene, uuid: str) -> bpy.types.Object | None:
    """Return the root of the portrait with this identifier, None when it is gone."""
    return next((root for root in roots(scene) if identity_of(root).uuid == uuid), None)


def anywhere(uuid: str) -> bpy.types.Object | None:
    """Return the root of the portrait with this identifier in whichever scene it is, None when it is gone."""
    scenes = (bpy.context.scene, *bpy.data.scenes)
    return next((root for scene in scenes if (root := by_uuid(scene, uuid)) is not None), None)


def shows_card(root: bpy.types.Object) -> bool:
    """Return whether a render shows the card of a portrait."""
    plane = part(root, "PLANE")
    return plane is not None and not plane.hide_render


def current(context: bpy.types.Context) -> bpy.types.Object | None:
    """Return the portrait that the panel speaks of: the active object's, or the only one of the scene."""
    root = root_of(context.view_layer.objects.active)
    if root is not None:
        return root
    found = roots(context.scene)
    return found[0] if len(found) == 1 else None
