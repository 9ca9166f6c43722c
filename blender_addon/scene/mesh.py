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
    mesh.attributes["position"].data.foreach_set("vector", _flat(vertices, np.float32))
    if len(faces):  # attributes take an array whole, collections as `mesh.loops` one number after the other
        mesh.loops.add(faces.size)
        mesh.attributes[".corner_vert"].data.foreach_set("value", _flat(faces, np.int32))
        mesh.polygons.add(len(faces))
        mesh.polygons.foreach_set("loop_start", np.arange(0, faces.size, 3, dtype=np.int32))
        mesh.shade_smooth()
    mesh.update(calc_edges=True)
    if not _are_triangles(faces):
        mesh.validate()
    return mesh


def _are_triangles(faces: np.ndarray) -> bool:
    """Return whether all faces [m, 3] have three corners, and each is there once: Blender's own check takes longer."""
    a, b, c = faces.astype(np.int64).T
    low, high = np.minimum(np.minimum(a, b), c), np.maximum(np.maximum(a, b), c)
    middle = a + b + c - low - high
    if ((low == middle) | (middle == high)).any():
        return False
    side = int(faces.max(initial=0)) + 1
    keys = np.sort((low * side + middle) * side + high)
    return not (keys[1:] == keys[:-1]).any()


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
    moved = faces[delta.any(axis=1)[faces].any(axis=1)]
    edges = np.concatenate([moved[:, [0, 1]], moved[:, [1, 2]], moved[:, [2, 0]]])
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
        set_group(ob, name, weights[:, column], steps)


def set_group(ob: bpy.types.Object, name: str, weights: np.ndarray, steps: int = WEIGHT_LEVELS) -> None:
    """Make one vertex group, as `set_weights` does: weights [n] in 0..1."""
    levels = np.rint(weights * steps).astype(np.int32)
    order = np.argsort(levels, kind="stable")[np.count_nonzero(levels <= 0) :]
    starts = np.flatnonzero(np.diff(levels[order], prepend=0))
    group = ob.vertex_groups.new(name=name)
    for level, vertices in zip(levels[order][starts].tolist(), np.split(order, starts)[1:], strict=True):
        group.add(vertices.tolist(), level / steps, "REPLACE")


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
        add_key(ob, name, vertices + delta, value_range)


def add_key(ob: bpy.types.Object, name: str, coordinates: np.ndarray, value_range: tuple[float, float]) -> None:
    """Add one shape key to those that are there, of coordinates [n, 3], at value 0."""
    key = ob.shape_key_add(name=name, from_mix=False)
    key.value = 0.0  # Blender 5 makes new keys with value 1
    key.slider_min, key.slider_max = value_range
    set_coordinates(key, coordinates)


def set_coordinates(key: bpy.types.ShapeKey, coordinates: np.ndarray) -> None:
    """Write where a shape key has the vertices [n, 3]; `key.points` takes a fiftieth of the time of `key.data`."""
    key.points.foreach_set("co", _flat(coordinates, np.float32))


def read_weights(ob: bpy.types.Object) -> tuple[list[str], np.ndarray]:
    """Return the names of the vertex groups, and their weights [n, groups]."""
    weights = np.zeros((len(ob.data.vertices), len(ob.vertex_groups)), np.float32)
    for vertex in ob.data.vertices:
        for element in vertex.groups:
            weights[vertex.index, element.group] = element.weight
    return [group.name for group in ob.vertex_groups], weights


def read_delta(key: bpy.types.ShapeKey) -> np.ndarray:
    """Return what a shape key adds to the first one of its mesh: [n, 3] metres."""
    return _read_coordinates(key) - _read_coordinates(key.id_data.reference_key)


def _read_coordinates(block: bpy.types.ShapeKey) -> np.ndarray:
    co = np.empty(len(block.data) * 3, np.float32)
    block.points.foreach_get("co", co)
    return co.reshape(-1, 3)


def transfer(values: np.ndarray, index: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Carry per-vertex values [v, ...] to points bound by index [n, k] and weight [n, k] (rows sum to 1): [n, ...].

    Most actions move few vertices: what is bound to none of these stays 0.
    """
    result = np.zeros((len(index), *values.shape[1:]), np.float32)
    moved = values.reshape(len(values), -1).any(axis=1)
    points = np.flatnonzero(moved[index].any(axis=1))
    index, weight = index[points], weight[points]
    part = np.zeros((len(points), *values.shape[1:]), np.float32)
    for column in range(index.shape[1]):
        share = weight[:, column].reshape(-1, *([1] * (values.ndim - 1)))
        part += share * values[index[:, column]]
    result[points] = part
    return result


def _flat(array: np.ndarray, dtype: type) -> np.ndarray:
    return np.ascontiguousarray(array, dtype).ravel()
