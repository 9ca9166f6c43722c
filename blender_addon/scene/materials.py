# SPDX-License-Identifier: GPL-3.0-or-later
"""Materials of the surface and of the plain head."""

from __future__ import annotations

import bpy
import numpy as np

from .mesh import linear_from_srgb

_SKIN_SRGB = np.array([0.78, 0.62, 0.54])


def vertex_colours(name: str, srgb: np.ndarray, attribute: str = "Colour") -> bpy.types.Material:
    """Return a soft skin-like material coloured by a mesh attribute; solid view shows the mean of `srgb` [n, 3]."""
    material, shader = _principled(name, srgb.mean(axis=0))
    nodes, links = material.node_tree.nodes, material.node_tree.links
    colour = nodes.new("ShaderNodeVertexColor")
    colour.layer_name = attribute
    colour.location = (shader.location.x - 250, shader.location.y)
    links.new(colour.outputs["Color"], shader.inputs["Base Color"])
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
    shader.inputs["Roughness"].default_value = 0.6
    shader.inputs["Specular IOR Level"].default_value = 0.25
    return material, shader
