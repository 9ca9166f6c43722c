# SPDX-License-Identifier: GPL-3.0-or-later
"""How many of a portrait's frames are baked and up to date: what the panel says, looked up when something has changed.

A look reads what every frame should show, as baking does, a few frames at a tick. It begins when an action or an object
that matters has changed, and has then been left alone for a while.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field

import bpy

from . import backgrounds, baking, session
from .neural_core import errors
from .scene import baked, find, image_plane, instants

TICK_S = 0.1
SETTLED_S = 0.5
FRAMES_A_TICK = 20
ECHO_S = 0.2
"""For so long after a look Blender reports the objects as changed, because a scene was there and is gone."""
_ROLES = {"ROOT", "RIG", "CAMERA"}

clock = time.monotonic


@dataclass
class _Look:
    """A look at the frames of one portrait that is under way."""

    portrait: str
    parts: list[baking.Plan] = field(default_factory=list)


@dataclass
class _State:
    """What is known, by portrait; when something changed and we looked last; the user's frame; looks that wait."""

    lines: dict[str, str] = field(default_factory=dict)
    changed: float | None = None
    looked: float = float("-inf")
    frame: int | None = None
    looks: list[_Look] = field(default_factory=list)


_state = _State()


def line(root: bpy.types.Object) -> str:
    """Return what is known of a portrait's frames; "" if nothing is."""
    known = _state.lines.get(find.identity_of(root).uuid, "")
    return f"{known} (looking again)" if known and _state.changed is not None else known


def remark(root: bpy.types.Object, scene: bpy.types.Scene) -> str:
    """Return what the panel says about a card that does not show this frame; "" when there is nothing to say."""
    plane = find.part(root, "PLANE")
    if baked.is_shown(plane):
        user = image_plane.node_of(plane).image_user
        last = user.frame_start + user.frame_duration - 1
        if not user.frame_start <= scene.frame_current <= last:
            return f"Frames {user.frame_start}-{last} are baked, scene is at {scene.frame_current}"
        return ""
    image = plane.portrait.live_image
    shown = image.get("portrait_frame") if image is not None else None
    if shown is None or shown == scene.frame_current:
        behind = image.get("portrait_background", backgrounds.NOTHING) if image is not None else None
        return "" if behind == image_plane.background_of(plane) else "Plane shows another background: draw the picture"
    return f"Plane shows frame {shown}, scene is at {scene.frame_current}"


def note(root: bpy.types.Object, plan: baking.Plan) -> None:
    """Remember what baking left behind: every frame of its plan is there."""
    _state.lines[find.identity_of(root).uuid] = baking.summary(plan.range, len(plan.range), 0)


def forget(root: bpy.types.Object) -> None:
    """Say no more about a portrait's frames."""
    _state.lines.pop(find.identity_of(root).uuid, None)


def mark() -> None:
    """Something has changed: look again when it has settled."""
    _state.changed, _state.looks = clock(), []
    if not bpy.app.background and not bpy.app.timers.is_registered(tick):
        bpy.app.timers.register(tick, first_interval=SETTLED_S)


def tick() -> float | None:
    """Look at some more frames; None when all is known."""
    if _state.changed is None:
        return None
    if clock() - _state.changed < SETTLED_S or bpy.app.is_job_running("RENDER"):
        return TICK_S
    scene = bpy.context.scene
    if not _state.looks:
        _state.looks = [_Look(find.identity_of(root).uuid) for root in find.roots(scene) if _has_frames(root, scene)]
    if _state.looks and not _go_on(_state.looks[-1], scene):
        _state.looks.pop()
    if _state.looks:
        return TICK_S
    _state.changed = None
    session.redraw()
    return None


def _has_frames(root: bpy.types.Object, scene: bpy.types.Scene) -> bool:
    return baked.folder(root, scene.portrait.quality).is_dir()


def _go_on(look: _Look, scene: bpy.types.Scene) -> bool:
    """Look at the next frames of a portrait; False when that was all, or cannot be."""
    root, whole = find.by_uuid(scene, look.portrait), baking.frame_range(scene)
    done = sum(len(part.frames) for part in look.parts)
    part = whole[done : done + FRAMES_A_TICK]
    if root is None or not part:
        return False
    _state.looked = clock()
    try:
        look.parts.append(baking.plan(root, scene, part))
    except errors.PortraitError as error:
        _state.lines[look.portrait] = error.message
        return False
    if done + len(part) < len(whole):
        return True
    plans = look.parts
    missing, stale = sum(len(plan.missing) for plan in plans), sum(plan.stale for plan in plans)
    _state.lines[look.portrait] = baking.summary(whole, len(whole) - missing, stale)
    return False


@bpy.app.handlers.persistent
def _after_update(scene: bpy.types.Scene, depsgraph: bpy.types.Depsgraph) -> None:
    """Notice what changes pictures; what changes only because another frame is shown does not."""
    if instants.is_second(scene) or not _state.lines or clock() - _state.looked < ECHO_S:
        return
    same_frame, _state.frame = scene.frame_current == _state.frame, scene.frame_current
    if same_frame and any(_matters(update.id, scene) for update in depsgraph.updates):
        mark()


def _matters(changed: bpy.types.ID, scene: bpy.types.Scene) -> bool:
    if isinstance(changed, bpy.types.Action):
        return True
    if not isinstance(changed, bpy.types.Object):
        return False
    original = changed.original
    return original.portrait.role in _ROLES or original == scene.camera


@bpy.app.handlers.persistent
def _after_load(*_: object) -> None:
    """Another file, or another moment of this one."""
    global _state
    _state = _State()
    if find.roots(bpy.context.scene):
        mark()


@bpy.app.handlers.persistent
def _after_undo(*_: object) -> None:
    if _state.lines:
        mark()


_HANDLERS = {
    "depsgraph_update_post": _after_update,
    "load_post": _after_load,
    "undo_post": _after_undo,
    "redo_post": _after_undo,
}


def register() -> None:
    """Make this part known to Blender."""
    for name, handler in _HANDLERS.items():
        getattr(bpy.app.handlers, name).append(handler)


def unregister() -> None:
    """Take it back."""
    global _state
    for name, handler in _HANDLERS.items():
        getattr(bpy.app.handlers, name).remove(handler)
    if bpy.app.timers.is_registered(tick):
        bpy.app.timers.unregister(tick)
    _state = _State()
