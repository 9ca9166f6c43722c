# SPDX-License-Identifier: GPL-3.0-or-later
"""The models that are installed, with their licences, and where others come from."""

from dataclasses import dataclass

import bpy

from .. import model_list, preferences, sentences
from ..operators.models import PORTRAIT_OT_import_face, PORTRAIT_OT_import_model, PORTRAIT_OT_open_models_folder
from .common import PortraitPanel, draw_text


@dataclass(frozen=True)
class Source:
    """A public project that publishes what we can import, and what its licence allows, in a sentence."""

    name: str
    url: str
    licence: str


SOURCES = (
    Source("EG3D", "https://github.com/NVlabs/eg3d", "NVIDIA Source Code License: research, not commercial."),
    Source("Next3D", "https://github.com/MrTornado24/Next3D", "Not commercial; it is driven by your FLAME."),
    Source("FLAME", "https://flame.is.tue.mpg.de", "Not commercial; after registration. FLAME 2023 Open: CC BY 4.0."),
    Source("SMPL", "https://smpl.is.tue.mpg.de", "Not commercial; after registration."),
    Source("CLIP", "https://huggingface.co/openai/clip-vit-base-patch32", "MIT; for styles, into the folder others."),
)


class PORTRAIT_PT_models(PortraitPanel, bpy.types.Panel):
    """The models that are installed, and where others come from."""

    bl_label = "Models"
    bl_parent_id = "PORTRAIT_PT_system"
    bl_options = {"DEFAULT_CLOSED"}

    def draw(self, _context: bpy.types.Context) -> None:
        layout, folder = self.layout, preferences.worker_settings().models_folder
        for model in model_list.models(folder).values():
            box = layout.box()
            box.label(text=model.name, icon="ERROR" if model.problem else "USER")
            details = ", ".join(part for part in (model.licence, model.use, f"{model.size_mb:.0f} MB") if part)
            draw_text(box, model.problem or details)
        faces = model_list.faces(folder)
        draw_text(layout, f"Your face models: {', '.join(faces) or 'none'}")
        column = layout.column(align=True)
        column.operator(PORTRAIT_OT_import_model.bl_idname, icon="IMPORT")
        column.operator(PORTRAIT_OT_import_face.bl_idname, icon="IMPORT")
        column.operator(PORTRAIT_OT_open_models_folder.bl_idname, icon="FILE_FOLDER")
        layout.label(text="Where to get others:")
        for source in SOURCES:
            row = layout.row(align=True)
            draw_text(row, f"{source.name}: {source.licence}", buttons=1)
            row.operator("wm.url_open", text="", icon="URL").url = source.url
        draw_text(layout, sentences.NO_OTHERS_SHIPPED)
