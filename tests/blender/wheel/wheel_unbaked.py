# SPDX-License-Identifier: GPL-3.0-or-later
"""Renders that were started without baking, as F12 and `blender -b -a` start them: every frame has its picture."""

import bpy
import imageio.v3
import numpy as np
import pytest
import stub_worker as stub
from neural_portrait import lettering, live, pictures, png, sentences, session
from neural_portrait.scene import baked, find

SIZE = 32


@pytest.fixture
def quick(keyed, scene, tmp_path):
    """The keyed portrait in a scene that Cycles renders fast, three frames of it."""
    scene.frame_end = 3
    scene.render.engine, scene.cycles.samples, scene.cycles.use_denoising = "CYCLES", 4, False
    scene.render.resolution_x = scene.render.resolution_y = 16
    scene.view_settings.view_transform = "Standard"
    scene.render.filepath = str(tmp_path / "out_")
    return keyed


def blues(tmp_path):
    """Return the blue in the middle of each rendered frame: the stub's tells how open the jaw is."""
    return [int(imageio.v3.imread(path)[8, 8, 2]) for path in sorted(tmp_path.glob("out_*.png"))]


def expected(root, scene, frames):
    result = []
    for frame in frames:
        scene.frame_set(frame)
        result.append(int(stub.picture(SIZE, find.part(root, "RIG")["jawOpen"])[SIZE // 2, SIZE // 2, 2]))
    return result


def test_an_animation_waits_for_the_picture_of_each_frame(quick, scene, tmp_path):
    bpy.ops.render.render(animation=True)
    assert blues(tmp_path) == pytest.approx(expected(quick, scene, (1, 2, 3)), abs=3)
    assert len(set(blues(tmp_path))) == 3
    assert session.engine().status.state == "idle"


def test_a_still_waits_for_its_picture(quick, scene, tmp_path):
    scene.frame_set(2)
    scene.render.filepath = str(tmp_path / "out_still.png")
    bpy.ops.render.render(write_still=True)
    assert blues(tmp_path) == pytest.approx(expected(quick, scene, (2,)), abs=3)


def test_frames_on_disk_need_no_engine(quick, scene, drawn, tmp_path):
    bpy.ops.portrait.bake()
    drawn.clear()
    pictures.drawn.clear()
    bpy.ops.render.render(animation=True)
    assert drawn == []
    assert baked.is_shown(find.part(quick, "PLANE"))
    live.switch_on(quick)
    live.switch_off()
    bpy.ops.render.render(animation=True)  # the card is live again: the frames' files still serve
    assert drawn == []
    assert blues(tmp_path) == pytest.approx(expected(quick, scene, (1, 2, 3)), abs=3)


def test_frames_out_of_date_are_drawn_again(quick, scene, drawn, tmp_path):
    bpy.ops.portrait.bake()
    rig = find.part(quick, "RIG")
    rig["jawOpen"] = 0.9
    rig.keyframe_insert('["jawOpen"]', frame=2)
    rig.update_tag()
    drawn.clear()
    bpy.ops.render.render(animation=True)
    assert 0.9 in [round(jaw, 3) for jaw in drawn]
    assert blues(tmp_path) == pytest.approx(expected(quick, scene, (1, 2, 3)), abs=3)


def test_a_picture_that_does_not_come_is_a_grey_card_with_a_sentence(quick, scene, tmp_path, capfd):
    find.identity_of(quick).model = "nobody"
    scene.render.resolution_x = scene.render.resolution_y = 128
    bpy.ops.render.render(animation=True)
    message = session.engine().status.message
    assert message.startswith("Frame 1 (and 2 more) was rendered without the network's picture: This portrait was")
    assert message in capfd.readouterr().err
    why = sentences.model_missing("nobody", find.identity_of(quick).model_hash)
    written = lettering.card(f"{why.message}\n{why.hint}", SIZE)[..., :3].astype(float)
    assert written.shape == (128, 128, 3)  # as large as the frame: the camera sees the card and nothing else
    for path in sorted(tmp_path.glob("out_*.png")):
        rendered = imageio.v3.imread(path)[..., :3].astype(float)
        assert np.abs(rendered - written).mean() < 8
        assert np.corrcoef(rendered.ravel(), written.ravel())[0, 1] > 0.9


def test_a_hidden_card_asks_for_nothing(quick, drawn):
    bpy.ops.portrait.show(what="MESH")
    bpy.ops.render.render(animation=True)
    assert drawn == []


def test_png_files_come_back_as_they_were(scene, tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (5, 7, 4), np.uint8)
    png.write(tmp_path / "a.png", pixels)
    np.testing.assert_array_equal(png.read(tmp_path / "a.png"), pixels)
    np.testing.assert_array_equal(imageio.v3.imread(tmp_path / "a.png"), pixels)
    data = (tmp_path / "a.png").read_bytes()
    (tmp_path / "b.png").write_bytes(data[:-40])
    assert png.read(tmp_path / "b.png") is None
    imageio.v3.imwrite(tmp_path / "c.png", pixels[..., :3])
    assert png.read(tmp_path / "c.png") is None
    image = bpy.data.images.load(str(tmp_path / "a.png"))
    seen = np.empty(7 * 5 * 4, np.float32)
    image.pixels.foreach_get(seen)
    np.testing.assert_array_equal(np.rint(seen.reshape(5, 7, 4)[::-1] * 255), pixels)
