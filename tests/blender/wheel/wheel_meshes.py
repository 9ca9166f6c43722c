# SPDX-License-Identifier: GPL-3.0-or-later
"""Exact mode: a surface for each frame, on disk and in the scene, visible at its frame only."""

import bpy
import numpy as np
import pytest
import stub_worker as stub
from mathutils import Quaternion
from neural_portrait import mesh_baking, session
from neural_portrait.neural_core import protocol
from neural_portrait.scene import find, mesh_frames, pose

DETAIL = 48


@pytest.fixture
def extracted(monkeypatch):
    """How open the jaw is in the surfaces that are asked of the engine from now on."""
    asked, send = [], session.engine()._send

    def remember(request):
        if isinstance(request, protocol.Mesh):
            asked.append(request.controls.get("actions", {}).get("jawOpen", 0.0))
        return send(request)

    monkeypatch.setattr(session.engine(), "_send", remember)
    return asked


def visible(root, scene, frame):
    """Return the surfaces that a render of this frame shows."""
    scene.frame_set(frame)
    return [ob for ob in mesh_frames.of(root).objects if not ob.hide_render]


def co(ob):
    flat = np.empty(len(ob.data.vertices) * 3, np.float32)
    ob.data.vertices.foreach_get("co", flat)
    return flat.reshape(-1, 3)


def test_each_frame_shows_its_own_surface_on_the_skull(keyed, scene):
    rig = find.part(keyed, "RIG")
    head = rig.pose.bones["head"]
    for frame, angle in ((1, 0.0), (5, 0.4)):
        head.rotation_quaternion = Quaternion((0, 1, 0), angle)
        head.keyframe_insert("rotation_quaternion", frame=frame)
    rig.update_tag()
    assert bpy.ops.portrait.bake_mesh() == {"FINISHED"}
    assert scene.frame_current == 3
    for frame in range(1, 6):
        (ob,) = visible(keyed, scene, frame)
        np.testing.assert_allclose(co(ob), stub.surface(7, DETAIL, rig["jawOpen"])["vertices"], atol=1e-5)
        np.testing.assert_allclose(ob.matrix_world, pose.head_space(keyed), atol=1e-5)
    assert [ob.name for ob in visible(keyed, scene, -3)] == ["Portrait 7 frame 1"]
    assert [ob.name for ob in visible(keyed, scene, 99)] == ["Portrait 7 frame 5"]
    assert find.part(keyed, "SURFACE").hide_render
    colours = np.empty(len(ob.data.vertices) * 4, np.float32)
    ob.data.color_attributes["Colour"].data.foreach_get("color_srgb", colours)
    np.testing.assert_allclose(colours.reshape(-1, 4)[:, :3], stub.surface(7, DETAIL)["colours"], atol=0.5 / 255 + 2e-3)


def test_surfaces_on_disk_are_not_extracted_again(keyed, scene, extracted, tmp_path):
    scene.frame_end = 8  # the jaw stays open after frame 5
    bpy.ops.portrait.bake_mesh()
    assert len(extracted) == 5
    folder = tmp_path / "portrait_cache" / "Portrait 7" / "mesh_48"
    assert len(list(folder.glob("m_*.npz"))) == 8
    bpy.ops.portrait.bake_mesh()
    assert len(extracted) == 5
    (folder / "m_0003.npz").write_bytes(b"cut")
    bpy.ops.portrait.bake_mesh()
    assert extracted[5:] == [0.5]
    assert len(mesh_frames.of(keyed).objects) == 8


def test_clear_shows_the_bound_surface_and_leaves_nothing_behind(keyed, scene):
    before = {kind: len(getattr(bpy.data, kind)) for kind in ("objects", "meshes", "materials", "actions")}
    bpy.ops.portrait.bake_mesh()
    assert not bpy.ops.portrait.clear_mesh() - {"FINISHED"}
    assert {kind: len(getattr(bpy.data, kind)) for kind in before} == before
    assert not find.part(keyed, "SURFACE").hide_render
    assert not bpy.ops.portrait.clear_mesh.poll()


def test_too_many_frames_are_refused(keyed, scene, extracted):
    scene.frame_end = mesh_baking.MAX_FRAMES + 1
    assert bpy.ops.portrait.bake_mesh() == {"CANCELLED"}
    assert "201 frames cannot be baked as meshes" in session.engine().status.message
    assert extracted == []


def test_a_portrait_deleted_meanwhile_is_a_sentence(keyed, scene, monkeypatch):
    task = mesh_baking.task

    def delete_on_the_way(kept, plan):
        result = yield from task(kept, plan)
        for ob in list(scene.objects):
            bpy.data.objects.remove(ob)
        return result

    monkeypatch.setattr(mesh_baking, "task", delete_on_the_way)
    bpy.ops.portrait.bake_mesh()
    assert "The portrait was deleted while its meshes were baked." in session.engine().status.message
