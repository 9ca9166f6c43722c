# SPDX-License-Identifier: Apache-2.0
"""What users see when something goes wrong: one sentence, and a hint that says what to do. Standard library only."""

from __future__ import annotations

from typing import ClassVar


class PortraitError(Exception):
    """Something failed that a user can understand.

    Attributes:
        message: one sentence: what happened, to what.
        hint: what to do about it; may be empty.
        kind: a short machine-readable word; it travels in the protocol's `error` answer. Besides the kinds of the
            children there are "failed", "output" (a file cannot be written), "memory", "cancelled" and "internal".
    """

    default_kind: ClassVar[str] = "failed"

    def __init__(self, message: str, hint: str = "", kind: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.kind = kind or self.default_kind

    def __str__(self) -> str:
        """Return the message and the hint as one line."""
        return f"{self.message} {self.hint}".rstrip()


class UsageError(PortraitError):
    """The request itself makes no sense: an unknown option, a seed that is no number. Exit code 2."""

    default_kind = "usage"


class InputError(PortraitError):
    """A file that the user gave (picture, face model, mesh, portrait) cannot be used."""

    default_kind = "input"


class ModelError(PortraitError):
    """Weights are missing, damaged, or do not fit the network that they name."""

    default_kind = "model"


class ProtocolError(PortraitError):
    """Bytes on the pipe between the add-on and the worker are not a message of this protocol."""

    default_kind = "protocol"


def try_smaller(what: str, number: int) -> str:
    """Return the advice for work that did not fit into memory: "size" of a picture or "detail" of a mesh, and which."""
    return f"Try a picture of {number} pixels." if what == "size" else f"Try a mesh detail of {number}."


def as_portrait_error(error: BaseException) -> PortraitError:
    """Return the sentence for any exception; kind "internal" means that it is our bug."""
    if isinstance(error, PortraitError):
        return error
    text = str(error).lower()
    allocation = "can't allocate memory" in text or "out of memory" in text or "not enough memory" in text
    # torch's OutOfMemoryError is a RuntimeError, and its CPU allocator raises a plain one.
    if isinstance(error, MemoryError) or (isinstance(error, RuntimeError) and allocation):
        return PortraitError(
            "There is not enough memory for this.", "Choose a smaller picture or less mesh detail.", kind="memory"
        )
    first_line = (str(error).splitlines() or [""])[0]
    return PortraitError(
        f"Something went wrong inside Neural Portrait ({type(error).__name__}: {first_line}).",
        "This is a bug: please report it with the log.",
        kind="internal",
    )
