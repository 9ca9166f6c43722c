# SPDX-License-Identifier: GPL-3.0-or-later
"""The renderer: Blender's Cycles through the bpy wheel, in a process of its own.

    python -m training.synthetic.cycles --job '{...}' --worker 0 --workers 2

``Studio.photograph`` draws any figure from any view in any light. A sitter stays on the stage until another one comes:
for a new pose only vertices move, for a new view only the camera does, which is most of what makes it fast.
"""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import bpy
import numpy as np
from mathutils import Matrix, Vector
from numpy.typing import NDArray

from neural_core.records import HEAD_TO_MODEL
from training.synthetic.figure import Fibres, Figure, Part
from training.synthetic.lighting import Setting
from training.synthetic.looks import linear_to_srgb, srgb_to_linear
from training.synthetic.picture import Picture
from training.synthetic.shaders import fibre_material, material_of

if TYPE_CHECKING:
    from training.synthetic.people import View
    from training.synthetic.sight import Sight

# Head space (+Y up, +Z out of the face) to Blender's (+Z up, face towards -Y).
_TO_BLENDER = np.array([[1.0, 0.0, 0.0], [0.0, 0.0, -1.0], [0.0, 1.0, 0.0]])
_OPENCV_TO_BLENDER = np.diag([1.0, -1.0, -1.0, 1.0])
_OF_A_SITTER = ("objects", "meshes", "hair_curves", "materials", "images")


@dataclass(frozen=True)
class Settings:
    """Size of the pictures in pixels, and samples per pixel."""

    size: int = 128
    samples: int = 12


class Studio:
    """A scene with a camera, in which one sitter after the other is photographed.

    Only one studio at a time: Blender has one scene for the whole process.
    """

    def __init__(self, settings: Settings) -> None:
        self._size = settings.size
        self._folder = tempfile.TemporaryDirectory(prefix="portrait-cycles-")
        bpy.ops.wm.read_factory_settings(use_empty=True)
        self._scene = bpy.context.scene
        _set_up(self._scene, settings, Path(self._folder.name))
        self._camera = self._scene.camera
        self._sitter: Figure | None = None
        self._things: list = []
        self._setting: Setting | None = None

    def photograph(self, figure: Figure, view: View, setting: Setting) -> Picture:
        """The picture of a figure: the same inputs give the same bytes, whatever was photographed before.

        Depth looks through what is clear, but for the odd pixel whose sample a lens mirrored.
        """
        with _quiet():
            self._seat(figure)
            self._light(setting)
            self._aim(view)
            bpy.ops.render.render()
            colour, depth = self._read("colour"), self._read("depth")[..., 0]
        colour[..., 3] = 1.03 * colour[..., 3] - 0.015  # what is full or empty is not quite so once it is denoised
        return develop(colour, _along_rays(depth, view), setting)

    def photographs(self, figure: Figure, sights: Sequence[Sight], setting: Setting) -> list[Picture]:
        """The pictures that some cameras take at the same instant; of a sight only the camera is asked for."""
        return [self.photograph(figure, sight.view, setting) for sight in sights]

    def _seat(self, figure: Figure) -> None:
        """Put the figure on the stage; if the one that sits there differs only in its pose, move it."""
        old = self._sitter
        if old is not None and _same_person(old, figure):
            for thing, before, after in zip(self._things, _drawn(old), _drawn(figure), strict=True):
                _move(thing, before, after)
        else:
            self._clear()
            materials = _Wardrobe()
            self._things = [_build(thing, materials) for thing in _drawn(figure)]
            for thing in self._things:
                self._scene.collection.objects.link(thing)
        self._sitter = figure

    def _clear(self) -> None:
        # Cycles knows images by their address and would give the next sitter the skin of this one: switching the
        # persistent data off frees what it keeps.
        self._scene.render.use_persistent_data = False
        keep = {self._camera, *(thing for thing in self._scene.objects if thing.type == "LIGHT")}
        for collection in _OF_A_SITTER:
            data = getattr(bpy.data, collection)
            for block in [block for block in data if block not in keep]:
                data.remove(block)
        self._things = []
        self._scene.render.use_persistent_data = True

    def _light(self, setting: Setting) -> None:
        if self._setting is setting:
            return
        for light in list(bpy.data.lights):
            bpy.data.lights.remove(light)
        for number, lamp in enumerate(setting.lamps):
            light = bpy.data.lights.new(f"lamp{number}", "AREA")
            light.size, light.energy, light.color = lamp.width, lamp.power, lamp.colour.tolist()
            thing = bpy.data.objects.new(f"lamp{number}", light)
            place = Vector((_TO_BLENDER @ lamp.place).tolist())
            thing.matrix_world = Matrix.Translation(place) @ (-place).to_track_quat("-Z", "Y").to_matrix().to_4x4()
            self._scene.collection.objects.link(thing)
        self._scene.world.node_tree.nodes["Background"].inputs["Color"].default_value = (*setting.sky.tolist(), 1.0)
        self._setting = setting

    def _aim(self, view: View) -> None:
        pose = np.eye(4)
        pose[:3, :3] = _TO_BLENDER @ view.cam2world[:3, :3]
        pose[:3, 3] = _TO_BLENDER @ view.cam2world[:3, 3] / HEAD_TO_MODEL
        self._camera.matrix_world = Matrix((pose @ _OPENCV_TO_BLENDER).tolist())
        lens = self._camera.data
        lens.lens = lens.sensor_width * view.intrinsics[0, 0]
        lens.shift_x = 0.5 - view.intrinsics[0, 2]
        lens.shift_y = view.intrinsics[1, 2] - 0.5

    def _read(self, name: str) -> NDArray[np.float32]:
        """What the compositor wrote: linear [h, w, 4], first row at the top."""
        image = bpy.data.images.load(os.fspath(Path(self._folder.name) / f"{name}0001.exr"))
        pixels = np.empty(self._size**2 * 4, np.float32)
        image.pixels.foreach_get(pixels)
        bpy.data.images.remove(image)
        return pixels.reshape(self._size, self._size, 4)[::-1]


