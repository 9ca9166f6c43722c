# SPDX-License-Identifier: GPL-3.0-or-later
"""Poses as assets: saved, listed, applied by us and by Blender's own pose library, which must agree."""

import bpy
import numpy as np
import pytest
import stub_worker as stub
from neural_portrait import poses, session
from neural_portrait.expressions import NAMES
from neural_portrait.scene import curves, find, pose_assets

SHOWN = {"jawOpen": 0.5, "mouthSmileLeft": 0.75, "browInnerUp": 0.25, "eyeBlinkRight": 1.0}


@pytest.fixture
def armature(moving):
    return find.part(moving, "RIG")


def put(armature, values):
    for name in NAMES:
        armature[name] = float(values.get(name, 0.0))


def seen(armature):
    return {name: round(armature[name], 5) for name in NAMES if armature[name]}


def by_blender(armature, name, strength=1.0):
    """Apply an action as Blender's pose library does. Selected bones must not matter to sliders."""
    action = bpy.data.actions[name]
    armature.pose.blend_pose_from_action(action, blend_factor=strength, evaluation_time=action.frame_range[0])


def save(armature, name="Smirk", values=SHOWN, **options):
    put(armature, values)
    return bpy.ops.portrait.save_pose(name=name, **options)


def test_a_pose_becomes_an_asset_that_blender_applies(armature):
    assert save(armature, "  Smirk ") == {"FINISHED"}
    action = bpy.data.actions["Smirk"]
    assert action.use_fake_user  # else it would not be saved
    assert {tag.name for tag in action.asset_data.tags} == {"Neural Portrait", "face"}
    assert action.frame_range[0] == action.frame_range[1]
    for strength in (1.0, 0.5):
        put(armature, {"jawOpen": 1.0, "cheekPuff": 0.5})
        by_blender(armature, "Smirk", strength)
        start = {"jawOpen": 1.0, "cheekPuff": 0.5}
        expected = {
            name: start.get(name, 0.0) + strength * (SHOWN.get(name, 0.0) - start.get(name, 0.0)) for name in NAMES
        }
        assert seen(armature) == {name: pytest.approx(value, abs=1e-5) for name, value in expected.items() if value}


def test_our_menu_has_it_and_applies_the_same(armature, scene):
    before = [item[0] for item in pose_assets.items(None, None)]
    save(armature)
    after = [item[0] for item in pose_assets.items(None, None)]
    assert after == [*before, "OWN Smirk"]
    assert scene.portrait.pose == "OWN Smirk"
    put(armature, {"cheekPuff": 0.8})
    assert bpy.ops.portrait.apply_pose(pose="OWN Smirk", strength=0.25) == {"FINISHED"}
    ours = seen(armature)
    put(armature, {"cheekPuff": 0.8})
    by_blender(armature, "Smirk", 0.25)
    assert seen(armature) == {name: pytest.approx(value, abs=1e-5) for name, value in ours.items()}
    put(armature, {"jawOpen": 0.25})
    bpy.ops.portrait.apply_pose(pose="OWN Smirk", strength=1.0, add=True)
    assert seen(armature)["jawOpen"] == pytest.approx(0.75)


@pytest.mark.parametrize(("region", "left"), [("MOUTH", "browInnerUp"), ("EYES", "jawOpen")])
def test_a_pose_of_a_part_leaves_the_rest(armature, region, left):
    save(armature, region=region)
    put(armature, {left: 0.9})
    by_blender(armature, "Smirk")
    expected = {name: value for name, value in SHOWN.items() if (name in poses.MOUTH) == (region == "MOUTH")}
    assert seen(armature) == {name: pytest.approx(value) for name, value in {**expected, left: 0.9}.items()}


def test_the_same_name_replaces_an_own_pose_and_nothing_else(armature):
    save(armature)
    save(armature, values={"tongueOut": 1.0})
    assert [action.name for action in bpy.data.actions if action.asset_data] == ["Smirk"]
    put(armature, {})
    by_blender(armature, "Smirk")
    assert seen(armature) == {"tongueOut": 1.0}
    bpy.data.actions.new("Walk").use_fake_user = True
    for name, sentence in {
        "Walk": 'There is an action "Walk" already, and it is no pose.',
        "Smile": '"Smile" is a pose that comes with the add-on.',
        " ": "The pose has no name.",
    }.items():
        assert save(armature, name) == {"CANCELLED"}
        assert session.engine().status.message == sentence
        session.engine().dismiss()
    assert bpy.data.actions["Walk"].asset_data is None


