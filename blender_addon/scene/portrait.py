# SPDX-License-Identifier: GPL-3.0-or-later
"""A created portrait becomes one collection: root, rig, plain head, surface, camera and card.

Units and axes: everything under the root is in head space; the root carries the quarter turn that makes Y-up upright in
Blender, and is what users move.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import bpy
import numpy as np
from mathutils import Matrix

from .. import answers, backgrounds
from ..neural_core import __version__, errors
from ..requests import CreateChoice
from ..tasks import Created, Portrait, Surface
from . import camera, find, image_plane, lights, materials, mesh, mesh_frames, rig, sliders, unfinished
from .framing import Framing

MOUTH_STRETCH = 2.0
"""Edges that jawOpen draws to more than so many times their length lie over the mouth; over twice as many, fully."""

_PORTRAIT_FIELDS = ("model", "model_hash", "system", "licence", "use", "seed", "truncation", "animatable")


def build(scene: bpy.types.Scene, created: Created, style: str = "") -> bpy.types.Object:
    """Bring a created portrait into the scene at the 3D cursor and return its root; `style` is what made it so."""
    return unfinished.at_once(building(scene, created, style))


def building(scene: bpy.types.Scene, created: Created, style: str = "") -> unfinished.Pieces[bpy.types.Object]:
    """Do what `build` does piece by piece; the portrait comes into the scene, complete, with the last but one."""
    portrait, choice = created.portrait, created.choice
    with unfinished.collection(f"Portrait {style or Path(choice.photo).stem or _seeds(choice)}") as collection:
        name = collection.name
        root = _add(collection, bpy.data.objects.new(name, None), "ROOT")
        root.empty_display_size = 0.05
        root.rotation_euler = (math.pi / 2, 0.0, 0.0)
        root.location = scene.cursor.location
        if choice.make_rig:
            yield from _building_rig(collection, name, root, portrait)
        _remember(root, name, created, style)
        own_camera = _build_camera(collection, name, root, tuple(portrait.fields["camera"]))
        if created.surface is not None:
            ob = yield from _building_surface(collection, name, root, created.surface)
            _finish_surface(ob, root)
        if created.picture is not None:
            plane = _build_plane(collection, name, root, created.picture.pixels)
            plane.portrait.picture_camera = label = created.picture.camera
            image_plane.place(plane, own_camera, image_plane.before_camera(label))
            yield
        scene.collection.children.link(collection)
        if scene.camera is None:
            scene.camera = own_camera
        if created.picture is not None:
            scene.render.use_lock_interface = True  # a render may have to wait for the card's picture
        show(root, "BOTH" if created.surface is not None else "PICTURE")
        lights.ensure(scene, root)
        _select(root)
        bpy.context.view_layer.update()  # takes as long as the undo step that follows
        yield
    return root


def _building_surface(
    collection: bpy.types.Collection,
    name: str,
    root: bpy.types.Object,
    surface: Surface,
    actions: Mapping[str, np.ndarray] | None = None,
) -> unfinished.Pieces[bpy.types.Object]:
    """Make the coloured surface with all that lets it follow every slider and bone of the rig, if there is one.

    Weights and actions are read from the plain head of the scene, so edits that a user made to it carry over; those of
    `actions` by their name [v, 3] in place of what the head has.
    """
    data = mesh.from_arrays(f"{name} surface", surface.vertices, surface.faces)
    ob = bpy.data.objects.new(f"{name} surface", data)
    collection.objects.link(ob)
    yield
    mesh.set_colours(data, surface.colours, materials.COLOUR)
    armature, driver = find.part(root, "RIG"), find.part(root, "DRIVER")
    data.materials.append(materials.vertex_colours(f"{name} surface", surface.colours, armature))
    if armature is None or driver is None:
        return ob
    yield
    names, weights = mesh.read_weights(driver)
    yield
    weights = mesh.transfer(weights, surface.bind_index, surface.bind_weight)
    for number, bone in enumerate(names):
        mesh.set_group(ob, bone, weights[:, number])
        yield
    mesh.add_shape_keys(ob, surface.vertices, {}, rig.HARD_RANGE)
    keys = driver.data.shape_keys.key_blocks.keys()[1:]
    for key in keys:
        known = actions and key in actions
        delta = actions[key] if known else mesh.read_delta(driver.data.shape_keys.key_blocks[key])
        delta = mesh.transfer(delta, surface.bind_index, surface.bind_weight)
        mesh.add_key(ob, key, surface.vertices + delta, rig.HARD_RANGE)
        if key == "jawOpen":
            drawn = mesh.stretch(surface.vertices, surface.faces, delta)
            mesh.set_values(data, materials.MOUTH, np.clip((drawn - MOUTH_STRETCH) / MOUTH_STRETCH, 0.0, 1.0))
        yield
    rig.drive_shape_keys(ob, armature, keys)
    return ob


def _finish_surface(ob: bpy.types.Object, root: bpy.types.Object) -> None:
    """Make a surface that was built the portrait's."""
    ob.portrait.role = "SURFACE"
    armature = find.part(root, "RIG")
    if armature is None or ob.data.shape_keys is None:
        ob.parent = root
        return
    rig.bind(ob, armature)
    # Marching cubes leave ripples that side light shows; users may take this away.
    smooth = ob.modifiers.new("Smooth", "SMOOTH")
    smooth.factor, smooth.iterations = 0.5, 6
    armature.update_tag()  # else drivers added now stay unseen until the file is loaded again


