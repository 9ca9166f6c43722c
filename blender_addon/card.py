# SPDX-License-Identifier: GPL-3.0-or-later
"""The picture of this moment on a portrait's card: drawn by the engine, or laid on another background without it."""

from __future__ import annotations

import bpy
import numpy as np

from . import bake_state, baking, live, pictures, session, tasks
from .neural_core import errors
from .picture_key import picture_key
from .scene import baked, find, framing, image_plane, portrait


def target(uuid: str) -> bpy.types.Object:
    """Return the root of the portrait that a result belongs to. Raises UsageError if the user has deleted it."""
    root = find.anywhere(uuid)  # the user may look at another scene by now
    if root is None:
        raise errors.UsageError(
            "The portrait was deleted while the engine worked.", "The result is kept in memory only."
        )
    return root


def draw(root: bpy.types.Object, scene: bpy.types.Scene) -> None:
    """Let the engine draw the portrait as it is now, and show the picture on the card.

    Raises:
        PortraitError: if it cannot be drawn as things are.
    """
    wanted, kept = framing.of(root, scene), session.kept(root)
    size, frame = scene.portrait.size, scene.frame_current
    key, drawn_key = picture_key(root, wanted.shot, size), picture_key(root, wanted.shot.drawn, size)

    def apply(picture: tasks.Picture) -> None:
        pictures.drawn.put(drawn_key, picture.pixels)
        current = target(kept.identifier)
        baked.show_live(current)
        plane = portrait.replace_picture(current, portrait.Shown(picture.pixels, wanted, key, frame))
        if image_plane.background_of(plane) != wanted.shot.background:  # chosen while the engine worked
            _show_drawn(current, bpy.context.scene)

    session.start("Draw Picture", tasks.picture(kept, wanted.shot, size), apply)


def show_background(plane: bpy.types.Object, scene: bpy.types.Scene) -> None:
    """Lay the background that was chosen under the picture of a card; the engine draws only what is not in memory.

    Frames that are baked are out of date then, and the panel says so. In the background, where jobs choose, nothing is
    drawn.
    """
    root = find.root_of(plane)
    if root is None or live.is_on(root):  # a live card sees to that itself
        return
    if baked.is_shown(plane):
        bake_state.mark()
        return
    try:
        if not _show_drawn(root, scene) and not bpy.app.background and session.engine().free:
            draw(root, scene)
    except errors.PortraitError as error:
        session.engine().fail(error)


def drawn_now(root: bpy.types.Object, scene: bpy.types.Scene) -> np.ndarray | None:
    """Return the picture of this moment as the engine has drawn it, if it is in memory, [h, w, 4] uint8.

    Raises:
        PortraitError: if there can be none, for example without a camera.
    """
    shot = framing.of(root, scene).shot.drawn
    for size, quality in _known(scene):
        pixels = pictures.drawn.get(picture_key(root, shot, size, quality))
        if pixels is not None:
            return pixels
    return None


def _known(scene: bpy.types.Scene) -> list[tuple[int, str]]:
    """Return the sizes and qualities in which the card's picture is drawn, the best first."""
    full = sorted({scene.portrait.size, baking.size_of(scene.portrait)}, reverse=True)
    return [*((size, "full") for size in full), (live.DRAFT_SIZE, "draft")]


def _show_drawn(root: bpy.types.Object, scene: bpy.types.Scene) -> bool:
    """Show the picture of this moment from memory, on its background; False if it is not there."""
    pixels = drawn_now(root, scene)
    if pixels is not None:
        wanted = framing.of(root, scene)
        key = picture_key(root, wanted.shot, len(pixels))
        portrait.replace_picture(root, portrait.Shown(pixels, wanted, key, scene.frame_current))
    return pixels is not None
