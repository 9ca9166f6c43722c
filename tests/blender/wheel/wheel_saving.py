# SPDX-License-Identifier: GPL-3.0-or-later
"""What a saved .blend carries: opened elsewhere, without the add-on, it shows newest picture and baked frames."""

import addon_utils
import bpy
import imageio.v3
import numpy as np
import pytest
import stub_worker as stub
from neural_portrait import live, saving, session
from neural_portrait.scene import find, image_plane


def pixels_of(image):
    pixels = np.empty(image.size[0] * image.size[1] * 4, np.float32)
    image.pixels.foreach_get(pixels)
    return np.rint(pixels.reshape(image.size[1], image.size[0], 4)[::-1] * 255)


@pytest.fixture
def reopened(scene):
    """Open a file without the add-on, and return the image on the card of this name."""

    def open_file(path, plane):
        addon_utils.disable("neural_portrait")
        bpy.ops.wm.open_mainfile(filepath=str(path))
        return image_plane.image_of(bpy.data.objects[plane])

    yield open_file
    addon_utils.enable("neural_portrait", default_set=True)


def test_the_newest_live_picture_is_in_the_saved_file(keyed, scene, reopened, tmp_path):
    live.switch_on(keyed)
    find.part(keyed, "RIG").animation_data_clear()
    find.part(keyed, "RIG")["jawOpen"] = 0.75
    find.part(keyed, "RIG").update_tag()
    bpy.context.view_layer.update()
    live.update()
    live.switch_off()
    plane = find.part(keyed, "PLANE").name
    bpy.ops.wm.save_mainfile()
    np.testing.assert_array_equal(pixels_of(reopened(tmp_path / "scene.blend", plane)), stub.picture(32, 0.75))


def test_frames_of_an_unsaved_file_go_beside_it_when_it_is_saved(moving, scene, reopened, tmp_path):
    scene.frame_start, scene.frame_end = 1, 2
    bpy.ops.portrait.bake()
    plane = find.part(moving, "PLANE").name
    (tmp_path / "work").mkdir()
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "work" / "scene.blend"))
    frames = tmp_path / "work" / "portrait_cache" / "Portrait 7" / "full"
    assert sorted(path.name for path in frames.iterdir()) == ["f_0001.png", "f_0002.png", "frames.jsonl"]
    # On another machine the folder has another name.
    (tmp_path / "work").rename(tmp_path / "moved")
    image = reopened(tmp_path / "moved" / "scene.blend", plane)
    assert image.filepath.replace("\\", "/") == "//portrait_cache/Portrait 7/full/f_0001.png"
    assert image.source == "SEQUENCE"
    np.testing.assert_array_equal(imageio.v3.imread(bpy.path.abspath(image.filepath)), stub.picture(32))


def test_make_portable_brings_frames_along_and_says_what_is_inside(keyed, scene, tmp_path):
    bpy.ops.portrait.bake()
    (tmp_path / "elsewhere").mkdir()
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "elsewhere" / "other.blend"))
    image = image_plane.image_of(find.part(keyed, "PLANE"))
    assert image.filepath == "//../portrait_cache/Portrait 7/full/f_0001.png"
    find.identity_of(keyed).use = "non-commercial"
    assert bpy.ops.portrait.make_portable() == {"FINISHED"}
    assert image.filepath == "//portrait_cache/Portrait 7/full/f_0001.png"
    assert len(list((tmp_path / "elsewhere" / "portrait_cache" / "Portrait 7" / "full").glob("f_*.png"))) == 5
    text = (tmp_path / "elsewhere" / saving.README).read_text()
    for words in ("other.blend", "seed 7", "moving (0123456789abcdef)", "CC0-1.0", "non-commercial"):
        assert words in text


def test_an_unsaved_file_cannot_be_portable(moving):
    assert bpy.ops.portrait.make_portable() == {"CANCELLED"}
    assert "not saved yet" in session.engine().status.message


def test_no_permission_beside_the_file_is_a_sentence(keyed, tmp_path):
    (tmp_path / saving.README).mkdir()
    assert bpy.ops.portrait.make_portable() == {"CANCELLED"}
    assert "Cannot write" in session.engine().status.message
