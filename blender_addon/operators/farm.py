# SPDX-License-Identifier: GPL-3.0-or-later
"""The scene as a job for a render farm."""

import dataclasses
from pathlib import Path

import bpy
from bpy.props import BoolProperty, EnumProperty, IntProperty, StringProperty

from .. import farm, flamenco_manager, job, preferences, scene_job
from ..neural_core import errors, files
from ..scene import find
from . import common
from .job import DRAWN

_DIALOG_WIDTH = 420


class PORTRAIT_OT_send_to_flamenco(bpy.types.Operator):
    """Let a Flamenco farm draw the frames of this scene. The file must lie where the workers see it, too"""

    bl_idname = "portrait.send_to_flamenco"
    bl_label = "Send to Flamenco"

    name: StringProperty(name="Job", description="The job's name at the farm; empty for the file's")
    what: EnumProperty(name="Draw", items=DRAWN, default="scene")
    out: StringProperty(
        name="Pictures",
        description="Where they go; // is the .blend's folder, #### the frame",
        default="//render/####.png",
    )
    frames: StringProperty(name="Frames", description='Such as "1-120,150"; empty for the scene\'s range')
    chunk: IntProperty(name="Frames a Task", description="The engine starts once a task", default=20, min=1)
    priority: IntProperty(
        name="Priority",
        description="Higher goes first",
        default=50,
        min=flamenco_manager.PRIORITY_RANGE[0],
        max=flamenco_manager.PRIORITY_RANGE[1],
    )
    save: BoolProperty(
        name="Save First", description="Save the file: the farm draws it as it lies on the disk", default=True
    )
    elsewhere: BoolProperty(
        name="Workers See These Paths",
        description="The file is not on the manager's shared storage, but workers have it at the same path",
    )

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        if not common.has_portrait(cls, context):
            return False
        if not bpy.data.filepath:
            cls.poll_message_set("Save the file first, on storage that the farm's workers share")
            return False
        if farm.stage():
            cls.poll_message_set("A job is being sent")
            return False
        return True

    def invoke(self, context: bpy.types.Context, _event: bpy.types.Event) -> set[str]:
        return context.window_manager.invoke_props_dialog(self, width=_DIALOG_WIDTH)

    def draw(self, _context: bpy.types.Context) -> None:
        layout = self.layout
        layout.use_property_split = True
        layout.label(text=f"Manager: {preferences.farm_address() or flamenco_manager.DEFAULT_ADDRESS}", icon="URL")
        for name in ("name", "what", "out", "frames", "chunk", "priority", "save", "elsewhere"):
            layout.prop(self, name)

    def execute(self, context: bpy.types.Context) -> set[str]:
        try:
            manager = flamenco_manager.address(preferences.farm_address())
            if self.save:
                _save()
            farm.send(manager, self._submission(context))
        except errors.PortraitError as error:
            return common.refused(self, error)
        if bpy.data.is_dirty and not self.save:
            self.report({"WARNING"}, "The farm draws the file as it was last saved.")
        return common.finished(self)

    def _submission(self, context: bpy.types.Context) -> flamenco_manager.Submission:
        """Write the job file beside the .blend, and return what the farm is told."""
        blend = Path(bpy.data.filepath)
        path, pictures = blend.with_suffix(".flamenco.toml"), Path(bpy.path.abspath(self.out))
        # The engine is where each worker says: this computer's paths mean nothing there.
        settings = dataclasses.replace(preferences.worker_settings(), python="")
        one = scene_job.render_job(context.scene, find.current(context), blend.parent, self.what, self.out, settings)
        one = job.with_frames(one, self.frames.strip() or one.scene.frames)
        assert one.render is not None  # it is a job that renders
        files.write_bytes(path, job.text_of(one).encode())
        asked = {
            "frames": one.scene.frames,
            "chunk_size": self.chunk,
            "render_output_path": str(pictures),
            "what": self.what,
            "engine": one.render.engine,
            "samples": one.render.samples,
            "job_file": str(path),
            "batch_script": preferences.farm_script(),
            "blendfile": str(blend),
        }
        name = self.name.strip() or blend.stem
        return flamenco_manager.Submission(name, asked, (blend, pictures), self.priority, self.elsewhere)


def _save() -> None:
    """Save the file where it is. Raises PortraitError of kind "output" if that fails."""
    try:
        bpy.ops.wm.save_mainfile()
    except RuntimeError as error:
        said = str(error).strip().removeprefix("Error: ")
        raise errors.PortraitError(f"The file cannot be saved: {said.rstrip('.')}.", kind="output") from error


CLASSES = (PORTRAIT_OT_send_to_flamenco,)
