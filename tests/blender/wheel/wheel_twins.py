# SPDX-License-Identifier: GPL-3.0-or-later
"""Portraits that were duplicated: the same person twice, each with a picture, frames and motion of its own."""

import bpy
import pytest
import stub_worker as stub
from neural_portrait import live, pictures, session
from neural_portrait.scene import baked, find, image_plane

SIZE = 32


@pytest.fixture(params=[False, True], ids=["duplicate", "linked duplicate"])
def twins(moving, scene, request, tmp_path):
    """A portrait and its duplicate, whose jaw is open; the duplicate is selected."""
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "scene.blend"))
    bpy.ops.portrait.update_picture()
    bpy.ops.object.select_all(action="DESELECT")
    for ob in (moving, *moving.children_recursive):
        ob.hide_set(False)
        ob.select_set(True)
    bpy.ops.object.duplicate(linked=request.param)
    (other,) = (root for root in find.roots(scene) if root != moving)
    assert find.identity_of(other).uuid == find.identity_of(moving).uuid
    bpy.context.view_layer.objects.active = other
    find.part(other, "RIG")["jawOpen"] = 1.0
    find.part(other, "RIG").update_tag()
    pictures.drawn.clear()
    scene.frame_start, scene.frame_end = 1, 2
    return moving, other


def blue(root):
    """The blue in the middle of the picture on the card."""
    image = image_plane.image_of(find.part(root, "PLANE"))
    return round(255 * image.pixels[4 * (image.size[0] * image.size[1] // 2 + image.size[0] // 2) + 2])


def expected(jaw):
    return int(stub.picture(SIZE, jaw)[SIZE // 2, SIZE // 2, 2])


def test_each_has_its_own_picture(twins):
    first, second = twins
    assert bpy.ops.portrait.update_picture() == {"FINISHED"}
    assert (blue(first), blue(second)) == (expected(0.0), expected(1.0))
    assert find.identity_of(first).uuid != find.identity_of(second).uuid
    bpy.context.view_layer.objects.active = first
    find.part(first, "RIG")["jawOpen"] = 0.5
    bpy.ops.portrait.update_picture()
    assert (blue(first), blue(second)) == (expected(0.5), expected(1.0))


def test_frames_of_one_are_not_on_the_others_card(twins):
    assert bpy.ops.portrait.bake() == {"FINISHED"}
    assert [baked.is_shown(find.part(root, "PLANE")) for root in twins] == [False, True]
    bpy.context.view_layer.objects.active = twins[0]
    bpy.ops.portrait.bake()
    folders = [baked.folder_shown(find.part(root, "PLANE")) for root in twins]
    assert folders[0] != folders[1]
    assert all(len(list(folder.glob("f_*.png"))) == 2 for folder in folders)


def test_a_new_surface_is_the_selected_ones(twins, scene):
    first, second = twins
    before = find.part(first, "SURFACE").data
    scene.portrait.detail = 64
    assert bpy.ops.portrait.update_mesh() == {"FINISHED"}
    assert find.part(first, "SURFACE").data == before
    assert find.part(second, "SURFACE").data != before


def test_only_one_is_live(twins):
    first, second = twins
    live.switch_on(second)
    assert (live.is_on(first), live.is_on(second)) == (False, True)
    live.switch_off()


def test_both_are_rendered_with_their_own_pictures(twins, scene, tmp_path):
    scene.camera = find.part(twins[0], "CAMERA")
    scene.render.engine, scene.render.resolution_x, scene.render.resolution_y = "CYCLES", 8, 8
    scene.cycles.samples, scene.cycles.use_denoising = 1, False
    scene.render.filepath = str(tmp_path / "out.png")
    bpy.ops.render.render(write_still=True)
    assert session.engine().status.state == "idle"
    assert tuple(map(blue, twins)) == (expected(0.0), expected(1.0))
