# SPDX-License-Identifier: GPL-3.0-or-later
"""TOML tables as frozen dataclasses: strict reading, values set from the command line, writing. Pure.

A dataclass is the description of a table: its fields are the keys, their annotations the types (int, float, str, bool,
`tuple[X, ...]` for lists, `dict[str, float]`, another dataclass for a table, `X | None` for one that may be left out),
its defaults the defaults. Fields say more with `one_of`, `between` and `keys_of`. Every complaint names its place.
"""

from __future__ import annotations

import dataclasses
import difflib
import json
import math
import tomllib
import types
import typing
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from .neural_core.errors import UsageError

_WORDS = {int: "a whole number", float: "a number", str: "text", bool: "true or false"}


def one_of(*choices: str) -> dict[str, Any]:
    """Return the metadata of a text, or of a list of texts, that must be among the choices."""
    return {"choices": choices}


def between(least: float, most: float) -> dict[str, Any]:
    """Return the metadata of a number within a range, ends included."""
    return {"range": (least, most)}


def keys_of(names: tuple[str, ...]) -> dict[str, Any]:
    """Return the metadata of a `dict[str, float]` with these keys and no others."""
    return {"keys": names}


def read_toml(path: Path) -> dict[str, Any]:
    """Return the content of a TOML file.

    Raises:
        UsageError: if there is none, or it is no TOML.
    """
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f'The job file "{path}" cannot be read: {error.strerror}.') from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f'"{path.name}" is no TOML: {error}.') from error


def override(table: dict[str, Any], text: str) -> None:
    """Set "render.size=512" in a table; the value is TOML, or else text.

    Raises:
        UsageError: if the text is no assignment, or leads through something that is no table.
    """
    path, equals, written = text.partition("=")
    keys = path.strip().split(".")
    if not equals or not all(keys):
        raise UsageError(f'--set "{text}" is not key=value.', "For example --set render.size=512.")
    try:
        value = tomllib.loads(f"value = {written}")["value"]
    except tomllib.TOMLDecodeError:
        value = written
    for key in keys[:-1]:
        table = table.setdefault(key, {})
        if not isinstance(table, dict):
            raise UsageError(f'--set "{text}": {key} is no table.')
    table[keys[-1]] = value


def make(where: str, table: Any, cls: type) -> Any:
    """Return the dataclass `cls` with the values of a table; `where` is the table's place for complaints.

    Raises:
        UsageError: with one sentence about the first thing that is wrong, and a suggestion for unknown keys.
    """
    fields = {field.name: field for field in dataclasses.fields(cls)}
    check_keys(where, table, fields)
    for name, field in fields.items():
        if name not in table and field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
            raise UsageError(f"{where} lacks {name}.")
    kinds = typing.get_type_hints(cls)
    return cls(**{name: _value(inside(where, name), v, kinds[name], fields[name]) for name, v in table.items()})


def inside(where: str, name: str) -> str:
    """Return the place of a key: "job 1: render" and "size" give "job 1: render.size"."""
    return f"{where}.{name}" if ": " in where else f"{where}: {name}"


def check_keys(where: str, table: Any, known: Iterable[str]) -> None:
    """Raise UsageError if this is no table, or has a key that is not among the known."""
    if not isinstance(table, dict):
        raise UsageError(f"{where} is no table.")
    for key in table:
        if key not in known:
            raise UsageError(f'{where}: unknown key "{key}".{suggestion(key, known)}')


def suggestion(word: str, known: Iterable[str]) -> str:
    """Return " Did you mean ...?" with the known word that is most like this one; "" if none is."""
    close = difflib.get_close_matches(word, list(known), 1)
    return f' Did you mean "{close[0]}"?' if close else ""


def write(tables: dict[str, Any]) -> str:
    """Return tables as TOML, without the keys that are at their default: `[job.render]` and its keys a line each.

    The values are dataclasses by the name of their table; "" holds what stands above all tables.
    """
    parts = []
    for name, table in tables.items():
        lines = [f"{key} = {_written(value)}" for key, value in _stated(table)]
        if lines:
            parts.append("\n".join([f"[{name}]", *lines] if name else lines))
    return "\n\n".join(parts) + "\n"


def _value(where: str, value: Any, kind: Any, field: dataclasses.Field[Any]) -> Any:
    """Return a checked value of a type, with what the field's metadata ask for."""
    if isinstance(kind, types.UnionType):
        (kind,) = (part for part in typing.get_args(kind) if part is not types.NoneType)
    if dataclasses.is_dataclass(kind):
        return make(where, value, typing.cast(type, kind))
    if typing.get_origin(kind) is tuple:
        if not isinstance(value, list):
            raise UsageError(f"{where} must be a list, not {value!r}.")
        item = typing.get_args(kind)[0]
        return tuple(_value(f"{where}[{number}]", part, item, field) for number, part in enumerate(value))
    if typing.get_origin(kind) is dict:
        check_keys(where, value, field.metadata.get("keys", value))
        return {name: _value(f"{where}.{name}", number, float, field) for name, number in value.items()}
    if kind is float and type(value) is int:
        value = float(value)
    if type(value) is not kind or (kind is float and not math.isfinite(value)):
        raise UsageError(f"{where} must be {_WORDS[kind]}, not {value!r}.")
    choices = field.metadata.get("choices")
    if choices and value not in choices:
        raise UsageError(f'{where} is "{value}".{suggestion(value, choices)}', f"Known: {', '.join(choices)}.")
    least, most = field.metadata.get("range", (-math.inf, math.inf))
    if kind in (int, float) and not least <= value <= most:
        raise UsageError(f"{where} is {value:g}, not in {least:g} .. {most:g}.")
    return value


def _stated(table: Any) -> Iterable[tuple[str, Any]]:
    """Yield the keys of a dataclass whose values are not their defaults."""
    for field in dataclasses.fields(table):
        value = getattr(table, field.name)
        default = field.default_factory() if callable(field.default_factory) else field.default
        if value != default:
            yield field.name, value


def _written(value: Any) -> str:
    """Return a value as TOML; its strings in quotes are those of JSON."""
    if dataclasses.is_dataclass(value):
        return "{ " + ", ".join(f"{key} = {_written(part)}" for key, part in _stated(value)) + " }"
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{key} = {_written(part)}" for key, part in value.items()) + " }"
    if isinstance(value, tuple):
        return "[" + ", ".join(map(_written, value)) + "]"
    return json.dumps(value, ensure_ascii=False)
