# SPDX-License-Identifier: GPL-3.0-or-later
"""Another person in a portrait's place: the same objects, actions, drivers, constraints and materials, another face.

What the engine makes is made anew: where bones rest, the plain head with its 52 actions, the surface, the portrait's
data. What the user made stays: keys, layers, modifiers, constraints, custom properties, bones and shape keys of their
own, which go along with what they hang on. Topology of the surface is new, so what was painted on it is gone.
"""

from __future__ import annotations

from typing import Any

import bpy
import numpy as np

from .. import answers
from ..neural_core import __version__, errors
from ..tasks import Person, Portrait
from . import find, mesh, mesh_frames, portrait, rig, sliders, unfinished

_CHANNELS = ("location", "rotation_quaternion", "rotation_euler", "rotation_axis_angle", "scale")


def replacing(root: bpy.types.Object, made: Person) -> unfinished.Pieces[bool]:
    """Put a person in the place of a portrait's, piece by piece; all that can be seen changes with the last piece.

    Returns whether surfaces of single frames were removed: they showed the person before.

    Raises:
        UsageError: if the plain head was edited so that it has other vertices.
    """
    arrays, fields = made.portrait.arrays, made.portrait.fields
    actions = dict(zip(fields["action_names"], arrays["rig/actions"], strict=True))
    armature, driver = find.part(root, "RIG"), find.part(root, "DRIVER")
    if driver is not None and len(driver.data.vertices) != len(arrays["rig/vertices"]):
        raise errors.UsageError(
            f'"{driver.name}" has {len(driver.data.vertices)} vertices, the new head {len(arrays["rig/vertices"])}.',
            "Take back what was edited in it, or create a portrait anew.",
        )
    with unfinished.collection(root.name) as aside:
        surface = None
        if made.surface is not None:
            surface = yield from portrait.surface_aside(aside, root, made.surface, actions)
        standing = _standing(armature) if armature is not None else {}
        if armature is not None:
            rig.move_joints(armature, fields["joint_names"], arrays["rig/joints"])
        if driver is not None:
            portrait.leave_mode(driver)
            _reshape(driver.data, arrays["rig/vertices"], actions)
        if surface is not None:
            portrait.put_surface(root, surface)
        exact = mesh_frames.of(root) is not None
        mesh_frames.clear(root)
        _remember(root, made.portrait)
    bpy.data.collections.remove(aside)
    bpy.context.view_layer.update()
    if armature is not None and _stand(armature, standing):
        bpy.context.view_layer.update()
    return exact


def _standing(armature: bpy.types.Object) -> dict[str, dict[str, Any]]:
    """Return how a rig stands: sliders by name under "", channels of the object under "object", of bones by bone."""
    values = {name: value for name, value in armature.items() if isinstance(value, (int, float))}
    bones = {bone.name: _channels(bone) for bone in armature.pose.bones}
    return {"": values, "object": _channels(armature), **{f"bone {name}": own for name, own in bones.items()}}


def _channels(posed: bpy.types.Object | bpy.types.PoseBone) -> dict[str, tuple[float, ...]]:
    return {path: tuple(getattr(posed, path)) for path in _CHANNELS}


def _stand(armature: bpy.types.Object, standing: dict[str, dict[str, Any]]) -> bool:
    """Let a rig stand as it did; returns whether that was necessary.

    When bones have been edited, Blender reads keyed values from the action again: what was set by hand and not keyed
    yet is lost then.
    """
    now = _standing(armature)
    if now == standing:
        return False
    for name, value in standing[""].items():
        armature[name] = value
    posed = {"object": armature, **{f"bone {bone.name}": bone for bone in armature.pose.bones}}
    for name, one in posed.items():
        for path, value in standing[name].items():
            setattr(one, path, value)
    armature.update_tag()
    return True


def _reshape(head: bpy.types.Mesh, vertices: np.ndarray, actions: dict[str, np.ndarray]) -> None:
    """Give a plain head other vertices [v, 3] and actions [v, 3] by name; other keys keep what they add."""
    if head.shape_keys is not None:
        first = head.shape_keys.reference_key
        for key in head.shape_keys.key_blocks:
            if key != first:
                delta = actions[key.name] if key.name in actions else mesh.read_delta(key)
                mesh.set_coordinates(key, vertices + delta)
        mesh.set_coordinates(first, vertices)
    head.attributes["position"].data.foreach_set("vector", np.ascontiguousarray(vertices, np.float32).ravel())
    head.update()


def _remember(root: bpy.types.Object, person: Portrait) -> None:
    """Keep the new person's data in the place of the old one's."""
    identity = find.identity_of(root)
    before = identity.file
    identity.file = portrait.keep(root.name, person)
    if before is not None and not before.users:
        bpy.data.texts.remove(before)
    identity.uuid, identity.version, identity.changed = person.identifier, __version__, True
    sliders.fill(identity, answers.sliders(person.fields))
