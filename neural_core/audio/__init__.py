# SPDX-License-Identifier: Apache-2.0
"""From recorded speech to the motion of a face.

A sound file (``io.py``) -> a log-mel spectrogram (``features.py``) -> what the mouth does (``lipsync.py``, a small
network) -> with blinks, brows and head by rule (``rhythm.py`` hears pauses and stress, ``gestures.py`` moves) -> curves
(``speech.py``).
"""
