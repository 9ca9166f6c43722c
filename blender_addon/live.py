# SPDX-License-Identifier: GPL-3.0-or-later
"""The live picture: while it is on, a timer has the selected portrait drawn anew whenever it would look different.

What it should look like is read anew at each tick, so that sliders, keys, bones, camera and undo all count and nothing
has to be told. One request is under way at a time, and the newest state is what is asked for next: small pictures while
things move, the full one when nothing has changed for a while. Pictures that were drawn before come from memory.
Whatever else the user starts goes before.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field

import bpy

from . import baking, pictures, session, tasks
from .neural_core import errors
from .picture_key import picture_key
from .scene import baked, find, framing, portrait, twins

TICK_S = 0.03
SETTLED_S = 0.25
"""A state that has not changed for so long is drawn in full."""
DRAFT_SIZE = 128

clock = time.monotonic


@dataclass(frozen=True)
class _Wanted:
    """Everything that decides how the card looks, equal only if all its numbers are."""

    portrait: str
    framing: framing.Framing
    size: int


@dataclass
class _Live:
    """What is drawn live, and how far that has come.

    Attributes:
        portrait: identifier of the portrait; "" while nothing is live.
        wanted: what the card should show, and `since` when.
        frame: the frame that `wanted` belongs to.
        shown: what the card shows, of `shown_frame`, and whether that is the `full` picture.
        asked: what the engine is drawing, and whether in full.
        problem: why there is no picture of this moment.
        passed: frames of which there was no picture while the animation played.
    """

    portrait: str = ""
    wanted: _Wanted | None = None
    since: float = 0.0
    frame: int = 0
    shown: _Wanted | None = None
    shown_frame: int = 0
    full: bool = False
    asked: tuple[_Wanted, bool] | None = None
    problem: str = ""
    passed: set[int] = field(default_factory=set)


_live = _Live()


def is_on(root: bpy.types.Object | None) -> bool:
    """Return whether the picture of this portrait is live."""
    return bool(_live.portrait) and root is not None and find.identity_of(root).uuid == _live.portrait


def switch_on(root: bpy.types.Object) -> None:
    """Begin to draw this portrait, and no other; its card shows this moment instead of baked frames."""
    global _live
    twins.part_from(root)
    _live = _Live(find.identity_of(root).uuid)
    baked.show_live(root)
    if not bpy.app.timers.is_registered(_tick):
        bpy.app.timers.register(_tick)


def switch_off() -> None:
    """Draw no more."""
    global _live
    _live = _Live()
    if bpy.app.timers.is_registered(_tick):
        bpy.app.timers.unregister(_tick)


def remark(scene: bpy.types.Scene) -> str:
    """Return what the panel says about a live card that does not show this moment; "" when it does."""
    if not _live.portrait:
        return ""
    if _live.problem:
        return _live.problem
    if _live.passed:
        return f"{len(_live.passed)} frames had no picture yet while playing"
    if _live.shown is None or _live.shown == _live.wanted:
        return ""
    if _live.shown_frame != scene.frame_current:
        return f"Plane shows frame {_live.shown_frame}, scene is at {scene.frame_current}"
    return "Plane shows an earlier moment"


def update() -> None:
    """Bring the card nearer to what it should show: from memory, or by asking the engine if it has nothing else to do.

    Raises:
        PortraitError: if the portrait cannot be drawn as things are.
    """
    engine, scene = session.engine(), bpy.context.scene
    root = find.by_uuid(scene, _live.portrait)
    if root is None or engine.status.state == "error" or bpy.app.is_job_running("RENDER"):
        return
    wanted = _read(root, scene)
    if wanted is None or (wanted == _live.shown and _live.full):
        return
    if _show_drawn(root, wanted, wanted.size, full=True):
        return
    playing = any(window.screen.is_animation_playing for window in bpy.context.window_manager.windows)
    small = min(DRAFT_SIZE, wanted.size)
    drafted = wanted == _live.shown or _show_drawn(root, wanted, small, full=small == wanted.size)
    if playing and not drafted:
        _live.passed.add(scene.frame_current)
    settled = clock() - _live.since >= SETTLED_S and not playing
    if (drafted and not settled) or not _may_ask(wanted):
        return
    _ask(root, wanted, wanted.size if drafted else small, playing)


def _read(root: bpy.types.Object, scene: bpy.types.Scene) -> _Wanted | None:
    """Note what the card should show now, and since when; None if the camera cannot see the head."""
    try:
        seen = framing.of(root, scene)
    except errors.UsageError as error:
        _live.problem = error.message
        return None
    wanted = _Wanted(_live.portrait, seen, baking.size_of(scene.portrait))
    if wanted != _live.wanted:
        _live.wanted, _live.since, _live.frame, _live.problem = wanted, clock(), scene.frame_current, ""
    return wanted


def _may_ask(wanted: _Wanted) -> bool:
    """Return whether the engine is free for this: one picture is drawn at a time, and only a full one is given up."""
    engine = session.engine()
    if not engine.busy:
        return True
    if not engine.free or _live.asked is None:
        return False
    asked, full = _live.asked
    return full and asked != wanted


def _ask(root: bpy.types.Object, wanted: _Wanted, size: int, playing: bool) -> None:
    """Have a picture drawn; when it comes it is kept, and shown unless the card shows the right one by then."""
    frame, full, shot = _live.frame, size == wanted.size, wanted.framing.shot
    quality = _quality(full)
    key, drawn_key = (picture_key(root, one, size, quality) for one in (shot, shot.drawn))

    def apply(picture: tasks.Picture) -> None:
        pictures.drawn.put(drawn_key, picture.pixels)
        target = find.by_uuid(bpy.context.scene, wanted.portrait)
        # A late picture is better than an older one, but not while playing, where frames would seem to jump back.
        is_right = wanted == _live.wanted or (_live.shown != _live.wanted and not playing)
        if target is not None and wanted.portrait == _live.portrait and is_right:
            _show(target, wanted, portrait.Shown(picture.pixels, wanted.framing, key, frame), full)

    _live.asked = wanted, full
    task = tasks.picture(session.kept(root), shot, size, quality)
    session.start("Live Picture", task, apply, in_passing=True)


def _quality(full: bool) -> str:
    """Return how the engine draws the picture that stays, and the one until then."""
    return "full" if full else "draft"


def _show_drawn(root: bpy.types.Object, wanted: _Wanted, size: int, full: bool) -> bool:
    """Show a picture that was drawn before; False if there is none."""
    shot = wanted.framing.shot
    pixels = pictures.drawn.get(picture_key(root, shot.drawn, size, _quality(full)))
    if pixels is not None:
        key = picture_key(root, shot, size, _quality(full))
        _show(root, wanted, portrait.Shown(pixels, wanted.framing, key, _live.frame), full)
        session.redraw(views=True)
    return pixels is not None


def _show(root: bpy.types.Object, wanted: _Wanted, picture: portrait.Shown, full: bool) -> None:
    portrait.replace_picture(root, picture, pack=False)  # is packed when the file is saved
    _live.shown, _live.shown_frame, _live.full = wanted, picture.frame, full
    if full:
        _live.passed.clear()


def _tick() -> float | None:
    if not _live.portrait:
        return None
    try:
        update()
    except errors.PortraitError as error:
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
