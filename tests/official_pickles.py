# SPDX-License-Identifier: Apache-2.0
"""Snapshots in the format of the StyleGAN family, written from a state dictionary: what their trainers pickle."""

from __future__ import annotations

import pickle
import sys
import types
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

SOURCE = "raise RuntimeError('the source text in a snapshot was executed')"


class _Persistent:
    """Pickles as an object that brings its source text with it."""

    def __init__(self, class_name: str, state: dict[str, Any]) -> None:
        self.class_name, self.state = class_name, state

    def __reduce__(self) -> tuple[Any, ...]:
        meta = sys.modules["dnnlib.util"].EasyDict(
            type="class", version=6, module_src=SOURCE, class_name=self.class_name, state=self.state
        )
        return sys.modules["torch_utils.persistence"]._reconstruct_persistent_obj, (meta,)


@contextmanager
def _their_modules(classes: Mapping[str, str]) -> Iterator[None]:
    """Make modules by the published names importable while pickling; `classes` are plain classes and their modules."""
    names = {"torch_utils.persistence", "dnnlib.util", *classes.values()}
    modules = {name: types.ModuleType(name) for full in names for name in _packages(full)}
    for class_name, module in classes.items():
        setattr(modules[module], class_name, type(class_name, (), {"__module__": module}))

    def _reconstruct_persistent_obj(meta: object) -> None:
        raise AssertionError("only its name is written")

    _reconstruct_persistent_obj.__module__ = "torch_utils.persistence"
    _reconstruct_persistent_obj.__qualname__ = "_reconstruct_persistent_obj"
    modules["torch_utils.persistence"]._reconstruct_persistent_obj = _reconstruct_persistent_obj
    modules["dnnlib.util"].EasyDict = type("EasyDict", (dict,), {"__module__": "dnnlib.util"})
    assert not set(modules) & set(sys.modules)
    sys.modules.update(modules)
    try:
        yield
    finally:
        for name in modules:
            del sys.modules[name]


def _packages(name: str) -> list[str]:
    parts = name.split(".")
    return [".".join(parts[: i + 1]) for i in range(len(parts))]


def write_generator(
    path: Path,
    state: Mapping[str, Tensor],
    attributes: Mapping[str, Mapping[str, Any]],
    plain: Mapping[str, tuple[str, str]],
    class_name: str = "TriPlaneGenerator",
) -> Path:
    """Write a snapshot whose "G_ema" has these tensors.

    Args:
        path: where to.
        state: tensors by dotted names; each goes into the modules of its name.
        attributes: more attributes of modules, by the module's dotted name ("" for the generator); modules named here
            need no tensors.
        plain: class and its module, by dotted name, of the modules that are pickled as plain objects.
        class_name: of the generator.
    """
    tree: dict[str, dict[str, Any]] = {}

    def module(name: str) -> dict[str, Any]:
        if name not in tree:
            tree[name] = {"training": False, "_parameters": OrderedDict(), "_buffers": OrderedDict()}
            tree[name] |= {"_modules": OrderedDict(), **attributes.get(name, {})}
            if name:
                parent, _, own = name.rpartition(".")
                module(parent)["_modules"][own] = name
        return tree[name]

    for name in attributes:
        module(name)
    for key, value in state.items():
        owner, _, own = key.rpartition(".")
        if own in ("weight", "bias"):
            module(owner)["_parameters"][own] = torch.nn.Parameter(value)
        else:
            module(owner)["_buffers"][own] = value

    def built(name: str) -> object:
        found = tree[name]
        found["_modules"] = OrderedDict((own, built(full)) for own, full in found["_modules"].items())
        if name in plain:
            class_, home = plain[name]
            instance = object.__new__(getattr(sys.modules[home], class_))
            instance.__dict__.update(found)
            return instance
        return _Persistent(class_name if not name else "Module", found)

    with _their_modules(dict(plain.values())):
        generator = built("")
        data = {"training_set_kwargs": {}, "G": None, "D": None, "G_ema": generator, "augment_pipe": None}
        path.write_bytes(pickle.dumps(data))
    return path
