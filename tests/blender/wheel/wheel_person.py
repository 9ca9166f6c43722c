# SPDX-License-Identifier: GPL-3.0-or-later
"""Another person in a portrait's place: keys, objects and what users made stay, the face is the new one's."""

import bpy
import numpy as np
import pytest
import stub_worker as stub
from mathutils import Quaternion
from neural_portrait import baking, card, live, panels, pictures, requests, session, tasks
from neural_portrait.neural_core import errors, protocol
from neural_portrait.scene import baked, find, mesh, mesh_frames, sliders
from neural_portrait.scene import curves as layers_of
from neural_portrait.scene import portrait as building
from recording import drawn as draw

TALLER = 2 * stub.CHANGED + 7
"""The stub's seed of the person of seed 7 after a change by 2."""


def evaluated(ob):
    """Return an object's vertices as they are drawn now, in the world."""
    shown = ob.evaluated_get(bpy.context.evaluated_depsgraph_get())
    co = np.empty(len(shown.data.vertices) * 3, np.float32)
    shown.data.vertices.foreach_get("co", co)
    world = np.array(shown.matrix_world)
    return co.reshape(-1, 3) @ world[:3, :3].T + world[:3, 3]


def ask(root, **values):
    """Move sliders, and apply."""
    for name, value in values.items():
        find.identity_of(root).sliders[name].value = value
    assert bpy.ops.portrait.apply_person() == {"FINISHED"}
    return find.roots(bpy.context.scene)[0]


def key(rig):
    """Key a slider and a bone from frame 1 to 10."""
    for frame, value in ((1, 0.0), (10, 1.0)):
        rig["jawOpen"] = value
        rig.keyframe_insert('["jawOpen"]', frame=frame)
        rig.pose.bones["head"].rotation_quaternion = Quaternion((0, 1, 0), 0.5 * value)
        rig.pose.bones["head"].keyframe_insert("rotation_quaternion", frame=frame)
    rig.update_tag()


def curves(action):
    rig = find.part(find.roots(bpy.context.scene)[0], "RIG")
    bag = layers_of.channels(action, getattr(rig.animation_data, "action_slot", None), ensure=False)
    return {
        (curve.data_path, curve.array_index): [tuple(point.co) for point in curve.keyframe_points]
        for curve in bag.fcurves
    }


def taken(root, role):
    """Return the vertices of a part at frame 7 of the keys."""
    bpy.context.scene.frame_set(7)
    return evaluated(find.part(root, role))


@pytest.fixture
def fresh(scene, portrait):
    """What a portrait with the same keys looks like that was created as the new person: vertices by role."""
    choice, wish = requests.PersonChoice({"age": 2.0}), tasks.SurfaceWish(scene.portrait.detail, {})
    made = session.engine().run("test", tasks.person(session.kept(portrait), choice, None, 64, wish))
    created = tasks.Created(requests.CreateChoice(seed=8), made.portrait, None, made.surface)
    root = building.build(scene, created)
    key(find.part(root, "RIG"))
    vertices = {role: taken(root, role) for role in ("DRIVER", "SURFACE")}
    for ob in [*root.children_recursive, root]:
        bpy.data.objects.remove(ob)
    return vertices


def test_a_keyed_frame_is_that_of_a_portrait_created_so(fresh, portrait):
    """The same keys on the same rig, and at once the vertices of a head that was built for the new person."""
    rig = find.part(portrait, "RIG")
    key(rig)
    before = taken(portrait, "DRIVER")
    root = ask(portrait, age=2.0)
    assert find.part(root, "RIG") == rig
    for role in ("DRIVER", "SURFACE"):
        np.testing.assert_allclose(taken(root, role), fresh[role], atol=2e-6)
    assert np.abs(before - fresh["DRIVER"]).max() > 2e-3


