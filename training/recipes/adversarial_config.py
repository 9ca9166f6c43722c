# SPDX-License-Identifier: Apache-2.0
"""Settings that the adversarial recipes share, and what of them does not fit together.

Defaults are those of EG3D's published FFHQ-512 run.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

import torch.distributed as dist

from neural_core.checkpoints import Checkpoint
from neural_core.errors import ModelError, UsageError
from neural_core.systems import read_config
from neural_core.systems.eg3d.config import EG3DConfig
from neural_core.systems.next3d.config import Next3DConfig
from neural_core.systems.plane_config import SUPERRESOLUTION

from ..augment import AugmentConfig
from ..config import RunConfig, above_zero, not_negative

LABEL = 25
"""Numbers in a camera label."""

Model = EG3DConfig | Next3DConfig
"""What is trained."""


@dataclass(frozen=True)
class DataConfig:
    """Which pictures."""

    path: str = "data/pictures"
    """Folder or zip in EG3D's layout: dataset.json with camera labels, and pictures. Recipes of people who move need a
    folder with records of them besides (docs/data.md). Transparent pictures are laid over what the model renders behind
    people: black, or white with model.render.white_back."""
    mirror: bool = False
    """Whether every picture is there as its mirror image, too. Published data sets have these among their files."""
    limit: int = 0
    """Use at most this many pictures; 0 uses all."""

    def __post_init__(self) -> None:
        """Refuse what makes no sense."""
        not_negative("data", self, "limit")


@dataclass(frozen=True)
class DiscriminatorConfig:
    """The discriminator. It sees two pictures at once where the model has a super-resolution, else one."""

    channel_base: int = 32768
    """Feature channels times resolution, before the maximum is applied."""
    channel_max: int = 512
    """Most feature channels of a resolution."""
    group: int = 4
    """Samples whose differences are measured together; it divides the micro-batch. 1 measures none."""
    clamp: float | None = 256.0
    """Limit of the absolute value of a convolution's output."""

    def __post_init__(self) -> None:
        """Refuse what makes no sense."""
        above_zero("discriminator", self, "channel_base", "channel_max", "group")


@dataclass(frozen=True)
class LossConfig:
    """Weights of the regularisers, of which 0 turns one off, and how often they act."""

    r1_gamma: float = 1.0
    """R1's gamma. The published runs have 1 (FFHQ), 5 (AFHQ), 0.3 (ShapeNet); small batches and data sets want more."""
    r1_every: int = 16
    """Steps from one R1 phase to the next."""
    density: float = 0.25
    """Weight of the density's smoothness."""
    density_every: int = 4
    """Steps from one such phase to the next."""
    density_points: int = 1000
    """Points a sample."""
    density_step: float = 0.004
    """Standard deviation of the offset from a point to its neighbour, model units."""
    density_extent: float = 1.0
    """Points are drawn from a cube of [-extent, extent]^3, model units. The published 1 holds whatever the box is: for
    FFHQ's box of side 1, seven of eight points lie outside, where all features are zero."""

    def __post_init__(self) -> None:
        """Refuse what makes no sense."""
        above_zero("loss", self, "r1_every", "density_every", "density_points")
        not_negative("loss", self, "r1_gamma", "density", "density_step")


@dataclass(frozen=True)
class PoseConfig:
    """Pose conditioning of the mapping network (only where model.mapping has labels)."""

    swap: float = 0.5
    """Probability, in the end, that the network is told another camera than the one that renders."""
    fade_kimg: float = 1000.0
    """Thousands of pictures over which the probability falls from 1 to that."""


@dataclass(frozen=True)
class BlurConfig:
    """Blur of the discriminator's input early on. The published code turns it off when it starts from weights."""

    sigma: float = 10.0
    """At the start, in pixels of the picture."""
    fade_kimg: float = 200.0
    """Thousands of pictures over which it falls to 0 (published: 200 for a batch of 32, in proportion to the batch)."""


@dataclass(frozen=True)
class ResolutionConfig:
    """Growth of the volume rendering's resolution, from model.render.neural_resolution."""

    final: int = 0
    """In the end, pixels; 0 leaves it as it is."""
    fade_kimg: float = 1000.0
    """Thousands of pictures until then."""


@dataclass(frozen=True)
class RateConfig:
    """Adam's learning rates."""

    generator: float = 0.0025
    discriminator: float = 0.002

    def __post_init__(self) -> None:
        """Refuse what makes no sense."""
        not_negative("rates", self, "generator", "discriminator")


@dataclass(frozen=True)
class SampleConfig:
    """Pictures made as training goes."""

    people: int = 8
    """Columns of the grid."""
    yaw: float = 30.0
    """Degrees to which the grid and the turntable turn to either side."""
    frames: int = 24
    """Frames of the turntable."""


