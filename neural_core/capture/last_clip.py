# SPDX-License-Identifier: Apache-2.0
"""The clip that was followed last: a portrait is made of it and its motion is wanted, too, and following it is slow."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ..progress import Report, silent

if TYPE_CHECKING:  # whoever keeps one may never see a clip
    from .clip import Followed
    from .labels import Tools


class LastClip:
    """Follows faces as `follow_clip` does, and keeps the last one: a few hundred kilobytes without any picture."""

    def __init__(self) -> None:
        self._key: tuple[str, int, int, int] | None = None
        self._followed: Followed | None = None

    def follow(self, tools: Tools, path: Path, most: int = 250, report: Report = silent) -> Followed:
        """Return the face in the longest scene of a clip; arguments and errors as of `follow_clip`."""
        known = self.recall(path, most)
        if known is not None:
            return known
        from .clip import follow_clip

        followed = follow_clip(tools, path, most, report)
        self._key, self._followed = _key(path, most), followed
        return followed

    def recall(self, path: Path, most: int) -> Followed | None:
        """Return what is kept of this very file, as it is now, and as many frames; else None."""
        return self._followed if self._key is not None and self._key == _key(path, most) else None


def _key(path: Path, most: int) -> tuple[str, int, int, int] | None:
    """Return what differs for another clip; None for a file that is not there."""
    try:
        found = path.stat()
    except OSError:
        return None
    return str(path.resolve()), found.st_mtime_ns, found.st_size, most