def test_what_was_posed_but_not_keyed_stays(portrait, scene):
    """Blender would put it back to the keys."""
    rig = find.part(portrait, "RIG")
    key(rig)
    scene.frame_set(7)
    rig["jawOpen"], turn = 0.25, (0.8, 0.0, 0.0, 0.6)
    rig.pose.bones["head"].rotation_quaternion = turn
    bpy.context.view_layer.update()
    before = evaluated(find.part(portrait, "DRIVER"))
    root = ask(portrait, age=2.0)
    assert rig["jawOpen"] == 0.25
    assert tuple(rig.pose.bones["head"].rotation_quaternion) == pytest.approx(turn)
    moved = evaluated(find.part(root, "DRIVER")) - before
    assert 0 < np.abs(moved).max() < 0.02  # the new face stands so, too
    scene.frame_set(10)
    assert rig["jawOpen"] == 1.0


def test_nothing_of_the_users_is_touched(portrait):
    rig, surface, driver = (find.part(portrait, role) for role in ("RIG", "SURFACE", "DRIVER"))
    key(rig)
    action, before = rig.animation_data.action, curves(rig.animation_data.action)
    track = rig.animation_data.nla_tracks.new()
    track.name = "mine"
    rig["mine"] = 3.0
    bend = rig.pose.bones["neck"].constraints.new("LIMIT_ROTATION")
    subdivision = surface.modifiers.new("Finer", "SUBSURF")
    paint = bpy.data.materials.new("Paint")
    surface.data.materials.append(paint)
    surface.data.materials[0].diffuse_color = (1, 0, 0, 1)
    names = [modifier.name for modifier in surface.modifiers]
    objects = {ob.name for ob in portrait.users_collection[0].objects}
    drivers = len(rig.data.bones), len(driver.data.shape_keys.animation_data.drivers)
    meshes, materials = len(bpy.data.meshes), len(bpy.data.materials)
    root = ask(portrait, age=2.0)
    assert rig.animation_data.action == action
    assert curves(action) == before
    assert len(before) == 5
    assert [one.name for one in rig.animation_data.nla_tracks] == ["mine"]
    assert rig["mine"] == 3.0
    assert list(rig.pose.bones["neck"].constraints) == [bend]
    assert find.part(root, "SURFACE") == surface
    assert [modifier.name for modifier in surface.modifiers] == names
    assert subdivision.name == "Finer"
    assert surface.data.materials[1] == paint
    assert tuple(surface.data.materials[0].diffuse_color) == (1, 0, 0, 1)
    assert {ob.name for ob in root.users_collection[0].objects} == objects
    assert (len(rig.data.bones), len(driver.data.shape_keys.animation_data.drivers)) == drivers
    assert (len(bpy.data.meshes), len(bpy.data.materials)) == (meshes, materials)
    assert len(bpy.data.texts) == 1
    assert not [one for one in bpy.data.collections if "portrait_unfinished" in one]


def test_bones_rest_where_the_new_joints_are_and_the_gaze_goes_along(portrait):
    rig = find.part(portrait, "RIG")
    ask(portrait, age=2.0)
    joints = dict(zip(stub.JOINTS, stub.rig(TALLER)["rig/joints"], strict=True))
    for name, joint in joints.items():
        np.testing.assert_allclose(rig.data.bones[name].head_local, joint, atol=1e-6)
        np.testing.assert_allclose(np.array(rig.data.bones[name].matrix_local)[:3, :3], np.eye(3), atol=1e-6)
    middle = (joints["left_eye"] + joints["right_eye"]) / 2 + np.array([0, 0, 0.5])
    np.testing.assert_allclose(rig.data.bones["look_at"].head_local, middle, atol=1e-6)
    for side in ("left", "right"):
        ahead = joints[f"{side}_eye"] + np.array([0, 0, 0.5])
        np.testing.assert_allclose(rig.data.bones[f"{side}_look_at"].head_local, ahead, atol=1e-6)


