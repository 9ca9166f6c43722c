# SPDX-License-Identifier: GPL-3.0-or-later
"""Files for other programs: what is in them, and that nothing in the scene has changed afterwards."""

import json
import struct

import bpy
import numpy as np
import pytest
from neural_portrait.neural_core import errors
from neural_portrait.scene import curves, exporting, find, mesh

BYTES = {5121: np.uint8, 5123: np.uint16, 5125: np.uint32, 5126: np.float32}
COUNTS = {"SCALAR": 1, "VEC3": 3, "VEC4": 4}


class Glb:
    """A .glb file, read by its specification."""

    def __init__(self, path):
        data = path.read_bytes()
        (length,) = struct.unpack_from("<I", data, 12)
        self.json = json.loads(data[20 : 20 + length])
        self.blob = data[20 + length + 8 :]

    def array(self, number):
        accessor = self.json["accessors"][number]
        view = self.json["bufferViews"][accessor["bufferView"]]
        start, count = view.get("byteOffset", 0) + accessor.get("byteOffset", 0), COUNTS[accessor["type"]]
        dtype = BYTES[accessor["componentType"]]
        values = np.frombuffer(self.blob, dtype, accessor["count"] * count, start).reshape(-1, count)
        return values / np.iinfo(dtype).max if accessor.get("normalized") else values


@pytest.fixture
def animated(portrait, scene):
    """A portrait whose jaw opens within ten frames; nothing but its rig is selected."""
    rig = find.part(portrait, "RIG")
    for frame, value in ((1, 0.0), (10, 1.0)):
        rig["jawOpen"] = value
        curves.key(rig, "jawOpen", frame)
    rig.update_tag()
    scene.frame_start, scene.frame_end = 1, 10
    for ob in bpy.context.selected_objects:
        ob.select_set(False)
    rig.select_set(True)
    return portrait


def colours_of(ob):
    values = np.empty(len(ob.data.vertices) * 4, np.float32)
    ob.data.color_attributes["Colour"].data.foreach_get("color", values)
    return values.reshape(-1, 4)[:, :3]


def test_glb_has_the_colours_the_bones_and_the_moving_jaw(animated, tmp_path):
    exporting.write(animated, tmp_path / "p.glb", "surface")
    glb, surface = Glb(tmp_path / "p.glb"), find.part(animated, "SURFACE")
    (primitive,) = glb.json["meshes"][0]["primitives"]
    colours = glb.array(primitive["attributes"]["COLOR_0"])[:, :3]
    expected = colours_of(surface)
    np.testing.assert_allclose(colours.min(0), expected.min(0), atol=1e-3)
    np.testing.assert_allclose(colours.max(0), expected.max(0), atol=1e-3)
    names = glb.json["meshes"][0]["extras"]["targetNames"]
    assert len(primitive["targets"]) == len(names) == 52
    assert {"head", "jaw", "neck"} <= {node["name"] for node in glb.json["nodes"]}
    (animation,) = glb.json["animations"]
    (channel,) = (channel for channel in animation["channels"] if channel["target"]["path"] == "weights")
    weights = glb.array(animation["samplers"][channel["sampler"]]["output"]).reshape(-1, 52)
    np.testing.assert_allclose(weights[[0, -1], names.index("jawOpen")], [0.0, 1.0], atol=1e-5)
    assert not np.delete(weights, names.index("jawOpen"), axis=1).any()


@pytest.mark.parametrize("suffix", [".obj", ".ply"])
def test_still_formats_show_this_frame_with_its_colours(animated, scene, tmp_path, suffix):
    import trimesh

    surface, loaded = find.part(animated, "SURFACE"), {}
    for frame in (1, 10):
        scene.frame_set(frame)
        exporting.write(animated, tmp_path / f"{frame}{suffix}", "surface")
        loaded[frame] = trimesh.load(tmp_path / f"{frame}{suffix}", process=False)
        seen = surface.evaluated_get(bpy.context.evaluated_depsgraph_get())
        assert len(loaded[frame].faces) == len(seen.data.polygons)
    assert np.abs(loaded[1].vertices - loaded[10].vertices).max() > 0.02  # metres: the jaw drops by three centimetres
    srgb = loaded[1].visual.vertex_colors[:, :3] / 255
    np.testing.assert_allclose(mesh.linear_from_srgb(srgb), colours_of(surface), atol=0.02)


@pytest.mark.parametrize("suffix", [".glb", ".obj", ".ply", ".stl"])
def test_what_is_hidden_is_written_and_stays_hidden(animated, tmp_path, suffix):
    exporting.write(animated, tmp_path / f"seen{suffix}", "surface")
    bpy.ops.portrait.show(what="PICTURE")
    surface = find.part(animated, "SURFACE")
    assert (surface.hide_get(), surface.hide_render) == (True, True)
    exporting.write(animated, tmp_path / f"hidden{suffix}", "surface")
    assert (surface.hide_get(), surface.hide_render) == (True, True)
    assert (tmp_path / f"hidden{suffix}").stat().st_size == (tmp_path / f"seen{suffix}").stat().st_size


def test_stl_has_every_triangle(animated, tmp_path):
    exporting.write(animated, tmp_path / "p.stl", "head")
    (triangles,) = struct.unpack_from("<I", (tmp_path / "p.stl").read_bytes(), 80)
    assert triangles == len(find.part(animated, "DRIVER").data.polygons)


