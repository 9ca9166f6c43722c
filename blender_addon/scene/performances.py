# SPDX-License-Identifier: GPL-3.0-or-later
"""Motion from elsewhere as layers of a rig: recordings of a phone, what somebody does who does nothing; as files."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import bpy
import numpy as np

from .. import arkit_csv, random_motion
from ..neural_core import files
from . import curves, layers

RANDOM_MOTION = "Random motion"


def add_recording(
    armature: bpy.types.Object,
    scene: bpy.types.Scene,
    path: Path,
    start: int,
    fps: float | None = None,
    head: str = "HALF_TURNS",
) -> tuple[arkit_csv.Recording, np.ndarray]:
    """Put a CSV file of Live Link Face on a rig, resampled to the scene's rate; returns it and its frames here.

    Args:
        armature: the rig.
        scene: its scene.
        path: the file.
        start: where its first frame goes.
        fps: what its times count in, None to find out.
        head: what its head angles are written in, a key of arkit_csv.UNITS; else only the face moves.

    Raises:
        InputError: if the file cannot be read.
    """
    recording = arkit_csv.read(path, fps)
    count, tracks = recording.resampled(scene.render.fps / scene.render.fps_base)
    scale = arkit_csv.UNITS.get(head, 0.0)
    tracks |= {name: scale * tracks[name] for name in curves.HEAD if name in tracks}
    frames = start + np.arange(count)
    layers.add(armature, path.stem, frames, tracks)
    return recording, frames


def add_random(
    armature: bpy.types.Object,
    scene: bpy.types.Scene,
    frames: np.ndarray,
    seed: int,
    amounts: random_motion.Amounts,
) -> None:
    """Let a rig move as people at rest do during `frames`; earlier motion of this kind falls silent."""
    tracks = random_motion.motion(seed, len(frames), scene.render.fps / scene.render.fps_base, amounts)
    layers.mute(armature, RANDOM_MOTION)
    if tracks:
        layers.add(armature, f"{RANDOM_MOTION} {seed}", frames, tracks)


def write_curves(path: Path, fps: float, tracks: Mapping[str, np.ndarray]) -> None:
    """Write motion as a portrait-curves/1 file. Raises PortraitError of kind "output"."""
    values = {name: [round(float(value), 4) for value in track] for name, track in tracks.items()}
    files.write_bytes(path, json.dumps({"format": curves.FORMAT, "fps": fps, "curves": values}).encode())
