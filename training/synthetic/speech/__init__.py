# SPDX-License-Identifier: Apache-2.0
"""Spoken clips of our own: sound with exact curves of the face that says it.

    python -m training.synthesize speech --out DIR --clips 1000 --languages en,de,fr --workers 2

Text (``corpus.py``) -> eSpeak NG (``espeak.py``) -> phonemes with times (``phonemes.py``) -> goals of the mouth
(``visemes.py``) -> blended over time (``coarticulation.py``), with blinks, brows and head that follow its rhythm
(``rhythm.py``, ``neural_core/audio/gestures.py``) -> one clip (``clip.py``) -> a set of them (``batch.py``).
``measure.py`` renders sentences and lets FaceMesh judge the lips.
"""

from __future__ import annotations


def main(arguments: list[str] | None = None) -> int:
    """The command line: 0 done, 1 failed, 2 wrong usage."""
    from .batch import main as run

    return run(arguments)
