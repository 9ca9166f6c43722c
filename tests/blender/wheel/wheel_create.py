# SPDX-License-Identifier: GPL-3.0-or-later
"""People to choose from, and people between two people."""

import bpy
import numpy as np
import pytest
import stub_worker as stub
from neural_portrait import requests, session
from neural_portrait.neural_core import errors
from neural_portrait.operators import variations
from neural_portrait.scene import find


def test_variations_are_the_faces_of_the_next_seeds_and_leave_the_scene_alone(scene):
    scene.portrait.seed = 40
    before = {kind: len(getattr(bpy.data, kind)) for kind in ("objects", "images", "collections", "texts")}
    assert bpy.ops.portrait.variations() == {"FINISHED"}
    assert [seed for seed, _ in variations.shown()] == [41, 42, 43, 44, 45, 46]
    preview = variations._faces["43"]
    pixels = np.empty(128 * 128 * 4, np.float32)
    preview.image_pixels_float.foreach_get(pixels)
    expected = stub.picture(128) / 255
    expected[..., :3] *= expected[..., 3:]
    np.testing.assert_allclose(pixels.reshape(128, 128, 4)[::-1], expected, atol=1 / 255)
    assert before == {kind: len(getattr(bpy.data, kind)) for kind in before}

    assert bpy.ops.portrait.variations() == {"FINISHED"}
    assert [seed for seed, _ in variations.shown()] == [47, 48, 49, 50, 51, 52]
    assert bpy.ops.portrait.use_seed(seed=50) == {"FINISHED"}
    assert scene.portrait.seed == 50


def test_an_engine_that_fails_keeps_the_faces_that_were_there(scene):
    assert bpy.ops.portrait.variations() == {"FINISHED"}
    there = variations.shown()
    scene.portrait.model = "missing"
    assert bpy.ops.portrait.variations() == {"CANCELLED"}
    assert session.engine().status.message == 'Stub error of kind "model".'
    assert variations.shown() == there


def test_the_engine_is_told_of_a_mix_only_where_there_is_one():
    alone = requests.create(requests.CreateChoice(seed=3, mix_seed=5))
    assert (alone.seed, alone.mix) == (3, 0.0)
    both = requests.create(requests.CreateChoice(seed=3, mix_seed=5, mix=0.25))
    assert (both.seed, both.mix_seed, both.mix) == (3, 5, 0.25)
    for nonsense in ({"mix": 1.5}, {"mix": -0.5}, {"mix_seed": -1}):
        with pytest.raises(errors.UsageError, match="cannot be mixed in"):
            requests.CreateChoice(**nonsense)


def test_a_mixed_person_says_of_whom(scene):
    scene.portrait.seed, scene.portrait.mix_seed, scene.portrait.mix = 3, 5, 0.25
    scene.portrait.make_mesh = False
    assert bpy.ops.portrait.create() == {"FINISHED"}
    (root,) = find.roots(scene)
    identity = find.identity_of(root)
    assert (identity.seed, identity.mix_seed, identity.mix) == (3, 5, 0.25)
    assert root.users_collection[0].name == "Portrait 3 and 5"


def test_a_deleted_portrait_leaves_nothing_that_a_clean_up_would_not_take(scene):
    def blocks():
        return {(block.id_type, block.name) for block in bpy.data.user_map()}

    before = blocks()
    scene.portrait.detail, scene.portrait.size = 48, 32
    assert bpy.ops.portrait.create() == {"FINISHED"}
    (root,) = find.roots(scene)
    kinds = {kind for kind, _ in blocks() - before}
    assert {"OBJECT", "ARMATURE", "MESH", "KEY", "CAMERA", "MATERIAL", "IMAGE", "TEXT", "COLLECTION"} <= kinds

    bpy.data.collections.remove(root.users_collection[0])
    bpy.data.orphans_purge(do_local_ids=True, do_linked_ids=True, do_recursive=True)
    assert blocks() - before == set()


@pytest.mark.parametrize(
    ("what", "seen"),
    [("", {"SURFACE", "PLANE"}), ("MESH", {"SURFACE"}), ("PICTURE", {"PLANE"}), ("BOTH", {"SURFACE", "PLANE"})],
)
def test_what_is_seen_at_first_and_when_it_is_asked_for(portrait, what, seen):
    if what:
        assert bpy.ops.portrait.show(what=what) == {"FINISHED"}
    parts = {role: find.part(portrait, role) for role in ("DRIVER", "SURFACE", "PLANE")}
    assert {role for role, ob in parts.items() if ob.visible_get()} == seen
    assert {role for role, ob in parts.items() if not ob.hide_render} == seen


def test_a_view_layer_without_the_portrait_is_left_alone(portrait, scene):
    layer = scene.view_layers.new("without")
    layer.layer_collection.children[portrait.users_collection[0].name].exclude = True
    assert bpy.ops.portrait.show(what="PICTURE") == {"FINISHED"}
    assert not find.part(portrait, "SURFACE").visible_get(view_layer=scene.view_layers[0])
    assert portrait.name not in layer.objects
