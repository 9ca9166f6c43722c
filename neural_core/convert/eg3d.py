# SPDX-License-Identifier: Apache-2.0
"""Published EG3D snapshots -> our config and tensors. Reads records only; nothing of theirs is executed."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Literal, TypedDict

import torch
from torch import Tensor

from ..checkpoints import check_shapes
from ..errors import ModelError
from ..ops.upfirdn2d import BINOMIAL, make_filter
from ..planes import PUBLISHED_AXES
from ..systems.eg3d.config import EG3DConfig
from ..systems.eg3d.generator import EG3DGenerator
from ..systems.plane_config import (
    BackboneConfig,
    DecoderConfig,
    HeadToModel,
    MappingConfig,
    RenderConfig,
    SuperResolutionConfig,
)
from .snapshots import Record

CLASS_NAME = "TriPlaneGenerator"
METADATA: dict[str, str | dict[str, Any]] = {
    "licence": "NVIDIA Source Code License for EG3D (non-commercial)",
    "licence_url": "https://github.com/NVlabs/eg3d/blob/main/LICENSE.txt",
    "use": "non-commercial",
}
SOURCE = {
    "title": "Efficient Geometry-aware 3D Generative Adversarial Networks (CVPR 2022)",
    "authors": "Eric R. Chan, Connor Z. Lin, Matthew A. Chan, Koki Nagano, Boxiao Pan, Shalini De Mello, Orazio Gallo, "
    "Leonidas Guibas, Jonathan Tremblay, Sameh Khamis, Tero Karras, Gordon Wetzstein",
    "url": "https://github.com/NVlabs/eg3d",
}

_RENAMES = [
    (r"^backbone\.mapping\.", "mapping_network."),
    (r"(^|\.)synthesis\.b(\d+)\.", r"\1blocks.\2."),
    (r"(^|\.)fc(\d+)\.", r"\1layers.\2."),
    (r"(^|\.)torgb\.", r"\1to_rgb."),
    (r"(^|\.)const$", r"\1constant"),
    (r"(^|\.)noise_const$", r"\1noise"),
    (r"(^|\.)w_avg$", r"\1w_mean"),
    (r"(^|\.)net\.0\.", r"\1hidden."),
    (r"(^|\.)net\.2\.", r"\1output."),
]
"""The key map: patterns of published names, and what ours are. They apply in this order."""

_MODULES: dict[str, Literal["2x", "4x", "8x", "8xdc"]] = {
    "SuperresolutionHybrid2X": "2x",
    "SuperresolutionHybrid4X": "4x",
    "SuperresolutionHybrid8X": "8x",
    "SuperresolutionHybrid8XDC": "8xdc",
}


def convert(generator: Record, name: str) -> tuple[EG3DConfig, dict[str, Tensor]]:
    """Return config and tensors of a published generator.

    Args:
        generator: its record, usually the snapshot's "G_ema".
        name: what to call the file in messages.

    Raises:
        ModelError: if a part is missing, of a kind that this version does not know, or does not fit the others.
    """
    with described_as("EG3D", name):
        config = read_config(
            generator["_init_kwargs"],
            generator["rendering_kwargs"],
            neural_resolution=generator["neural_rendering_resolution"],
            plane_axes=axes_of(generator, PUBLISHED_AXES),
            backbone_clamp=generator.module("backbone.synthesis.b4.conv1")["conv_clamp"],
            superresolution_clamp=generator.module("superresolution.block0.conv1")["conv_clamp"],
        )
    tensors = rename_all(generator.tensors(), name)
    with torch.device("meta"):  # shapes without numbers
        expected = EG3DGenerator(config).state_dict()
    check_shapes({key: tuple(value.shape) for key, value in expected.items()}, tensors, name)
    return config, tensors


def read_config(
    arguments: Mapping[str, Any],
    rendering: Mapping[str, Any],
    *,
    neural_resolution: int,
    plane_axes: tuple[str, ...] = PUBLISHED_AXES,
    backbone_clamp: float | None = None,
    superresolution_clamp: float | None = 256.0,
) -> EG3DConfig:
    """Return our config for what a published generator was built with.

    Args:
        arguments: of its constructor.
        rendering: its `rendering_kwargs`: the attribute, which scripts change, not the constructor's argument.
        neural_resolution: its `neural_rendering_resolution`.
        plane_axes: what its planes see.
        backbone_clamp: `conv_clamp` of its backbone's layers.
        superresolution_clamp: `conv_clamp` of its super-resolution's layers.

    Raises:
        ModelError: if the super-resolution is of an unknown kind.
    """
    return EG3DConfig(
        plane_axes=plane_axes,
        backbone=backbone_config(arguments, backbone_clamp),
        # FFHQ's cameras (radius 2.7, focal length 4.2647) see 0.63 units at the head, which is 0.32 m on the people
        # that its labels were fitted to: half a metre a unit.
        head_to_model=HeadToModel(scale=2.0),
        **shared_config(arguments, rendering, neural_resolution, superresolution_clamp),
    )


class SharedConfig(TypedDict):
    """What the configs of EG3D and of what was made from it have in common."""

    z_dim: int
    w_dim: int
    mapping: MappingConfig
    decoder: DecoderConfig
    render: RenderConfig
    superresolution: SuperResolutionConfig
    camera_radius: float
    camera_pivot: tuple[float, float, float]


def shared_config(
    arguments: Mapping[str, Any],
    rendering: Mapping[str, Any],
    neural_resolution: int,
    superresolution_clamp: float | None,
) -> SharedConfig:
    """Return what Next3D's config has, too; arguments and errors as of `read_config`."""
    module = str(rendering["superresolution_module"]).rpartition(".")[2]
    if module not in _MODULES:
        raise ModelError(f'The super-resolution "{module}" is unknown.', f"Known: {', '.join(_MODULES)}.")
    x, y, z = rendering.get("avg_camera_pivot", (0, 0, 0))
    return SharedConfig(
        z_dim=arguments["z_dim"],
        w_dim=arguments["w_dim"],
        mapping=MappingConfig(
            layers=arguments.get("mapping_kwargs", {}).get("num_layers", 8),
            label_dim=arguments["c_dim"],
            label_scale=0.0 if rendering["c_gen_conditioning_zero"] else float(rendering.get("c_scale", 0)),
        ),
        decoder=DecoderConfig(lr_multiplier=float(rendering.get("decoder_lr_mul", 1))),
        render=RenderConfig(
            box=float(rendering["box_warp"]),
            ray_start=_distance(rendering["ray_start"]),
            ray_end=_distance(rendering["ray_end"]),
            coarse=rendering["depth_resolution"],
            fine=rendering["depth_resolution_importance"],
            in_disparity=bool(rendering["disparity_space_sampling"]),
            white_back=bool(rendering.get("white_back", False)),
            density_noise=float(rendering.get("density_noise", 0)),
            neural_resolution=neural_resolution,
        ),
        superresolution=SuperResolutionConfig(
            kind=_MODULES[module],
            antialias=bool(rendering["sr_antialias"]),
            clamp=optional_float(superresolution_clamp),
            noise_mode=rendering.get("superresolution_noise_mode", "none"),
        ),
        camera_radius=float(rendering.get("avg_camera_radius", 2.7)),
        camera_pivot=(float(x), float(y), float(z)),
    )


