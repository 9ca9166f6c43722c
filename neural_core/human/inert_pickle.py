# SPDX-License-Identifier: Apache-2.0
"""A pickle as inert records, and the arrays that such records stand for. Nothing in the pickle is imported or called.

A pickle is a program for a small machine: it names classes, calls them and sets their state. Here every name that is
known leads to a record that only remembers what it was given, or to one of four functions that do the same; every other
name is refused. Afterwards :func:`evaluate` turns the records that stand for arrays into arrays:

* ``numpy`` arrays and scalars, from their bytes; object arrays are refused;
* ``chumpy.ch.Ch`` (its ``x``), ``chumpy.reordering.Select`` (``a.ravel()[idxs]``) and ``.Reshape``;
* ``scipy.sparse`` matrices in compressed column or row form, as dense arrays.
"""

from __future__ import annotations

import io
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError

# Element types that are read.
NUMERIC = frozenset(
    ["bool", "float16", "float32", "float64"] + [f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)]
)
_LARGEST = 1 << 28  # entries of one dense array: 2 GiB in float64, forty times FLAME's largest
_DEEPEST = 16  # expressions within expressions; chumpy's own files have two


class _Record:
    """An object of the pickle that is not there: what it was made from, and the state that it would have been given."""

    origin = ""

    def __init__(self, *arguments: Any) -> None:
        self.arguments = arguments
        self.state: Any = None

    def __setstate__(self, state: Any) -> None:
        self.state = state

    def part(self, name: str) -> Any:
        """Return a value of the object's would-be ``__dict__``, or None."""
        return self.state.get(name) if isinstance(self.state, dict) else None


def _record_class(origin: str) -> type[_Record]:
    return type(origin.rpartition(".")[2], (_Record,), {"origin": origin})


_NDARRAY = _record_class("numpy.ndarray")
_DTYPE = _record_class("numpy.dtype")
_SCALAR = _record_class("numpy.scalar")


def _new_ndarray(*_: Any) -> _Record:
    """Answer ``numpy.core.multiarray._reconstruct``: the array's bytes come later, as state."""
    return _NDARRAY()


def _reconstructor(cls: Any, base: Any, state: Any) -> _Record:
    """Answer ``copy_reg._reconstructor``, how Python 2 made plain objects in protocols 0 and 1."""
    if not (isinstance(cls, type) and issubclass(cls, _Record) and base is object and state is None):
        raise pickle.UnpicklingError("unexpected object construction")
    return cls()


def _encode(text: Any, encoding: Any) -> bytes:
    """Answer ``_codecs.encode``, how Python 3 writes bytes in protocols 0 to 2."""
    if not (isinstance(text, str) and encoding == "latin1"):
        raise pickle.UnpicklingError("unexpected encoding")
    return text.encode("latin1")


_KNOWN: dict[tuple[str, str], Any] = {
    ("numpy", "ndarray"): _NDARRAY,
    ("numpy", "dtype"): _DTYPE,
    ("_codecs", "encode"): _encode,
    ("__builtin__", "set"): set,
    ("builtins", "set"): set,
    ("__builtin__", "object"): object,
    ("builtins", "object"): object,
    ("copy_reg", "_reconstructor"): _reconstructor,
    ("copyreg", "_reconstructor"): _reconstructor,
}
for _module in ("numpy.core.multiarray", "numpy._core.multiarray"):
    _KNOWN[_module, "_reconstruct"] = _new_ndarray
    _KNOWN[_module, "scalar"] = _SCALAR


class InertUnpickler(pickle.Unpickler):
    """Runs a pickle in which every name stands for an inert record or one of the functions above."""

    def __init__(self, file: io.BytesIO, name: str) -> None:
        super().__init__(file, fix_imports=False, encoding="latin1")
        self._name = name

    def find_class(self, module: str, name: str, /) -> Any:
        """Return what stands for ``module.name``; never imports."""
        if (module, name) in _KNOWN:
            return _KNOWN[module, name]
        if module.split(".")[0] == "chumpy" or module.split(".")[:2] == ["scipy", "sparse"]:
            return _record_class(f"{module}.{name}")
        raise InputError(
            f'"{self._name}" asks for {module}.{name}, which no model file needs: it was refused and nothing was run.',
            "Get the file from the model's own site.",
        )


def class_name(value: Any) -> str:
    """Return the name of the class that a value of the pickle says it has."""
    return value.origin if isinstance(value, _Record) else type(value).__name__


