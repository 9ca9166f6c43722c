# SPDX-License-Identifier: GPL-3.0-or-later
"""Create a portrait from a seed."""

import random

import bpy

from .. import requests, session, tasks
from ..neural_core import errors
from ..scene import portrait
from . import common


class PORTRAIT_OT_create(bpy.types.Operator):
    """Create the person of this seed: rig, head, surface, camera and picture in a collection of their own"""

    bl_idname = "portrait.create"
    bl_label = "Create Portrait"

    @classmethod
    def poll(cls, _context: bpy.types.Context) -> bool:
        return common.engine_is_free(cls)

    def execute(self, context: bpy.types.Context) -> set[str]:
        settings = context.scene.portrait
        try:
            choice = requests.CreateChoice(
                model=settings.model,
                seed=settings.seed,
                truncation=settings.truncation,
                make_rig=settings.make_rig,
                make_plane=settings.make_plane,
                make_mesh=settings.make_mesh,
                detail=settings.detail,
                size=settings.size,
            )
        except errors.PortraitError as error:
            return common.refused(self, error)

        def apply(created: tasks.Created) -> None:
            # Into the scene that the user sees now: it may be another than when the button was pressed.
            portrait.build(bpy.context.scene, created)
            _frame_in_view()

        session.start("Create Portrait", tasks.create(choice), apply)
        return common.finished(self)


class PORTRAIT_OT_random_seed(bpy.types.Operator):
    """Choose another person"""

    bl_idname = "portrait.random_seed"
    bl_label = "Random Seed"
    bl_options = {"REGISTER", "UNDO"}

    def execute(self, context: bpy.types.Context) -> set[str]:
        context.scene.portrait.seed = random.randrange(10000)
        return {"FINISHED"}


def _frame_in_view() -> None:
    """Look at the new portrait: a head of 0.3 m is lost in a view that shows ten metres.

    A solid view in its default colours is switched to vertex colours: else the head would look like clay.
    """
    override = None if bpy.app.background else session.view3d()
    if override is not None:
        with bpy.context.temp_override(**override):
            bpy.ops.view3d.view_selected()
        shading = override["area"].spaces.active.shading
        if shading.type == "SOLID" and shading.color_type == "MATERIAL":
            shading.color_type = "VERTEX"


CLASSES = (PORTRAIT_OT_create, PORTRAIT_OT_random_seed)