def replace_surface(root: bpy.types.Object, surface: Surface) -> bpy.types.Object:
    """Put a new surface in the place of the portrait's old one, if there was one."""
    return unfinished.at_once(replacing_surface(root, surface))


def replacing_surface(root: bpy.types.Object, surface: Surface) -> unfinished.Pieces[bpy.types.Object]:
    """Do what `replace_surface` does piece by piece; the old surface stays until the new one is complete."""
    with unfinished.collection(root.users_collection[0].name) as aside:
        ob = yield from surface_aside(aside, root, surface)
        ob = put_surface(root, ob)
        show(root, "BOTH")
    bpy.data.collections.remove(aside)
    bpy.context.view_layer.update()
    yield
    return ob


def surface_aside(
    aside: bpy.types.Collection,
    root: bpy.types.Object,
    surface: Surface,
    actions: Mapping[str, np.ndarray] | None = None,
) -> unfinished.Pieces[bpy.types.Object]:
    """Build a surface for a portrait piece by piece, in a collection of no scene; `put_surface` takes it from there.

    `actions` are what the actions of the plain head will do by then, [v, 3] by name, where that is not what they do.
    """
    return _building_surface(aside, root.users_collection[0].name, root, surface, actions)


def put_surface(root: bpy.types.Object, made: bpy.types.Object) -> bpy.types.Object:
    """Put a surface that was built aside in the place of the portrait's old one, if there is one; returns its object.

    The old one's object stays, with the modifiers, materials, constraints and properties that a user gave it.
    """
    old = find.part(root, "SURFACE")
    if old is None:
        root.users_collection[0].objects.link(made)
        for collection in made.users_collection[:-1]:
            collection.objects.unlink(made)
        _finish_surface(made, root)
        return made
    before, data = old.data, made.data
    own = [material for material in data.materials if material is not None]
    if before.materials:
        data.materials.clear()
        for material in before.materials:
            data.materials.append(material)
    leave_mode(old)
    old.data = data
    bpy.data.batch_remove([made, *([before] if before.users == 0 else [])])
    bpy.data.batch_remove([material for material in own if material.users == 0])
    if (armature := find.part(root, "RIG")) is not None:
        armature.update_tag()  # as in `_finish_surface`
    return old


def leave_mode(ob: bpy.types.Object) -> None:
    """Bring an object that is edited, sculpted or painted back to Object Mode: else what is written to it is lost."""
    if ob.mode != "OBJECT":
        with bpy.context.temp_override(active_object=ob, object=ob, edit_object=ob if ob.mode == "EDIT" else None):
            bpy.ops.object.mode_set(mode="OBJECT")


@dataclass(frozen=True)
class Shown:
    """A picture for a card: pixels [h, w, 4] uint8, what they show and where that belongs, their key and frame.

    A background of a colour may still be missing.
    """

    pixels: np.ndarray
    framing: Framing
    key: str
    frame: int


