# SPDX-License-Identifier: GPL-3.0-or-later
"""What is behind the head on the card: live, drawn by a button, baked, rendered without baking, and in jobs' keys."""

import bpy
import imageio.v3
import numpy as np
import pytest
import stub_worker as stub
from neural_portrait import bake_state, baking, frame_record, live, pictures, session
from neural_portrait.neural_core import protocol
from neural_portrait.picture_key import picture_facts, picture_key
from neural_portrait.scene import find, framing, image_plane

SIZE = 32
COLOUR, BYTES = (0.2, 0.6, 1.0), (51, 153, 255)
CORNER, MIDDLE = (0, 0), (SIZE // 2, SIZE // 2)


@pytest.fixture
def asked(monkeypatch):
    """The backgrounds that the engine is asked to draw."""
    found, send = [], session.engine()._send

    def remember(request):
        if isinstance(request, protocol.Render):
            found.append(request.background)
        return send(request)

    monkeypatch.setattr(session.engine(), "_send", remember)
    return found


@pytest.fixture
def plane(keyed):
    """The card of a keyed portrait, with a picture of this moment that is in memory."""
    assert bpy.ops.portrait.update_picture() == {"FINISHED"}
    return find.part(keyed, "PLANE")


def on_card(plane):
    """Return the card's picture [h, w, 4] in bytes, first row on top."""
    image = image_plane.image_of(plane)
    values = np.empty(image.size[0] * image.size[1] * 4, np.float32)
    image.pixels.foreach_get(values)
    return np.rint(values.reshape(*image.size, 4)[::-1] * 255).astype(np.uint8)


def jaw(plane):
    return find.part(find.root_of(plane), "RIG")["jawOpen"]


def laid(picture, colour=BYTES):
    """Return what a picture over a colour looks like, pixel by pixel."""
    opacity = picture[..., 3:] / 255
    mixed = opacity * picture[..., :3] + (1 - opacity) * np.array(colour)
    return np.concatenate([np.rint(mixed), np.full_like(opacity, 255)], axis=-1)


def choose(plane, what, colour=COLOUR):
    plane.portrait.background_colour = colour
    plane.portrait.background = what


def test_another_background_needs_no_engine_while_the_picture_is_in_memory(plane, asked):
    cut = on_card(plane)
    np.testing.assert_array_equal(cut, stub.picture(SIZE, jaw(plane)))
    assert cut[CORNER][3] == 0
    choose(plane, "COLOUR")
    np.testing.assert_allclose(on_card(plane), laid(cut), atol=1)
    assert tuple(on_card(plane)[CORNER]) == (*BYTES, 255)
    plane.portrait.background_colour = (1.0, 0.0, 0.0)
    assert tuple(on_card(plane)[CORNER]) == (255, 0, 0, 255)
    choose(plane, "TRANSPARENT")
    np.testing.assert_array_equal(on_card(plane), cut)
    assert asked == []


def test_the_models_own_background_is_drawn_by_the_engine(plane, keyed, scene, asked):
    choose(plane, "MODEL")
    assert bake_state.remark(keyed, scene) == "Plane shows another background: draw the picture"
    assert bpy.ops.portrait.update_picture() == {"FINISHED"}
    assert asked == ["model"]
    assert bake_state.remark(keyed, scene) == ""
    expected = stub.picture(SIZE, jaw(plane))
    expected[..., 3] = 255
    np.testing.assert_array_equal(on_card(plane), expected)
    choose(plane, "TRANSPARENT")  # in memory still
    assert on_card(plane)[CORNER][3] == 0


def test_a_live_card_shows_another_background_without_the_engine(plane, keyed, scene, asked, monkeypatch):
    now = [100.0]
    monkeypatch.setattr(live, "clock", lambda: now[0])
    live.switch_on(keyed)
    for _ in range(4):
        live.update()
        now[0] += 1.0
    asked.clear()
    choose(plane, "COLOUR")
    assert on_card(plane)[CORNER][3] == 0  # until the next tick
    live.update()
    live.switch_off()
    assert tuple(on_card(plane)[CORNER]) == (*BYTES, 255)
    assert asked == []


def test_baked_frames_go_out_of_date_and_are_laid_anew_without_the_engine(plane, keyed, scene, asked, tmp_path):
    bpy.ops.portrait.bake()
    drawn = len(asked)
    choose(plane, "COLOUR")
    plan = baking.plan(keyed, scene, range(1, 6))
    assert (len(plan.missing), plan.stale) == (5, 5)
    bpy.ops.portrait.bake()
    assert len(asked) == drawn
    folder = tmp_path / "portrait_cache" / "Portrait 7" / "full"
    for instant in plan.instants:
        scene.frame_set(instant.frame)
        found = imageio.v3.imread(folder / f"f_{instant.frame:04d}.png")
        np.testing.assert_allclose(found, laid(stub.picture(SIZE, jaw(plane))), atol=1)
    choose(plane, "MODEL")
    pictures.drawn.clear()
    bpy.ops.portrait.bake()
    assert asked[drawn:] == ["model"] * 5
    assert imageio.v3.imread(folder / "f_0003.png")[CORNER][3] == 255


def test_a_render_that_draws_its_own_pictures_has_the_background(plane, keyed, scene, asked, tmp_path):
    choose(plane, "COLOUR")
    pictures.drawn.clear()
    scene.frame_start = scene.frame_end = 2
    scene.render.engine, scene.cycles.samples, scene.cycles.use_denoising = "CYCLES", 4, False
    scene.render.resolution_x = scene.render.resolution_y = SIZE
    scene.view_settings.view_transform = "Standard"
    scene.render.filepath = str(tmp_path / "out_")
    scene.frame_set(2)
    expected = int(stub.picture(SIZE, jaw(plane))[MIDDLE][2])
    for _ in range(2):  # the second time from memory
        bpy.ops.render.render(animation=True)
        rendered = imageio.v3.imread(tmp_path / "out_0002.png")
        np.testing.assert_allclose(rendered[1, 1, :3], BYTES, atol=3)
        assert int(rendered[MIDDLE][2]) == pytest.approx(expected, abs=4)
    assert asked == [""]


def test_keys_of_transparent_pictures_are_those_of_older_versions(plane, keyed, scene):
    shot = framing.of(keyed, scene).shot
    keys = {shot.background: picture_key(keyed, shot, SIZE)}
    for what in ("COLOUR", "MODEL"):
        choose(plane, what)
        shot = framing.of(keyed, scene).shot
        keys[shot.background] = picture_key(keyed, shot, SIZE)
    assert list(keys) == ["", "#3399ff", "model"]
    assert len(set(keys.values())) == 3
    choose(plane, "TRANSPARENT")
    facts = picture_facts(keyed, framing.of(keyed, scene).shot, SIZE, "full")
    assert "background" not in facts
    assert frame_record.key_of(facts) == keys[""]
