# SPDX-License-Identifier: GPL-3.0-or-later
"""Meshes, colours, weights and shape keys from arrays."""

from __future__ import annotations

import bpy
import numpy as np

WEIGHT_LEVELS = 255
"""Vertex weights are written in so many steps: one call a level is five times faster than one a vertex."""


def from_arrays(name: str, vertices: np.ndarray, faces: np.ndarray) -> bpy.types.Mesh:
    """Return a smooth-shaded triangle mesh: vertices [n, 3] metres, faces [m, 3]."""
    mesh = bpy.data.meshes.new(name)
    mesh.vertices.add(len(vertices))
    mesh.vertices.foreach_set("co", _flat(vertices, np.float32))
    mesh.loops.add(faces.size)
    mesh.loops.foreach_set("vertex_index", _flat(faces, np.int32))
    mesh.polygons.add(len(faces))
    mesh.polygons.foreach_set("loop_start", np.arange(0, faces.size, 3, dtype=np.int32))
    mesh.polygons.foreach_set("use_smooth", np.ones(len(faces), bool))
    mesh.update(calc_edges=True)
    mesh.validate()
    return mesh


def set_uv(mesh: bpy.types.Mesh, uv: np.ndarray, uv_faces: np.ndarray) -> None:
    """Add a UV map: uv [u, 2], one index a corner in uv_faces [m, 3]."""
    layer = mesh.uv_layers.new(name="UVMap")
    layer.data.foreach_set("uv", _flat(uv[uv_faces.ravel()], np.float32))


def set_colours(mesh: bpy.types.Mesh, srgb: np.ndarray, name: str) -> None:
    """Add vertex colours: srgb [n, 3] in 0..1 as the screen shows them. Blender stores them linear."""
    layer = mesh.color_attributes.new(name, "FLOAT_COLOR", "POINT")
    rgba = np.ones((len(srgb), 4), np.float32)
    rgba[:, :3] = linear_from_srgb(srgb)
    layer.data.foreach_set("color", rgba.ravel())
    mesh.color_attributes.active_color = layer


def set_values(mesh: bpy.types.Mesh, name: str, values: np.ndarray) -> None:
    """Add one number a vertex, for materials: values [n]."""
    mesh.attributes.new(name, "FLOAT", "POINT").data.foreach_set("value", _flat(values, np.float32))


def stretch(vertices: np.ndarray, faces: np.ndarray, delta: np.ndarray) -> np.ndarray:
    """Return by how much the longest-drawn edge at each vertex grows when `delta` [n, 3] is added: 1 is not at all."""
    edges = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    before = vertices[edges[:, 1]] - vertices[edges[:, 0]]
    after = before + delta[edges[:, 1]] - delta[edges[:, 0]]
    growth = np.linalg.norm(after, axis=1) / np.maximum(np.linalg.norm(before, axis=1), 1e-6)
    result = np.ones(len(vertices))
    np.maximum.at(result, edges.ravel(), np.repeat(growth, 2))
    return result


def linear_from_srgb(srgb: np.ndarray) -> np.ndarray:
    """Undo the transfer function of sRGB (IEC 61966-2-1)."""
    srgb = np.clip(np.asarray(srgb, np.float64), 0.0, 1.0)
    return np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)


def set_weights(ob: bpy.types.Object, names: list[str], weights: np.ndarray, steps: int = WEIGHT_LEVELS) -> None:
    """Make a vertex group a bone: weights [n, j] in 0..1, written in so many steps. Zeros are left out."""
    for column, name in enumerate(names):
        levels = np.rint(weights[:, column] * steps).astype(np.int32)
        group = ob.vertex_groups.new(name=name)
        for level in np.unique(levels[levels > 0]):
            group.add(np.flatnonzero(levels == level).tolist(), float(level) / steps, "REPLACE")


def add_shape_keys(
    ob: bpy.types.Object, vertices: np.ndarray, deltas: dict[str, np.ndarray], value_range: tuple[float, float]
) -> None:
    """Add a Basis and one key a name, each `vertices + delta`, at value 0. Drivers are clamped to `value_range`."""
    ob.shape_key_add(name="Basis", from_mix=False).value = 0.0
    add_keys(ob, vertices, deltas, value_range)


def add_keys(
    ob: bpy.types.Object, vertices: np.ndarray, deltas: dict[str, np.ndarray], value_range: tuple[float, float]
) -> None:
    """Add shape keys to those that are there, as `add_shape_keys` does."""
    for name, delta in deltas.items():
        key = ob.shape_key_add(name=name, from_mix=False)
        key.value = 0.0  # Blender 5 makes new keys with value 1
        key.slider_min, key.slider_max = value_range
        key.data.foreach_set("co", _flat(vertices + delta, np.float32))


def read_weights(ob: bpy.types.Object) -> tuple[list[str], np.ndarray]:
    """Return the names of the vertex groups, and their weights [n, groups]."""
    weights = np.zeros((len(ob.data.vertices), len(ob.vertex_groups)), np.float32)
    for vertex in ob.data.vertices:
        for element in vertex.groups:
            weights[vertex.index, element.group] = element.weight
    return [group.name for group in ob.vertex_groups], weights


def read_shape_keys(ob: bpy.types.Object) -> dict[str, np.ndarray]:
    """Return what each shape key but the first adds to the first: [n, 3] metres by name."""
    blocks = ob.data.shape_keys.key_blocks
    base, *coordinates = (_read_coordinates(block) for block in blocks)
    return {block.name: co - base for block, co in zip(blocks[1:], coordinates, strict=True)}


def _read_coordinates(block: bpy.types.ShapeKey) -> np.ndarray:
    co = np.empty(len(block.data) * 3, np.float32)
    block.data.foreach_get("co", co)
    return co.reshape(-1, 3)


def transfer(values: np.ndarray, index: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Carry per-vertex values [v, ...] to points bound by index [n, k] and weight [n, k] (rows sum to 1): [n, ...]."""
    result = np.zeros((len(index), *values.shape[1:]), np.float32)
    for column in range(index.shape[1]):
        share = weight[:, column].reshape(-1, *([1] * (values.ndim - 1)))
        result += share * values[index[:, column]]
    return result


def _flat(array: np.ndarray, dtype: type) -> np.ndarray:
    return np.ascontiguousarray(array, dtype).ravel()
