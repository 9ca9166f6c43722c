# SPDX-License-Identifier: GPL-3.0-or-later
"""What the panel edits for new work (on the scene), and what a portrait remembers of itself (on its objects)."""

import bpy
from bpy.props import (
    BoolProperty,
    CollectionProperty,
    EnumProperty,
    FloatProperty,
    FloatVectorProperty,
    IntProperty,
    PointerProperty,
    StringProperty,
)

from . import model_list, poses, preferences
from .requests import (
    CLIP_FRAMES,
    CLIP_FRAMES_LIMIT,
    DEFAULT_MODEL,
    DETAIL_RANGE,
    SEED_LIMIT,
    SIZE_RANGE,
    SLIDER_LIMIT,
    SMOOTHING_LIMIT,
    STRENGTH_LIMIT,
)
from .scene import pose_assets


def _search_models(_self: bpy.types.ID, _context: bpy.types.Context, text: str) -> list[str]:
    folder = preferences.worker_settings().models_folder
    return [name for name in model_list.names(folder) if text.lower() in name.lower()]


def _show_background(identity: bpy.types.PropertyGroup, context: bpy.types.Context) -> None:
    from . import card  # which needs these properties

    card.show_background(identity.id_data, context.scene)


class PortraitSettings(bpy.types.PropertyGroup):
    """Settings of the panel, kept with the scene."""

    model: StringProperty(
        name="Model",
        description="The weights that portraits are made with",
        default=DEFAULT_MODEL,
        search=_search_models,
    )
    source: EnumProperty(
        name="From",
        items=[
            ("SEED", "Seed", "Somebody who does not exist"),
            ("PHOTO", "Photo", "The person in a photo; this takes minutes"),
            ("VIDEO", "Video", "The person in a clip; this takes minutes"),
        ],
        default="SEED",
    )
    photo: StringProperty(
        name="Photo",
        description="A photo of one person, from the front, the face over 100 pixels wide",
        subtype="FILE_PATH",
    )
    latent_iterations: IntProperty(
        name="Search steps", description="Steps that look for the person among the model's", default=450, min=0
    )
    weight_iterations: IntProperty(
        name="Tuning steps", description="Steps that change the network until it draws the photo", default=500, min=0
    )
    clip: StringProperty(
        name="Video",
        description="A clip of somebody whose face is seen all the time, over 64 pixels wide: MP4, MOV, WebM, MKV",
        subtype="FILE_PATH",
    )
    clip_frames: IntProperty(
        name="Most Frames",
        description="How many of the clip's frames are looked at, from its start; each takes some tenths of a second",
        default=CLIP_FRAMES,
        min=1,
        max=CLIP_FRAMES_LIMIT,
    )
    clip_start: IntProperty(name="Start", description="The frame at which the clip begins", default=1)
    clip_strength: FloatProperty(
        name="Strength",
        description="Size of the face's movements",
        default=1.0,
        min=0.0,
        max=STRENGTH_LIMIT,
        soft_max=2.0,
    )
    clip_smoothing: FloatProperty(
        name="Smoothing",
        description="Seconds over which the motion is smoothed; 0.1 takes a tremor away, and some of a blink",
        default=0.0,
        min=0.0,
        max=SMOOTHING_LIMIT,
        soft_max=0.3,
    )
    clip_head: BoolProperty(
        name="Head Motion",
        description="Turn the head, too; where it looks most in the clip is straight ahead",
        default=True,
    )
    clip_sound: BoolProperty(
        name="Add Sound", description="Put the clip's sound, if it has any, into the sequencer", default=True
    )
    clip_animate: BoolProperty(
        name="Animate with It", description="Let the new portrait do what the person does in the clip", default=False
    )
    style: StringProperty(
        name="Style", description='What the portrait is to look like, in English: "a charcoal drawing"'
    )
    speech: StringProperty(
        name="Recording", description="Somebody who speaks: WAV, FLAC, MP3, M4A or OGG", subtype="FILE_PATH"
    )
    speech_start: IntProperty(name="Start", description="The frame at which the recording begins", default=1)
    speech_strength: FloatProperty(
        name="Strength",
        description="Size of the mouth's movements",
        default=1.0,
        min=0.0,
        max=STRENGTH_LIMIT,
        soft_max=2.0,
    )
    speech_gestures: FloatProperty(
        name="Gestures",
        description="Size of the movements of brows and head; 0 leaves out the blinks, too",
        default=1.0,
        min=0.0,
        max=STRENGTH_LIMIT,
        soft_max=2.0,
    )
    speech_sound: BoolProperty(
        name="Add Sound", description="Put the recording into the sequencer, so that it is heard", default=True
    )
    seed: IntProperty(
        name="Seed",
        description="Which person: the same seed always gives the same face",
        default=7,
        min=0,
        max=SEED_LIMIT,
    )
    truncation: FloatProperty(
        name="Truncation",
        description="0 is the average person, 1 the full variety; less is safer",
        default=0.7,
        min=0.0,
        max=2.0,
        soft_max=1.0,
    )
    mix_seed: IntProperty(
        name="Mix with", description="Seed of another person who is mixed in", default=8, min=0, max=SEED_LIMIT
    )
    mix: FloatProperty(
        name="Share", description="How much of the other person: 0 nothing, 1 they alone", default=0.0, min=0.0, max=1.0
    )
    make_rig: BoolProperty(
        name="Rig and head", description="Make the armature with 52 expression sliders and the plain head", default=True
    )
    make_plane: BoolProperty(name="Image plane", description="Make a card with the network's own picture", default=True)
    make_mesh: BoolProperty(
        name="Surface mesh", description="Make the coloured surface of the portrait, bound to the rig", default=True
    )
    detail: IntProperty(
        name="Mesh detail",
        description="Grid cells along a side of the model's box: more is finer and slower",
        default=128,
        min=DETAIL_RANGE[0],
        max=DETAIL_RANGE[1],
    )
    size: IntProperty(
        name="Picture size",
        description="Side of the network's picture in pixels",
        default=512,
        min=SIZE_RANGE[0],
        max=SIZE_RANGE[1],
    )
    quality: EnumProperty(
        name="Quality",
        description="How large the network draws the portrait: live, and when frames are baked",
        items=[
            ("DRAFT", "Draft", "128 pixels"),
            ("PREVIEW", "Preview", "256 pixels"),
            ("FULL", "Full", "As large as the picture size says"),
        ],
        default="FULL",
    )
    pose: EnumProperty(
        name="Pose",
        description="A pose that comes with the add-on, or one of this file",
        items=pose_assets.items,
        default=poses.NUMBERS["SMILE"],
    )
    pose_strength: FloatProperty(
        name="Strength", description="0 changes nothing, 1 is the pose", default=1.0, min=0.0, max=1.0
    )
    pose_on_top: BoolProperty(name="On Top", description="Put the pose on top of what the face shows, not in its place")
    person_mix_seed: IntProperty(
        name="Mix with",
        description="Seed of somebody who is mixed into the selected person",
        default=8,
        min=0,
        max=SEED_LIMIT,
    )
    person_mix: FloatProperty(
        name="Share",
        description="How much of them Apply mixes in: 0 nothing, 1 they alone",
        default=0.0,
        min=0.0,
        max=1.0,
    )
    person_search: StringProperty(
        name="Search", description="Show only the sliders with these words", options={"TEXTEDIT_UPDATE"}
    )
    search: StringProperty(
        name="Search", description="Show only the sliders with these words", options={"TEXTEDIT_UPDATE"}
    )


