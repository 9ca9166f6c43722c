# SPDX-License-Identifier: GPL-3.0-or-later
"""Speech in the scene: a layer of motion on the rig, and the sound in the sequencer."""

from __future__ import annotations

from pathlib import Path

import bpy
import numpy as np

from .. import tasks
from ..requests import SPEECH_FPS_RANGE
from . import layers, unfinished

PREFIX = "Speech "
"""How the names of these layers begin."""


def rate_for(scene: bpy.types.Scene) -> float:
    """Return how many curve values a second to ask for: one a frame, where the scene's rate is not extreme."""
    return min(max(scene.render.fps / scene.render.fps_base, SPEECH_FPS_RANGE[0]), SPEECH_FPS_RANGE[1])


def put(rig: bpy.types.Object, speech: tasks.Speech, scene: bpy.types.Scene, start: int) -> bpy.types.NlaStrip:
    """Lay speech over the rig's own motion from frame `start` on; returns its strip.

    Earlier speech at the same time is silenced: two sentences at once would add up to nonsense.
    """
    return unfinished.at_once(putting(rig, speech, scene, start))


def putting(
    rig: bpy.types.Object, speech: tasks.Speech, scene: bpy.types.Scene, start: int
) -> unfinished.Pieces[bpy.types.NlaStrip]:
    """Do what `put` does piece by piece; the rig speaks with the last."""
    count = max(len(values) for values in speech.tracks.values())
    frames = start + np.arange(count) * (scene.render.fps / scene.render.fps_base / speech.fps)
    track = yield from layers.adding(rig, f"{PREFIX}{speech.name}", frames, speech.tracks, silences=PREFIX)
    return track.strips[0]


def add_sound(scene: bpy.types.Scene, path: Path, start: int) -> bool:
    """Add the sound to the sequencer at a frame, on a free channel; returns whether it is there now.

    The same sound is not added twice at the same frame.
    """
    editor = scene.sequence_editor or scene.sequence_editor_create()
    strips = editor.strips if hasattr(editor, "strips") else editor.sequences  # until Blender 4.3
    for strip in strips:
        if strip.type == "SOUND" and _start_of(strip) == start and _same(strip.sound.filepath, path):
            return True
    channel = 1 + max((strip.channel for strip in strips), default=0)
    try:
        strips.new_sound(name=path.name, filepath=str(path), channel=channel, frame_start=start)
    except RuntimeError:  # a Blender without sound, or a format that it does not read
        return False
    return True


def _start_of(strip: bpy.types.SoundStrip) -> float:
    """Return the frame at which a sound begins; the old name is deprecated since Blender 5.2."""
    return strip.content_start if hasattr(strip, "content_start") else strip.frame_start


def _same(filepath: str, path: Path) -> bool:
    return Path(bpy.path.abspath(filepath)) == path
