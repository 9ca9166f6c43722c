# SPDX-License-Identifier: Apache-2.0
"""The process that holds libespeak-ng: one request on stdin, one answer on stdout, then it ends. Standard library only.

The library keeps its voice, its parameters and its noise generator in global variables, so an utterance would depend on
those before it; in a fresh process the same request always gives the same samples. It is called through ctypes, because
the program ``espeak-ng`` tells phoneme times only for MBROLA voices, while the library reports every phoneme with the
index of the sample that it begins at. Answer: one line of JSON, then 16-bit little-endian samples.
"""

from __future__ import annotations

import ctypes
import json
import sys
from ctypes.util import find_library
from typing import Any

MISSING = 3
"""Exit code: the library is not installed."""
NO_VOICE = 4
"""Exit code: the library has no such voice."""

# Numbers of espeak-ng/speak_lib.h, the stable C interface of eSpeak since 1.40.
_SYNCHRONOUS = 2
_PHONEME_EVENTS, _IPA_NAMES, _DO_NOT_EXIT = 1, 2, 0x8000
_UTF8 = 1
_RATE, _PITCH, _RANGE = 1, 3, 4
_END_OF_EVENTS, _WORD, _PHONEME = 0, 1, 7
_IPA_TEXT = 2


class _Id(ctypes.Union):
    _fields_ = (("number", ctypes.c_int), ("name", ctypes.c_char_p), ("string", ctypes.c_char * 8))


class _Event(ctypes.Structure):
    _fields_ = (
        ("type", ctypes.c_int),
        ("unique_identifier", ctypes.c_uint),
        ("text_position", ctypes.c_int),
        ("length", ctypes.c_int),
        ("audio_position", ctypes.c_int),
        ("sample", ctypes.c_int),
        ("user_data", ctypes.c_void_p),
        ("id", _Id),
    )


_Callback = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(_Event))


def speak(request: dict[str, Any]) -> tuple[dict[str, Any], bytes]:
    """Return the answer's header and its samples. See ``espeak.speak`` for what a request holds."""
    name = find_library("espeak-ng") or "libespeak-ng.so.1"
    try:
        library = ctypes.CDLL(name)
    except OSError:
        raise SystemExit(MISSING) from None
    sample_rate = library.espeak_Initialize(_SYNCHRONOUS, 0, None, _PHONEME_EVENTS | _IPA_NAMES | _DO_NOT_EXIT)
    if sample_rate <= 0:
        raise SystemExit(MISSING)
    if library.espeak_SetVoiceByName(request["voice"].encode()) != 0:
        raise SystemExit(NO_VOICE)
    for number, key in ((_RATE, "rate"), (_PITCH, "pitch"), (_RANGE, "pitch_range")):
        library.espeak_SetParameter(number, request[key], 0)

    samples = bytearray()
    phonemes: list[tuple[str, int]] = []
    words: list[tuple[int, int, int]] = []

    @_Callback
    def collect(wave: Any, count: int, events: Any) -> int:
        if wave and count:
            samples.extend(ctypes.string_at(wave, 2 * count))
        for event in iter_events(events):
            if event.type == _PHONEME:
                phonemes.append((bytes(event.id.string).decode(errors="replace"), event.sample))
            elif event.type == _WORD:
                words.append((event.text_position - 1, event.length, event.sample))
        return 0

    text = request["text"].encode() + b"\0"
    library.espeak_SetSynthCallback(collect)
    library.espeak_Synth(text, len(text), 0, 1, 0, _UTF8, None, None)
    library.espeak_Synchronize()
    header = {
        "sample_rate": sample_rate,
        "phonemes": phonemes,
        "words": words,
        "transcription": transcription(library, text),
    }
    return header, bytes(samples)


def iter_events(events: Any) -> Any:
    """Yield the events of an array that ends with one of type 0."""
    index = 0
    while events[index].type != _END_OF_EVENTS:
        yield events[index]
        index += 1


def transcription(library: Any, text: bytes) -> str:
    """IPA of the whole text with stress marks, which the events lack."""
    library.espeak_TextToPhonemes.restype = ctypes.c_char_p
    buffer = ctypes.create_string_buffer(text)
    position = ctypes.c_void_p(ctypes.addressof(buffer))
    clauses = []
    while position.value:
        clauses.append(library.espeak_TextToPhonemes(ctypes.byref(position), _UTF8, _IPA_TEXT).decode())
    return " ".join(clauses)


if __name__ == "__main__":
    header, audio = speak(json.load(sys.stdin))
    sys.stdout.buffer.write(json.dumps(header).encode() + b"\n" + audio)