def _along_rays(planar: NDArray, view: View) -> NDArray[np.float32]:
    """Depth along each ray in model units, 0 where nothing is, from depth [h, w] along the camera's axis in metres."""
    height, width = planar.shape
    x = ((np.arange(width) + 0.5) / width - view.intrinsics[0, 2]) / view.intrinsics[0, 0]
    y = ((np.arange(height) + 0.5) / height - view.intrinsics[1, 2]) / view.intrinsics[1, 1]
    slant = np.sqrt(1 + x[None, :] ** 2 + y[:, None] ** 2)
    return np.where(planar < 1e3, planar * slant * HEAD_TO_MODEL, 0.0).astype(np.float32)


def develop(colour: NDArray[np.float32], depth: NDArray[np.float32], setting: Setting) -> Picture:
    """A picture from linear light [h, w, 4], premultiplied by its alpha, under the exposure of the setting."""
    alpha = np.clip(colour[..., 3:], 0.0, 1.0)
    light = np.maximum(colour[..., :3], 0.0) * 2.0**setting.exposure
    if setting.backdrop is None:
        light = np.where(alpha > 1 / 255, light / np.maximum(alpha, 1 / 255), 0.0)
    else:
        light = light + (1 - alpha) * srgb_to_linear(setting.backdrop / 255)
    rgba = np.concatenate([linear_to_srgb(np.clip(light, 0.0, 1.0)), alpha], -1)
    return Picture(np.rint(255 * rgba).astype(np.uint8), depth)


def _drawn(figure: Figure) -> tuple[Part | Fibres, ...]:
    return (*figure.parts, *(fibres for fibres in figure.fibres if len(fibres.points)))