def replace_picture(root: bpy.types.Object, picture: Shown, pack: bool = True) -> bpy.types.Object:
    """Show a new picture on the portrait's card, and put the card where the picture belongs.

    A picture that the next one will replace need not be packed.

    Raises:
        UsageError: if what carries the card was deleted meanwhile.
    """
    framing = picture.framing
    pixels = backgrounds.laid_under(picture.pixels, framing.shot.background)
    parent = bpy.data.objects.get(framing.parent)
    if parent is None:
        raise errors.UsageError("The camera was deleted while the engine worked.", "The result was dropped.")
    plane = find.part(root, "PLANE")
    if plane is None:
        collection = root.users_collection[0]
        plane = _build_plane(collection, collection.name, root, pixels)
    else:
        image_plane.set_pixels(live_image(plane), pixels, pack)
        image_plane.show_image(plane, live_image(plane))
    image = live_image(plane)
    image["portrait_key"], image["portrait_frame"] = picture.key, picture.frame
    image["portrait_background"] = framing.shot.background
    plane.portrait.picture_camera = framing.label
    image_plane.place(plane, parent, Matrix(framing.place))
    return plane


def set_live_pixels(root: bpy.types.Object, pixels: np.ndarray) -> None:
    """Show pixels [h, w, 4] uint8 on the card of a portrait that are no picture of it; the card stays where it is."""
    plane = find.part(root, "PLANE")
    image = live_image(plane)
    image_plane.set_pixels(image, pixels, pack=False)
    image_plane.show_image(plane, image)
    image["portrait_key"] = ""


def live_image(plane: bpy.types.Object) -> bpy.types.Image:
    """Return the image of the moment that a card has: on it, unless baked frames are."""
    if plane.portrait.live_image is None:  # the card of an older version, or its image was removed
        shown = image_plane.image_of(plane)
        if shown is None or shown.source == "SEQUENCE":
            shown = image_plane.make_image(plane.name, np.zeros((1, 1, 4), np.uint8))
        plane.portrait.live_image = shown
    return plane.portrait.live_image


def show(root: bpy.types.Object, what: str) -> None:
    """Show MESH (no card), PICTURE (the card before its camera, no head) or BOTH (the card beside the head)."""
    plane, surface, driver = (find.part(root, role) for role in ("PLANE", "SURFACE", "DRIVER"))
    if plane is not None:
        plane.portrait.beside = what != "PICTURE"
        label = tuple(plane.portrait.picture_camera)
        camera_object = _camera_of(root, plane)
        if what == "PICTURE" and camera_object is not None:
            image_plane.place(plane, camera_object, image_plane.before_camera(label))
        else:
            image_plane.place(plane, root, image_plane.beside_head(label))
        _set_visible(plane, what != "MESH")
    frames = mesh_frames.of(root)
    if frames is not None:  # they are the head then
        frames.hide_viewport = frames.hide_render = what == "PICTURE"
    head = None if frames is not None else surface or driver
    for ob in (surface, driver):
        if ob is not None:
            _set_visible(ob, ob is head and (what != "PICTURE" or plane is None))


def head(root: bpy.types.Object) -> bpy.types.Object | bpy.types.Collection | None:
    """Return what is drawn as the portrait's head where it is shown: exact frames, else the surface or plain head."""
    return mesh_frames.of(root) or find.part(root, "SURFACE") or find.part(root, "DRIVER")


def is_shown(root: bpy.types.Object, what: str) -> bool:
    """Return whether a portrait is shown so: as `show` calls it."""
    plane = find.part(root, "PLANE")
    if plane is None or plane.hide_get():
        return what == "MESH"
    return what == ("BOTH" if plane.portrait.beside else "PICTURE")


def _camera_of(root: bpy.types.Object, plane: bpy.types.Object) -> bpy.types.Object | None:
    """Return the camera that the card stands before, else the portrait's own."""
    before = plane.parent
    return before if before is not None and before.type == "CAMERA" else find.part(root, "CAMERA")


def kept_bytes(root: bpy.types.Object) -> bytes:
    """Return the .portrait file that the .blend keeps.

    Raises:
        InputError: if the text was removed or edited.
    """
    identity = find.identity_of(root)
    try:
        if identity is None or identity.file is None:
            raise ValueError
        return base64.b64decode(identity.file.as_string(), validate=False)
    except ValueError as error:
        raise errors.InputError(
            f'The data of "{root.name}" is missing in this .blend.', "Create the portrait again from its seed."
        ) from error


