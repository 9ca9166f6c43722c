# SPDX-License-Identifier: GPL-3.0-or-later
"""Which portrait an object belongs to. References are looked up anew each time: undo makes old ones invalid.

Blender looks through all objects of a file for the children of one. A name that was right before is tried first, so
that panels and live pictures cost the same in a scene of ten thousand objects.
"""

from __future__ import annotations

import bpy

# Names of parts by the name of their root and their role, and of roots by identifier. Guesses: what bears such a name
# by now is looked at.
_names: dict[tuple[str, str], str] = {}
_roots: dict[str, str] = {}


def root_of(ob: bpy.types.Object | None) -> bpy.types.Object | None:
    """Return the root empty of the portrait that `ob` is part of, if any."""
    while ob is not None and ob.portrait.role != "ROOT":
        ob = ob.portrait.owner or ob.parent
    return ob


def part(root: bpy.types.Object | None, role: str) -> bpy.types.Object | None:
    """Return the portrait's object of a role: RIG, DRIVER, SURFACE, PLANE, CAMERA or ROOT."""
    if root is None or role == "ROOT":
        return root
    name = _names.get((root.name_full, role))
    ob = bpy.data.objects.get(name) if name is not None else None
    if ob is None or not ob.users or ob.portrait.role != role or root_of(ob) != root:
        ob = _search(root, role)
        if ob is not None:
            _names[root.name_full, role] = ob.name
    return ob


def _search(root: bpy.types.Object, role: str) -> bpy.types.Object | None:
    own = root.children_recursive
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
    guess = scene.objects.get(_roots.get(uuid, ""))
    if guess is not None and guess.portrait.role == "ROOT" and identity_of(guess).uuid == uuid:
        return guess
    root = next((root for root in roots(scene) if identity_of(root).uuid == uuid), None)
    if root is not None:
        _roots[uuid] = root.name
    return root


def anywhere(uuid: str) -> bpy.types.Object | None:
    """Return the root of the portrait with this identifier in whichever scene it is, None when it is gone."""
    scenes = (bpy.context.scene, *bpy.data.scenes)
    return next((root for scene in scenes if (root := by_uuid(scene, uuid)) is not None), None)


def shows_card(root: bpy.types.Object) -> bool:
    """Return whether a render shows the card of a portrait."""
    plane = part(root, "PLANE")
    return plane is not None and not plane.hide_render


def selected(layer: bpy.types.ViewLayer) -> list[bpy.types.Object]:
    """Return the objects that are selected; Blender 5.0 lists None for what was removed while it was selected."""
    return [ob for ob in layer.objects.selected if ob is not None]


def current(context: bpy.types.Context) -> bpy.types.Object | None:
    """Return the portrait that the panel speaks of: the active object's, or the only one of the scene."""
    root = root_of(context.view_layer.objects.active)
    if root is not None:
        return root
    found = roots(context.scene)
    return found[0] if len(found) == 1 else None