def _same_person(first: Figure, other: Figure) -> bool:
    """Whether two figures differ in nothing but places."""
    pairs = list(zip(_drawn(first), _drawn(other), strict=False))
    return len(_drawn(first)) == len(_drawn(other)) and all(_alike(a, b) for a, b in pairs)


def _alike(first: Part | Fibres, other: Part | Fibres) -> bool:
    if isinstance(first, Part) and isinstance(other, Part):
        a, b = first.material, other.material
        return (
            (first.name, a.kind, a.roughness) == (other.name, b.kind, b.roughness)
            and first.vertices.shape == other.vertices.shape
            and _equal(first.faces, other.faces)
            and _equal(first.uv, other.uv)
            and _equal(a.colour, b.colour)
            and _equal(a.texture, b.texture)
            and _equal(a.relief, b.relief)
        )
    if isinstance(first, Fibres) and isinstance(other, Fibres):
        return (
            (first.name, first.roughness) == (other.name, other.roughness)
            and first.points.shape == other.points.shape
            and _equal(first.radii, other.radii)
            and _equal(first.root_colour, other.root_colour)
            and _equal(first.tip_colour, other.tip_colour)
        )
    return False


def _equal(first: NDArray | None, other: NDArray | None) -> bool:
    if first is None or other is None:
        return first is other
    return first is other or np.array_equal(first, other)


class _Wardrobe:
    """Blender materials of one sitter."""

    def __init__(self) -> None:
        self._made: list[tuple[object, object]] = []

    def of(self, thing: Part | Fibres):
        """The material of a thing; parts that share a material share Blender's."""
        if isinstance(thing, Fibres):
            return fibre_material(thing)
        for material, made in self._made:
            if material is thing.material:
                return made
        made = material_of(thing.material)
        self._made.append((thing.material, made))
        return made


def _build(thing: Part | Fibres, materials: _Wardrobe):
    data = _mesh(thing) if isinstance(thing, Part) else _curves(thing)
    data.materials.append(materials.of(thing))
    return bpy.data.objects.new(thing.name, data)


def _places(points: NDArray) -> NDArray[np.float32]:
    return (points.reshape(-1, 3) @ _TO_BLENDER.T).astype(np.float32).ravel()


def _mesh(part: Part):
    mesh = bpy.data.meshes.new(part.name)
    used, faces = np.unique(part.faces, return_inverse=True)
    mesh.vertices.add(len(used))
    mesh.vertices.foreach_set("co", _places(part.vertices[used]))
    mesh.loops.add(faces.size)
    mesh.loops.foreach_set("vertex_index", faces.astype(np.int32).ravel())
    mesh.polygons.add(len(part.faces))
    mesh.polygons.foreach_set("loop_start", np.arange(0, faces.size, 3, dtype=np.int32))
    if part.uv is not None:
        layer = mesh.uv_layers.new(name="uv")
        layer.data.foreach_set("uv", part.uv.astype(np.float32).ravel())
    mesh.update(calc_edges=True)
    mesh.shade_smooth()
    return mesh


def _curves(fibres: Fibres):
    count, points = fibres.radii.shape
    curves = bpy.data.hair_curves.new(fibres.name)
    curves.add_curves([points] * count)
    curves.position_data.foreach_set("vector", _places(fibres.points))
    radius = curves.attributes.get("radius") or curves.attributes.new("radius", "FLOAT", "POINT")
    radius.data.foreach_set("value", fibres.radii.astype(np.float32).ravel())
    for name, colour in (("root", fibres.root_colour), ("tip", fibres.tip_colour)):
        rgba = np.ones((count, 4), np.float32)
        rgba[:, :3] = np.clip(colour, 0.0, 1.0)
        curves.attributes.new(name, "FLOAT_COLOR", "CURVE").data.foreach_set("color", rgba.ravel())
    return curves


