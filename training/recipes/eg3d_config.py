# SPDX-License-Identifier: Apache-2.0
"""Settings of the adversarial EG3D recipe. Defaults are those of the published FFHQ-512 run."""

from __future__ import annotations

from dataclasses import dataclass, field

from neural_core.errors import UsageError
from neural_core.systems.eg3d.config import EG3DConfig
from neural_core.systems.eg3d.generator import EG3DGenerator
from neural_core.systems.eg3d.identity_generator import IdentityGenerator
from neural_core.systems.eg3d.system import build_generator

from .adversarial_config import AdversarialConfig


@dataclass(frozen=True)
class Config(AdversarialConfig):
    """Everything a run of this recipe is made of. The model of `init` has to be [model], but for its rendering."""

    model: EG3DConfig = field(default_factory=EG3DConfig)


def new_generator(model: EG3DConfig) -> EG3DGenerator | IdentityGenerator:
    """Return the network of a model, with random weights. Raises UsageError for parts that do not fit each other."""
    try:
        return build_generator(model)
    except ValueError as error:
        raise UsageError(f"This model cannot be built: {error}.", "Change [model] in the configuration.") from error