@dataclass(frozen=True)
class ExportConfig:
    """What the exported file says of itself. Empty fields are taken from the weights that training started from."""

    title: str = ""
    """What it is called."""
    licence: str = ""
    """SPDX id or name. What the data's licence permits is for you to know."""
    licence_url: str = ""
    """Where it can be read."""
    use: str = ""
    """"any", or for example "non-commercial"."""
    data: str = ""
    """The data set and its licence."""


@dataclass(frozen=True)
class AdversarialConfig:
    """What every adversarial run is made of, beside its model."""

    init: str = ""
    """Checkpoint that training starts from; empty for random weights. The discriminator always starts from random
    weights."""
    data: DataConfig = field(default_factory=DataConfig)
    discriminator: DiscriminatorConfig = field(default_factory=DiscriminatorConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    pose: PoseConfig = field(default_factory=PoseConfig)
    blur: BlurConfig = field(default_factory=BlurConfig)
    neural_resolution: ResolutionConfig = field(default_factory=ResolutionConfig)
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    rates: RateConfig = field(default_factory=RateConfig)
    samples: SampleConfig = field(default_factory=SampleConfig)
    export: ExportConfig = field(default_factory=ExportConfig)
    run: RunConfig = field(default_factory=RunConfig)


def check(config: AdversarialConfig, model: Model) -> None:
    """Raise UsageError for settings that do not fit each other."""
    size = model.image_size
    if model.identity is None and model.mapping.label_dim not in (0, LABEL):
        raise UsageError(
            f"model.mapping.label_dim is {model.mapping.label_dim}, but a camera label has {LABEL} numbers.",
            f"Set it to {LABEL}, or to 0 for a generator that is not told of cameras.",
        )
    if size < 8 or size & (size - 1):
        raise UsageError(
            f"The model makes pictures of {size} pixels; a discriminator needs a power of two, at least 8.",
            "Change model.render.neural_resolution.",
        )
    if config.neural_resolution.final and model.superresolution.kind not in SUPERRESOLUTION:
        raise UsageError(
            "neural_resolution.final would change the size of the pictures: only the published super-resolutions (2x, "
            "4x, 8x, 8xdc) keep it.",
            "Set it to 0.",
        )
    processes = dist.get_world_size() if dist.is_initialized() else 1
    together = config.run.micro_batch or config.run.batch // processes
    if together % config.discriminator.group:
        raise UsageError(
            f"discriminator.group is {config.discriminator.group}, which does not divide {together} samples.",
            "Choose a run.micro_batch that is a multiple of it, or another discriminator.group.",
        )
    if together == 1 and swaps_poses(config, model):
        raise UsageError(
            "Poses are swapped within a micro-batch, but it has 1 sample.",
            "Set run.micro_batch to 2 or more, or pose.swap and pose.fade_kimg to 0.",
        )


def pose_conditioned(model: Model) -> bool:
    """Return whether the mapping network is told of a camera at all."""
    return model.identity is None and model.mapping.label_dim > 0 and model.mapping.label_scale > 0


def swaps_poses(config: AdversarialConfig, model: Model) -> bool:
    """Return whether the mapping network is at some time told another camera than the one that renders."""
    return pose_conditioned(model) and (config.pose.swap > 0 or config.pose.fade_kimg > 0)


def check_start(system: str, model: Model, start: Checkpoint) -> None:
    """Raise ModelError unless weights belong to a model of a system, but for the cameras and how it is rendered."""
    if start.system != system:
        raise ModelError(f'"{start.name}" is a model of {start.system}, not of {system}.', "Choose another --init.")
    theirs, ours = (_fixed(c) for c in (read_config(start.system, start.config, start.name), model))
    if ("identity" in theirs) != ("identity" in ours):
        raise ModelError(
            f'"{start.name}" and the configuration are not the same kind of model: one has a face code, one has none.',
            "Leave [model.identity] out." if "identity" in theirs else "Set [model.identity] as the weights have it.",
        )
    for name in [*theirs, *(name for name in ours if name not in theirs)]:
        value, wanted = theirs.get(name), ours.get(name)
        if wanted != value:
            raise ModelError(
                f'"{start.name}" has {name} = {value}, but the configuration says {wanted}.',
                f"Set model.{name} as the weights have it.",
            )


def _fixed(model: Model) -> dict[str, Any]:
    """Return, by dotted name, the settings that weights were made for."""
    found: dict[str, Any] = {}
    for name, value in asdict(model).items():
        found |= {f"{name}.{key}": v for key, v in value.items()} if isinstance(value, dict) else {name: value}
    free = ("render.", "camera_")
    return {k: v for k, v in found.items() if k == "render.box" or not k.startswith(free)}