def _move(thing, before: Part | Fibres, after: Part | Fibres) -> None:
    if isinstance(before, Part) and isinstance(after, Part):
        if not _equal(before.vertices, after.vertices):
            thing.data.vertices.foreach_set("co", _places(after.vertices[np.unique(after.faces)]))
            thing.data.update()
    elif isinstance(before, Fibres) and isinstance(after, Fibres) and not _equal(before.points, after.points):
        thing.data.position_data.foreach_set("vector", _places(after.points))
        thing.data.update_tag()


def _set_up(scene, settings: Settings, folder: Path) -> None:
    """Render settings, an empty sky and the camera."""
    scene.render.engine = "CYCLES"
    scene.render.threads_mode, scene.render.threads = "FIXED", 1
    scene.render.resolution_x = scene.render.resolution_y = settings.size
    scene.render.film_transparent = True
    cycles = scene.cycles
    cycles.samples, cycles.use_adaptive_sampling = settings.samples, False
    cycles.use_denoising, cycles.denoiser, cycles.seed = True, "OPENIMAGEDENOISE", 0
    cycles.denoising_prefilter = "FAST"  # "ACCURATE" takes as long as the picture itself and looks the same here
    cycles.max_bounces, cycles.diffuse_bounces, cycles.glossy_bounces = 3, 2, 1
    cycles.transmission_bounces, cycles.transparent_max_bounces, cycles.caustics_reflective = 0, 6, False
    cycles.sample_clamp_indirect = 3.0
    scene.cycles_curves.shape = "RIBBONS"
    scene.cycles_curves.subdivisions = 2
    scene.view_layers[0].use_pass_z = True
    scene.world = bpy.data.worlds.new("sky")
    scene.world.use_nodes = True
    _compositor(scene, folder)
    camera = bpy.data.objects.new("camera", bpy.data.cameras.new("camera"))
    camera.data.clip_start, camera.data.clip_end = 0.1, 10.0
    scene.collection.objects.link(camera)
    scene.camera = camera


def _compositor(scene, folder: Path) -> None:
    """Nodes that write linear colour and depth of each frame to ``colour0001.exr`` and ``depth0001.exr``.

    Cycles denoises colours only; the outline of hair is grainy unless alpha is denoised as a picture of its own.
    """
    scene.use_nodes = True
    nodes, links = scene.node_tree.nodes, scene.node_tree.links
    nodes.clear()
    layers = nodes.new("CompositorNodeRLayers")
    output = nodes.new("CompositorNodeOutputFile")
    output.base_path = os.fspath(folder)
    output.format.file_format, output.format.color_depth, output.format.exr_codec = "OPEN_EXR", "32", "NONE"
    output.format.color_mode = "RGBA"
    output.file_slots[0].path = "colour"
    output.file_slots.new("depth")
    smooth = nodes.new("CompositorNodeDenoise")
    smooth.use_hdr = False
    joined = nodes.new("CompositorNodeSetAlpha")
    joined.mode = "REPLACE_ALPHA"
    links.new(layers.outputs["Alpha"], smooth.inputs["Image"])
    links.new(layers.outputs["Image"], joined.inputs["Image"])
    links.new(smooth.outputs["Image"], joined.inputs["Alpha"])
    links.new(joined.outputs["Image"], output.inputs[0])
    links.new(layers.outputs["Depth"], output.inputs[1])


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Blender prints a line per picture to the process's standard output; ours go through the saved one."""
    sys.stdout.flush()
    saved = os.dup(1)
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)
    try:
        yield
    finally:
        sys.stdout.flush()
        os.dup2(saved, 1)
        os.close(saved)
        os.close(null)


def main() -> int:
    """Render the people of one worker with Cycles (command line: ``training.synthetic.dataset``)."""
    from training.synthetic.dataset import worker_main

    return worker_main(lambda job: Studio(Settings(job.plan.size, job.samples)))


if __name__ == "__main__":
    raise SystemExit(main())