def test_bones_and_keys_of_the_users_own_go_along(portrait, scene):
    rig, driver = find.part(portrait, "RIG"), find.part(portrait, "DRIVER")
    layer = bpy.context.view_layer
    layer.objects.active = rig
    bpy.ops.object.mode_set(mode="EDIT")
    hat = rig.data.edit_bones.new("hat")
    hat.head, hat.tail, hat.parent = (0, 0.1, 0), (0, 0.2, 0.05), rig.data.edit_bones["head"]
    rig.data.use_mirror_x = True
    bpy.ops.object.mode_set(mode="POSE")
    before = stub.rig(7)["rig/vertices"]
    mine = np.random.default_rng(0).normal(0, 1e-3, before.shape).astype(np.float32)
    mesh.add_key(driver, "mine", before + mine, (-1.0, 2.0))
    root = ask(portrait, age=2.0)
    assert (rig.mode, layer.objects.active, rig.data.use_mirror_x) == ("POSE", rig, True)
    up = stub.rig(TALLER)["rig/joints"][2, 1] - stub.rig(7)["rig/joints"][2, 1]
    np.testing.assert_allclose(rig.data.bones["hat"].head_local, (0, 0.1 + up, 0), atol=1e-6)
    np.testing.assert_allclose(rig.data.bones["hat"].tail_local, (0, 0.2 + up, 0.05), atol=1e-6)
    for name in ("left_eye", "right_eye"):  # each its own, although Blender mirrors what is done to bones
        joint = stub.rig(TALLER)["rig/joints"][stub.JOINTS.index(name)]
        np.testing.assert_allclose(rig.data.bones[name].head_local, joint, atol=1e-6)
    np.testing.assert_allclose(mesh.read_delta(driver.data.shape_keys.key_blocks["mine"]), mine, atol=1e-6)
    assert "mine" in find.part(root, "SURFACE").data.shape_keys.key_blocks


def test_a_head_that_is_being_edited_is_brought_back_and_then_changed(portrait):
    for role, age in (("DRIVER", 2.0), ("SURFACE", 4.0)):
        ob = find.part(portrait, role)
        ob.hide_set(False)
        bpy.context.view_layer.objects.active = ob
        bpy.ops.object.mode_set(mode="EDIT")
        root = ask(portrait, age=age)
        assert find.part(root, role).mode == "OBJECT"
    tall = stub.rig((2 + 4) * stub.CHANGED + 7)["rig/vertices"]
    assert np.ptp(evaluated(find.part(root, "DRIVER"))[:, 2]) == pytest.approx(np.ptp(tall[:, 1]), abs=1e-5)


def test_a_head_with_other_vertices_is_refused_whole(portrait):
    driver, identity = find.part(portrait, "DRIVER"), find.identity_of(portrait)
    before, bones = identity.uuid, np.array(find.part(portrait, "RIG").data.bones["jaw"].head_local)
    driver.data.vertices.add(1)
    identity.sliders["age"].value = 2.0
    bpy.ops.portrait.apply_person()
    assert f"has {49 * 33 + 1} vertices, the new head {49 * 33}" in session.engine().status.message
    assert identity.uuid == before
    np.testing.assert_array_equal(find.part(portrait, "RIG").data.bones["jaw"].head_local, bones)


def test_the_picture_is_the_new_persons_and_old_frames_are_out_of_date(keyed, scene):
    bpy.ops.portrait.bake()
    assert not baking.plan(keyed, scene, range(1, 6)).missing
    assert baked.is_shown(find.part(keyed, "PLANE"))
    find.part(keyed, "PLANE").keyframe_insert("location", frame=1)  # as baking does where the head moves
    root = ask(keyed, age=2.0)
    plane = find.part(root, "PLANE")
    assert not baked.is_shown(plane)
    assert plane.animation_data is None
    plan = baking.plan(root, scene, range(1, 6))
    assert len(plan.missing) == plan.stale == 5
    image = plane.portrait.live_image
    assert image["portrait_key"] == plan.frames[2].key or baking.size_of(scene.portrait) != scene.portrait.size
    assert image["portrait_frame"] == 3
    assert pictures.drawn.get(plan.frames[2].drawn_key) is not None


def test_without_a_camera_the_card_shows_the_new_person_where_it_is(moving, scene, drawn):
    plane = find.part(moving, "PLANE")
    scene.camera = None
    before, label = plane.matrix_world.copy(), tuple(plane.portrait.picture_camera)
    ask(moving, age=2.0)
    assert len(drawn) == 1
    assert plane.matrix_world == before
    assert tuple(plane.portrait.picture_camera) == label
    assert plane.portrait.live_image["portrait_key"] == ""


