# SPDX-License-Identifier: GPL-3.0-or-later
"""Let the portrait do what somebody does in a clip: the motion becomes a layer, beside the user's own keys."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import bpy

from .. import requests, sentences, session, tasks
from ..neural_core import errors
from ..scene import clips, find, speech, twins, unfinished
from . import common


class PORTRAIT_OT_track(bpy.types.Operator):
    """Let the portrait do what somebody does in a clip: face, eyes and head in a new layer, beside your own keys"""

    bl_idname = "portrait.track"
    bl_label = "Curves from Video"

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        return common.has_rig(cls, context) and common.engine_is_free(cls)

    def execute(self, context: bpy.types.Context) -> set[str]:
        settings, root = context.scene.portrait, find.current(context)
        twins.part_from(root)
        uuid = find.identity_of(root).uuid
        placing = Placing.of(settings)
        try:
            choice = choice_of(settings)
        except errors.PortraitError as error:
            return common.refused(self, error)

        def apply(motion: tasks.Motion) -> unfinished.Pieces[None]:
            rig = find.part(find.anywhere(uuid), "RIG")
            if rig is None:
                raise errors.UsageError("The rig was deleted while the engine looked.", "The result was dropped.")
            session.engine().notice((yield from placing.putting(rig, motion, rig.users_scene[0])))

        session.start(self.bl_label, tasks.track(choice), apply)
        return common.finished(self)


@dataclass(frozen=True)
class Placing:
    """How the motion of a clip goes into the scene, as the panel said when the button was pressed."""

    path: Path
    start: int
    strength: float
    with_head: bool
    with_sound: bool

    @classmethod
    def of(cls, settings: bpy.types.PropertyGroup) -> Placing:
        """Return what the panel says."""
        path = Path(bpy.path.abspath(settings.clip))
        return cls(path, settings.clip_start, settings.clip_strength, settings.clip_head, settings.clip_sound)

    def putting(self, rig: bpy.types.Object, motion: tasks.Motion, scene: bpy.types.Scene) -> unfinished.Pieces[str]:
        """Lay the motion on a rig piece by piece, and return what to say about it."""
        strip = yield from clips.putting(rig, motion, scene, self.start, self.strength, self.with_head)
        said = [f"Clip from frame {strip.frame_start:g} to {strip.frame_end:g}.", *motion.notes]
        if self.with_sound and motion.sound and not speech.add_sound(scene, self.path, self.start):
            said.append("Its sound could not be added to the sequencer.")
        scene.frame_set(scene.frame_current)
        return " ".join(said)


def choice_of(settings: bpy.types.PropertyGroup) -> requests.TrackChoice:
    """Return what is asked of the engine. Raises UsageError if no clip is chosen."""
    if not settings.clip:
        raise sentences.no_clip()
    return requests.TrackChoice(bpy.path.abspath(settings.clip), settings.clip_frames, settings.clip_smoothing)


CLASSES = (PORTRAIT_OT_track,)
