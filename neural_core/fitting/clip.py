# SPDX-License-Identifier: Apache-2.0
"""CLIP (Radford et al. 2021): pictures and texts in one space, by the weights of the user and the network of a library.

Weights are read as numbers, the vocabulary as text; nothing of the user's folder is executed, and nothing is fetched.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from .. import others
from ..errors import InputError, PortraitError

MEAN = (0.48145466, 0.4578275, 0.40821073)
DEVIATION = (0.26862954, 0.26130258, 0.27577711)
"""By which CLIP's pictures, 0..1, are normalised; the same for all published sizes."""

_WEIGHTS = ("model.safetensors", "pytorch_model.bin")
_LIBRARY = "transformers.models.clip"


class Judge(Protocol):
    """What places pictures and texts in one space. Rows have length 1."""

    def pictures(self, pictures: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b d"]:
        """Return where pictures lie, sRGB 0..1, differentiable."""
        ...

    def texts(self, texts: Sequence[str]) -> Float[Tensor, "n d"]:
        """Return where texts lie."""
        ...


@dataclass(frozen=True)
class Clip:
    """The network, ready to judge (a `Judge`)."""

    network: Any
    """transformers' CLIPModel."""
    tokenizer: Any
    """transformers' CLIPTokenizer."""

    def pictures(self, pictures: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b d"]:
        """Return where pictures lie."""
        size = self.network.config.vision_config.image_size
        if pictures.shape[-2:] != (size, size):
            pictures = F.interpolate(pictures, (size, size), mode="bicubic", antialias=True)
        mean, deviation = (pictures.new_tensor(values)[:, None, None] for values in (MEAN, DEVIATION))
        found = self.network.get_image_features(pixel_values=(pictures - mean) / deviation).pooler_output
        return F.normalize(found, dim=-1)

    @torch.no_grad()
    def texts(self, texts: Sequence[str]) -> Float[Tensor, "n d"]:
        """Return where texts lie; the end of a text that is too long (77 tokens) is not read."""
        longest = self.network.config.text_config.max_position_embeddings
        tokens = self.tokenizer(list(texts), padding=True, truncation=True, max_length=longest, return_tensors="pt")
        found = self.network.get_text_features(**tokens.to(self.network.device)).pooler_output
        return F.normalize(found, dim=-1)


def load_clip(needed_by: str, device: torch.device | str = "cpu") -> Clip:
    """Return the CLIP of the user's folder.

    Args:
        needed_by: what cannot be done without it, for sentences: "Stylisation".
        device: where it computes.

    Raises:
        MissingNetwork: if it is not there.
        UsageError: if the library is not installed.
        InputError: if its files are damaged or not CLIP's.
    """
    folder = others.find("clip", needed_by)
    modeling = others.library(f"{_LIBRARY}.modeling_clip", needed_by, "style")  # first: it needs torchvision to load
    tokenization = others.library(f"{_LIBRARY}.tokenization_clip", needed_by, "style")
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        if config.get("model_type") != "clip":
            raise ValueError(f'it is of type "{config.get("model_type")}"')
        network = modeling.CLIPModel(modeling.CLIPConfig.from_dict(config))
        tokenizer = tokenization.CLIPTokenizer.from_pretrained(folder, local_files_only=True)
    except PortraitError:
        raise
    except Exception as error:  # json's, the library's and its tokenizer's own
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise InputError(f'"{folder.name}" is no CLIP that can be read: {reason}.', "Download it again.") from error
    _fill(network, folder)
    return Clip(network.to(device), tokenizer)


def _fill(network: nn.Module, folder: Path) -> None:
    """Copy the folder's weights into the network; strict, but for counters that old files have."""
    path = next(folder / name for name in _WEIGHTS if (folder / name).is_file())
    tensors = others.read_tensors(path)
    others.fill(network, {k: v for k, v in tensors.items() if not k.endswith("position_ids")}, path.name)
