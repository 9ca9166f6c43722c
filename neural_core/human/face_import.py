# SPDX-License-Identifier: Apache-2.0
"""The user's FLAME and SMPL files become face models of theirs. Nothing in the files is executed."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from .. import models
from ..progress import Report
from .flame import JOINTS, landmark_arrays, read_flame
from .model_files import convert, read_model_file
from .smpl import read_smpl


@dataclass(frozen=True)
class Imported:
    """A face model that was brought in; `note` is a sentence about what it lacks, or ""."""

    path: Path
    name: str
    vertices: int
    licence: str
    note: str = ""


def import_face(source: Path, name: str, report: Report) -> Imported:
    """Write a published file of FLAME or SMPL into the user's folder under `name`.

    Raises:
        UsageError: if the name is no file name, or taken.
        InputError: if the file is neither FLAME nor SMPL.
        PortraitError: kind "output", if the folder cannot be written.
    """
    target = models.new_file(models.faces_folder(), name)
    report(f"Reading {source.name}", 0, 1)
    landmarks, note = {}, ""
    if read_model_file(source).array("weights").shape[-1] == len(JOINTS):  # FLAME has five joints, SMPL twenty-four
        face = read_flame(source)
        report("Finding the landmarks", 0, 1)
        landmarks = landmark_arrays(face)
        if not landmarks:
            note = "Its head is too unlike ours for landmarks; Next3D's published weights need them."
    else:
        face = read_smpl(source)
    convert(source, target, landmarks)
    return Imported(target, face.name, len(face.v_template), face.licence, note)
