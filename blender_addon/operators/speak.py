# SPDX-License-Identifier: GPL-3.0-or-later
"""Let the portrait say what was recorded: speech becomes a layer of motion, beside the user's own keys."""

from pathlib import Path

import bpy

from .. import requests, sentences, session, tasks
from ..neural_core import errors
from ..scene import find, speech, twins, unfinished
from . import common


class PORTRAIT_OT_speak(bpy.types.Operator):
    """Let the portrait say what was recorded: lips, blinks, brows and head in a new layer, beside your own keys"""

    bl_idname = "portrait.speak"
    bl_label = "Curves from Speech"

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        return common.has_rig(cls, context) and common.engine_is_free(cls)

    def execute(self, context: bpy.types.Context) -> set[str]:
        settings, root = context.scene.portrait, find.current(context)
        twins.part_from(root)
        uuid = find.identity_of(root).uuid
        path, start, with_sound = bpy.path.abspath(settings.speech), settings.speech_start, settings.speech_sound
        try:
            if not path:
                raise sentences.no_speech()
            fps = speech.rate_for(context.scene)
            choice = requests.SpeakChoice(path, fps, settings.speech_strength, settings.speech_gestures)
        except errors.PortraitError as error:
            return common.refused(self, error)

        def apply(spoken: tasks.Speech) -> unfinished.Pieces[None]:
            rig = find.part(find.anywhere(uuid), "RIG")
            if rig is None:
                raise errors.UsageError("The rig was deleted while the engine listened.", "The result was dropped.")
            scene = rig.users_scene[0]
            strip = yield from speech.putting(rig, spoken, scene, start)
            notice = f"Speech from frame {strip.frame_start:g} to {strip.frame_end:g}."
            if with_sound and not speech.add_sound(scene, Path(path), start):
                notice += " Its sound could not be added to the sequencer."
            scene.frame_set(scene.frame_current)
            session.engine().notice(notice)

        session.start("Curves from Speech", tasks.speak(choice), apply)
        return common.finished(self)


CLASSES = (PORTRAIT_OT_speak,)
