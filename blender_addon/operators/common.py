# SPDX-License-Identifier: GPL-3.0-or-later
"""What several operators share."""

from __future__ import annotations

import bpy

from .. import sentences, session
from ..neural_core import errors
from ..scene import find


def engine_is_free(operator: type[bpy.types.Operator]) -> bool:
    """Poll: no task is running; else the tooltip says which."""
    engine = session.engine()
    if not engine.free:
        operator.poll_message_set(f"The engine is busy: {engine.status.title}")
        return False
    return True


def has_portrait(operator: type[bpy.types.Operator], context: bpy.types.Context) -> bool:
    """Poll: a portrait is selected; else the tooltip says so."""
    if find.current(context) is None:
        operator.poll_message_set(sentences.no_portrait().message)
        return False
    return True


def may_change(operator: type[bpy.types.Operator], context: bpy.types.Context) -> bool:
    """Poll: a portrait is selected, and what is changed in it stays: it is not linked from another file."""
    if not has_portrait(operator, context):
        return False
    if find.current(context).library is not None:
        operator.poll_message_set(sentences.LINKED)
        return False
    return True


def may_add(operator: type[bpy.types.Operator], context: bpy.types.Context) -> bool:
    """Poll: a portrait is selected, and objects or meshes can be added to it: it is no library override."""
    if not may_change(operator, context):
        return False
    if find.current(context).override_library is not None:
        operator.poll_message_set(sentences.OVERRIDDEN)
        return False
    return True


def has_rig(operator: type[bpy.types.Operator], context: bpy.types.Context) -> bool:
    """Poll: a portrait with a rig is selected, and may be changed."""
    if find.part(find.current(context), "RIG") is None:
        operator.poll_message_set("The portrait has no rig: make one with Create")
        return False
    return may_change(operator, context)


def has_plane(operator: type[bpy.types.Operator], context: bpy.types.Context) -> bool:
    """Poll: a portrait with a card for the network's picture is selected, and may be changed."""
    if find.part(find.current(context), "PLANE") is None:
        operator.poll_message_set("No portrait with a picture is selected")
        return False
    return may_change(operator, context)


def finished(operator: bpy.types.Operator) -> set[str]:
    """End an operator that started a task: what already failed is reported, and the panel keeps it."""
    status = session.engine().status
    if status.state == "error":
        operator.report({"WARNING"}, f"{status.message} {status.hint}".strip())
        return {"CANCELLED"}
    return {"FINISHED"}


def refused(operator: bpy.types.Operator, error: errors.PortraitError) -> set[str]:
    """End an operator that cannot start: the sentence goes to the panel and to the status bar."""
    session.engine().fail(error)
    operator.report({"WARNING"}, str(error))
    return {"CANCELLED"}
