# SPDX-License-Identifier: Apache-2.0
"""The fast renderer on scenes whose radiance is known: Lambert's ball, a board's shadow, strands against the light."""

from dataclasses import replace

import numpy as np
import pytest

from neural_core.records import GLASSES
from tests.figures import BALL, ball, board, figure_of, tuft
from training.synthetic.figure import Material
from training.synthetic.lighting import STUDIO, Lamp, Setting
from training.synthetic.raster import photograph, photographs
from training.synthetic.sight import see
from training.synthetic.views import framed

FRONT = framed(0.0, 0.0)
SIZE = 48
GREY = np.array([0.4, 0.3, 0.2])
DARK = np.zeros(3)


def linear(picture):
    """Linear 0..1 of a picture's colours [h, w, 3]."""
    srgb = picture.rgb / 255
    return np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)


def at(picture, *point):
    """The linear colour of the pixel in which a point of head space lies."""
    u, v = FRONT.project(np.array([point]))[0]
    return linear(picture)[int(v * len(picture.depth)), int(u * len(picture.depth))]


def lamp(*place, power=30.0, width=0.2):
    return Lamp(np.array(place, float), width, power, np.ones(3))


def test_a_ball_under_an_even_sky_has_its_own_colour():
    figure = figure_of(ball(kind="frame", colour=GREY))
    picture = photograph(figure, FRONT, Setting((), np.full(3, 0.7)), SIZE)
    inside = linear(picture)[20:28, 20:28]
    np.testing.assert_allclose(inside.mean((0, 1)), 0.7 * GREY, rtol=0.02)
    np.testing.assert_allclose(inside, np.broadcast_to(0.7 * GREY, inside.shape), rtol=0.06)


@pytest.mark.parametrize("place", [(0.0, 0.0, 1.5), (0.9, 0.3, 1.2), (-0.5, 1.2, 0.6)])
def test_a_ball_under_a_lamp_follows_lamberts_cosine(place):
    source = lamp(*place)
    figure = figure_of(ball(kind="frame", colour=GREY))
    picture = photograph(figure, FRONT, Setting((source,), DARK), 160)
    towards, distance = np.array(place) / np.linalg.norm(place), np.linalg.norm(place)
    rng = np.random.default_rng(0)
    checked = 0
    for normal in rng.standard_normal((80, 3)):
        normal = normal / np.linalg.norm(normal)
        cosine = normal @ towards
        if normal[2] < 0.5 or cosine < 0.3:
            continue
        # Highlights are white: the difference between two channels is the diffuse part alone.
        expected = (GREY[0] - GREY[2]) * 30.0 / (np.pi * distance**2) / np.pi * cosine
        red, _, blue = at(picture, *(BALL * normal))
        assert red - blue == pytest.approx(expected, rel=0.06, abs=0.004)
        checked += 1
    assert checked > 8
    away = -towards if towards[2] < 0.9 else np.array([0.0, 0.0, -1.0])
    if away[2] > 0.2:
        np.testing.assert_allclose(at(picture, *(BALL * away)), 0, atol=0.01)


def test_skin_is_lit_beyond_the_terminator_and_redder_there():
    setting = Setting((lamp(1.5, 0.0, 0.0),), DARK)
    dark = at(photograph(figure_of(ball(kind="frame")), FRONT, setting, SIZE), -0.006, 0.0, BALL)
    skin = at(photograph(figure_of(ball(kind="skin")), FRONT, setting, SIZE), -0.006, 0.0, BALL)
    assert dark.max() < 0.02
    assert skin[0] > 0.05
    assert skin[0] > 1.3 * skin[1] > 1.3 * skin[2]


def test_what_stands_between_casts_a_shadow_of_the_right_place():
    wall = board(-0.12, 0.12, -0.12, 0.12, 0.0, kind="frame")
    block = board(-0.03, 0.0, -0.02, 0.02, 0.1, kind="frame")
    setting = Setting((lamp(1.0, 0.0, 1.0, width=0.02),), DARK)  # from the right: the shadow falls 0.1 to the left
    lit = photograph(figure_of(wall), FRONT, setting, SIZE)
    shaded = photograph(figure_of(wall, block), FRONT, setting, SIZE)
    assert at(lit, -0.11, 0, 0).max() > 0.1
    assert at(shaded, -0.11, 0, 0).max() < 0.02
    np.testing.assert_allclose(at(shaded, -0.08, 0, 0), at(lit, -0.08, 0, 0), rtol=0.05)
    np.testing.assert_allclose(at(shaded, -0.11, 0.05, 0), at(lit, -0.11, 0.05, 0), rtol=0.05)
    through = replace(block, material=Material("lens", np.ones(3)))
    np.testing.assert_allclose(
        at(photograph(figure_of(wall, through), FRONT, setting, SIZE), -0.11, 0, 0), at(lit, -0.11, 0, 0), rtol=0.02
    )


def test_a_corner_gets_less_of_the_sky():
    wall = board(-0.2, 0.2, -0.2, 0.2, 0.0, kind="frame")
    boxes = [board(x, x + 0.001, -0.2, 0.2, z, kind="frame") for x in (-0.02, 0.02) for z in (0.0,)]
    for box in boxes:
        box.vertices[2:, 2] = box.vertices[:2, 2] = [0.0, 0.1]  # walls that stand out from the first one
    setting = Setting((), np.ones(3))
    alone = at(photograph(figure_of(wall), FRONT, setting, SIZE), 0, 0, 0)
    canyon = at(photograph(figure_of(wall, *boxes), FRONT, setting, SIZE), 0.0, 0, 0)
    assert (canyon < 0.75 * alone).all()
    assert (canyon > 0.05 * alone).all()


