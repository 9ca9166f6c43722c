# SPDX-License-Identifier: GPL-3.0-or-later
"""Frames on disk: which are drawn, where they lie, what the card then shows, and what happens when things go wrong."""

import json

import bpy
import imageio.v3
import numpy as np
import pytest
import stub_worker as stub
from neural_portrait import bake_state, baking, pictures, session
from neural_portrait.scene import baked, find, image_plane, instants

SIZE = 32


def jaws(root, scene, frames):
    """Return the jaw's slider at some frames, by going there."""
    before, result = scene.frame_current, []
    for frame in frames:
        scene.frame_set(frame)
        result.append(round(find.part(root, "RIG")["jawOpen"], 5))
    scene.frame_set(before)
    return result


def cache(tmp_path):
    return tmp_path / "portrait_cache" / "Portrait 7" / "full"


def test_baking_draws_every_frame_of_the_range_and_a_record(keyed, scene, drawn, tmp_path):
    assert bpy.ops.portrait.bake() == {"FINISHED"}
    expected = jaws(keyed, scene, range(1, 6))
    assert drawn == expected
    names = [f"f_000{frame}.png" for frame in range(1, 6)]
    assert sorted(path.name for path in cache(tmp_path).iterdir()) == [*names, "frames.jsonl"]
    for name, jaw in zip(names, expected, strict=True):
        np.testing.assert_array_equal(imageio.v3.imread(cache(tmp_path) / name), stub.picture(SIZE, jaw))
    record = [json.loads(line) for line in (cache(tmp_path) / "frames.jsonl").read_text().splitlines()]
    assert [line["file"] for line in record] == names
    assert len({line["key"] for line in record}) == 5
    assert scene.frame_current == 3
    assert bake_state.line(keyed) == "Frames 1-5: 5 ready"


