# SPDX-License-Identifier: GPL-3.0-or-later
"""Poses as assets of the file: the user's own, and those that come with the add-on."""

import contextlib

import bpy
from bpy.props import EnumProperty, StringProperty

from .. import card, poses, preferences, requests, session, tasks
from ..expressions import NAMES
from ..neural_core import errors
from ..scene import camera as cameras
from ..scene import find, pose, pose_assets, rig
from . import common
from .animate import RigOperator

_REGIONS = {"FACE": frozenset(NAMES), "MOUTH": poses.MOUTH, "EYES": frozenset(NAMES) - poses.MOUTH}


class PORTRAIT_OT_save_pose(RigOperator, bpy.types.Operator):
    """Save what the sliders show as a pose of this file: in our menu, and in the Asset Browser as an asset"""

    bl_idname = "portrait.save_pose"
    bl_label = "Save Pose"

    name: StringProperty(name="Name", description="An own pose of the same name is replaced", default="My pose")
    region: EnumProperty(
        name="Sets",
        description="Which sliders the pose sets; it leaves the others as they are",
        items=[
            ("FACE", "Face", "All sliders"),
            ("MOUTH", "Mouth", "Jaw, mouth, tongue"),
            ("EYES", "Brows and Eyes", "All others"),
        ],
        default="FACE",
    )

    def invoke(self, context: bpy.types.Context, _event: bpy.types.Event) -> set[str]:
        return context.window_manager.invoke_props_dialog(self)

    def execute(self, context: bpy.types.Context) -> set[str]:
        root, settings = find.current(context), context.scene.portrait
        armature = find.part(root, "RIG")
        assert armature is not None  # see poll
        name, region = self.name.strip(), _REGIONS[self.region]
        values = {slider: armature[slider] for slider in rig.expressions(armature) if slider in region}
        try:
            if any(name == shipped.name for shipped in poses.LIBRARY.values()):
                raise errors.UsageError(f'"{name}" is a pose that comes with the add-on.', "Choose another name.")
            action = pose_assets.save(name, values, (self.region.lower(),))
        except errors.PortraitError as error:
            return common.refused(self, error)
        with contextlib.suppress(errors.PortraitError):  # without a camera there is no picture, but a pose
            picture = card.drawn_now(root, context.scene)
            if picture is not None:
                pose_assets.set_preview(action, picture)
        settings.pose = pose_assets.PREFIX + action.name
        return {"FINISHED"}


class PORTRAIT_OT_add_pose_assets(RigOperator, bpy.types.Operator):
    """Put the poses that come with the add-on into this file's assets, for Blender's own pose library"""

    bl_idname = "portrait.add_pose_assets"
    bl_label = "Poses to Asset Browser"

    def execute(self, context: bpy.types.Context) -> set[str]:
        added = [action.name for action in pose_assets.add_library()]
        if not added:
            self.report({"INFO"}, "The file has all poses already.")
            return {"CANCELLED"}
        self.report({"INFO"}, f"{len(added)} poses are assets of this file now.")
        root = find.current(context)
        own = find.part(root, "CAMERA")
        can_draw = preferences.worker_settings().python and session.engine().free
        if own is not None and find.identity_of(root).animatable and can_draw:
            _draw_previews(root, own, added)
        return {"FINISHED"}


def _draw_previews(root: bpy.types.Object, own: bpy.types.Object, names: list[str]) -> None:
    """Let the portrait itself do the poses, for the pictures in the Asset Browser; assets are there without, too."""
    by_name = {one.name: one for one in poses.LIBRARY.values()}
    camera = cameras.read_own(own, pose.head_space(root))
    shots = [requests.Shot(camera, {"actions": dict(by_name[name].actions)}) for name in names]

    def apply(drawn: list[tasks.Picture]) -> None:
        for name, picture in zip(names, drawn, strict=True):
            action = bpy.data.actions.get((name, None))
            if action is not None:
                pose_assets.set_preview(action, picture.pixels)

    task = tasks.pictures(session.kept(root), shots, pose_assets.PREVIEW_SIDE)
    session.start("Pictures of Poses", task, apply, undo=False)


CLASSES = (PORTRAIT_OT_save_pose, PORTRAIT_OT_add_pose_assets)