def backbone_config(arguments: Mapping[str, Any], clamp: float | None) -> BackboneConfig:
    """Return the synthesis network that a generator's constructor made of its arguments."""
    base, most = channel_limits(arguments)
    return BackboneConfig(channel_base=base, channel_max=most, clamp=optional_float(clamp))


def channel_limits(arguments: Mapping[str, Any]) -> tuple[int, int]:
    """Return a generator's channels times resolution, and the most channels."""
    return arguments.get("channel_base", 32768), arguments.get("channel_max", 512)


@contextmanager
def described_as(family: str, name: str) -> Iterator[None]:
    """Make a ModelError of what goes wrong while a generator's description is read."""
    try:
        yield
    except (LookupError, TypeError, ValueError) as error:
        raise ModelError(f'"{name}" describes its network in a way that is not {family}\'s: {error}.') from error


def axes_letters(matrices: Tensor) -> tuple[str, ...]:
    """Return what planes see, in letters (column, row), of the axes matrices of the published renderer.

    A plane sees the first two coordinates of point times inverse matrix.

    Raises:
        ModelError: if a plane is not parallel to two axes.
    """
    letters = []
    for inverse in torch.linalg.inv(matrices.double()).round(decimals=6):
        columns = inverse[:, :2].T
        if not torch.equal(columns.sort(dim=1).values, torch.tensor([[0.0, 0.0, 1.0]] * 2, dtype=torch.float64)):
            raise ModelError("Its planes are not parallel to the axes.")
        letters.append("".join("xyz"[int(column.argmax())] for column in columns))
    return tuple(letters)


def rename(key: str) -> str:
    """Return our name of a published generator's tensor."""
    for pattern, ours in _RENAMES:
        key = re.sub(pattern, ours, key)
    return key


def rename_all(state: Mapping[str, Tensor], name: str) -> dict[str, Tensor]:
    """Return a published generator's tensors under our names, those left out that `acting` leaves out."""
    return {rename(key): value for key, value in acting(state, name).items()}


def acting(state: Mapping[str, Tensor], name: str) -> dict[str, Tensor]:
    """Return what of a published state belongs to the network, under the published names.

    Left out are the filters of its layers, which are constants in our code, and a statistic of the labels that its
    training loop keeps.

    Raises:
        ModelError: if a filter is another one than the code's.
    """
    kernel = make_filter(BINOMIAL)
    tensors = {}
    for key, value in state.items():
        if key.endswith("resample_filter"):
            if value.shape != kernel.shape or not torch.allclose(value.float(), kernel):
                raise ModelError(f'"{name}" resamples with another filter than EG3D ({key}).')
        elif key != "dataset_label_std":
            tensors[key] = value
    return tensors


def axes_of(generator: Record, otherwise: tuple[str, ...]) -> tuple[str, ...]:
    """Return what the planes see; `otherwise` for files from before the renderer kept it."""
    matrices = generator.module("renderer").state.get("plane_axes")
    return axes_letters(matrices) if isinstance(matrices, Tensor) else otherwise


def _distance(value: float | str) -> float | Literal["auto"]:
    return "auto" if value == "auto" else float(value)


def optional_float(value: float | None) -> float | None:
    """Return a number as a float, and None as it is."""
    return None if value is None else float(value)
