# SPDX-License-Identifier: GPL-3.0-or-later
"""Create a portrait from a seed, a photo or a clip, or in another style."""

import random

import bpy
from mathutils import Vector

from .. import requests, sentences, session, tasks
from ..neural_core import errors
from ..scene import find, portrait, unfinished, viewpoint
from . import common
from .track import Placing, choice_of

BESIDE_M = 0.4
"""How far a stylised portrait stands from the one that it was made of."""


def _choice(settings: bpy.types.PropertyGroup, photo: str) -> requests.CreateChoice:
    """Return what the panel says. Raises UsageError for what no engine could do."""
    names = ("model", "seed", "truncation", "mix_seed", "mix", "latent_iterations", "weight_iterations")
    parts = ("make_rig", "make_plane", "make_mesh", "detail", "size")
    said = {name: getattr(settings, name) for name in (*names, *parts)}
    return requests.CreateChoice(photo=photo, frames=settings.clip_frames, **said)


def _file(settings: bpy.types.PropertyGroup) -> str:
    """Return the photo or clip that the panel says, "" for a seed. Raises UsageError if none is chosen."""
    if settings.source == "PHOTO" and not settings.photo:
        raise sentences.no_photo()
    if settings.source == "VIDEO" and not settings.clip:
        raise sentences.no_clip()
    return bpy.path.abspath({"PHOTO": settings.photo, "VIDEO": settings.clip}.get(settings.source, ""))


class PORTRAIT_OT_create(bpy.types.Operator):
    """Create the person of this seed, photo or clip: rig, head, surface, camera and picture in one collection"""

    bl_idname = "portrait.create"
    bl_label = "Create Portrait"

    def execute(self, context: bpy.types.Context) -> set[str]:
        settings = context.scene.portrait
        placing = Placing.of(settings)
        try:
            choice = _choice(settings, _file(settings))
            animated = settings.source == "VIDEO" and settings.clip_animate and settings.make_rig
            followed = choice_of(settings) if animated else None
        except errors.PortraitError as error:
            return common.refused(self, error)

        def apply(created: tasks.Created) -> unfinished.Pieces[None]:
            # Into the scene that the user sees now: it may be another than when the button was pressed.
            root = yield from portrait.building(bpy.context.scene, created)
            _frame_in_view()
            said = list(created.portrait.fields.get("notes") or [])
            rig = find.part(root, "RIG")
            if created.motion is not None and rig is not None:
                # At once: what is given up now would leave a portrait that stands still.
                said.append(unfinished.at_once(placing.putting(rig, created.motion, bpy.context.scene)))
            if said:
                session.engine().notice(" ".join(said))

        session.start("Create Portrait", tasks.create(choice, followed), apply, queue=True)
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

    The first portrait of a scene is looked at from the front; for later ones the view keeps its direction.
    """
    override = None if bpy.app.background else session.view3d()
    if override is None:
        return
    area, roots = override["area"], find.roots(bpy.context.scene)
    if len(roots) == 1:
        viewpoint.face(area, roots[0])
    else:
        with bpy.context.temp_override(**override):
            bpy.ops.view3d.view_selected()
    import gpu  # not there without a window

    viewpoint.show_colours(area.spaces.active, on_software=gpu.platform.device_type_get() == "SOFTWARE")


CLASSES = (PORTRAIT_OT_create, PORTRAIT_OT_stylise, PORTRAIT_OT_random_seed)
