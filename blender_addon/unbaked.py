# SPDX-License-Identifier: GPL-3.0-or-later
"""Renders that were started without baking (F12, Ctrl+F12, `blender -b -a`): each frame waits for its picture.

Blender calls `_begin` before a render, `_each_frame` after it has gone to a frame, and `_end` afterwards. Frames that
lie on disk need nothing. A frame whose picture does not come is rendered with a grey card on which the reason is
written, and the panel says it, too.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, field

import bpy
import numpy as np

from . import baking, lettering, pictures, png, sentences, session, tasks
from .frame_record import FrameRecord
from .neural_core import errors
from .picture_key import picture_key
from .scene import baked, find, framing, instants, portrait, twins

WAIT_S = 60.0
"""How long a frame waits for its picture."""


@dataclass
class _Render:
    """A render that is under way: the portraits whose cards it shows, and what went wrong by frame."""

    portraits: list[str]
    failures: dict[int, str] = field(default_factory=dict)


_render: _Render | None = None


@bpy.app.handlers.persistent
def _begin(scene: bpy.types.Scene, *_: object) -> None:
    """Note whose cards are rendered; in the window Blender must be locked while they are changed.

    There this is not Blender's main thread: no scene may be made to look at other frames.
    """
    global _render
    _render = None
    cards = [root for root in find.roots(scene) if find.shows_card(root)]
    if not bpy.app.background and not scene.render.use_lock_interface:
        if not all(baked.is_shown(find.part(root, "PLANE")) for root in cards):
            scene.render.use_lock_interface = True
            _render = _Render([], {scene.frame_current: sentences.LOCKED_NOW})
        return
    for root in cards:
        twins.part_from(root)
    if cards:
        _render = _Render([find.identity_of(root).uuid for root in cards])
        session.leave_engine()


@bpy.app.handlers.persistent
def _before_picture(scene: bpy.types.Scene, *_: object) -> None:
    """A still is rendered of the frame that the scene is at: Blender reports no change of frame.

    In an animation it reports one a little later: the scene has its number already, but nothing has moved yet.
    """
    depsgraph = scene.view_layers[0].depsgraph
    if depsgraph is None or depsgraph.scene_eval.frame_current == scene.frame_current:
        _draw_all(scene, None)


@bpy.app.handlers.persistent
def _each_frame(scene: bpy.types.Scene, depsgraph: bpy.types.Depsgraph | None = None) -> None:
    if not instants.is_second(scene) and (bpy.app.background or bpy.app.is_job_running("RENDER")):
        _draw_all(scene, depsgraph)


def _draw_all(scene: bpy.types.Scene, depsgraph: bpy.types.Depsgraph | None) -> None:
    if _render is None:
        return
    for uuid in _render.portraits:
        root = find.by_uuid(scene, uuid)
        if root is None:
            continue
        try:
            _draw(root, scene, depsgraph)
        except errors.PortraitError as error:
            _render.failures[scene.frame_current] = error.message
            _show_reason(root, error)


def _draw(root: bpy.types.Object, scene: bpy.types.Scene, depsgraph: bpy.types.Depsgraph | None) -> None:
    """Bring the picture of this frame to the card: from memory or disk, else from the engine.

    A card that shows the right baked frame is left alone; one that does not shows no baked frames from here on.

    Raises:
        PortraitError: if the engine cannot draw it in time.
    """
    wanted, size = framing.of(root, scene, depsgraph), baking.size_of(scene.portrait)
    key, drawn_key = picture_key(root, wanted.shot, size), picture_key(root, wanted.shot.drawn, size)
    if baked.shows(find.part(root, "PLANE"), scene.frame_current, key):
        return
    baked.show_live(root)
    pixels = pictures.drawn.get(drawn_key)
    if pixels is None:
        pixels = _from_disk(root, scene, key)
    if pixels is None:
        engine = session.engine()
        if not engine.free:
            raise errors.UsageError(f"The engine is busy: {engine.status.title}.")
        pixels = engine.run("Draw Picture", tasks.picture(session.kept(root), wanted.shot, size), WAIT_S).pixels
        pictures.drawn.put(drawn_key, pixels)
    portrait.replace_picture(root, portrait.Shown(pixels, wanted, key, scene.frame_current), pack=False)


def _from_disk(root: bpy.types.Object, scene: bpy.types.Scene, key: str) -> np.ndarray | None:
    place = baked.folder(root, scene.portrait.quality)
    path = baked.frame_file(place, max(0, scene.frame_current))
    return png.read(path) if FrameRecord(place).holds(path, key) else None


def _show_reason(root: bpy.types.Object, error: errors.PortraitError) -> None:
    """Write on the card, where it is, why its picture did not come."""
    side = portrait.live_image(find.part(root, "PLANE")).size[0]
    portrait.set_live_pixels(root, lettering.card(f"{error.message}\n{error.hint}", side))


@bpy.app.handlers.persistent
def _end(scene: bpy.types.Scene, *_: object) -> None:
    """Say which frames have no picture."""
    global _render
    ended, _render = _render, None
    if ended is not None and ended.failures:
        error = sentences.rendered_without(ended.failures)
        print(f"Neural Portrait: {error}", file=sys.stderr)
        session.engine().fail(error)


_HANDLERS = {
    "render_init": _begin,
    "render_pre": _before_picture,
    "frame_change_post": _each_frame,
    "render_complete": _end,
    "render_cancel": _end,
}


def register() -> None:
    """Make this part known to Blender."""
    for name, handler in _HANDLERS.items():
        getattr(bpy.app.handlers, name).append(handler)


def unregister() -> None:
    """Take it back."""
    global _render
    _render = None
    for name, handler in _HANDLERS.items():
        getattr(bpy.app.handlers, name).remove(handler)
