# SPDX-License-Identifier: Apache-2.0
"""What a face is asked to do at one instant: from the plain values of messages and files to what `System.pose` takes.

Plain values name only what differs from the neutral face::

    {"actions": {"jawOpen": 0.5}, "joints": {"neck": [0.0, 0.2, 0.0]}}

"actions" are the 52 facial actions (`human/arkit.py`), 0..1; "joints" are rotations of `records.JOINTS` relative to
their parents, axis-angle, radians. What else a system takes (`SystemInfo.controls`) is given as a list of numbers.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from .errors import UsageError
from .human.arkit import ACTIONS
from .records import JOINTS
from .systems.common import Control

Plain = Mapping[str, Any]


def tensors(
    asked: Plain, known: Sequence[Control], model: str = "This model", device: torch.device | str = "cpu"
) -> dict[str, Tensor]:
    """Return the controls as tensors: "actions" [52], "joints" [10, 3], others [dimension]; neutral ones left out.

    Args:
        asked: plain values.
        known: what the system takes.
        model: what to call it in messages.
        device: where the tensors go.

    Raises:
        UsageError: naming the first control, action or joint that is unknown, or a value that is no number; or if
            something is asked of a system that shows a still face.
    """
    dimensions = {control.name: control.dimension for control in known}
    found: dict[str, Tensor] = {}
    for name, value in asked.items():
        if name == "actions":
            numbers = torch.tensor(_named(name, value, ACTIONS, 1)).reshape(len(ACTIONS))
        elif name == "joints":
            numbers = torch.tensor(_named(name, value, JOINTS, 3)).reshape(len(JOINTS), 3)
        else:
            numbers = torch.tensor(_numbers(name, value, dimensions.get(name)))
        if not numbers.any():
            continue
        if not known:
            raise still_face(model)
        if name not in dimensions:
            raise UsageError(f'{model} takes no "{name}".', f"It takes {', '.join(dimensions)}.")
        found[name] = numbers.to(device)
    return found


def still_face(model: str) -> UsageError:
    """Return the sentence for a model, named by the argument, that cannot move a face."""
    return UsageError(
        f"{model} shows a still face and takes no expression.",
        "Its rig in Blender does: use `neural-portrait demo`, or Create in the add-on.",
    )


def _named(control: str, value: object, names: Sequence[str], count: int) -> list[float]:
    """Return `count` numbers for each of the names in turn; 0 for those that the value does not name."""
    if not isinstance(value, Mapping):
        raise UsageError(f'"{control}" must name what it sets.', f'Write {{"{names[0]}": ...}}.')
    for name in value:
        if name not in names:
            close = difflib.get_close_matches(str(name), names, 1)
            hint = f'Did you mean "{close[0]}"?' if close else f"Known: {', '.join(names)}."
            raise UsageError(f'There is nothing called "{name}" among the {control}.', hint)
    neutral = [0.0] * count
    return [
        number
        for name in names
        for number in (
            _numbers(name, [value[name]] if count == 1 else value[name], count) if name in value else neutral
        )
    ]


def _numbers(name: str, value: object, count: int | None) -> list[float]:
    """Return a list of finite numbers; `count` of them unless it is None."""
    listed = value if isinstance(value, Sequence) and not isinstance(value, str) else ()
    numbers = [float(number) for number in listed if type(number) in (int, float) and math.isfinite(number)]
    if not numbers or len(numbers) != len(listed) or (count is not None and len(numbers) != count):
        wanted = "a number" if count == 1 else "a list of numbers" if count is None else f"a list of {count} numbers"
        raise UsageError(f'"{name}" is not {wanted}.', f"It is {value!r}.")
    return numbers