def evaluate(value: Any, key: str, name: str, depth: int = 0) -> NDArray[Any]:
    """Return the array that an expression of records stands for."""
    if depth > _DEEPEST:
        raise InputError(f'"{key}" in "{name}" is nested too deeply.')

    def inner(part: Any) -> NDArray[Any]:
        return evaluate(part, key, name, depth + 1)

    try:
        match value:
            case bool() | int() | float() | list() | tuple():
                return np.asarray(value)
            case _NDARRAY():
                return _array_from_state(value.state)
            case _SCALAR():
                dtype, data = value.arguments
                return np.frombuffer(_as_bytes(data), _dtype(dtype), count=1).reshape(())
            case _Record(origin="chumpy.ch.Ch"):
                return inner(value.part("x"))
            case _Record(origin="chumpy.reordering.Select"):
                chosen = inner(value.part("a")).ravel()[inner(value.part("idxs"))]
                shape = value.part("preferred_shape")
                return chosen if shape is None else chosen.reshape(_shape(inner(shape)))
            case _Record(origin="chumpy.reordering.Reshape"):
                return inner(value.part("a")).reshape(_shape(inner(value.part("newshape"))))
            case _Record() if type(value).__name__ in ("csc_matrix", "csr_matrix", "csc_array", "csr_array"):
                return _dense(value, inner)
    except (ValueError, TypeError, IndexError, OverflowError, UnicodeEncodeError, MemoryError) as error:
        raise InputError(f'"{key}" in "{name}" is damaged: {error}.') from error
    raise InputError(
        f'"{key}" in "{name}" is a {class_name(value)}, which this reader does not know.',
        "Please report the name of the class and of the model.",
    )


def _as_bytes(data: Any) -> bytes:
    """Return raw bytes; Python 2 wrote them as text, which is read as Latin-1."""
    return data.encode("latin1") if isinstance(data, str) else bytes(memoryview(data))


def _dtype(record: Any) -> np.dtype:
    """Return the numeric element type that a ``numpy.dtype`` record names."""
    if not isinstance(record, _DTYPE) or not isinstance(record.arguments[0], str):
        raise ValueError("an array without element type")
    code = record.arguments[0]
    if code.startswith("O"):
        raise ValueError("it holds objects instead of numbers, which are never read")
    order = record.state[1] if isinstance(record.state, tuple) and len(record.state) > 1 else "="
    dtype = np.dtype(code)
    if dtype.name not in NUMERIC or order not in ("<", ">", "|", "="):
        raise ValueError(f"element type {code!r} is no number")
    return dtype if order == "|" else dtype.newbyteorder(order)


def _array_from_state(state: Any) -> NDArray[Any]:
    """Return the array of a ``numpy.ndarray`` state: (version, shape, element type, Fortran order, bytes)."""
    if not (isinstance(state, tuple) and len(state) in (4, 5)):
        raise ValueError("an array without content")
    shape, dtype, fortran, data = state[-4:]
    array = np.frombuffer(_as_bytes(data), _dtype(dtype))
    return array.reshape(_shape(shape), order="F" if fortran else "C")


def _shape(sizes: Any) -> tuple[int, ...]:
    return tuple(int(size) for size in np.asarray(sizes).reshape(-1))


def _dense(matrix: _Record, inner: Callable[[Any], NDArray[Any]]) -> NDArray[Any]:
    """Return a compressed sparse matrix (columns for csc, rows for csr) as a dense array; equal entries are summed."""
    by_column = type(matrix).__name__.startswith("csc")
    rows, columns = _shape(inner(matrix.part("_shape")))
    data, minor, starts = (inner(matrix.part(part)) for part in ("data", "indices", "indptr"))
    major_size, minor_size = (columns, rows) if by_column else (rows, columns)
    if not 0 <= rows * columns <= _LARGEST or rows < 0:
        raise ValueError(f"a sparse matrix of {rows} x {columns}")
    counts = np.diff(starts)
    if len(starts) != major_size + 1 or (counts < 0).any() or starts[0] != 0:
        raise ValueError("a sparse matrix whose columns or rows do not fit")
    if not starts[-1] == len(data) == len(minor):
        raise ValueError("a sparse matrix whose parts do not fit")
    if len(minor) and not 0 <= minor.min() <= minor.max() < minor_size:
        raise ValueError("a sparse matrix with an index outside")
    dense = np.zeros((major_size, minor_size), data.dtype)
    np.add.at(dense, (np.repeat(np.arange(major_size), counts), minor), data)
    return np.ascontiguousarray(dense.T) if by_column else dense