def test_what_the_asset_browser_does_counts(armature):
    save(armature)
    save(armature, "Frown")
    bpy.data.actions["Smirk"].name = "Sneer"
    bpy.data.actions["Frown"].asset_clear()
    assert pose_assets.own() == ["Sneer"]
    with pytest.raises(TypeError):
        bpy.ops.portrait.apply_pose(pose="OWN Smirk")
    bpy.data.actions.remove(bpy.data.actions["Sneer"])
    assert pose_assets.own() == []
    with pytest.raises(Exception, match='no pose "Sneer" in this file'):
        pose_assets.find("OWN Sneer")


def test_motion_is_no_pose(armature):
    save(armature)
    curve = pose_assets._bags(bpy.data.actions["Smirk"])[0].fcurves[0]
    curve.keyframe_points.insert(10.0, 1.0)
    assert pose_assets.own() == []


def test_the_chosen_pose_is_still_chosen_after_the_file_was_opened(armature, scene, tmp_path):
    save(armature, "Zzz")
    save(armature, "Aaa")
    scene.portrait.pose = "OWN Zzz"
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "p.blend"))
    bpy.ops.wm.open_mainfile(filepath=str(tmp_path / "p.blend"))
    assert bpy.context.scene.portrait.pose == "OWN Zzz"
    assert pose_assets.own() == ["Aaa", "Zzz"]
    bpy.context.scene.portrait.pose = "LAUGH"
    assert poses.NUMBERS["LAUGH"] == list(poses.LIBRARY).index("LAUGH")


def test_a_new_scene_has_the_smile(scene):
    assert scene.portrait.pose == "SMILE"


def test_the_librarys_poses_are_assets_that_do_what_ours_do(armature):
    assert bpy.ops.portrait.add_pose_assets() == {"FINISHED"}
    assets = [action for action in bpy.data.actions if action.asset_data is not None]
    assert {action.name for action in assets} == {pose.name for pose in poses.LIBRARY.values()}
    assert pose_assets.own() == []  # the menu has them once
    start = {"browDownLeft": 0.5, "jawLeft": 0.25}
    for identifier, pose in poses.LIBRARY.items():
        put(armature, start)
        bpy.ops.portrait.apply_pose(pose=identifier)
        ours = seen(armature)
        put(armature, start)
        by_blender(armature, pose.name)
        assert seen(armature) == {name: pytest.approx(value, abs=1e-5) for name, value in ours.items()}, identifier
    assert bpy.ops.portrait.add_pose_assets() == {"CANCELLED"}
    assert len([action for action in bpy.data.actions if action.asset_data is not None]) == len(assets)


def preview(name):
    image = bpy.data.actions[name].preview
    pixels = np.empty(image.image_size[0] * image.image_size[1] * 4, np.float32)
    image.image_pixels_float.foreach_get(pixels)
    return np.rint(pixels.reshape(*image.image_size, 4)[::-1] * 255).astype(np.uint8)


def test_the_portrait_shows_its_poses_in_the_asset_browser(armature):
    bpy.ops.portrait.add_pose_assets()
    for name in ("Laugh", "Neutral"):
        jaw = poses.LIBRARY[name.upper()].actions.get("jawOpen", 0.0)
        np.testing.assert_array_equal(preview(name), stub.picture(128, jaw))


def test_a_saved_pose_has_the_picture_of_this_moment(armature, scene):
    put(armature, SHOWN)
    armature.update_tag()
    bpy.ops.portrait.update_picture()
    save(armature)
    np.testing.assert_array_equal(preview("Smirk"), stub.picture(32, 0.5))
    scene.camera = None
    assert save(armature, "Blind") == {"FINISHED"}


def test_actions_of_poses_animate_nothing_else(armature):
    """A key at frame 1 alone: an action that is put on the rig by hand shows the pose at every frame."""
    save(armature)
    action = bpy.data.actions["Smirk"]
    (bag,) = pose_assets._bags(action)
    assert {curve.data_path for curve in bag.fcurves} == {curves.path_of(name) for name in NAMES}
    assert all(len(curve.keyframe_points) == 1 for curve in bag.fcurves)