def test_the_engine_is_told_what_was_moved_and_of_the_mix_once(portrait, scene, monkeypatch):
    asked, send = [], session.engine()._send
    monkeypatch.setattr(session.engine(), "_send", lambda request: (asked.append(request), send(request))[1])
    first = find.identity_of(portrait).uuid
    scene.portrait.person_mix_seed, scene.portrait.person_mix = 4, 0.5
    root = ask(portrait, age=2.0, shape_03=-3.0)
    second = find.identity_of(root).uuid
    assert session.engine().has_open(second)  # is not sent to the engine that has made it
    ask(root, hair_length=-1.0)
    people = [request for request in asked if isinstance(request, protocol.Person)]
    assert [(one.source, one.sliders, one.mix_seed, one.mix) for one in people] == [
        (first, pytest.approx({"age": 2.0, "shape_03": -3.0}), 4, 0.5),
        (second, pytest.approx({"hair_length": -1.0}), 0, 0.0),
    ]
    assert first != second != find.identity_of(root).uuid
    identity = find.identity_of(root)
    assert identity.changed
    assert sliders.asked(identity) == {}
    told = {name: identity.sliders[name].value for name in ("age", "shape_03", "hair_length", "shape_01")}
    assert told == pytest.approx({"age": 2.0, "shape_03": -3.0, "hair_length": -1.0, "shape_01": -1.0})


def test_of_two_copies_the_chosen_one_changes(portrait, scene):
    for ob in portrait.users_collection[0].objects:
        ob.hide_set(False)
        ob.select_set(True)
    bpy.ops.object.duplicate()
    first, copy = sorted(find.roots(scene), key=lambda root: root.name)
    assert find.identity_of(first).uuid == find.identity_of(copy).uuid
    bpy.context.view_layer.objects.active = find.part(copy, "DRIVER")
    before = evaluated(find.part(first, "DRIVER"))
    find.identity_of(copy).sliders["age"].value = 2.0
    assert bpy.ops.portrait.apply_person() == {"FINISHED"}
    assert session.engine().status.state == "idle"
    assert [find.identity_of(root).changed for root in (first, copy)] == [False, True]
    np.testing.assert_array_equal(evaluated(find.part(first, "DRIVER")), before)
    assert building.kept_bytes(first) == b"stub portrait 7"
    assert building.kept_bytes(copy) == b"stub portrait %d" % TALLER


def test_nothing_moved_is_a_sentence(portrait):
    assert bpy.ops.portrait.apply_person() == {"CANCELLED"}
    assert session.engine().status.message == "Nothing about the person is to change."


def test_reset_puts_back_one_or_all(portrait, scene):
    identity = find.identity_of(portrait)
    identity.sliders["age"].value, identity.sliders["shape_01"].value = 2.0, 2.0
    scene.portrait.person_mix = 0.5
    assert bpy.ops.portrait.reset_person(slider="age") == {"FINISHED"}
    assert sliders.asked(identity) == {"shape_01": 2.0}
    assert scene.portrait.person_mix == 0.5
    bpy.ops.portrait.reset_person()
    assert sliders.asked(identity) == {}
    assert scene.portrait.person_mix == 0.0


def test_a_portrait_that_is_gone_when_the_answer_comes_is_a_sentence(portrait, scene):
    """The user deletes it while the engine works; another one stays as it is."""
    root, kept = portrait, session.kept(portrait)
    choice = requests.PersonChoice({"age": 2.0})
    made = session.engine().run("test", tasks.person(kept, choice, None, 64, None))
    identity = find.identity_of(root)
    identity.uuid = "somebody else by now"
    with pytest.raises(errors.UsageError, match="deleted while the engine worked"):
        card.target(kept.identifier)
    assert made.portrait.identifier == choice.identifier


def test_undo_gives_the_person_back_and_the_engine_draws_them(moving, scene):
    """Another identifier for each person: what the engine holds under one never changes."""
    first, tall = find.identity_of(moving).uuid, evaluated(find.part(moving, "DRIVER"))
    bpy.ops.ed.undo_push(message="before")
    ask(moving, age=2.0)
    after = evaluated(find.part(find.roots(scene)[0], "DRIVER"))
    assert np.abs(after - tall).max() > 1e-3
    with bpy.context.temp_override(window=bpy.context.window_manager.windows[0]):
        if not bpy.ops.ed.undo.poll():
            pytest.skip("this Blender has no undo without a window")
        bpy.ops.ed.undo()
    root = find.roots(bpy.context.scene)[0]
    assert find.identity_of(root).uuid == first
    np.testing.assert_array_equal(evaluated(find.part(root, "DRIVER")), tall)
    assert bpy.ops.portrait.update_picture() == {"FINISHED"}


