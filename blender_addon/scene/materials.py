# SPDX-License-Identifier: GPL-3.0-or-later
"""Materials of the surface and of the plain head."""

from __future__ import annotations

import bpy
import numpy as np

from .mesh import linear_from_srgb
from .rig import drive

COLOUR, MOUTH = "Colour", "Mouth"
"""Names of the surface's attributes: its colours, and where skin is drawn over the open mouth."""

_SKIN_SRGB = np.array([0.78, 0.62, 0.54])
_MOUTH_SRGB = np.array([0.17, 0.06, 0.06])
_MOUTH_GAIN = 3.0
"""How soon the mouth darkens: it is fully dark when jawOpen is a third."""


def vertex_colours(name: str, srgb: np.ndarray, rig: bpy.types.Object | None) -> bpy.types.Material:
    """Return a soft skin-like material coloured by the surface's attribute; solid view shows the mean of `srgb` [n, 3].

    A surface of the network is closed: opening the jaw draws skin over the mouth. With a `rig`, that skin darkens as
    jawOpen grows, so that one looks into a mouth.
    """
    material, shader = _principled(name, srgb.mean(axis=0))
    nodes, links = material.node_tree.nodes, material.node_tree.links
    colour = nodes.new("ShaderNodeVertexColor")
    colour.layer_name = COLOUR
    colour.location = (shader.location.x - 700, shader.location.y)
    if rig is None:
        links.new(colour.outputs["Color"], shader.inputs["Base Color"])
        return material
    mouth, opened = nodes.new("ShaderNodeAttribute"), nodes.new("ShaderNodeMath")
    mouth.attribute_name = MOUTH
    opened.operation, opened.use_clamp = "MULTIPLY", True
    drive(opened.inputs[1].driver_add("default_value").driver, rig, "jawOpen", gain=_MOUTH_GAIN)
    mix = nodes.new("ShaderNodeMixRGB")
    mix.inputs["Color2"].default_value = (*linear_from_srgb(_MOUTH_SRGB).tolist(), 1.0)
    for node, x, y in ((mouth, 700, -200), (opened, 450, -200), (mix, 220, 0)):
        node.location = (shader.location.x - x, shader.location.y + y)
    links.new(mouth.outputs["Fac"], opened.inputs[0])
    links.new(opened.outputs["Value"], mix.inputs["Fac"])
    links.new(colour.outputs["Color"], mix.inputs["Color1"])
    links.new(mix.outputs["Color"], shader.inputs["Base Color"])
    return material


def plain_skin(name: str) -> bpy.types.Material:
    """Return an even skin for the plain head."""
    material, shader = _principled(name, _SKIN_SRGB)
    shader.inputs["Base Color"].default_value = material.diffuse_color
    return material


def _principled(name: str, srgb: np.ndarray) -> tuple[bpy.types.Material, bpy.types.ShaderNode]:
    material = bpy.data.materials.new(name)
    if material.node_tree is None:  # Blender 5 makes the tree itself
        material.use_nodes = True
    material.diffuse_color = (*linear_from_srgb(srgb).tolist(), 1.0)
    shader = next(node for node in material.node_tree.nodes if node.type == "BSDF_PRINCIPLED")
    # The network's colours hold some light already: a dull surface adds little of its own.
    shader.inputs["Roughness"].default_value = 0.7
    shader.inputs["Specular IOR Level"].default_value = 0.1
    return material, shader
