# SPDX-License-Identifier: Apache-2.0
"""Published EG3D snapshots -> our config and tensors. Reads records only; nothing of theirs is executed."""

from __future__ import annotations

import re
from collections.abc import Mapping

import torch
from torch import Tensor

from ..errors import ModelError
from ..ops.upfirdn2d import BINOMIAL, make_filter

_RENAMES = [
    (r"^backbone\.mapping\.", "mapping_network."),
    (r"^backbone\.synthesis\.b(\d+)\.", r"backbone.blocks.\1."),
    (r"(^|\.)fc(\d+)\.", r"\1layers.\2."),
    (r"(^|\.)torgb\.", r"\1to_rgb."),
    (r"(^|\.)const$", r"\1constant"),
    (r"(^|\.)noise_const$", r"\1noise"),
    (r"(^|\.)w_avg$", r"\1w_mean"),
    (r"(^|\.)net\.0\.", r"\1hidden."),
    (r"(^|\.)net\.2\.", r"\1output."),
]
"""The key map: patterns of published names, and what ours are. They apply in this order."""


def rename(key: str) -> str:
    """Return our name of a published generator's tensor."""
    for pattern, ours in _RENAMES:
        key = re.sub(pattern, ours, key)
    return key


def rename_all(state: Mapping[str, Tensor], name: str) -> dict[str, Tensor]:
    """Return a published generator's tensors under our names.

    Left out are the filters of its layers, which are constants in our code, and a statistic of the labels that its
    training loop keeps.

    Raises:
        ModelError: if a filter is another one than the code's.
    """
    kernel = make_filter(BINOMIAL)
    tensors = {}
    for key, value in state.items():
        if key.endswith("resample_filter"):
            if value.shape != kernel.shape or not torch.allclose(value, kernel):
                raise ModelError(f'"{name}" resamples with another filter than EG3D ({key}).')
        elif key != "dataset_label_std":
            tensors[rename(key)] = value
    return tensors
