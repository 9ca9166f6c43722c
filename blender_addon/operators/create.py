# SPDX-License-Identifier: GPL-3.0-or-later
"""Create a portrait from a seed or a photo, or in another style."""

import random

import bpy
from mathutils import Vector

from .. import requests, sentences, session, tasks
from ..neural_core import errors
from ..scene import find, portrait, unfinished
from . import common

BESIDE_M = 0.4
"""How far a stylised portrait stands from the one that it was made of."""


def _choice(settings: bpy.types.PropertyGroup, photo: str) -> requests.CreateChoice:
    """Return what the panel says. Raises UsageError for what no engine could do."""
    names = ("model", "seed", "truncation", "mix_seed", "mix", "latent_iterations", "weight_iterations")
    parts = ("make_rig", "make_plane", "make_mesh", "detail", "size")
    return requests.CreateChoice(photo=photo, **{name: getattr(settings, name) for name in (*names, *parts)})


class PORTRAIT_OT_create(bpy.types.Operator):
    """Create the person of this seed or photo: rig, head, surface, camera and picture in a collection of their own"""

    bl_idname = "portrait.create"
    bl_label = "Create Portrait"

    def execute(self, context: bpy.types.Context) -> set[str]:
        settings = context.scene.portrait
        photo = bpy.path.abspath(settings.photo) if settings.source == "PHOTO" else ""
        try:
            if settings.source == "PHOTO" and not photo:
                raise sentences.no_photo()
            choice = _choice(settings, photo)
        except errors.PortraitError as error:
            return common.refused(self, error)

        def apply(created: tasks.Created) -> unfinished.Pieces[None]:
            # Into the scene that the user sees now: it may be another than when the button was pressed.
            yield from portrait.building(bpy.context.scene, created)
            _frame_in_view()
            notes = created.portrait.fields.get("notes")
            if notes:
                session.engine().notice(" ".join(notes))

        session.start("Create Portrait", tasks.create(choice), apply, queue=True)
        return common.finished(self)


class PORTRAIT_OT_stylise(bpy.types.Operator):
    """Make a portrait of the selected person in the style that the text describes, beside the one that is there"""

    bl_idname = "portrait.stylise"
    bl_label = "Stylise"

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        return common.has_portrait(cls, context)

    def execute(self, context: bpy.types.Context) -> set[str]:
        source, settings = find.current(context), context.scene.portrait
        text = settings.style.strip()
        try:
            if not text:
                raise sentences.no_style()
            kept, choice = session.kept(source), _choice(settings, find.identity_of(source).photo)
        except errors.PortraitError as error:
            return common.refused(self, error)
        place = source.location + Vector((BESIDE_M, 0.0, 0.0))

        def apply(created: tasks.Created) -> unfinished.Pieces[None]:
            root = yield from portrait.building(bpy.context.scene, created, style=text)
            root.location = place
            _frame_in_view()

        session.start("Stylise", tasks.stylise(kept, text, choice), apply, queue=True)
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


CLASSES = (PORTRAIT_OT_create, PORTRAIT_OT_stylise, PORTRAIT_OT_random_seed)