def test_the_card_plays_the_frames(keyed, scene, tmp_path):
    bpy.ops.portrait.bake()
    plane = find.part(keyed, "PLANE")
    image = image_plane.image_of(plane)
    assert image.source == "SEQUENCE"
    assert image.filepath.startswith("//portrait_cache")
    scene.render.engine, scene.cycles.samples, scene.cycles.use_denoising = "CYCLES", 4, False
    scene.render.resolution_x = scene.render.resolution_y = 16
    scene.view_settings.view_transform = "Standard"
    scene.render.filepath = str(tmp_path / "out_")
    bpy.ops.render.render(animation=True)
    for frame, jaw in zip(range(1, 6), jaws(keyed, scene, range(1, 6)), strict=True):
        middle = imageio.v3.imread(tmp_path / f"out_{frame:04d}.png")[8, 8]
        assert middle[2] == pytest.approx(stub.picture(SIZE, jaw)[SIZE // 2, SIZE // 2, 2], abs=3)


def test_only_what_is_missing_or_out_of_date_is_drawn_again(keyed, scene, drawn, tmp_path):
    bpy.ops.portrait.bake()
    drawn.clear()
    pictures.drawn.clear()
    bpy.ops.portrait.bake()
    assert drawn == []
    rig = find.part(keyed, "RIG")
    rig["jawOpen"] = 0.9
    rig.keyframe_insert('["jawOpen"]', frame=5)
    rig.update_tag()
    (cache(tmp_path) / "f_0001.png").unlink()
    data = (cache(tmp_path) / "f_0002.png").read_bytes()
    (cache(tmp_path) / "f_0002.png").write_bytes(data[:-20])
    plan = baking.plan(keyed, scene, range(1, 6), careful=True)
    assert [frame.instant.frame for frame in plan.missing] == [1, 2, 3, 4, 5]
    assert baking.summary(plan.range, 0, plan.stale) == "Frames 1-5: 0 ready, 4 out of date, 1 missing"
    bpy.ops.portrait.bake()
    assert drawn == jaws(keyed, scene, range(1, 6))


def test_what_was_seen_live_is_not_drawn_again(keyed, scene, drawn):
    scene.frame_set(2)
    bpy.ops.portrait.update_picture()
    drawn.clear()
    bpy.ops.portrait.bake()
    assert drawn == [jaw for jaw, frame in zip(jaws(keyed, scene, range(1, 6)), range(1, 6), strict=True) if frame != 2]


def test_a_moving_camera_carries_the_card(keyed, scene, tmp_path):
    """At each frame the card stands where that frame's picture belongs, also in a file without the add-on."""
    eye = scene.camera
    for frame, x in ((1, 0.0), (5, 0.3)):
        eye.location.x, eye.data.lens = x, 100 + 100 * x
        eye.keyframe_insert("location", frame=frame)
        eye.data.keyframe_insert("lens", frame=frame)
    bpy.ops.portrait.bake()
    plane = find.part(keyed, "PLANE")
    expected = instants.read(keyed, scene, range(1, 6))
    for one in expected:
        scene.frame_set(one.frame)
        np.testing.assert_allclose(plane.matrix_world, one.world, atol=1e-4)
    assert len({one.framing.place for one in expected}) == 5


def test_a_cut_between_cameras_carries_the_card(keyed, scene):
    other = bpy.data.objects.new("other", scene.camera.data.copy())
    scene.collection.objects.link(other)
    other.matrix_world = scene.camera.matrix_world
    other.location.x += 0.2
    for frame, ob in ((1, scene.camera), (4, other)):
        scene.timeline_markers.new("cut", frame=frame).camera = ob
    bpy.context.view_layer.update()
    bpy.ops.portrait.bake()
    for one in instants.read(keyed, scene, range(1, 6)):
        scene.frame_set(one.frame)
        np.testing.assert_allclose(find.part(keyed, "PLANE").matrix_world, one.world, atol=1e-4)


def test_live_and_clear_bring_the_picture_of_the_moment_back(keyed, scene, tmp_path):
    bpy.ops.portrait.bake()
    plane = find.part(keyed, "PLANE")
    assert bpy.ops.portrait.clear_cache() == {"FINISHED"}
    assert image_plane.image_of(plane) == plane.portrait.live_image
    assert plane.animation_data is None or plane.animation_data.action is None
    assert not cache(tmp_path).exists()
    assert bake_state.line(keyed) == ""


def test_an_unsaved_file_bakes_into_the_temporary_folder(moving, scene):
    scene.frame_start, scene.frame_end = 1, 2
    assert not bpy.data.filepath
    assert bpy.ops.portrait.bake() == {"FINISHED"}
    assert baked.folder_shown(find.part(moving, "PLANE")).is_relative_to(bpy.app.tempdir)


def test_a_place_where_nothing_can_be_written_is_a_sentence(keyed, drawn, tmp_path):
    (tmp_path / "portrait_cache").write_text("a file in the folder's place")
    assert bpy.ops.portrait.bake() == {"CANCELLED"}
    assert "Cannot write" in session.engine().status.message
    assert drawn == []


def test_a_range_that_would_freeze_the_window_is_refused(keyed, scene, drawn):
    scene.frame_end = 250_000
    assert bpy.ops.portrait.bake() == {"CANCELLED"}
    assert "250000 frames are too many to bake at once: 10000 are not." in session.engine().status.message
    assert drawn == []


def test_frames_before_zero_are_refused(keyed, scene):
    scene.frame_start = 0
    scene.use_preview_range, scene.frame_preview_start, scene.frame_preview_end = True, -2, 1
    assert bpy.ops.portrait.bake() == {"CANCELLED"}
    assert "Frame -2 cannot be baked" in session.engine().status.message


def test_a_file_saved_elsewhere_while_baking_takes_its_frames_along(keyed, scene, monkeypatch, tmp_path):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    task = baking.task

    def save_on_the_way(kept, plan):
        result = yield from task(kept, plan)
        bpy.ops.wm.save_as_mainfile(filepath=str(elsewhere / "other.blend"))
        return result

    monkeypatch.setattr(baking, "task", save_on_the_way)
    bpy.ops.portrait.bake()
    new = elsewhere / "portrait_cache" / "Portrait 7" / "full"
    assert sorted(path.name for path in new.iterdir()) == sorted(path.name for path in cache(tmp_path).iterdir())
    assert baked.folder_shown(find.part(keyed, "PLANE")) == new
    assert "they were copied to" in session.engine().status.message
    assert not baking.plan(keyed, scene, range(1, 6), careful=True).missing


def test_a_portrait_deleted_while_baking_leaves_its_frames_and_a_sentence(keyed, scene, monkeypatch, tmp_path):
    task = baking.task

    def delete_on_the_way(kept, plan):
        result = yield from task(kept, plan)
        for ob in list(scene.objects):
            bpy.data.objects.remove(ob)
        return result

    monkeypatch.setattr(baking, "task", delete_on_the_way)
    bpy.ops.portrait.bake()
    assert "The portrait was deleted while its frames were baked." in session.engine().status.message
    assert len(list(cache(tmp_path).glob("f_*.png"))) == 5


def test_render_bakes_what_is_missing_then_renders(keyed, scene, drawn, tmp_path):
    scene.render.engine, scene.cycles.samples, scene.cycles.use_denoising = "CYCLES", 1, False
    scene.render.resolution_x = scene.render.resolution_y = 16
    scene.render.filepath = str(tmp_path / "out_")
    assert bpy.ops.portrait.render() == {"FINISHED"}
    assert len(drawn) == 5
    assert len(list(tmp_path.glob("out_*.png"))) == 5


def test_render_refuses_frames_that_are_not_there(keyed, scene, monkeypatch, tmp_path):
    task = baking.task

    def lose_one(kept, plan):
        result = yield from task(kept, plan)
        plan.frames[2].path.unlink()
        return result

    monkeypatch.setattr(baking, "task", lose_one)
    scene.render.filepath = str(tmp_path / "out_")
    bpy.ops.portrait.render()
    assert "1 frames of the portrait are not there: Frames 1-5: 4 ready, 1 missing" in session.engine().status.message
    assert list(tmp_path.glob("out_*.png")) == []


def test_turntable_goes_around_once_and_is_baked(keyed, scene, tmp_path):
    assert bpy.ops.portrait.turntable(frames=8) == {"FINISHED"}
    head = np.array(keyed.matrix_world.translation)
    seen = []
    for frame in range(1, 10):
        scene.frame_set(frame)
        seen.append(np.array(scene.camera.matrix_world.translation) - head)
    seen = np.array(seen)
    np.testing.assert_allclose(np.linalg.norm(seen, axis=1), 1.35, atol=1e-3)
    turned = np.unwrap(np.arctan2(seen[:, 1], seen[:, 0]))
    np.testing.assert_allclose(np.diff(turned), 2 * np.pi / 8, atol=1e-3)
    assert len(list(cache(tmp_path).glob("f_*.png"))) == 8


def test_a_look_counts_the_frames_without_touching_the_scene(keyed, scene, monkeypatch, tmp_path):
    now = [0.0]
    monkeypatch.setattr(bake_state, "clock", lambda: now[0])
    bpy.ops.portrait.bake()
    rig = find.part(keyed, "RIG")
    rig["jawOpen"] = 0.9
    rig.keyframe_insert('["jawOpen"]', frame=5)
    rig.update_tag()
    bpy.context.view_layer.update()
    assert bake_state.line(keyed) == "Frames 1-5: 5 ready (looking again)"
    now[0] += 1.0
    for _ in range(10):
        if bake_state.tick() is None:
            break
    assert bake_state.line(keyed) == "Frames 1-5: 1 ready, 4 out of date"
    assert scene.frame_current == 3
    bpy.context.view_layer.update()
    assert bake_state.line(keyed) == "Frames 1-5: 1 ready, 4 out of date"  # looking is no change
    scene.frame_set(4)
    assert bake_state.line(keyed) == "Frames 1-5: 1 ready, 4 out of date"  # neither is another frame
    now[0] += 1.0
    rig["jawOpen"] = 0.2
    rig.update_tag()
    bpy.context.view_layer.update()
    scene.frame_set(4)
    rig.update_tag()
    bpy.context.view_layer.update()
    assert bake_state.line(keyed).endswith("(looking again)")
