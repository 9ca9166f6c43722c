# SPDX-License-Identifier: GPL-3.0-or-later
"""Two soft lights for a scene without any, and the view transform that leaves the network's colours alone."""

from __future__ import annotations

import bpy
from mathutils import Matrix, Vector

# Name, place in the root's space (metres; the face looks along +Z), power in watts, side in metres, colour.
# Together they light skin about as brightly as the network's own pictures are.
_LIGHTS = (
    ("Portrait key light", (-0.9, 0.7, 1.4), 34.0, 0.9, (1.0, 0.95, 0.88)),
    ("Portrait fill light", (1.2, 0.2, 1.0), 16.0, 1.2, (0.96, 0.98, 1.0)),
)
_BACKGROUND = (0.11, 0.115, 0.125)  # linear; a dark studio wall


def ensure(scene: bpy.types.Scene, root: bpy.types.Object) -> None:
    """Add key and fill light before the face of `root`, unless the scene has a light of its own."""
    if any(ob.type == "LIGHT" for ob in scene.objects):
        return
    collection = root.users_collection[0]
    for name, place, watts, side, colour in _LIGHTS:
        light = bpy.data.lights.new(name, "AREA")
        light.energy, light.size, light.color = watts, side, colour
        ob = bpy.data.objects.new(name, light)
        collection.objects.link(ob)
        ob.parent = root
        aim = (-Vector(place)).to_track_quat("-Z", "Y").to_matrix().to_4x4()
        ob.matrix_local = Matrix.Translation(place) @ aim


def ensure_world(scene: bpy.types.Scene) -> None:
    """Give a scene without a world a dark neutral one."""
    if scene.world is None:
        scene.world = bpy.data.worlds.new("Portrait world")
        if scene.world.node_tree is None:  # Blender 5 makes the tree itself
            scene.world.use_nodes = True
        background = next(node for node in scene.world.node_tree.nodes if node.type == "BACKGROUND")
        background.inputs["Color"].default_value = (*_BACKGROUND, 1.0)


def keeps_colours(scene: bpy.types.Scene) -> bool:
    """Return whether the view transform shows the network's colours as they are."""
    return scene.view_settings.view_transform == "Standard"


def use_standard_view(scene: bpy.types.Scene) -> None:
    """Show colours as they are."""
    scene.view_settings.view_transform = "Standard"