@pytest.mark.skipif("usd_export" not in dir(bpy.ops.wm), reason="this Blender has no USD")
def test_usd_comes_back_with_the_bones(animated, tmp_path):
    exporting.write(animated, tmp_path / "p.usdc", "surface")
    bpy.ops.wm.read_homefile(use_empty=True)
    bpy.ops.wm.usd_import(filepath=str(tmp_path / "p.usdc"))
    (armature,) = (ob for ob in bpy.data.objects if ob.type == "ARMATURE")
    assert {bone.name for bone in armature.data.bones} >= {"head", "jaw", "neck"}


def test_a_portrait_file_is_what_the_blend_keeps(animated, tmp_path):
    exporting.write(animated, tmp_path / "p.portrait", "surface")
    assert (tmp_path / "p.portrait").read_bytes() == b"stub portrait 7"


def test_the_scene_is_as_it_was(animated, tmp_path):
    view_layer = bpy.context.view_layer
    before = [(ob.name, ob.select_get(), ob.hide_get(), ob.hide_viewport) for ob in view_layer.objects]
    active = view_layer.objects.active
    exporting.write(animated, tmp_path / "p.ply", "head")  # which is hidden
    assert (tmp_path / "p.ply").stat().st_size > 1000
    assert [(ob.name, ob.select_get(), ob.hide_get(), ob.hide_viewport) for ob in view_layer.objects] == before
    assert view_layer.objects.active == active
    assert [path.name for path in tmp_path.iterdir()] == ["p.ply"]


def test_what_cannot_be_exported_is_a_sentence(animated, tmp_path):
    with pytest.raises(errors.PortraitError, match="Cannot write") as caught:
        exporting.write(animated, tmp_path / "none" / "p.ply", "surface")
    assert caught.value.kind == "output"
    bpy.data.objects.remove(find.part(animated, "SURFACE"))
    with pytest.raises(errors.InputError, match="has no surface to export"):
        exporting.write(animated, tmp_path / "p.ply", "surface")


def test_a_blender_without_an_exporter_says_so(portrait, tmp_path):
    bpy.ops.preferences.addon_disable(module="io_scene_gltf2")
    try:
        with pytest.raises(errors.UsageError, match=r"This Blender cannot export \.glb files"):
            exporting.check(tmp_path / "p.glb")
    finally:
        bpy.ops.preferences.addon_enable(module="io_scene_gltf2")
    exporting.check(tmp_path / "p.glb")


def failing(monkeypatch, error):
    """Let Blender's glTF exporter, which is written in Python, fail when it is asked."""
    import io_scene_gltf2

    def fail(*_):
        raise error

    monkeypatch.setattr(io_scene_gltf2.ExportGLTF2_Base, "execute", fail)


def test_an_exporter_that_is_interrupted_ends_as_cancelled(portrait, tmp_path, monkeypatch):
    """Ctrl+C, and a farm's SIGTERM, come out of Blender as a RuntimeError with a traceback in it."""
    failing(monkeypatch, KeyboardInterrupt())
    with pytest.raises(RuntimeError, match="Traceback"):
        bpy.ops.export_scene.gltf(filepath=str(tmp_path / "x.glb"))
    with pytest.raises(KeyboardInterrupt):
        exporting.write(portrait, tmp_path / "p.glb", "surface")
    assert not list(tmp_path.iterdir())


def test_a_job_whose_export_is_interrupted_has_the_exit_code_of_cancelled(keyed, tmp_path, monkeypatch, capsys):
    import signal

    from neural_portrait import headless

    (tmp_path / "job.toml").write_text(
        'version = 1\n[[job]]\ndo = "export"\n[job.scene]\nblend = "scene.blend"\n[job.export]\nout = ["p.glb"]\n'
    )
    handler = signal.getsignal(signal.SIGTERM)
    try:
        failing(monkeypatch, KeyboardInterrupt())
        assert headless.main([str(tmp_path / "job.toml")], registered=True) == 5
        summary = json.loads((tmp_path / "job.summary.json").read_text())
        assert (summary["kind"], summary["jobs"][0]["state"], summary["jobs"][0]["files"]) == (
            "cancelled",
            "failed",
            [],
        )
        failing(monkeypatch, OSError(28, "No space left on device"))
        assert headless.main([str(tmp_path / "job.toml")], registered=True) == 2
    finally:
        signal.signal(signal.SIGTERM, handler)
    said = capsys.readouterr().err.splitlines()
    assert said[-1] == f'batch: Cannot write "{tmp_path / "p.glb"}": OSError: [Errno 28] No space left on device'


def test_the_reason_is_the_last_line_that_says_what_went_wrong(portrait, tmp_path, monkeypatch):
    failing(monkeypatch, PermissionError(13, "Permission denied", "p.glb"))
    with pytest.raises(errors.PortraitError) as caught:
        exporting.write(portrait, tmp_path / "p.glb", "surface")
    assert caught.value.message.endswith(": PermissionError: [Errno 13] Permission denied: 'p.glb'")
    for part in ("Traceback", "Location", "\n"):
        assert part not in caught.value.message