def test_exposure_counts_in_stops():
    figure, setting = figure_of(ball(colour=GREY / 4)), Setting((), np.full(3, 0.5))
    once = at(photograph(figure, FRONT, setting, SIZE), 0, 0, BALL)
    twice = at(photograph(figure, FRONT, replace(setting, exposure=1.0), SIZE), 0, 0, BALL)
    np.testing.assert_allclose(twice, 2 * once, rtol=0.03)


def test_alpha_is_straight_and_a_backdrop_shows_through():
    rng = np.random.default_rng(3)
    behind = rng.integers(0, 256, (SIZE, SIZE, 3), np.uint8)
    figure, setting = figure_of(ball(colour=GREY)), Setting((), np.ones(3))
    alone = photograph(figure, FRONT, setting, SIZE)
    over = photograph(figure, FRONT, replace(setting, backdrop=behind), SIZE)
    alpha = alone.rgba[..., 3]
    np.testing.assert_array_equal(over.rgba[..., 3], alpha)
    assert (alone.rgb[alpha == 0] == 0).all()
    np.testing.assert_array_equal(over.rgb[alpha == 0], behind[alpha == 0])
    np.testing.assert_array_equal(over.rgb[alpha == 255], alone.rgb[alpha == 255])
    edge = (alpha > 40) & (alpha < 215)
    assert edge.sum() > 20
    share = alpha[edge][:, None] / 255
    mixed = linear(alone)[edge] * share + linear(replace(over, rgba=np.dstack([behind, alpha])))[edge] * (1 - share)
    np.testing.assert_allclose(linear(over)[edge], mixed, atol=0.01)
    assert alone.depth.shape == (SIZE, SIZE)
    assert ((alone.depth > 0) <= (alpha > 0)).all()


def test_textures_lie_on_their_faces_the_right_way_up():
    texture = np.zeros((4, 4, 3), np.float32)
    texture[:2, :2, 0] = texture[:2, 2:, 1] = texture[2:, :2, 2] = 1  # red upper left, green upper right, blue below
    corners = np.array([[0, 0], [1, 0], [1, 1], [0, 1]], np.float32)
    part = board(-0.1, 0.1, -0.1, 0.1, 0.0, kind="frame")
    part = replace(part, material=Material("frame", np.ones(3), texture, 1.0), uv=corners[part.faces])
    picture = photograph(figure_of(part), FRONT, Setting((), np.ones(3)), SIZE)
    for place, channel in (((-0.06, 0.06, 0), 0), ((0.06, 0.06, 0), 1), ((-0.06, -0.06, 0), 2)):
        colour = at(picture, *place)
        assert colour[channel] > 0.9
        assert np.delete(colour, channel).max() < 0.05
    assert at(picture, 0.06, -0.06, 0).max() < 0.05


def test_strands_run_from_the_colour_of_the_root_to_that_of_the_tip():
    hair = replace(tuft(-0.1, 0.1, -0.1, 0.1, 0.0), root_colour=np.array([0.5, 0, 0]), tip_colour=np.array([0, 0, 0.5]))
    picture = photograph(figure_of(hair), FRONT, Setting((), np.ones(3)), 128)
    for height, share in ((0.08, 0.9), (0.05, 0.75), (-0.02, 0.4), (-0.05, 0.25)):
        red, _, blue = at(picture, 0, height, 0)
        assert red / (red + blue) == pytest.approx(share, abs=0.03)


def test_strands_shine_across_their_direction_and_less_against_the_light():
    hair = figure_of(tuft(-0.1, 0.1, -0.1, 0.1, 0.0, colour=(0.05, 0.05, 0.05)))

    def seen(*place):
        return at(photograph(hair, FRONT, Setting((lamp(*place),), DARK), SIZE), 0, 0, 0)[0]

    beside, above, behind = seen(0.8, 0, 1.2), seen(0.01, 1.2, 0.8), seen(0.8, 0, -1.2)
    assert beside > 1.5 * above  # light along the strands leaves the cone of reflection
    assert beside > 3 * behind


def test_lenses_mirror_the_lamp():
    wall = board(-0.12, 0.12, -0.12, 0.12, -0.05, kind="frame", colour=(0.02, 0.02, 0.02))
    lens = board(-0.06, 0.06, -0.06, 0.06, 0.05, GLASSES, "lens", (1, 1, 1), roughness=0.02)
    setting = Setting((lamp(0.0, 0.0, 1.34),), DARK)  # beside the eye: mirrored in the middle
    with_lens = photograph(figure_of(wall, lens), FRONT, setting, SIZE)
    without = photograph(figure_of(wall), FRONT, setting, SIZE)
    assert at(with_lens, 0, 0, 0.05)[0] > at(without, 0, 0, 0.05)[0] + 0.1
    np.testing.assert_allclose(at(with_lens, 0.1, 0, -0.05), at(without, 0.1, 0, -0.05), atol=0.004)


def test_the_same_again_and_the_same_from_several_cameras_at_once():
    figure = figure_of(ball(), tuft(-0.1, 0.1, 0.0, 0.1, 0.05), ball((0, 0, 0.09), 0.01, "cornea"))
    views = [framed(0.0, 0.0), framed(40.0, 10.0)]
    both = photographs(figure, [see(figure, view, SIZE) for view in views], STUDIO)
    for view, picture in zip(views, both, strict=True):
        alone = photograph(figure, view, STUDIO, SIZE)
        np.testing.assert_array_equal(alone.rgba, picture.rgba)
        np.testing.assert_array_equal(alone.depth, picture.depth)


def test_a_figure_of_nothing_is_an_empty_picture():
    picture = photograph(figure_of(), FRONT, STUDIO, 8)
    assert (picture.rgba == 0).all()
    assert (picture.depth == 0).all()
