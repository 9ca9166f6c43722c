# SPDX-License-Identifier: GPL-3.0-or-later
"""What a saved .blend carries of its portraits: the picture of the moment inside, baked frames beside it.

A file that is opened without this add-on, on another machine, then still shows everything.
"""

from __future__ import annotations

from pathlib import Path

import bpy

from . import sentences, session
from .neural_core import errors, files
from .scene import baked, find

README = "portrait_readme.txt"


def cards() -> list[bpy.types.Object]:
    """Return the cards of all portraits of the file."""
    return [ob for ob in bpy.data.objects if ob.portrait.role == "PLANE"]


def pack() -> None:
    """Put the newest live pictures into the file: while they are live they are not, for that takes longest."""
    for image in {ob.portrait.live_image for ob in cards()} - {None}:
        if image.is_dirty or image.packed_file is None:
            image.pack()


def make_portable() -> Path:
    """Copy the frames on cards beside the .blend, and write a text about models and licences; returns its path.

    The .blend has to be saved afterwards.

    Raises:
        PortraitError: if the .blend has no place yet, or files cannot be written beside it.
    """
    if not bpy.data.filepath:
        raise errors.UsageError("The file is not saved yet.", "Save it, then make it portable.")
    for plane in cards():
        _bring(plane, Path(bpy.data.filepath).parent)
    pack()
    target = Path(bpy.data.filepath).with_name(README)
    files.write_bytes(target, _about().encode("utf-8"))
    return target


def _bring(plane: bpy.types.Object, folder: Path) -> None:
    """Copy the frames that a card shows into `folder`, if they lie elsewhere, and let the card find them there."""
    if not baked.is_shown(plane):
        return
    place = baked.folder_shown(plane)
    target = folder / baked.FOLDER / place.parent.name / place.name
    if target != place:
        baked.copy(place, target)
    image = plane.portrait.baked_image
    path = str(target / Path(image.filepath).name)
    image.filepath = bpy.path.relpath(path) if bpy.data.filepath else path


def _about() -> str:
    """Return what the text beside the .blend says."""
    lines = [
        f"{Path(bpy.data.filepath).name} holds portraits made with Neural Portrait.",
        f"Their baked frames lie in the folder {baked.FOLDER}, which belongs beside the .blend.",
        "Everything that can be seen is seen without the add-on; with it, and with the models, it can be changed.",
    ]
    for scene in bpy.data.scenes:
        for root in find.roots(scene):
            identity = find.identity_of(root)
            who = identity.photo or f"seed {identity.seed}, truncation {identity.truncation:.2f}"
            who += ", changed" if identity.changed else ""
            lines += ["", f"{root.name}: {who}", f"    Model: {identity.model} ({identity.model_hash})"]
            lines += [f'    Style: "{identity.style}"'] if identity.style else []
            lines += [f"    Licence of the model: {identity.licence}"]
            lines += [f"    {sentences.NON_COMMERCIAL}"] if identity.use == "non-commercial" else []
    return "\n".join(lines) + "\n"


@bpy.app.handlers.persistent
def _before_save(path: str, *_: object) -> None:
    """Pack the newest pictures; frames that lie in Blender's temporary folder go beside the file."""
    pack()
    if not path:  # the startup file
        return
    for plane in cards():
        if baked.is_shown(plane) and baked.folder_shown(plane).is_relative_to(Path(bpy.app.tempdir)):
            try:
                _bring(plane, Path(path).parent)
            except errors.PortraitError as error:
                session.engine().fail(error)


def register() -> None:
    """Make this part known to Blender."""
    bpy.app.handlers.save_pre.append(_before_save)


def unregister() -> None:
    """Take it back."""
    bpy.app.handlers.save_pre.remove(_before_save)
