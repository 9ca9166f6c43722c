# SPDX-License-Identifier: GPL-3.0-or-later
"""Exact mode: a surface of its own for every frame."""

from __future__ import annotations

from dataclasses import dataclass

import bpy

from .. import baking, mesh_baking, session
from ..neural_core import errors
from ..scene import find, mesh_frames, portrait
from . import common

BUILD_S = 0.01
"""Pause between two surfaces that are brought into the scene, so that Blender stays in hand."""


@dataclass
class _Building:
    """Surfaces on disk that are brought into the scene: those of `plan` from number `done` on."""

    plan: mesh_baking.Plan
    collection: str
    done: int = 0


_building: _Building | None = None


def build_next() -> float | None:
    """Bring the next surface into the scene; None when there is no other."""
    global _building
    try:
        _build_one()
    except errors.PortraitError as error:
        _building = None
        session.engine().fail(error)
        session.redraw()
    return BUILD_S if _building is not None else None


def _build_one() -> None:
    global _building
    if _building is None:
        return
    plan, number = _building.plan, _building.done
    root = find.anywhere(plan.portrait)
    collection = mesh_frames.of(root) if root is not None else None
    if collection is None or collection.name != _building.collection or len(collection.objects) != number:
        raise errors.UsageError(
            "The portrait was changed while its meshes were brought into the scene.",
            f'They are kept in "{plan.folder}"; press Bake Mesh again.',
        )
    frame, following = plan.frames[number], plan.frames[number + 1 : number + 2]
    surface = mesh_baking.read(frame.path)
    after = following[0].frame if following else None
    mesh_frames.add(root, frame.frame, after, surface.vertices, surface.faces, surface.colours)
    _building.done += 1
    if _building.done == len(plan.frames):
        _building = None
        portrait.show(root, "MESH")
        session.undo_push("Bake Meshes")


def stop_building() -> None:
    """Bring no more surfaces into the scene."""
    global _building
    _building = None
    if bpy.app.timers.is_registered(build_next):
        bpy.app.timers.unregister(build_next)


class PORTRAIT_OT_bake_mesh(bpy.types.Operator):
    """Extract the surface anew at every frame of the range (or of the preview range), as an object for each frame"""

    bl_idname = "portrait.bake_mesh"
    bl_label = "Bake Mesh per Frame"

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        return common.may_add(cls, context) and common.engine_is_free(cls)

    def execute(self, context: bpy.types.Context) -> set[str]:
        root, scene = find.current(context), context.scene
        try:
            kept = session.kept(root)
            plan = mesh_baking.plan(root, scene, baking.frame_range(scene))
        except errors.PortraitError as error:
            return common.refused(self, error)

        def apply(_extracted: int) -> None:
            global _building
            target = find.anywhere(plan.portrait)
            if target is None:
                raise errors.UsageError(
                    "The portrait was deleted while its meshes were baked.", f'They are kept in "{plan.folder}".'
                )
            _building = _Building(plan, mesh_frames.begin(target).name)
            if bpy.app.background:
                while build_next() is not None:
                    pass
            else:
                bpy.app.timers.register(build_next)

        session.start("Bake Meshes", mesh_baking.task(kept, plan), apply)
        return common.finished(self)


class PORTRAIT_OT_clear_mesh(bpy.types.Operator):
    """Remove the surfaces of single frames; the surface that is bound to the rig is shown again"""

    bl_idname = "portrait.clear_mesh"
    bl_label = "Clear Meshes"
    bl_options = {"REGISTER", "UNDO"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        root = find.current(context)
        return root is not None and mesh_frames.of(root) is not None

    def execute(self, context: bpy.types.Context) -> set[str]:
        root = find.current(context)
        stop_building()
        mesh_frames.clear(root)
        portrait.show(root, "MESH")
        return {"FINISHED"}


CLASSES = (PORTRAIT_OT_bake_mesh, PORTRAIT_OT_clear_mesh)
