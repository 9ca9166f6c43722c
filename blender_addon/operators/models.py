# SPDX-License-Identifier: GPL-3.0-or-later
"""Bring in weights and face models that the user has, and open the folder where they lie."""

import re
from pathlib import Path
from typing import Any

import bpy
from bpy.props import StringProperty

from .. import model_list, preferences, sentences, session, tasks
from ..neural_core import errors
from . import common


def _search_faces(_self: object, _context: bpy.types.Context, text: str) -> list[str]:
    """Return the imported FLAMEs whose name has some letters."""
    faces = model_list.faces(preferences.worker_settings().models_folder).values()
    return [face.name for face in faces if face.kind == "FLAME" and text.lower() in face.name.lower()]


class _ImportFile:
    """What both imports share: a file dialog, and a task of the engine with progress and cancel."""

    kind: str = ""
    bl_label: str
    filepath: str
    name: str

    def invoke(self, context: bpy.types.Context, _event: bpy.types.Event) -> set[str]:
        context.window_manager.fileselect_add(self)
        return {"RUNNING_MODAL"}

    def _bring_in(self, face: str = "") -> set[str]:
        path = Path(bpy.path.abspath(self.filepath))
        if not path.is_file():
            return common.refused(self, errors.UsageError(f'There is no file "{path}".', "Choose the one to import."))
        name = self.name.strip() or re.sub(r"[^A-Za-z0-9._-]+", "-", path.stem).strip("-._")

        def show(fields: dict[str, Any]) -> None:
            licence = ", ".join(part for part in (fields["licence"], fields["use"]) if part)
            session.engine().notice(f'Imported "{fields["name"]}" ({licence}).', fields["note"])

        session.start(
            self.bl_label.rstrip("."), tasks.bring_in(self.kind, str(path), name, face), show, undo=False, queue=True
        )
        return common.finished(self)


class PORTRAIT_OT_import_model(_ImportFile, bpy.types.Operator):
    """Import published weights of EG3D or Next3D (.pkl), or a .safetensors of ours; nothing in the file is executed"""

    bl_idname = "portrait.import_model"
    bl_label = "Import Weights..."
    kind = "model"

    filepath: StringProperty(name="File", subtype="FILE_PATH", options={"SKIP_SAVE"})
    filter_glob: StringProperty(default="*.pkl;*.safetensors", options={"HIDDEN"})
    name: StringProperty(name="Name", description="The model's name in Blender; empty for the file's")
    face: StringProperty(
        name="Face model",
        description="Your FLAME that drives the weights; empty if you have imported only one",
        search=_search_faces,
    )

    def execute(self, _context: bpy.types.Context) -> set[str]:
        return self._bring_in(self.face.strip())


class PORTRAIT_OT_import_face(_ImportFile, bpy.types.Operator):
    """Import your own file of FLAME or SMPL (.pkl, .npz); nothing in the file is executed"""

    bl_idname = "portrait.import_face"
    bl_label = "Import FLAME or SMPL..."
    kind = "face"

    filepath: StringProperty(name="File", subtype="FILE_PATH", options={"SKIP_SAVE"})
    filter_glob: StringProperty(default="*.pkl;*.npz", options={"HIDDEN"})
    name: StringProperty(name="Name", description="The face model's name; empty for the file's")

    def draw(self, _context: bpy.types.Context) -> None:
        from ..panels.common import draw_text

        self.layout.prop(self, "name")
        draw_text(self.layout, sentences.FLAME_LICENCE, icon="INFO")

    def execute(self, _context: bpy.types.Context) -> set[str]:
        return self._bring_in()


class PORTRAIT_OT_open_models_folder(bpy.types.Operator):
    """Show the folder of your models in the system's file browser; it is made if it is not there"""

    bl_idname = "portrait.open_models_folder"
    bl_label = "Open Model Folder"

    def execute(self, _context: bpy.types.Context) -> set[str]:
        folder = model_list.user_folder(preferences.worker_settings().models_folder)
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            message = f'The model folder "{folder}" cannot be made ({error.strerror or error}).'
            hint = "Choose another in the add-on's preferences."
            return common.refused(self, errors.PortraitError(message, hint, kind="output"))
        bpy.ops.wm.path_open(filepath=str(folder))
        return {"FINISHED"}


CLASSES = (PORTRAIT_OT_import_model, PORTRAIT_OT_import_face, PORTRAIT_OT_open_models_folder)
