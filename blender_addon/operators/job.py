# SPDX-License-Identifier: GPL-3.0-or-later
"""The scene as a file for batch.py and for farms."""

import dataclasses
import os
from pathlib import Path

import bpy
from bpy.props import EnumProperty, StringProperty
from bpy_extras.io_utils import ExportHelper

from .. import job, preferences, scene_job
from ..neural_core import errors, files
from ..scene import find
from . import common

DRAWN = [
    ("scene", "Scene", "Everything, by Blender; cards show the network's pictures"),
    ("plane", "Network", "The network's picture from the scene's camera"),
    ("mesh", "Head", "The head alone over nothing, by Blender"),
    ("card", "Cards", "Only bake the network's pictures for the cards"),
]
"""What a job may draw, as menus want it."""


class PORTRAIT_OT_write_job(ExportHelper, bpy.types.Operator):
    """Write a file from which batch.py draws this scene's frames without a window, here or on a farm"""

    bl_idname = "portrait.write_job"
    bl_label = "Write Batch Job..."

    filename_ext = ".toml"
    filter_glob: StringProperty(default="*.toml", options={"HIDDEN"})
    what: EnumProperty(name="Draw", items=DRAWN, default="scene")
    out: StringProperty(
        name="Pictures",
        description="Where they go; // is the .blend's folder, #### the frame",
        default="//render/####.png",
    )

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        if not common.has_portrait(cls, context):
            return False
        if not bpy.data.filepath:
            cls.poll_message_set("Save the file first: the job opens it")
            return False
        return True

    def execute(self, context: bpy.types.Context) -> set[str]:
        path, settings = Path(self.filepath), preferences.worker_settings()
        if os.environ.get(preferences.PYTHON_VARIABLE):
            settings = dataclasses.replace(settings, python="")  # the job asks the environment, too
        try:
            one = scene_job.render_job(
                context.scene, find.current(context), path.parent.resolve(), self.what, self.out, settings
            )
            job.parse_frames(one.scene.frames)
            files.write_bytes(path, job.text_of(one).encode())
        except errors.PortraitError as error:
            return common.refused(self, error)
        if bpy.data.is_dirty:
            self.report({"WARNING"}, "The job draws the file as it was last saved: save it once more.")
        return {"FINISHED"}


CLASSES = (PORTRAIT_OT_write_job,)
