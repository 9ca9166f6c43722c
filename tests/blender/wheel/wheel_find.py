# SPDX-License-Identifier: GPL-3.0-or-later
"""Parts of a portrait are found whatever happened to their names; portraits of other files are not changed here."""

import bpy
import pytest
from neural_portrait import sentences
from neural_portrait.scene import find

ROLES = ("RIG", "DRIVER", "SURFACE", "PLANE", "CAMERA")
CHANGING = ("update_picture", "update_mesh", "bake", "bake_mesh", "live_picture", "key_expression", "turntable")
ADDING = ("update_mesh", "bake_mesh", "turntable", "apply_person")


def test_renamed_swapped_and_deleted_parts(portrait, scene):
    parts = {role: find.part(portrait, role) for role in ROLES}
    rig, plane = parts["RIG"], parts["PLANE"]
    rig.name, plane.name, parts["SURFACE"].name = "a", "b", "c"
    rig.name, plane.name = "other", "a"  # the plane has the name by which the rig was found
    rig.name = "b"
    assert {role: find.part(portrait, role) for role in ROLES} == parts
    portrait.name = "somebody"
    assert {role: find.part(portrait, role) for role in ROLES} == parts
    bpy.data.objects.remove(plane)
    assert find.part(portrait, "PLANE") is None
    uuid = find.identity_of(portrait).uuid
    assert find.by_uuid(scene, uuid) == portrait
    portrait.name = "somebody else"
    bpy.data.objects.new("somebody", None)
    assert find.by_uuid(scene, uuid) == portrait
    bpy.data.objects.remove(portrait)
    assert find.by_uuid(scene, uuid) is None


def test_the_parts_of_two_portraits_that_swap_their_names(portrait, scene):
    assert bpy.ops.portrait.create() == {"FINISHED"}
    (other,) = (root for root in find.roots(scene) if root != portrait)
    rigs = find.part(portrait, "RIG"), find.part(other, "RIG")
    names = rigs[0].name, rigs[1].name
    rigs[0].name, rigs[1].name = "for a moment", names[0]
    rigs[0].name = names[1]
    assert (find.part(portrait, "RIG"), find.part(other, "RIG")) == rigs


def test_looking_again_does_not_search_the_whole_file(portrait, scene, monkeypatch):
    for role in ROLES:
        find.part(portrait, role)
    find.by_uuid(scene, find.identity_of(portrait).uuid)
    monkeypatch.setattr(find, "_search", pytest.fail)
    monkeypatch.setattr(find, "roots", pytest.fail)
    assert all(find.part(portrait, role) for role in ROLES)
    assert find.by_uuid(scene, find.identity_of(portrait).uuid) == portrait


@pytest.fixture
def linked(portrait, tmp_path):
    """The collection of a portrait that is linked from another file."""
    name, path = portrait.users_collection[0].name, str(tmp_path / "library.blend")
    bpy.ops.wm.save_as_mainfile(filepath=path)
    bpy.ops.wm.read_homefile(use_empty=True)
    with bpy.data.libraries.load(path, link=True) as (_, wanted):
        wanted.collections = [name]
    (collection,) = wanted.collections
    bpy.context.scene.collection.children.link(collection)
    return collection


def select_the_only_one():
    (root,) = find.roots(bpy.context.scene)
    bpy.context.view_layer.objects.active = root
    bpy.context.scene.camera = find.part(root, "CAMERA")
    return root


def test_a_linked_portrait_is_not_changed(linked):
    assert select_the_only_one().library is not None
    assert [name for name in CHANGING if getattr(bpy.ops.portrait, name).poll()] == []
    with pytest.raises(RuntimeError, match=sentences.LINKED):
        bpy.ops.portrait.update_picture()


def test_a_library_override_is_drawn_and_keyed_but_nothing_is_added(linked):
    scene = bpy.context.scene
    linked.override_hierarchy_create(scene, bpy.context.view_layer, do_fully_editable=True)
    scene.collection.children.unlink(linked)
    root = select_the_only_one()
    scene.frame_start, scene.frame_end = 1, 2
    assert [name for name in ADDING if getattr(bpy.ops.portrait, name).poll()] == []
    with pytest.raises(RuntimeError, match=sentences.OVERRIDDEN):
        bpy.ops.portrait.turntable()
    assert bpy.ops.portrait.key_expression() == {"FINISHED"}
    assert find.part(root, "RIG").animation_data.action is not None
    assert bpy.ops.portrait.update_picture() == {"FINISHED"}
    assert bpy.ops.portrait.bake() == {"FINISHED"}
