# SPDX-License-Identifier: GPL-3.0-or-later
"""The one engine of a running Blender, and the timer that feeds it. Only here does the engine meet bpy."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import AbstractContextManager, closing, nullcontext
from typing import Any

import bpy
import bpy.utils.previews  # pyright: ignore[reportMissingImports]  (the stubs leave it out)
import numpy as np

from . import model_list, preferences, sentences, tasks, thumbnails
from .engine import Apply, Engine
from .neural_core import __version__
from .scene import find, portrait, twins, unfinished

PUMP_S = 0.05
APPLY_S = 0.005
"""Pause between two slices of what is brought into the scene."""
LIVE_S = 0.015
"""Pause between two looks for a live picture: the user waits for half of it on average."""

_ENDED = object()

# Blender has one add-on registry, so there is one engine: made by register(), dropped by unregister().
_engine: Engine | None = None
_previews: bpy.utils.previews.ImagePreviewCollection | None = None
_shown: np.ndarray | None = None


def engine() -> Engine:
    """Return the engine of this session."""
    assert _engine is not None, "the add-on is not registered"
    return _engine


def start(
    title: str,
    task: tasks.Task,
    apply: Apply,
    in_passing: bool = False,
    undo: bool = True,
    queue: bool = False,
) -> None:
    """Run a task; `apply` gets the result and changes the scene, as one undo step called `title`.

    What takes longer than a moment it does in pieces, as a generator (see `scene.unfinished`).
    What is done in passing is no step, and gives way to the next task. `undo` is False for what changes no scene.
    With `queue` it waits until the engine is free. Where the user has several windows, `apply` sees the one that shows
    the scene in which the task was started.

    Returns at once in the window, where a timer does the rest. In the background, where no timer ever runs, returns
    when it is done.
    """
    scene = bpy.context.scene.name

    def finish() -> None:
        if undo and not in_passing:
            undo_push(title)
        redraw(views=True)

    def finish_after(pieces: Generator[None, None, Any]) -> Generator[None, None, None]:
        with closing(pieces):
            while True:
                with _window_of(scene):
                    if next(pieces, _ENDED) is _ENDED:
                        finish()
                        return
                yield

    def apply_and_show(result: Any) -> Generator[None, None, None] | None:
        with _window_of(scene):
            pieces = apply(result)
            if pieces is not None:
                return finish_after(pieces)
            finish()
            return None

    if queue:
        engine().enqueue(title, task, apply_and_show)
    else:
        engine().start(title, task, apply_and_show, in_passing)
    go_on()


def go_on() -> None:
    """Let the timer watch the engine; in the background, where there is none, return when it is done."""
    if bpy.app.background:
        while engine().step(PUMP_S):
            pass
    elif not bpy.app.timers.is_registered(_pump):
        bpy.app.timers.register(_pump, persistent=True)


def leave_engine() -> None:
    """Let the timer leave the engine alone: a render, on a thread of its own, is about to wait for pictures."""
    if engine().free and bpy.app.timers.is_registered(_pump):
        bpy.app.timers.unregister(_pump)


def kept(root: bpy.types.Object) -> tasks.KeptPortrait:
    """Return the portrait's data for the engine. A duplicate gets an identifier of its own before.

    Raises:
        PortraitError: if it was made by a newer version, with a model that is not here, or its data is gone.
    """
    twins.part_from(root)
    identity = find.identity_of(root)
    if sentences.is_newer(identity.version, __version__):
        raise sentences.newer_version(identity.version, __version__)
    folder = preferences.worker_settings().models_folder
    if identity.model not in model_list.names(folder):
        raise sentences.model_missing(identity.model, identity.model_hash)
    return tasks.KeptPortrait(identity.uuid, portrait.kept_bytes(root), engine().has_open)


def preview_icon() -> int:
    """Return the icon that shows the newest picture of what is being made; 0 while there is none."""
    global _shown
    pixels = engine().status.preview
    if pixels is None or _previews is None:
        return 0
    if "preview" not in _previews:
        _previews.new("preview")
    preview = _previews["preview"]
    if _shown is not pixels:
        _shown = pixels
        thumbnails.set_pixels(preview, pixels)
    return preview.icon_id


def redraw(views: bool = False) -> None:
    """Draw the side panels and the preferences anew, with `views` also what the 3D views show.

    A heavy scene may take a second to draw: what only says how far a task has come leaves the views alone.
    """
    for window in bpy.context.window_manager.windows:
        for area in window.screen.areas:
            if area.type == "PREFERENCES" or (views and area.type == "VIEW_3D"):
                area.tag_redraw()
            elif area.type == "VIEW_3D":
                for region in area.regions:
                    if region.type == "UI":
                        region.tag_redraw()


def _window_of(scene: str) -> AbstractContextManager[object]:
    """Let code that a timer calls see a window that shows this scene, as far as there is one."""
    windows = () if bpy.app.background else bpy.context.window_manager.windows
    shown = next((window for window in windows if window.scene.name == scene), None)
    return bpy.context.temp_override(window=shown) if shown is not None else nullcontext()


def view3d() -> dict[str, Any] | None:
    """Return the context override of the first 3D view, of this window if it has one; None where there is none."""
    windows = [bpy.context.window, *bpy.context.window_manager.windows]
    for window in (window for window in windows if window is not None):
        for area in window.screen.areas:
            if area.type == "VIEW_3D":
                region = next(region for region in area.regions if region.type == "WINDOW")
                return {"window": window, "area": area, "region": region}
    return None


def _pump() -> float | None:
    if _engine is None:
        return None
    busy = _engine.step()
    if _engine.status.state == "passing":  # the panel says nothing about it, and what comes has the views drawn anew
        return LIVE_S
    redraw()
    return (APPLY_S if _engine.applying else PUMP_S) if busy else None


def undo_push(title: str) -> None:
    """Make what was done an undo step of its own."""
    override = None if bpy.app.background else view3d()
    if override is None:
        bpy.ops.ed.undo_push(message=title)
        return
    # Without this step the next undo of the user would delete what the timer made.
    with bpy.context.temp_override(**override):
        bpy.ops.ed.undo_push(message=title)


@bpy.app.handlers.persistent
def _before_load(*_: object) -> None:
    """Another file is opened: what is being made belongs to the old one."""
    if _engine is not None and _engine.busy:
        stopped = "" if _engine.free else _engine.status.title
        _engine.stop()
        if stopped:
            _engine.notice(*sentences.stopped_by_load(stopped))


@bpy.app.handlers.persistent
def _before_undo(*_: object) -> None:
    """References to what is being built are about to end: it is taken back, and begun again afterwards."""
    if _engine is not None:
        _engine.apply_anew()


@bpy.app.handlers.persistent
def _clear_unfinished(*_: object) -> None:
    """The undo step or the file may be of a moment when something was half built."""
    unfinished.clear()


_HANDLERS = (
    ("load_pre", _before_load),
    *((name, _before_undo) for name in ("undo_pre", "redo_pre")),
    *((name, _clear_unfinished) for name in ("undo_post", "redo_post", "load_post")),
)


def register() -> None:
    """Make this part known to Blender."""
    global _engine, _previews
    _engine = Engine(preferences.required_worker_settings)
    _previews = bpy.utils.previews.new()
    for name, handler in _HANDLERS:
        getattr(bpy.app.handlers, name).append(handler)


def unregister() -> None:
    """Take it back."""
    global _engine, _previews, _shown
    for name, handler in _HANDLERS:
        getattr(bpy.app.handlers, name).remove(handler)
    if bpy.app.timers.is_registered(_pump):
        bpy.app.timers.unregister(_pump)
    if _engine is not None:
        _engine.stop()
    if _previews is not None:
        bpy.utils.previews.remove(_previews)
    _engine = _previews = _shown = None
