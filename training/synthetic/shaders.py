# SPDX-License-Identifier: GPL-3.0-or-later
"""Blender's shader nodes for each kind of material: what makes skin skin, and hair hair."""

from __future__ import annotations

from collections.abc import Callable

import bpy
import numpy as np
from numpy.typing import NDArray

from training.synthetic.figure import Fibres, Material


def material_of(material: Material):
    """Blender's material for a surface."""
    made, tree, shader = _principled(material.kind, material.roughness)
    colour = _colour(tree, material)
    if isinstance(colour, tuple):
        shader.inputs["Base Color"].default_value = colour
    else:
        tree.links.new(colour, shader.inputs["Base Color"])
    if material.relief is not None:
        _relief(tree, shader, material.relief)
    _KINDS.get(material.kind, lambda *_: None)(tree, shader, material)
    return made


def fibre_material(fibres: Fibres):
    """Blender's material for strands, whose colours run from the curves' attributes ``root`` to ``tip``.

    Two thirds is an ordinary matt surface, which carries the colour; a third is the scattering of hair (Chiang et al.
    2016), of which only the first reflection is followed: the sheen across locks. All of its scattering would take more
    than twice the time.
    """
    made, tree, matt = _principled("fibres", 0.6, 0.0)
    info = tree.nodes.new("ShaderNodeHairInfo")
    colour = tree.nodes.new("ShaderNodeMix")
    colour.data_type = "RGBA"
    tree.links.new(info.outputs["Intercept"], colour.inputs["Factor"])
    for socket, name in ((6, "root"), (7, "tip")):
        attribute = tree.nodes.new("ShaderNodeAttribute")
        attribute.attribute_name = name
        tree.links.new(attribute.outputs["Color"], colour.inputs[socket])
    sheen = tree.nodes.new("ShaderNodeBsdfHairPrincipled")
    sheen.model, sheen.parametrization = "CHIANG", "COLOR"
    sheen.inputs["Roughness"].default_value = 0.8 * fibres.roughness
    sheen.inputs["Radial Roughness"].default_value = 0.6
    sheen.inputs["Random Roughness"].default_value = 0.0
    tree.links.new(colour.outputs[2], matt.inputs["Base Color"])
    tree.links.new(colour.outputs[2], sheen.inputs["Color"])
    _mix(tree, 0.35, matt.outputs[0], sheen.outputs[0])
    return made


def _mix(tree, factor, first, other) -> None:
    """Show a mix of two shaders; the factor is a number or the output of a node."""
    mix = tree.nodes.new("ShaderNodeMixShader")
    if isinstance(factor, float):
        mix.inputs[0].default_value = factor
    else:
        tree.links.new(factor, mix.inputs[0])
    tree.links.new(first, mix.inputs[1])
    tree.links.new(other, mix.inputs[2])
    tree.links.new(mix.outputs[0], tree.nodes["Material Output"].inputs["Surface"])


def _principled(name: str, roughness: float, specular: float = 0.5):
    material = bpy.data.materials.new(name)
    material.use_nodes = True
    shader = material.node_tree.nodes["Principled BSDF"]
    shader.inputs["Roughness"].default_value = roughness
    shader.inputs["Specular IOR Level"].default_value = specular
    return material, material.node_tree, shader


def _colour(tree, material: Material):
    """The colour of a material: four numbers, or the output of a node that reads its texture."""
    if material.texture is None:
        return (*(float(c) for c in material.colour), 1.0)
    return _image(tree, material.texture)


def _image(tree, texture: NDArray[np.float32]):
    rows, columns, channels = texture.shape
    image = bpy.data.images.new("texture", columns, rows, float_buffer=True, is_data=True)
    pixels = np.ones((rows, columns, 4), np.float32)
    pixels[..., :channels] = texture[::-1]
    image.pixels.foreach_set(pixels.ravel())
    node = tree.nodes.new("ShaderNodeTexImage")
    node.image = image
    return node.outputs["Color"]


def _relief(tree, shader, relief: NDArray[np.float32]) -> None:
    parts = tree.nodes.new("ShaderNodeSeparateColor")
    tree.links.new(_image(tree, relief), parts.inputs[0])
    bump = tree.nodes.new("ShaderNodeBump")
    bump.inputs["Distance"].default_value = 0.001
    tree.links.new(parts.outputs[0], bump.inputs["Height"])
    tree.links.new(bump.outputs[0], shader.inputs["Normal"])
    tree.links.new(parts.outputs[1], shader.inputs["Roughness"])


def _skin(tree, shader, material: Material) -> None:
    shader.inputs["Specular IOR Level"].default_value = 0.4
    _soft(shader, 0.15, 0.006)


def _soft(shader, weight: float, scale: float) -> None:
    shader.inputs["Subsurface Weight"].default_value = weight
    shader.inputs["Subsurface Radius"].default_value = (1.0, 0.35, 0.2)
    shader.inputs["Subsurface Scale"].default_value = scale


def _wet(tree, shader, material: Material) -> None:
    shader.inputs["Coat Weight"].default_value = 0.6
    shader.inputs["Coat Roughness"].default_value = 0.12


def _eye(tree, shader, material: Material) -> None:
    shader.inputs["Roughness"].default_value = 0.25
    shader.inputs["Coat Weight"].default_value = 1.0
    shader.inputs["Coat Roughness"].default_value = 0.09


def _tooth(tree, shader, material: Material) -> None:
    shader.inputs["Roughness"].default_value = 0.22
    _soft(shader, 0.15, 0.002)


def _cloth(tree, shader, material: Material) -> None:
    shader.inputs["Specular IOR Level"].default_value = 0.2
    shader.inputs["Sheen Weight"].default_value = 0.25
    shader.inputs["Sheen Roughness"].default_value = 0.4


def _clear(tree, shader, material: Material) -> None:
    """Thin and clear: light passes straight through but for the reflection at its surface."""
    through = tree.nodes.new("ShaderNodeBsdfTransparent")
    through.inputs["Color"].default_value = (*(float(c) for c in material.colour), 1.0)
    gloss = tree.nodes.new("ShaderNodeBsdfAnisotropic")
    # A sharper mirror finds the lamps in so few samples that the highlight turns into specks.
    gloss.inputs["Roughness"].default_value = max(material.roughness, 0.09)
    fresnel = tree.nodes.new("ShaderNodeFresnel")
    fresnel.inputs["IOR"].default_value = 1.38
    # Only the camera sees the reflection: what falls through a lens lights the eye behind it in full.
    path = tree.nodes.new("ShaderNodeLightPath")
    seen = tree.nodes.new("ShaderNodeMath")
    seen.operation = "MULTIPLY"
    tree.links.new(fresnel.outputs[0], seen.inputs[0])
    tree.links.new(path.outputs["Is Camera Ray"], seen.inputs[1])
    _mix(tree, seen.outputs[0], through.outputs[0], gloss.outputs[0])


_KINDS: dict[str, Callable[..., None]] = {
    "skin": _skin,
    "lid": _wet,
    "eye": _eye,
    "cornea": _clear,
    "lens": _clear,
    "mouth": _wet,
    "tongue": _wet,
    "gum": _wet,
    "tooth": _tooth,
    "cloth": _cloth,
}
