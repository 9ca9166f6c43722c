# SPDX-License-Identifier: GPL-3.0-or-later
"""What somebody does in a clip, as a layer of motion on the rig."""

from __future__ import annotations

import math

import bpy
import numpy as np

from .. import tasks
from . import curves, layers, unfinished

PREFIX = "Clip "
"""How the names of these layers begin."""
_EXACT = 1e-3
"""Frames that are as good as none: what is left of a division."""


def put(
    rig: bpy.types.Object,
    motion: tasks.Motion,
    scene: bpy.types.Scene,
    start: int,
    strength: float = 1.0,
    with_head: bool = True,
) -> bpy.types.NlaStrip:
    """Lay the motion of a clip that begins at frame `start` over the rig's own; returns its strip.

    It is resampled by time: a value for each frame of the scene. An earlier clip at the same time is silenced.

    Args:
        rig: the armature.
        motion: what is done.
        scene: its scene.
        start: where the clip's first frame goes; the face may come later.
        strength: factor of the face's actions.
        with_head: whether the head turns, too.
    """
    return unfinished.at_once(putting(rig, motion, scene, start, strength, with_head))


def putting(
    rig: bpy.types.Object,
    motion: tasks.Motion,
    scene: bpy.types.Scene,
    start: int,
    strength: float = 1.0,
    with_head: bool = True,
) -> unfinished.Pieces[bpy.types.NlaStrip]:
    """Do what `put` does piece by piece; the rig moves with the last."""
    rate = scene.render.fps / scene.render.fps_base
    first = start + motion.start * rate
    seen = first + np.arange(len(motion)) * (rate / motion.fps)
    frames = np.arange(math.ceil(first - _EXACT), math.floor(seen[-1] + _EXACT) + 1)
    if not len(frames):  # the whole clip lies between two frames
        frames = np.array([round(first)])
    tracks = {}
    for name, values in motion.tracks.items():
        if name not in curves.HEAD:
            tracks[name] = np.clip(strength * np.interp(frames, seen, values), 0.0, 1.0)
        elif with_head:
            tracks[name] = np.interp(frames, seen, values)
    track = yield from layers.adding(rig, f"{PREFIX}{motion.name}", frames, tracks, silences=PREFIX)
    return track.strips[0]