def test_exact_meshes_of_the_old_person_are_removed(keyed, scene):
    bpy.ops.portrait.bake_mesh()
    assert mesh_frames.of(keyed) is not None
    root = ask(keyed, age=2.0)
    assert mesh_frames.of(root) is None
    assert "exact meshes" in session.engine().status.message


def test_a_live_picture_stays_live(moving, scene):
    live.switch_on(moving)
    root = ask(moving, age=2.0)
    assert live.is_on(root)
    live.switch_off()


def test_a_portrait_without_rig_or_surface_changes_too(scene):
    settings = scene.portrait
    settings.make_rig = settings.make_mesh = False
    settings.size = 32
    bpy.ops.portrait.create()
    root = ask(find.roots(scene)[0], age=2.0)
    assert find.identity_of(root).changed
    assert building.kept_bytes(root) == b"stub portrait %d" % TALLER


def test_old_files_ask_the_engine_for_their_sliders(portrait, scene, tmp_path):
    identity = find.identity_of(portrait)
    identity.sliders.clear()
    identity.sliders_known = False
    assert "portrait.read_person" in draw(panels.PORTRAIT_PT_person)[1]
    assert bpy.ops.portrait.read_person() == {"FINISHED"}
    assert [item.name for item in identity.sliders] == list(stub.SLIDERS)
    assert "portrait.read_person" not in draw(panels.PORTRAIT_PT_person)[1]


def test_the_panel_says_where_there_are_no_sliders(portrait):
    text, buttons = draw(panels.PORTRAIT_PT_person)
    assert "Seed 7" in text
    assert "portrait.apply_person" in buttons
    identity = find.identity_of(portrait)
    identity.sliders.clear()
    assert "have no sliders. They can be mixed." in draw(panels.PORTRAIT_PT_person)[0]


def test_sliders_are_found_by_every_word_in_groups(portrait):
    identity = find.identity_of(portrait)
    assert list(sliders.found(identity, "")) == ["Face", "Shape", "Hair"]
    assert [item.name for item in sliders.found(identity, "hair shoul")["Hair"]] == ["hair_length"]
    assert [item.name for item in sliders.found(identity, "SHAPE 12")["Shape"]] == ["shape_12"]
    assert sliders.found(identity, "hair old") == {}
    age = identity.sliders["age"]
    words = []
    for age.value in (-2.0, 0.2, 2.0):
        words.append(sliders.word(age))
    assert words == ["young", "", "old"]


def test_a_saved_file_keeps_the_new_person(portrait, scene, tmp_path):
    ask(portrait, age=2.0)
    identifier = find.identity_of(portrait).uuid
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "a.blend"))
    bpy.ops.wm.open_mainfile(filepath=str(tmp_path / "a.blend"))
    (root,) = find.roots(bpy.context.scene)
    identity = find.identity_of(root)
    assert (identity.uuid, identity.changed) == (identifier, True)
    assert identity.sliders["age"].value == 2.0
    assert building.kept_bytes(root) == b"stub portrait %d" % TALLER


def test_a_new_name_is_that_of_collection_objects_and_data(portrait, scene):
    rig, surface = find.part(portrait, "RIG"), find.part(portrait, "SURFACE")
    surface.name = "My head"
    assert bpy.ops.portrait.rename_person(name="Ada") == {"FINISHED"}
    assert portrait.name == portrait.users_collection[0].name == "Ada"
    assert (rig.name, rig.data.name, surface.name) == ("Ada rig", "Ada rig", "My head")
    assert surface.data.name == "Ada surface"
    assert find.identity_of(portrait).file.name == "Ada.portrait"
    assert bpy.ops.portrait.rename_person(name="  ") == {"CANCELLED"}
    assert portrait.name == "Ada"