def _building_rig(
    collection: bpy.types.Collection, name: str, root: bpy.types.Object, portrait: Portrait
) -> unfinished.Pieces[None]:
    arrays, actions = portrait.arrays, list(portrait.fields["action_names"])
    joints = list(portrait.fields["joint_names"])
    armature = rig.make_armature(f"{name} rig", collection, joints, arrays["rig/joints"], arrays["rig/parents"])
    armature.portrait.role = "RIG"
    armature.parent = root
    rig.add_expression_properties(armature, actions)
    rig.add_look_at(armature)
    yield
    vertices = arrays["rig/vertices"]
    data = mesh.from_arrays(f"{name} driver", vertices, arrays["rig/faces"])
    mesh.set_uv(data, arrays["rig/uv"], arrays["rig/uv_faces"])
    data.materials.append(materials.plain_skin(f"{name} driver"))
    driver = _add(collection, bpy.data.objects.new(f"{name} driver", data), "DRIVER")
    mesh.set_weights(driver, joints, arrays["rig/weights"])
    yield
    mesh.add_shape_keys(driver, vertices, dict(zip(actions, arrays["rig/actions"], strict=True)), rig.HARD_RANGE)
    rig.drive_shape_keys(driver, armature, actions)
    rig.bind(driver, armature)
    armature.update_tag()
    yield


def _build_camera(
    collection: bpy.types.Collection, name: str, root: bpy.types.Object, label: tuple[float, ...]
) -> bpy.types.Object:
    ob = _add(collection, bpy.data.objects.new(f"{name} camera", bpy.data.cameras.new(f"{name} camera")), "CAMERA")
    ob.parent = root
    ob.data.display_size = 0.05
    camera.write(ob, label)
    return ob


def _build_plane(
    collection: bpy.types.Collection, name: str, root: bpy.types.Object, pixels: np.ndarray
) -> bpy.types.Object:
    image = image_plane.make_image(f"{name} picture", pixels)
    plane = image_plane.make(f"{name} picture", collection, image)
    plane.portrait.role, plane.portrait.owner = "PLANE", root
    plane.portrait.live_image = image
    return plane


def _seeds(choice: CreateChoice) -> str:
    return f"{choice.seed} and {choice.mix_seed}" if choice.mix else str(choice.seed)


def _remember(root: bpy.types.Object, name: str, created: Created, style: str) -> None:
    identity, portrait = root.portrait, created.portrait
    fields = portrait.fields
    identity.uuid = created.choice.identifier
    identity.version = __version__
    identity.photo, identity.style = Path(created.choice.photo).name, style
    identity.mix_seed, identity.mix = created.choice.mix_seed, created.choice.mix
    for field in _PORTRAIT_FIELDS:
        if fields.get(field) is not None:  # a portrait that was not made from a seed has none
            setattr(identity, field, fields[field])
    identity.file = keep(name, portrait)
    sliders.fill(identity, answers.sliders(fields))


def keep(name: str, portrait: Portrait) -> bpy.types.Text:
    """Return a text that carries the portrait itself in the .blend."""
    text = bpy.data.texts.new(f"{name}.portrait")
    text.use_fake_user = False  # Blender gives texts one: this one goes with its portrait
    text.write(base64.encodebytes(portrait.arrays["portrait"].tobytes()).decode("ascii"))
    return text


def _add(collection: bpy.types.Collection, ob: bpy.types.Object, role: str) -> bpy.types.Object:
    collection.objects.link(ob)
    ob.portrait.role = role
    return ob


def _set_visible(ob: bpy.types.Object, visible: bool) -> None:
    ob.hide_viewport = False
    ob.hide_render = not visible
    # The user may look at another scene, or leave the portrait out of a view layer.
    for layer in (layer for scene in ob.users_scene for layer in scene.view_layers):
        try:  # asked, a layer does not know objects that came just now
            ob.hide_set(not visible, view_layer=layer)
        except RuntimeError:
            continue


def _select(root: bpy.types.Object) -> None:
    """Select the head: "frame selected" finds it, and the panel shows its rig's sliders."""
    layer = bpy.context.view_layer
    for ob in find.selected(layer):
        ob.select_set(False)
    parts = (find.part(root, role) for role in ("SURFACE", "DRIVER", "PLANE"))
    head = next((ob for ob in parts if ob is not None and not ob.hide_get()), root)
    head.select_set(True)
    layer.objects.active = head
