# SPDX-License-Identifier: GPL-3.0-or-later
"""Frames on disk: bake what is missing, clear, render when all frames are there, turn the camera around."""

from __future__ import annotations

from collections.abc import Callable

import bpy
from bpy.props import IntProperty

from .. import bake_state, baking, live, saving, sentences, session
from ..neural_core import errors
from ..scene import baked, find, framing, turntable, twins
from . import common

MAX_FRAMES = 10_000
"""Seven minutes of film. What each frame shows is looked up while the window waits, 0.3 ms a frame and more."""


def start(root: bpy.types.Object, scene: bpy.types.Scene, then: Callable[[], object] = lambda: None) -> None:
    """Bake what is missing of the scene's range, show the frames on the card, then call `then`.

    Raises:
        PortraitError: if there is nothing to bake, or nowhere to put it.
    """
    frames = baking.frame_range(scene)
    if len(frames) > MAX_FRAMES:
        raise errors.UsageError(
            f"{len(frames)} frames are too many to bake at once: {MAX_FRAMES} are not.", "Set a preview range."
        )
    kept, file = session.kept(root), bpy.data.filepath
    plan = baking.plan(root, scene, frames, careful=True)
    baked.check_writable(plan.folder)

    def apply(_drawn: int) -> None:
        finish(plan, file)
        then()

    session.start("Bake Frames", baking.task(kept, plan), apply)


def finish(plan: baking.Plan, file: str) -> None:
    """Show baked frames on the card of their portrait, wherever that is by now."""
    target = find.anywhere(plan.portrait)
    if target is None:
        raise errors.UsageError(
            "The portrait was deleted while its frames were baked.", f'The frames are kept in "{plan.folder}".'
        )
    place = plan.folder
    if bpy.data.filepath != file:
        place = baked.follow_file(place)
        session.engine().notice(sentences.moved_frames(str(place)))
    if live.is_on(target):
        live.switch_off()
    baked.show_sequence(target, place, plan.instants)
    bake_state.note(target, plan)


class PORTRAIT_OT_bake(bpy.types.Operator):
    """Let the network draw the frames of the scene's range (or of the preview range) that are missing or out of date"""

    bl_idname = "portrait.bake"
    bl_label = "Bake Range"

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        return common.has_plane(cls, context) and common.engine_is_free(cls)

    def execute(self, context: bpy.types.Context) -> set[str]:
        try:
            start(find.current(context), context.scene)
        except errors.PortraitError as error:
            return common.refused(self, error)
        return common.finished(self)


class PORTRAIT_OT_clear_cache(bpy.types.Operator):
    """Delete the baked frames of this portrait and this quality; its card shows the live picture again"""

    bl_idname = "portrait.clear_cache"
    bl_label = "Clear Baked Frames"

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        return common.has_plane(cls, context) and common.engine_is_free(cls)

    def execute(self, context: bpy.types.Context) -> set[str]:
        root = find.current(context)
        try:
            baked.clear(baked.folder(root, context.scene.portrait.quality))
        except errors.PortraitError as error:
            return common.refused(self, error)
        baked.show_live(root)
        bake_state.forget(root)
        return {"FINISHED"}


class PORTRAIT_OT_render(bpy.types.Operator):
    """Bake what is missing of every portrait whose card is rendered, see that all frames are there, then render"""

    bl_idname = "portrait.render"
    bl_label = "Render Animation"

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        return common.has_plane(cls, context) and common.engine_is_free(cls)

    def execute(self, context: bpy.types.Context) -> set[str]:
        roots = [root for root in find.roots(context.scene) if find.shows_card(root)]
        for root in roots:
            twins.part_from(root)
        shown = [find.identity_of(root).uuid for root in roots]
        try:
            _bake_and_render(context.scene.name, shown)
        except errors.PortraitError as error:
            return common.refused(self, error)
        return common.finished(self)


def _bake_and_render(name: str, portraits: list[str]) -> None:
    """Bake the portraits of the scene one after another, then render it."""
    scene = bpy.context.scene
    if scene.name != name:
        raise errors.UsageError(
            f'The scene "{name}" is not shown any more: nothing was rendered.', "Show it, then press the button again."
        )
    if portraits:
        first, *others = portraits
        root = find.by_uuid(scene, first)
        if root is None:
            raise errors.UsageError("A portrait was deleted while frames were baked.", "Nothing was rendered.")
        start(root, scene, lambda: _bake_and_render(name, others))
        return
    check_baked(scene)
    _render()


def check_baked(scene: bpy.types.Scene) -> None:
    """Raise UsageError unless every frame of every card that is rendered is on disk and shows what it should."""
    for root in find.roots(scene):
        if find.shows_card(root):
            plan = baking.plan(root, scene, baking.frame_range(scene), careful=True)
            if plan.missing or not baked.is_shown(find.part(root, "PLANE")):
                count, line = (
                    len(plan.missing),
                    baking.summary(plan.range, len(plan.range) - len(plan.missing), plan.stale),
                )
                raise sentences.frames_missing(count, line)


def _render() -> None:
    override = None if bpy.app.background else session.view3d()
    if override is None:
        bpy.ops.render.render(animation=True)
        return
    with bpy.context.temp_override(**override):
        bpy.ops.render.render("INVOKE_DEFAULT", animation=True)


class PORTRAIT_OT_turntable(bpy.types.Operator):
    """Let a new camera go around the head once, and bake the frames of that; the preview range is set to them"""

    bl_idname = "portrait.turntable"
    bl_label = "Turntable"
    bl_options = {"REGISTER", "UNDO"}

    frames: IntProperty(name="Frames", description="How many frames one turn takes", default=48, min=2, max=10000)

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        return common.has_plane(cls, context) and common.may_add(cls, context) and common.engine_is_free(cls)

    def execute(self, context: bpy.types.Context) -> set[str]:
        root, scene = find.current(context), context.scene
        context.view_layer.update()
        try:
            _check_turntable(root, scene)
            turntable.add(root, scene, self.frames)
            find.part(root, "PLANE").portrait.follow = "CAMERA"
            start(root, scene)
        except errors.PortraitError as error:
            return common.refused(self, error)
        return common.finished(self)


def _check_turntable(root: bpy.types.Object, scene: bpy.types.Scene) -> None:
    """Raise PortraitError for what baking would refuse, before a camera is made for it."""
    session.kept(root)
    baked.check_writable(baked.folder(root, scene.portrait.quality))
    if scene.camera is not None:  # the new one begins there
        framing.of(root, scene)


class PORTRAIT_OT_make_portable(bpy.types.Operator):
    """Copy baked frames beside the file, by relative paths, and write there which models and licences are in it"""

    bl_idname = "portrait.make_portable"
    bl_label = "Make Portable"

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        return common.has_portrait(cls, context)

    def execute(self, _context: bpy.types.Context) -> set[str]:
        try:
            readme = saving.make_portable()
        except errors.PortraitError as error:
            return common.refused(self, error)
        self.report({"INFO"}, f'Wrote "{readme.name}"; save the file now.')
        return {"FINISHED"}


CLASSES = (
    PORTRAIT_OT_bake,
    PORTRAIT_OT_clear_cache,
    PORTRAIT_OT_render,
    PORTRAIT_OT_turntable,
    PORTRAIT_OT_make_portable,
)
