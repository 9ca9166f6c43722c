# SPDX-License-Identifier: GPL-3.0-or-later
"""What is built piece by piece, so that Blender stays in hand: a collection that is in no scene before it is whole.

If it never becomes whole (cancelled, failed, another file opened, something undone), nothing of it is left.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import contextmanager
from typing import TypeVar

import bpy

from ..neural_core import errors

_MARK = "portrait_unfinished"

Built = TypeVar("Built")
Pieces = Generator[None, None, Built]
"""Work on the scene: what runs between two yields takes some ten milliseconds at most; returns what was built.

Closing it in between takes everything back. Between pieces only data-blocks are remembered, not what is in them (a
shape key, say): Blender tells us when a data-block was removed meanwhile. With an undo all of these references end:
pieces must be closed before.
"""


def at_once(pieces: Pieces[Built]) -> Built:
    """Build without a pause, and return what was built."""
    while True:
        try:
            next(pieces)
        except StopIteration as finished:
            return finished.value


@contextmanager
def collection(name: str) -> Iterator[bpy.types.Collection]:
    """Give a new collection for what is built; it is removed with all that is in it unless the block ends well.

    Raises:
        UsageError: if Blender removed what the block works on.
    """
    made = bpy.data.collections.new(name)
    made[_MARK] = True
    made.use_fake_user = True  # if the file is saved meanwhile, `clear` finds it there
    try:
        yield made
    except ReferenceError as error:
        clear()
        raise errors.UsageError(
            "What the engine made was removed before it was complete.", "Start it again."
        ) from error
    except BaseException:  # also the end of a generator that is given up
        clear()
        raise
    del made[_MARK]
    made.use_fake_user = False


@contextmanager
def action(name: str) -> Iterator[bpy.types.Action]:
    """Give a new action for what is keyed; nothing may use it yet. It is removed unless the block ends well.

    Raises:
        UsageError: if Blender removed what the block works on.
    """
    made = bpy.data.actions.new(name)
    try:
        yield made
    except ReferenceError as error:
        raise errors.UsageError(
            "What the engine made was removed before it was complete.", "Start it again."
        ) from error
    except BaseException:  # also the end of a generator that is given up
        bpy.data.actions.remove(made)
        raise


def clear() -> None:
    """Remove everything unfinished; also what came back by undoing, or from a file that was saved meanwhile."""
    for made in [made for made in bpy.data.collections if _MARK in made]:
        objects = list(made.objects)
        data = {ob.data for ob in objects if ob.data is not None}
        found = {material for one in data for material in getattr(one, "materials", ()) if material is not None}
        found |= {ob.portrait.file for ob in objects} | {ob.portrait.live_image for ob in objects}
        bpy.data.batch_remove([made, *objects, *data, *(one for one in found if one is not None)])
