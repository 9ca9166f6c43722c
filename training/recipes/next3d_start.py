# SPDX-License-Identifier: Apache-2.0
"""Next3D starts from weights that already know people: its own, or an EG3D's (section 3.6 of the paper)."""

from __future__ import annotations

from torch import Tensor

from neural_core import checkpoints
from neural_core.checkpoints import Checkpoint
from neural_core.errors import ModelError
from neural_core.systems import read_config
from neural_core.systems.eg3d.config import EG3DConfig
from neural_core.systems.next3d.config import Next3DConfig
from neural_core.systems.next3d.generator import Next3DGenerator
from neural_core.systems.next3d.identity_generator import IdentityNext3D, still_tensors

from .adversarial_config import check_start

_FROM_BACKBONE = ("static.", "texture.", "mouth.unet.", "blending.")
"""Prefixes of the networks that begin as EG3D's backbone."""


def fill(generator: Next3DGenerator | IdentityNext3D, model: Next3DConfig, start: Checkpoint) -> tuple[str, ...]:
    """Fill a network from a checkpoint, and return the names of tensors that keep their random values.

    * From Next3D: everything.
    * Ours from our EG3D: all that still people have; planes are resized. What moves is random.
    * The paper's from the paper's EG3D: mapping network, decoder, super-resolution, and the backbone as static planes,
      texture, mouth module and blending, wherever shapes agree. The published code does so, too, but says nothing of
      what does not fit. (Of three planes EG3D's third one is read otherwise here; training has to turn it.)

    Raises:
        ModelError: the weights are of another system, or have another head, code, box or rendering than the model.
    """
    if start.system == "next3d":
        check_start("next3d", model, start)
        checkpoints.fill(generator, start.tensors, start.name)
        return ()
    if start.system != "eg3d":
        raise ModelError(
            f'"{start.name}" is a model of {start.system}, not of next3d or eg3d.', "Choose another --init."
        )
    still: EG3DConfig = read_config(start.system, start.config, start.name)
    _check_still(model, still, start.name)
    own = generator.state_dict()
    if isinstance(generator, IdentityNext3D):
        try:
            state = still_tensors(generator, start.tensors)
        except ValueError as error:
            raise ModelError(
                f'"{start.name}" does not fit the model: {error}.', "Set [model] as the weights have it."
            ) from error
        found = start.tensors.keys() & state.keys()
    else:
        spread = _spread(start.tensors, own)
        fitting = {name: tensor for name, tensor in spread.items() if tensor.shape == own[name].shape}
        state, found = {**own, **fitting}, fitting.keys()
    generator.load_state_dict({name: value.to(own[name].dtype) for name, value in state.items()})
    return tuple(name for name, _ in generator.named_parameters() if name not in found)


def _check_still(model: Next3DConfig, still: EG3DConfig, name: str) -> None:
    """Raise ModelError unless what an EG3D means by code and model space is what the model means."""
    if (model.identity is None) != (still.identity is None):
        raise ModelError(
            f'"{name}" and the configuration are not the same kind of model: one has a face code, one has none.',
            "Choose another --init.",
        )
    pairs: dict[str, tuple[object, object]] = {
        "z_dim": (still.z_dim, model.z_dim),
        "render.box": (still.render.box, model.render.box),
    }
    if model.identity is not None and still.identity is not None:
        pairs |= {
            "plane_axes": (still.plane_axes, model.plane_axes),
            "head_to_model": (still.head_to_model, model.head_to_model),
            "identity.face": (still.identity.face, model.identity.face),
            "identity.shape_dims": (still.identity.shape_dims, model.identity.shape_dims),
            "identity.traits": (still.identity.traits, model.identity.traits),
        }
    for setting, (theirs, ours) in pairs.items():
        if theirs != ours:
            raise ModelError(
                f'"{name}" has {setting} = {theirs}, but the configuration says {ours}.',
                f"Set model.{setting} as the weights have it.",
            )


def _spread(tensors: dict[str, Tensor], own: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return, by the network's own names, which of EG3D's tensors belong there."""
    found = {}
    for name in own:
        source = name
        for prefix in _FROM_BACKBONE:
            if name.startswith(prefix):
                source = "backbone." + name.removeprefix(prefix)
        if source in tensors:
            found[name] = tensors[source]
    return found
