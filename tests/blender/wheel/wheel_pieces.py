# SPDX-License-Identifier: GPL-3.0-or-later
"""Building in pieces: short ones, nothing to be seen before it is complete, nothing left of what was given up."""

import dataclasses
import time

import bpy
import numpy as np
import pytest
import stub_worker as stub
from neural_portrait import requests, session, tasks
from neural_portrait.neural_core import errors
from neural_portrait.scene import find, layers, mesh, portrait, rig, unfinished

KINDS = ("objects", "meshes", "armatures", "cameras", "lights", "collections", "materials", "images", "texts")
KINDS += ("scenes", "actions", "shape_keys")
LIMIT_S = 0.1


def counts():
    return {kind: len(getattr(bpy.data, kind)) for kind in KINDS}


def bring_surface(detail):
    """A surface of the stub as the engine brings it; egg-shaped, with detail^2 / 6 vertices."""
    arrays = stub.surface(7, detail)
    return tasks.Surface(*(arrays[name] for name in ("rest", "faces", "colours", "bind_index", "bind_weight")))


def times_of_pieces(pieces):
    """Do all pieces; return the processor time of each, seconds."""
    taken = []
    while True:
        began = time.thread_time()
        try:
            next(pieces)
        except StopIteration:
            return taken
        finally:
            taken.append(time.thread_time() - began)


@pytest.fixture
def created(scene):
    """What a press of Create brings back."""
    return session.engine().run("Create Portrait", tasks.create(requests.CreateChoice(detail=48, size=32)))


def advance(pieces, steps):
    """Let so many pieces be done; whether all of them were there to do."""
    return sum(1 for _ in zip(range(steps), pieces, strict=False)) == steps


def test_closed_after_any_piece_it_leaves_nothing(scene, created):
    before = counts()
    pieces, complete = portrait.building(scene, created), 0
    while not scene.objects:
        assert advance(pieces, 1)
        complete += 1
    assert complete > 60
    assert len(find.roots(scene)) == 1
    pieces.close()
    assert counts() == before
    for steps in (*range(1, 9), *range(9, complete, 7), complete - 1):
        pieces = portrait.building(scene, created)
        assert advance(pieces, steps)
        assert counts() != before
        assert len(scene.objects) == 0
        pieces.close()
        assert counts() == before
    assert not advance(portrait.building(scene, created), complete + 1), "the undo step is all that is left to do"
    assert len(find.roots(scene)) == 1
    assert not any(one.use_fake_user for one in bpy.data.collections)


def test_a_surface_that_is_given_up_leaves_the_old_one(portrait, scene):
    from neural_portrait.scene import portrait as building

    old, before = find.part(portrait, "SURFACE"), counts()
    for steps in (1, 2, 5, 20, 60):
        pieces = building.replacing_surface(portrait, bring_surface(60))
        assert advance(pieces, steps)
        assert counts() != before
        assert [ob for ob in scene.objects if ob.portrait.role == "SURFACE"] == [old]
        pieces.close()
        assert counts() == before
        assert find.part(portrait, "SURFACE") == old
    new = building.replace_surface(portrait, bring_surface(60))
    assert find.part(portrait, "SURFACE") == new
    assert counts() == before
    assert [modifier.type for modifier in new.modifiers] == ["ARMATURE", "SMOOTH"]


def test_what_blender_removed_meanwhile_is_reported_in_a_sentence(scene, created):
    before = counts()
    pieces = portrait.building(scene, created)
    assert advance(pieces, 8)
    (half,) = (ob for ob in bpy.data.objects if ob.portrait.role == "RIG")
    bpy.data.objects.remove(half)
    with pytest.raises(errors.UsageError, match="removed before it was complete"):
        advance(pieces, 100)
    assert len(bpy.data.objects) == before["objects"]
    assert len(bpy.data.collections) == before["collections"]


def test_what_came_back_unfinished_is_cleared(scene, created):
    """An undo step, or a file, of a moment in between."""
    before = counts()
    pieces = portrait.building(scene, created)
    assert advance(pieces, 20)
    unfinished.clear()
    assert counts() == before
    with pytest.raises(errors.UsageError):
        advance(pieces, 1)


def test_no_piece_of_a_surface_of_usual_size_takes_long(scene, created):
    """Of processor time, and the best of three: what else runs empties the processor's caches."""
    vertices, faces = stub.egg(320, 210)  # Create's default detail makes about 67,000 vertices
    assert len(vertices) > 66_000
    index = np.arange(4 * len(vertices), dtype=np.int32).reshape(-1, 4) % len(created.portrait.arrays["rig/vertices"])
    share = np.full(index.shape, 0.25, np.float32)
    surface = tasks.Surface(vertices, faces, np.full(vertices.shape, 0.5, np.float32), index, share)
    picture = tasks.Picture(stub.picture(512), created.picture.camera)
    brought = dataclasses.replace(created, surface=surface, picture=picture)
    tries = [times_of_pieces(portrait.building(scene, brought)) for _ in range(3)]
    assert min(max(taken) for taken in tries) < LIMIT_S, [[round(1000 * piece) for piece in taken] for taken in tries]


