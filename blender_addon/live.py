# SPDX-License-Identifier: GPL-3.0-or-later
"""The live picture: while it is on, a timer has the selected portrait drawn anew whenever it would look different.

What it should look like is read anew at each tick, so that sliders, keys, bones, camera and undo all count and nothing
has to be told. One request is under way at a time; when it is done the newest state is asked for: first a draft, then,
if nothing has changed, the full picture. Whatever else the user starts goes before.
"""

from __future__ import annotations

from dataclasses import dataclass

import bpy

from . import session, tasks
from .neural_core.errors import PortraitError
from .requests import Shot
from .scene import camera, find, portrait, pose

TICK_S = 0.1


@dataclass(frozen=True)
class _Wanted:
    """Everything that decides how the picture looks; `shot` is equal only if all its numbers are."""

    portrait: str
    shot: Shot
    size: int


@dataclass
class _Live:
    """Which portrait is drawn, what its picture shows, and whether that is the full one."""

    portrait: str = ""
    shown: _Wanted | None = None
    full: bool = False


_live = _Live()


def is_on(root: bpy.types.Object | None) -> bool:
    """Return whether the picture of this portrait is live."""
    return bool(_live.portrait) and root is not None and find.identity_of(root).uuid == _live.portrait


def switch_on(root: bpy.types.Object) -> None:
    """Begin to draw this portrait, and no other."""
    global _live
    _live = _Live(find.identity_of(root).uuid)
    if not bpy.app.timers.is_registered(_tick):
        bpy.app.timers.register(_tick)


def switch_off() -> None:
    """Draw no more."""
    global _live
    _live = _Live()
    if bpy.app.timers.is_registered(_tick):
        bpy.app.timers.unregister(_tick)


def update() -> None:
    """Ask for a picture if the one that is shown is not what it should be, and the engine has nothing else to do.

    Raises:
        PortraitError: if the portrait cannot be drawn as things are.
    """
    engine, scene = session.engine(), bpy.context.scene
    root = find.by_uuid(scene, _live.portrait)
    if engine.busy or engine.status.state == "error" or root is None or scene.camera is None:
        return
    wanted = _Wanted(_live.portrait, pose.shot(root, scene.camera, scene), scene.portrait.size)
    if wanted == _live.shown and _live.full:
        return
    full = wanted == _live.shown
    label, camera_name = camera.read(scene.camera, root.matrix_world, scene), scene.camera.name

    def apply(picture: tasks.Picture) -> None:
        target, camera_object = find.by_uuid(bpy.context.scene, wanted.portrait), bpy.data.objects.get(camera_name)
        if target is not None and camera_object is not None and wanted.portrait == _live.portrait:
            portrait.replace_picture(target, camera_object, tasks.Picture(picture.pixels, label), pack=full)
            _live.shown, _live.full = wanted, full

    task = tasks.picture(session.kept(root), wanted.shot, wanted.size, "full" if full else "draft")
    session.start("Live Picture", task, apply, in_passing=True)


def _tick() -> float | None:
    if not _live.portrait:
        return None
    try:
        update()
    except PortraitError as error:
        session.engine().fail(error)
        switch_off()
        session.redraw()
        return None
    return TICK_S


@bpy.app.handlers.persistent
def _before_load(*_: object) -> None:
    """Another file is opened: its portraits are not live."""
    switch_off()


def register() -> None:
    """Make this part known to Blender."""
    bpy.app.handlers.load_pre.append(_before_load)


def unregister() -> None:
    """Take it back."""
    bpy.app.handlers.load_pre.remove(_before_load)
    switch_off()
