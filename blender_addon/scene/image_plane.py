# SPDX-License-Identifier: GPL-3.0-or-later
"""The card that shows the network's own picture: image, material, place before the camera or beside the head."""

from __future__ import annotations

import bpy
import numpy as np
from mathutils import Matrix

from .. import backgrounds
from . import camera as cameras

BESIDE_GAP = 1.02
"""Distance between head and card when the card stands beside the head, in sides of the picture."""


def make(name: str, collection: bpy.types.Collection, image: bpy.types.Image) -> bpy.types.Object:
    """Return a card of side 1 metre that shows `image`, lit by nothing."""
    mesh = bpy.data.meshes.new(name)
    mesh.from_pydata([(-0.5, -0.5, 0.0), (0.5, -0.5, 0.0), (0.5, 0.5, 0.0), (-0.5, 0.5, 0.0)], [], [(0, 1, 2, 3)])
    mesh.uv_layers.new(name="UVMap").data.foreach_set("uv", np.array([0, 0, 1, 0, 1, 1, 0, 1], np.float32))
    mesh.materials.append(_material(name, image))
    ob = bpy.data.objects.new(name, mesh)
    collection.objects.link(ob)
    return ob


def make_image(name: str, pixels: np.ndarray) -> bpy.types.Image:
    """Return a packed byte image of [h, w, 4] uint8, sRGB with straight alpha, first row on top."""
    height, width = pixels.shape[:2]
    image = bpy.data.images.new(name, width, height, alpha=True)
    set_pixels(image, pixels)
    return image


def set_pixels(image: bpy.types.Image, pixels: np.ndarray, pack: bool = True) -> None:
    """Replace the picture, its size too, and pack it so that the .blend carries it; packing takes longest."""
    height, width = pixels.shape[:2]
    if tuple(image.size) != (width, height):
        image.scale(width, height)
    # Blender's first row is at the bottom.
    image.pixels.foreach_set((pixels[::-1].astype(np.float32) / 255.0).ravel())
    image.update()
    if pack:
        image.pack()


def node_of(plane: bpy.types.Object) -> bpy.types.ShaderNodeTexImage:
    """Return the node of a card's material that holds its image."""
    return plane.data.materials[0].node_tree.nodes["Picture"]


def image_of(plane: bpy.types.Object) -> bpy.types.Image:
    """Return the image that a card shows."""
    return node_of(plane).image


def background_of(plane: bpy.types.Object | None) -> str:
    """Return what is to be behind the head on a card, as `backgrounds` writes it."""
    if plane is None or plane.portrait.background == "TRANSPARENT":
        return backgrounds.NOTHING
    if plane.portrait.background == "MODEL":
        return backgrounds.MODEL
    return backgrounds.of_colour(plane.portrait.background_colour)


def set_background(plane: bpy.types.Object, background: str) -> None:
    """Choose what is to be behind the head on a card."""
    colour = backgrounds.colour_of(background)
    if colour is not None:
        plane.portrait.background_colour = colour
    other = "MODEL" if background == backgrounds.MODEL else "TRANSPARENT"
    plane.portrait.background = "COLOUR" if colour is not None else other


def show_image(plane: bpy.types.Object, image: bpy.types.Image) -> None:
    """Let a card show another image."""
    if node_of(plane).image != image:
        node_of(plane).image = image


def place(plane: bpy.types.Object, parent: bpy.types.Object, matrix: Matrix) -> None:
    """Make the card a child of `parent`, at `matrix` in its space."""
    if plane.parent != parent:
        plane.parent = parent
        plane.matrix_parent_inverse = Matrix.Identity(4)
    plane.matrix_local = matrix


def before_camera(label: tuple[float, ...], scale: float = 1.0) -> Matrix:
    """Return the card's matrix in its camera's space: at the depth of the head's centre, covering the picture's square.

    The pinhole equations at the depth of the origin of the label's space, of which a unit is `scale` metres.
    """
    cam2world, intrinsics = cameras.split_label(label)
    depth = float(-cam2world[:3, 3] @ cam2world[:3, 2]) * scale
    width, height = depth / intrinsics[0, 0], depth / intrinsics[1, 1]
    x = (0.5 - intrinsics[0, 2]) * width
    y = (intrinsics[1, 2] - 0.5) * height
    return Matrix.Translation((x, y, -depth)) @ Matrix.Diagonal((width, height, 1.0, 1.0))


def at_head(label: tuple[float, ...]) -> Matrix:
    """Return the card's matrix in the label's space: over the head, facing the label's camera."""
    return cameras.local_matrix(label) @ before_camera(label)


def beside_head(label: tuple[float, ...]) -> Matrix:
    """Return the card's matrix in the label's space: as large as the head, to its right for the label's camera."""
    in_camera = before_camera(label)
    aside = Matrix.Translation((BESIDE_GAP * in_camera.to_scale().x, 0.0, 0.0))
    return cameras.local_matrix(label) @ aside @ in_camera


def _material(name: str, image: bpy.types.Image) -> bpy.types.Material:
    """Emission through alpha: the picture's own colours, whatever the lights."""
    material = bpy.data.materials.new(name)
    if material.node_tree is None:  # Blender 5 makes the tree itself
        material.use_nodes = True
    nodes, links = material.node_tree.nodes, material.node_tree.links
    nodes.clear()
    picture = nodes.new("ShaderNodeTexImage")
    picture.name, picture.image, picture.extension = "Picture", image, "CLIP"
    emission = nodes.new("ShaderNodeEmission")
    clear = nodes.new("ShaderNodeBsdfTransparent")
    mix = nodes.new("ShaderNodeMixShader")
    output = nodes.new("ShaderNodeOutputMaterial")
    links.new(picture.outputs["Color"], emission.inputs["Color"])
    links.new(picture.outputs["Alpha"], mix.inputs["Fac"])
    links.new(clear.outputs[0], mix.inputs[1])
    links.new(emission.outputs[0], mix.inputs[2])
    links.new(mix.outputs[0], output.inputs["Surface"])
    for column, node in enumerate((picture, emission, clear, mix, output)):
        node.location = (column * 250 - 600, -200 if node == clear else 0)
    material.surface_render_method = "BLENDED"
    return material
