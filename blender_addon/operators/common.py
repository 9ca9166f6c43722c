# SPDX-License-Identifier: GPL-3.0-or-later
"""What several operators share."""

from __future__ import annotations

import bpy

from .. import model_list, preferences, sentences, session
from ..neural_core import __version__, errors
from ..scene import find, portrait
from ..tasks import KeptPortrait


def engine_is_free(operator: type[bpy.types.Operator]) -> bool:
    """Poll: no task is running; else the tooltip says which."""
    engine = session.engine()
    if engine.busy:
        operator.poll_message_set(f"The engine is busy: {engine.status.title}")
        return False
    return True


def has_portrait(operator: type[bpy.types.Operator], context: bpy.types.Context) -> bool:
    """Poll: a portrait is selected; else the tooltip says so."""
    if find.current(context) is None:
        operator.poll_message_set(sentences.no_portrait().message)
        return False
    return True


def has_rig(operator: type[bpy.types.Operator], context: bpy.types.Context) -> bool:
    """Poll: a portrait with a rig is selected."""
    if find.part(find.current(context), "RIG") is None:
        operator.poll_message_set("The portrait has no rig: make one with Create")
        return False
    return True


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


def kept(root: bpy.types.Object) -> KeptPortrait:
    """Return the portrait's data for the engine.

    Raises:
        PortraitError: if it was made by a newer version, with a model that is not here, or its data is gone.
    """
    identity = find.identity_of(root)
    if sentences.is_newer(identity.version, __version__):
        raise sentences.newer_version(identity.version, __version__)
    folder = preferences.worker_settings().models_folder
    if identity.model not in model_list.names(folder):
        raise sentences.model_missing(identity.model, identity.model_hash)
    return KeptPortrait(identity.uuid, portrait.kept_bytes(root), session.engine().has_open)
