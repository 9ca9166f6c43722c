# SPDX-License-Identifier: Apache-2.0
"""Settings of the adversarial Next3D recipe, and the networks that they describe.

Defaults are those of EG3D's published run; the discriminator is the paper's, which was never released.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Literal

from neural_core.errors import UsageError
from neural_core.human.anny import load_anny_head
from neural_core.human.arkit import ACTIONS
from neural_core.human.face_atlas import FaceAtlas
from neural_core.human.model import FaceModel
from neural_core.systems.next3d.config import Next3DConfig
from neural_core.systems.next3d.generator import Next3DGenerator
from neural_core.systems.next3d.identity_generator import IdentityNext3D

from ..config import not_negative
from ..discriminators import Discriminator, DualDiscriminator
from . import adversarial_config
from .adversarial_config import LABEL, AdversarialConfig

Part = Literal["static_planes", "mouth", "synthetic_rendering"]


@dataclass(frozen=True)
class DiscriminatorConfig(adversarial_config.DiscriminatorConfig):
    """What the discriminator sees and is told, beside picture, volume rendering and camera."""

    synthetic_rendering: bool = True
    """Whether it sees the driving mesh (section 3.5)."""
    expression: Literal["none", "together", "apart"] = "none"
    """Whether it is told the facial actions: never; after the camera, with one embedding (the published 75 numbers); or
    with an embedding of their own. The paper finds training unstable with them."""
    label_noise: float = 0.0
    """Standard deviation of noise on all that it is told, in those of the data set (`disc_c_noise`; the published code
    takes the micro-batch's)."""

    def __post_init__(self) -> None:
        """Refuse what makes no sense."""
        super().__post_init__()
        not_negative("discriminator", self, "label_noise")


@dataclass(frozen=True)
class Config(AdversarialConfig):
    """Everything a run of this recipe is made of.

    Training starts (`init`) from weights of [model], but for its rendering, or from those of an EG3D.
    """

    model: Next3DConfig = field(default_factory=Next3DConfig)
    discriminator: DiscriminatorConfig = field(default_factory=DiscriminatorConfig)
    without: tuple[Part, ...] = ()
    """Parts to leave out (table 2 of the paper): "static_planes"; "mouth", the mouth module and blending, so that the
    drawn mesh has to show teeth; "synthetic_rendering", the discriminator's."""


def reduced(config: Config) -> Config:
    """Return settings in which the parts to leave out are left out."""
    model, discriminator = config.model, config.discriminator
    if "static_planes" in config.without:
        model = replace(model, static_planes=False)
    if "mouth" in config.without:
        model = replace(model, mouth=None, blending=None)
    if "synthetic_rendering" in config.without:
        discriminator = replace(discriminator, synthetic_rendering=False)
    return replace(config, model=model, discriminator=discriminator, without=())


def face_of(model: Next3DConfig) -> FaceModel:
    """Return the face model that drives a network. Raises UsageError if records do not say how it moves."""
    name = model.mesh.face if model.identity is None else model.identity.face
    face = load_anny_head()
    if name != face.name:
        raise UsageError(
            f'The data says how "{face.name}" moves, but the model is driven by "{name}".',
            f'Set model.mesh.face to "{face.name}".',
        )
    return face


def new_generator(model: Next3DConfig, face: FaceModel) -> Next3DGenerator | IdentityNext3D:
    """Return the network of a model, with random weights; the paper's has the moving part of the face as its mesh.

    Raises:
        UsageError: parts do not fit each other.
    """
    try:
        if model.identity is not None:
            return IdentityNext3D(model, face)
        generator = Next3DGenerator(model)
    except ValueError as error:
        raise UsageError(f"This model cannot be built: {error}.", "Change [model] in the configuration.") from error
    atlas, topology = FaceAtlas.of(face), generator.topology
    if model.mesh.triangles != len(atlas.faces):
        raise UsageError(
            f'The moving part of "{face.name}" has {len(atlas.faces)} triangles, not {model.mesh.triangles}.',
            f"Set model.mesh.triangles to {len(atlas.faces)}.",
        )
    topology.faces.copy_(atlas.faces)
    topology.corner_uv.copy_(atlas.corner_uv)
    return generator


def new_discriminator(config: Config) -> Discriminator | DualDiscriminator:
    """Return the discriminator of a model, with random weights."""
    options, model = config.discriminator, config.model
    told = {"none": (LABEL, 0), "together": (LABEL + len(ACTIONS), 0), "apart": (LABEL, len(ACTIONS))}
    label, expression = told[options.expression]
    if model.superresolution.kind == "none":
        return Discriminator(
            model.image_size, picture_channels=6 if options.synthetic_rendering else 3, label_dim=label,
            expression_dim=expression, channel_base=options.channel_base, channel_max=options.channel_max,
            group=options.group, clamp=options.clamp,
        )  # fmt: skip
    return DualDiscriminator(
        model.image_size, sees_driver=options.synthetic_rendering, label_dim=label, expression_dim=expression,
        channel_base=options.channel_base, channel_max=options.channel_max, group=options.group, clamp=options.clamp,
    )  # fmt: skip
