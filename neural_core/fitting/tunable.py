# SPDX-License-Identifier: Apache-2.0
"""What inversion and stylisation need of a system, and how tuned weights travel in a portrait.

A person is made of *latents* (a code, a w for each layer) and of the network's weights. Both can be optimised through
`Tunable.see`. Tuned weights are kept as their difference from the model's, in half precision, beside the latents: the
portrait's tensor "tuned/<parameter>". `System.pose` adds them to a copy of the network; the network itself, which
serves every other portrait, is never changed.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from typing import Protocol, TypeVar, runtime_checkable

import torch
from torch import Tensor, nn

from ..cameras import Camera
from ..errors import InputError
from ..rendering.sampling import HALF, Sampling
from ..systems.common import Portrait, Rendering, System

PREFIX = "tuned/"
"""Begins the names of a portrait's tensors that are differences of weights."""

Network = TypeVar("Network", bound=nn.Module)


@runtime_checkable
class Tunable(System, Protocol):
    """A system whose people and weights can be optimised; every system of ours is one."""

    @property
    def generator(self) -> nn.Module:
        """Return the network, which is not to be changed."""
        ...

    def latents(self, portrait: Portrait) -> dict[str, Tensor]:
        """Return the numbers that make a portrait's person, by the names that they have in `Portrait.tensors`.

        All have a first axis for people, so that several portraits' can be joined. What the portrait does not say (an
        offset that only inversion uses) is there as zeros. Raises InputError if the portrait is not of these weights.
        """
        ...

    def portrait_of_latents(self, latents: Mapping[str, Tensor]) -> Portrait:
        """Return the portrait of one person's latents."""
        ...

    def see(
        self,
        generator: nn.Module,
        latents: Mapping[str, Tensor],
        camera: Camera,
        controls: Mapping[str, Tensor] | None = None,
        sampling: Sampling = HALF,
    ) -> Rendering:
        """Return people as cameras of head space see them, differentiable in the latents and in the weights.

        Args:
            generator: the system's, or a copy of it (`tuned_copy`).
            latents: of as many people as there are cameras.
            camera: one for each of them.
            controls: as `System.pose` takes them; they hold for all people.
            sampling: source of the random numbers along the rays.
        """
        ...


def tuned_copy(generator: Network, names: Iterable[str]) -> Network:
    """Return a copy of a network in which some parameters are its own, and every other tensor is shared.

    Args:
        generator: stays as it is.
        names: of parameters. In the copy they require gradients.
    """
    names = set(names)
    own = dict(generator.named_parameters())
    if unknown := names - own.keys():
        raise KeyError(f"the network has no parameters {sorted(unknown)}")
    tensors = (*((name, value) for name, value in own.items() if name not in names), *generator.named_buffers())
    shared = {id(value): value for _, value in tensors}  # deepcopy takes these as copied already
    tuned = copy.deepcopy(generator, shared)
    for name, parameter in tuned.named_parameters():
        if name in names:
            parameter.requires_grad_(True)
    return tuned


def difference(tuned: nn.Module, original: nn.Module, names: Iterable[str]) -> dict[str, Tensor]:
    """Return what a portrait keeps of some parameters: tuned minus original, half precision, by its names.

    Parameters that half precision cannot tell from the original are left out.
    """
    before, after = dict(original.named_parameters()), dict(tuned.named_parameters())
    kept = {PREFIX + name: (after[name] - before[name]).detach().half() for name in sorted(names)}
    return {name: value for name, value in kept.items() if value.any()}


def with_tuned(generator: Network, tensors: Mapping[str, Tensor]) -> Network:
    """Return the network that a portrait is shown by: itself, or a copy with the portrait's differences added.

    Args:
        generator: stays as it is.
        tensors: all of the portrait's.

    Raises:
        InputError: if a difference fits no parameter.
    """
    changes = {name.removeprefix(PREFIX): value for name, value in tensors.items() if name.startswith(PREFIX)}
    if not changes:
        return generator
    own = dict(generator.named_parameters())
    for name, value in changes.items():
        if name not in own or own[name].shape != value.shape:
            raise InputError(
                f'This portrait tunes the weights "{name}" {list(value.shape)}, which its model does not have.',
                "Create it again with the model that is to show it.",
            )
    tuned = tuned_copy(generator, changes)
    with torch.no_grad():
        for name, parameter in tuned.named_parameters():
            if name in changes:
                parameter.requires_grad_(False).add_(changes[name].to(parameter))
    return tuned
