# SPDX-License-Identifier: GPL-3.0-or-later
"""Small pictures of other people to choose from, before one of them is made."""

from __future__ import annotations

import bpy
import bpy.utils.previews  # pyright: ignore[reportMissingImports]  (the stubs leave it out)
from bpy.props import IntProperty

from .. import requests, session, tasks, thumbnails
from ..neural_core import errors
from . import common

_COUNT = 6
_SIZE = 128  # pixels

# Previews belong to the running Blender: made when first wanted, dropped by unregister().
_faces: bpy.utils.previews.ImagePreviewCollection | None = None


def shown() -> list[tuple[int, int]]:
    """Return the seed and the icon of each face that is there to choose from."""
    return [(int(seed), preview.icon_id) for seed, preview in (_faces or {}).items()]


class PORTRAIT_OT_variations(bpy.types.Operator):
    """Show the faces of the next six seeds, with the settings above; again shows six more"""

    bl_idname = "portrait.variations"
    bl_label = "Show Variations"

    @classmethod
    def poll(cls, _context: bpy.types.Context) -> bool:
        return common.engine_is_free(cls)

    def execute(self, context: bpy.types.Context) -> set[str]:
        settings = context.scene.portrait
        first = max([settings.seed, *(seed for seed, _ in shown())]) + 1
        try:
            choices = [
                requests.CreateChoice(
                    model=settings.model,
                    seed=seed,
                    truncation=settings.truncation,
                    mix_seed=settings.mix_seed,
                    mix=settings.mix,
                    size=_SIZE,
                )
                for seed in range(first, first + _COUNT)
            ]
        except errors.PortraitError as error:
            return common.refused(self, error)
        session.start("Show Variations", tasks.variations(choices), _show, undo=False)
        return common.finished(self)


class PORTRAIT_OT_use_seed(bpy.types.Operator):
    """Take the seed of this face"""

    bl_idname = "portrait.use_seed"
    bl_label = "Use Seed"
    bl_options = {"REGISTER", "UNDO"}

    seed: IntProperty(name="Seed", min=0, max=requests.SEED_LIMIT)

    def execute(self, context: bpy.types.Context) -> set[str]:
        context.scene.portrait.seed = self.seed
        return {"FINISHED"}


def _show(pictures: dict[int, tasks.Picture]) -> None:
    """Put faces in the place of those that were shown."""
    global _faces
    forget()
    faces = bpy.utils.previews.new()
    for seed, picture in pictures.items():
        thumbnails.set_pixels(faces.new(str(seed)), picture.pixels)
    _faces = faces


def forget() -> None:
    """Drop the faces."""
    global _faces
    if _faces is not None:
        bpy.utils.previews.remove(_faces)
        _faces = None


CLASSES = (PORTRAIT_OT_variations, PORTRAIT_OT_use_seed)
