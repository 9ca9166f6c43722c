# SPDX-License-Identifier: GPL-3.0-or-later
"""Who a portrait of the scene is: sliders, a mix with somebody else, a name."""

import bpy
from bpy.props import StringProperty

from .. import bake_state, card, live, pictures, requests, sentences, session, tasks
from ..neural_core import errors
from ..picture_key import picture_key
from ..scene import baked, find, framing, naming, portrait, pose, replace_person, sliders, unfinished
from . import common


class PORTRAIT_OT_apply_person(bpy.types.Operator):
    """Make the person as the sliders and the mix say, in place: keys, layers, modifiers and materials stay"""

    bl_idname = "portrait.apply_person"
    bl_label = "Apply"

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        return common.may_add(cls, context) and common.engine_is_free(cls)

    def execute(self, context: bpy.types.Context) -> set[str]:
        root, scene = find.current(context), context.scene
        settings, identity = scene.portrait, find.identity_of(root)
        context.view_layer.update()
        try:
            kept = session.kept(root)
            asked = sliders.asked(identity)
            choice = requests.PersonChoice(asked, settings.person_mix_seed, settings.person_mix)
        except errors.PortraitError as error:
            return common.refused(self, error)
        seen, shot = _seen(root, scene)
        wish = None
        if find.part(root, "SURFACE") is not None:
            wish = tasks.SurfaceWish(settings.detail, pose.controls(root))
        size, frame, name = settings.size, scene.frame_current, root.name

        def apply(made: tasks.Person) -> unfinished.Pieces[None]:
            target = _target(name, kept.identifier)
            was_live = live.is_on(target)
            exact = yield from replace_person.replacing(target, made)
            bake_state.forget(target)
            bake_state.mark()
            if made.picture is not None:
                _show_picture(target, made.picture, seen, size, frame)
            bpy.context.scene.portrait.person_mix = 0.0  # else the next press would mix again
            if was_live:
                live.switch_on(target)
            if exact:
                session.engine().notice(*sentences.EXACT_MESHES_GONE)
            yield

        session.start("Apply Person", tasks.person(kept, choice, shot, size, wish), apply)
        return common.finished(self)


class PORTRAIT_OT_reset_person(bpy.types.Operator):
    """Put the sliders back to where the person is"""

    bl_idname = "portrait.reset_person"
    bl_label = "Reset"
    bl_options = {"REGISTER", "UNDO"}

    slider: StringProperty(name="Slider", description="Name of the one to put back; empty for all", options={"HIDDEN"})

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        return common.may_change(cls, context)

    @classmethod
    def description(cls, context: bpy.types.Context, properties: bpy.types.OperatorProperties) -> str:
        item = find.identity_of(find.current(context)).sliders.get(properties.slider) if properties.slider else None
        if item is None:
            return cls.__doc__ or ""
        words = f"Low: {item.low}. High: {item.high}. " if item.low else ""
        return f"{words}Press to put it back to {item.own:.2f}, where the person is"

    def execute(self, context: bpy.types.Context) -> set[str]:
        sliders.reset(find.identity_of(find.current(context)), self.slider)
        if not self.slider:
            context.scene.portrait.person_mix = 0.0
        return {"FINISHED"}


class PORTRAIT_OT_read_person(bpy.types.Operator):
    """Ask the engine what can be changed about this person"""

    bl_idname = "portrait.read_person"
    bl_label = "Show Sliders"

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        return common.may_add(cls, context) and common.engine_is_free(cls)

    def execute(self, context: bpy.types.Context) -> set[str]:
        try:
            kept = session.kept(find.current(context))
        except errors.PortraitError as error:
            return common.refused(self, error)

        def apply(described: list) -> None:
            sliders.fill(find.identity_of(card.target(kept.identifier)), described)

        session.start("Show Sliders", tasks.read_person(kept), apply)
        return common.finished(self)


class PORTRAIT_OT_rename_person(bpy.types.Operator):
    """Give the portrait another name: its collection, its objects and their data"""

    bl_idname = "portrait.rename_person"
    bl_label = "Rename Portrait"
    bl_options = {"REGISTER", "UNDO"}

    name: StringProperty(name="Name", maxlen=48)

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        return common.may_change(cls, context)

    def invoke(self, context: bpy.types.Context, _event: bpy.types.Event) -> set[str]:
        self.name = find.current(context).name
        return context.window_manager.invoke_props_dialog(self)

    def execute(self, context: bpy.types.Context) -> set[str]:
        name = self.name.strip()
        if not name:
            return common.refused(self, errors.UsageError("A portrait cannot be without a name.", "Write one."))
        naming.rename(find.current(context), name)
        return {"FINISHED"}


def _target(name: str, uuid: str) -> bpy.types.Object:
    """Return the root that a person is for: of several copies of a portrait, which are one to the engine, this one.

    Raises:
        UsageError: if it is gone, or another person by now.
    """
    root = bpy.data.objects.get(name)
    is_it = root is not None and root.portrait.role == "ROOT" and find.identity_of(root).uuid == uuid
    return root if is_it else card.target(uuid)


def _seen(root: bpy.types.Object, scene: bpy.types.Scene) -> tuple[framing.Framing | None, requests.Shot | None]:
    """Return what the card should show, and what to draw: as it was seen last where no camera sees it now."""
    plane = find.part(root, "PLANE")
    if plane is None:
        return None, None
    try:
        seen = framing.of(root, scene)
    except errors.UsageError:
        return None, requests.Shot(tuple(plane.portrait.picture_camera), pose.controls(root))
    return seen, seen.shot


def _show_picture(
    root: bpy.types.Object, picture: tasks.Picture, seen: framing.Framing | None, size: int, frame: int
) -> None:
    """Show the new person's picture on the card, which then shows this moment instead of baked frames."""
    if seen is None:
        portrait.set_live_pixels(root, picture.pixels)
        return
    baked.show_live(root)
    pictures.drawn.put(picture_key(root, seen.shot.drawn, size), picture.pixels)
    portrait.replace_picture(root, portrait.Shown(picture.pixels, seen, picture_key(root, seen.shot, size), frame))


CLASSES = (
    PORTRAIT_OT_apply_person,
    PORTRAIT_OT_reset_person,
    PORTRAIT_OT_read_person,
    PORTRAIT_OT_rename_person,
)