class PortraitSlider(bpy.types.PropertyGroup):
    """Something that can be asked of a person, by its `name`."""

    group: StringProperty(name="Group")
    label: StringProperty(name="Label", description="What the panel calls it")
    low: StringProperty(name="Low", description="What a low value looks like")
    high: StringProperty(name="High", description="What a high value looks like")
    own: FloatProperty(name="Own value", description="Where the person is")
    value: FloatProperty(
        name="Value",
        description="How the person is to be when Apply is pressed: 0 is the mean person, -3 and 3 are about the ends",
        min=-SLIDER_LIMIT,
        max=SLIDER_LIMIT,
        soft_min=-3.0,
        soft_max=3.0,
        options=set(),
    )


class PortraitIdentity(bpy.types.PropertyGroup):
    """What an object is in its portrait; the rig (or, without one, the root) also says who the person is."""

    role: EnumProperty(
        items=[
            (role, role.title(), "")
            for role in ("NONE", "ROOT", "RIG", "DRIVER", "SURFACE", "PLANE", "CAMERA", "FRAME")
        ],
        default="NONE",
    )
    uuid: StringProperty(name="Identifier", description="Name of this portrait between Blender and the engine")
    version: StringProperty(name="Version", description="Version of Neural Portrait that made it")
    model: StringProperty(name="Model", description="The weights that it was made with")
    model_hash: StringProperty(name="Model hash")
    system: StringProperty(name="System")
    licence: StringProperty(name="Licence", description="Licence of the weights")
    use: StringProperty(name="Use", description="What the licence of the weights allows")
    seed: IntProperty(name="Seed")
    truncation: FloatProperty(name="Truncation")
    mix_seed: IntProperty(name="Mixed with", description="Seed of the person who is mixed in")
    mix: FloatProperty(name="Share", description="How much of that person is mixed in")
    photo: StringProperty(name="Photo", description="Name of the photo that shows the person")
    style: StringProperty(name="Style", description="The text that describes how the portrait looks")
    file: PointerProperty(
        name="Portrait file", description="The portrait itself, as text, for the engine", type=bpy.types.Text
    )
    changed: BoolProperty(name="Changed", description="The person was changed since it was made")
    sliders_known: BoolProperty(name="Sliders are known", description="The engine has told what sliders there are")
    sliders: CollectionProperty(
        name="Sliders", description="What can be asked of the person, and what is", type=PortraitSlider
    )
    animatable: BoolProperty(name="Animatable", description="The network's picture follows the rig's sliders")
    picture_camera: FloatVectorProperty(name="Camera of the picture", size=25)
    follow: EnumProperty(
        name="Follow",
        items=[
            ("CAMERA", "Camera", "The card shows what the scene's camera sees of the head"),
            ("HEAD", "Head", "The card stays where it is, and shows what the portrait's own camera sees"),
        ],
        default="CAMERA",
    )
    background: EnumProperty(
        name="Background",
        description="What is behind the head on the card",
        items=[
            ("TRANSPARENT", "Transparent", "Nothing: the scene is seen around the head"),
            ("COLOUR", "Colour", "One colour"),
            ("MODEL", "Model's", "What the network itself draws there; black for the models that come with us"),
        ],
        default="TRANSPARENT",
        options=set(),
        update=_show_background,
    )
    background_colour: FloatVectorProperty(
        name="Colour",
        description="The colour behind the head",
        subtype="COLOR_GAMMA",
        size=3,
        min=0.0,
        max=1.0,
        default=(0.5, 0.5, 0.5),
        options=set(),
        update=_show_background,
    )
    owner: PointerProperty(
        name="Root", description="The portrait that this belongs to, wherever it stands", type=bpy.types.Object
    )
    beside: BoolProperty(name="Beside the head", description="The card leaves the head visible")
    live_image: PointerProperty(name="Live image", description="The picture of this moment", type=bpy.types.Image)
    baked_image: PointerProperty(name="Baked frames", description="The frames on disk", type=bpy.types.Image)


CLASSES = (PortraitSettings, PortraitSlider, PortraitIdentity)


def register() -> None:
    """Make this part known to Blender."""
    for cls in CLASSES:
        bpy.utils.register_class(cls)
    bpy.types.Scene.portrait = PointerProperty(type=PortraitSettings)
    bpy.types.Object.portrait = PointerProperty(type=PortraitIdentity)


def unregister() -> None:
    """Take it back."""
    del bpy.types.Object.portrait
    del bpy.types.Scene.portrait
    for cls in reversed(CLASSES):
        bpy.utils.unregister_class(cls)
