# SPDX-License-Identifier: Apache-2.0
"""Training snapshots of the StyleGAN family (`network-snapshot-*.pkl`), read without running anything in them.

Such a file is a pickle of modules that carries the source text of their classes, which the published loader executes.
Here every class becomes a `Record` that holds its state, tensors are rebuilt from their bytes, the source text is
dropped, and any name beyond those that such files need is refused.
"""

from __future__ import annotations

import io
import pickle
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from ..errors import ModelError, PortraitError
from ..progress import Report, silent, stage


@dataclass(eq=False)
class Record:
    """An object of the file as data: the name of its class, and its attributes."""

    class_name: str
    state: dict[str, Any] = field(default_factory=dict)

    def __getitem__(self, name: str) -> Any:
        """Return an attribute. Raises ModelError if there is none."""
        if name not in self.state:
            raise ModelError(f'The file has no "{name}" in its {self.class_name}.', "It is damaged or of another kind.")
        return self.state[name]

    def module(self, path: str) -> Record:
        """Return a sub-module by its dotted path. Raises ModelError if there is none."""
        found = self
        for name in path.split("."):
            found = found["_modules"].get(name)
            if not isinstance(found, Record):
                raise ModelError(f'The file has no module "{path}" in its {self.class_name}.')
        return found

    def tensors(self, prefix: str = "") -> dict[str, Tensor]:
        """Return parameters and buffers of this module and those in it, by dotted names."""
        found: dict[str, Tensor] = {}
        for kind in ("_parameters", "_buffers"):
            for name, value in self.state.get(kind, {}).items():
                if isinstance(value, Tensor):
                    found[prefix + name] = value
        for name, child in self.state.get("_modules", {}).items():
            if isinstance(child, Record):
                found |= child.tensors(f"{prefix}{name}.")
        return found


def read_snapshot(path: Path, report: Report = silent) -> dict[str, Any]:
    """Return the dictionary in a snapshot file, with records for its objects. Nothing of the file is executed.

    `report` is told of the megabytes that were read.

    Raises:
        ModelError: if the file cannot be read, is no such snapshot, or names anything that such a file has no use for.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ModelError(f'"{path}" cannot be read: {error.strerror}.', "Check the path.") from error
    try:
        found = _Unpickler(_Told(data, stage(report, f"Reading {path.name}"))).load()
    except ModelError as error:
        raise ModelError(f'"{path.name}" was refused: {error.message}', error.hint) from error
    except PortraitError:  # of `report`, which stops the work
        raise
    except Exception as error:  # a broken pickle raises nearly anything
        raise ModelError(f'"{path.name}" is no training snapshot ({type(error).__name__}).', _HINT) from error
    if not isinstance(found, dict) or not all(isinstance(key, str) for key in found):
        raise ModelError(f'"{path.name}" is no training snapshot: it holds no networks.', _HINT)
    return found


_HINT = "Choose a published .pkl file, or a .safetensors file made by Neural Portrait."


class _Told(io.BytesIO):
    """Bytes that tell how far they were read."""

    def __init__(self, data: bytes, tell: Callable[[int, int], None]) -> None:
        super().__init__(data)
        self._tell, self._megabytes = tell, len(data) // _MEGABYTE + 1

    def read(self, size: int | None = -1, /) -> bytes:
        self._tell(self.tell() // _MEGABYTE, self._megabytes)
        return super().read(size)


_MEGABYTE = 1 << 20


class _Inert:
    """Stands for a class or function of the file: calling it makes a record of its arguments' place, and no more."""

    name: ClassVar[str] = ""

    def __new__(cls, *args: object) -> Any:
        return _Bag(cls.name)


class _Bag(Record):
    """A record that the unpickler can give a state, items and elements to, in all ways that pickles know."""

    def __setstate__(self, state: object) -> None:
        if isinstance(state, dict):
            self.state.update(state)

    def __setitem__(self, key: object, value: object) -> None:
        self.state[str(key)] = value

    def append(self, value: object) -> None:
        """Ignore an element."""

    def extend(self, values: object) -> None:
        """Ignore elements."""


class _EasyDict(dict[Any, Any]):
    """A dictionary whose keys are also attributes in the published code; here it is a dictionary."""

    def __setstate__(self, state: object) -> None:
        """Ignore attributes."""


class _DType:
    """A numpy number type, by its code."""

    def __init__(self, code: str, *options: object) -> None:
        if not isinstance(code, str) or code not in ("f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "b1"):
            raise ModelError("it holds numbers of an unknown type.")
        self.code, self.order = code, "<"

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self.order = ">" if state[1] == ">" else "<"


def _scalar(dtype: _DType, raw: bytes) -> float | int | bool:
    return np.frombuffer(raw, dtype.order + dtype.code)[0].item()


def _persistent_object(meta: Mapping[str, Any]) -> Record:
    """Return the record of an object that came with its source text, which is left unread."""
    return Record(str(meta["class_name"]), dict(meta["state"]))


def _storage(data: bytes) -> Tensor:
    """Return the numbers of a nested torch file; torch's own safe mode reads it."""
    try:
        storage = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
        return torch.empty(0, dtype=storage.dtype).set_(storage)
    except Exception as error:
        raise ModelError("a tensor in it holds something else than numbers; nothing was run.") from error


def _tensor(storage: Tensor, offset: int, size: tuple[int, ...], stride: tuple[int, ...], *rest: object) -> Tensor:
    return storage.as_strided(size, stride, offset).clone()


def _parameter(data: Tensor, *rest: object) -> Tensor:
    return data


_MEANINGS: dict[tuple[str, str], Callable[..., Any]] = {
    ("torch_utils.persistence", "_reconstruct_persistent_obj"): _persistent_object,
    ("dnnlib.util", "EasyDict"): _EasyDict,
    ("collections", "OrderedDict"): OrderedDict,
    ("torch._utils", "_rebuild_parameter"): _parameter,
    ("torch._utils", "_rebuild_tensor_v2"): _tensor,
    ("torch.storage", "_load_from_bytes"): _storage,
    ("numpy", "dtype"): _DType,
    ("numpy.core.multiarray", "scalar"): _scalar,
    ("numpy._core.multiarray", "scalar"): _scalar,
}
"""What the names in a snapshot stand for here. None of it imports or calls anything of the file's choosing."""
_DATA_PACKAGES = ("training.", "training_avatar_texture.", "torch_utils.", "dnnlib.", "torch.nn.")
"""Where the classes live whose instances are kept as records."""


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        """Return what a name stands for here. Raises ModelError for any other."""
        if (module, name) in _MEANINGS:
            return _MEANINGS[module, name]
        if module.startswith(_DATA_PACKAGES):
            return type("_Inert", (_Inert,), {"name": name})
        raise ModelError(f'it asks for "{module}.{name}", which no published model needs; nothing was run.', _HINT)