def test_sparse_transfer_and_stretch_are_those_of_all_points():
    """Against the plain formulas, written out for every point and every edge."""
    rng = np.random.default_rng(3)
    vertices, faces = stub.egg(24, 16)
    moved = np.where(rng.random(len(vertices)) < 0.2, 1.0, 0.0)[:, None] * rng.normal(0, 0.05, vertices.shape)
    index = rng.integers(0, len(vertices), (500, 4))
    weight = rng.dirichlet(np.ones(4), 500)
    plain = np.einsum("nk,nkc->nc", weight, moved[index])
    np.testing.assert_allclose(mesh.transfer(moved, index, weight), plain, atol=1e-7)
    drawn = [1.0] * len(vertices)
    for face in faces.tolist():
        for a, b in zip(face, face[1:] + face[:1], strict=True):
            way = np.linalg.norm(vertices[b] + moved[b] - vertices[a] - moved[a])
            growth = way / max(np.linalg.norm(vertices[b] - vertices[a]), 1e-6)
            drawn[a], drawn[b] = max(drawn[a], growth), max(drawn[b], growth)
    np.testing.assert_allclose(mesh.stretch(vertices, faces, moved), drawn, rtol=1e-6)


def test_faces_that_are_none_are_left_out():
    square = np.array([[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]], float)
    made = mesh.from_arrays("whole", square, np.array([[0, 1, 2], [0, 2, 3]]))
    assert (len(made.polygons), len(made.edges), all(face.use_smooth for face in made.polygons)) == (2, 5, True)
    for wrong in ([1, 1, 2], [2, 0, 1]):  # without area; the same again
        made = mesh.from_arrays("mended", square, np.array([[0, 1, 2], wrong, [0, 2, 3]]))
        assert sorted(tuple(sorted(face.vertices)) for face in made.polygons) == [(0, 1, 2), (0, 2, 3)]
    assert len(mesh.from_arrays("points", square, np.zeros((0, 3), int)).vertices) == 4


def test_weights_come_back_in_their_steps(scene):
    rng = np.random.default_rng(5)
    weights = np.where(rng.random((40, 2)) < 0.5, rng.random((40, 2)), 0.0)
    weights[:, 1] *= np.arange(40) < 0  # a bone that moves nothing
    ob = bpy.data.objects.new("weighted", mesh.from_arrays("weighted", rng.normal(size=(40, 3)), np.zeros((0, 3), int)))
    mesh.set_weights(ob, ["one", "none"], weights)
    names, read = mesh.read_weights(ob)
    assert names == ["one", "none"]
    np.testing.assert_allclose(read, np.rint(weights * 255) / 255, atol=1e-6)
    in_group = [len(vertex.groups) for vertex in ob.data.vertices]
    assert in_group == (np.rint(weights[:, 0] * 255) > 0).astype(int).tolist()


def test_bones_are_edited_without_touching_what_the_user_has_active(portrait, scene):
    armature, surface = find.part(portrait, "RIG"), find.part(portrait, "SURFACE")
    layer, scenes = bpy.context.view_layer, len(bpy.data.scenes)
    layer.objects.active = surface
    bpy.ops.object.mode_set(mode="EDIT")
    with rig.editing(armature) as bones:
        bones["jaw"].head.x += 0.25
    assert armature.data.bones["jaw"].head_local.x == pytest.approx(0.25)
    assert (layer.objects.active, surface.mode, armature.mode) == (surface, "EDIT", "OBJECT")
    assert len(bpy.data.scenes) == scenes
    bpy.ops.object.mode_set(mode="OBJECT")

    layer.objects.active = armature
    for mode in ("POSE", "EDIT"):
        bpy.ops.object.mode_set(mode=mode)
        with rig.editing(armature) as bones:
            bones["jaw"].head.x += 0.25
        assert armature.mode == mode
        bpy.ops.object.mode_set(mode="OBJECT")
    assert armature.data.bones["jaw"].head_local.x == pytest.approx(0.75)


def test_a_layer_is_on_the_rig_when_it_is_complete_and_leaves_no_action_when_given_up(portrait):
    armature, count = find.part(portrait, "RIG"), 3000
    noise = np.random.default_rng(0).uniform(0.0, 1.0, (4, count))
    tracks = dict(zip(("jawOpen", "eyeBlinkLeft", "browInnerUp", "headPitch"), noise, strict=True))
    tracks["headPitch"] = 0.1 * noise[3]
    before = counts()

    def layer():
        return layers.adding(armature, "Clip a", np.arange(1.0, count + 1), tracks, silences="Clip ")

    pieces, complete = layer(), 0
    while not (armature.animation_data and armature.animation_data.nla_tracks):
        complete += advance(pieces, 1)
        if complete > 50 or not counts()["actions"] > before["actions"]:
            break
    assert [track.name for track in armature.animation_data.nla_tracks] == ["Clip a"]
    assert complete >= len(tracks)
    armature.animation_data.nla_tracks.remove(armature.animation_data.nla_tracks[0])
    bpy.data.actions.remove(bpy.data.actions["Clip a"])
    for steps in range(1, complete):
        pieces = layer()
        assert advance(pieces, steps)
        pieces.close()
        assert counts() == before
        assert not armature.animation_data.nla_tracks


def test_a_layer_whose_action_was_removed_meanwhile_is_a_sentence(portrait):
    armature = find.part(portrait, "RIG")
    values = np.linspace(0.0, 1.0, 9) ** 2
    pieces = layers.adding(armature, "Clip a", np.arange(1.0, 10.0), {"jawOpen": values, "browInnerUp": values})
    assert advance(pieces, 1)
    bpy.data.actions.remove(bpy.data.actions["Clip a"])
    with pytest.raises(errors.UsageError, match="removed before it was complete"):
        unfinished.at_once(pieces)
