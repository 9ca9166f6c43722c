# SPDX-License-Identifier: Apache-2.0
"""The model that is judged, and how its pictures are taken."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from neural_core.cameras import Camera, eg3d_cam2world, intrinsics_from_focal
from neural_core.errors import UsageError
from neural_core.systems.common import Field, Portrait, System

from .pictures import over_grey
from .views import SOLID, Views


@runtime_checkable
class CodedSystem(System, Protocol):
    """What figures need of a system besides: the space of its data's cameras, and people by their codes."""

    config: Any
    """Has z_dim, head_to_model, camera_radius, camera_pivot and camera_focal, as EG3D's."""
    device: torch.device
    checkpoint_hash: str

    def portrait_of(self, z: Float[Tensor, "1 z"]) -> Portrait:
        """Return the person of a code. Raises UsageError if people have none."""
        ...

    def to_head_space(self, camera: Camera) -> Camera:
        """Return cameras of the data's labels in head space."""
        ...


@dataclass(frozen=True)
class Shown:
    """n pictures of one person. Head space, CPU."""

    views: Views
    """The pictures as large as the model makes them, over mid grey unless that was not wanted, and the depth of
    the volume rendering."""
    compared: Float[Tensor, "n 3 s s"]
    """The pictures, averaged down to the size at which they are compared."""


def chosen(views: Views, numbers: Sequence[int]) -> Views:
    """Return some of the views, in that order; one may come several times."""
    some = list(numbers)
    camera = Camera(views.camera.cam2world[some], views.camera.intrinsics[some])
    return Views(camera, views.depth[some], views.solid[some], views.picture[some])


class Subject:
    """A model, asked for pictures of people and of seeds."""

    def __init__(self, system: System, pixels: int) -> None:
        """Take the model.

        Args:
            system: with its weights.
            pixels: width and height at which pictures are compared.

        Raises:
            UsageError: the system is one whose people cannot be asked for by code and seed.
        """
        if not isinstance(system, CodedSystem):
            raise UsageError(f'Figures are not defined for models of "{system.info.name}", whose people have no codes.')
        self.system, self.pixels = system, pixels
        own = system.info.image_size
        self.size = own if own % pixels == 0 else pixels
        """Width and height of the pictures that are rendered: the model's own where that is a multiple of `pixels`,
        so that they can be averaged down, else `pixels`."""

    @property
    def code_size(self) -> int:
        """Return the numbers in a person's code; 0 if the model knows no codes of people."""
        return self.system.config.z_dim if self.system.info.knows_shape else 0

    def of_code(self, code: Float[Tensor, " z"]) -> Field:
        """Return the person of a code."""
        return self.system.pose(self.portrait_of_code(code))

    def portrait_of_code(self, code: Float[Tensor, " z"]) -> Portrait:
        """Return the portrait of the person of a code."""
        return self.system.portrait_of(code[None].to(self.system.device))

    def of_seed(self, seed: int, truncation: float) -> tuple[Portrait, Field]:
        """Return the person of a seed."""
        portrait = self.system.create(seed, truncation)
        return portrait, self.system.pose(portrait)

    @property
    def animatable(self) -> bool:
        """Return whether people can be asked for facial actions."""
        return any(control.name == "actions" for control in self.system.info.controls)

    def acting(
        self, portrait: Portrait, actions: Float[Tensor, " 52"], joints: Float[Tensor, "10 3"] | None = None
    ) -> Field:
        """Return a person of an animatable model with an expression; joints are left out where it takes none."""
        asked = {"actions": actions} if joints is None else {"actions": actions, "joints": joints}
        taken = {control.name for control in self.system.info.controls}
        controls = {name: value.float().to(self.system.device) for name, value in asked.items() if name in taken}
        return self.system.pose(portrait, controls)

    def in_head_space(self, labels: Float[Tensor, "n 25"]) -> Camera:
        """Return the cameras of a data set's labels."""
        return self.system.to_head_space(Camera.from_label(labels))

    def around(self, yaws: Sequence[float]) -> Camera:
        """Return cameras at some yaws (degrees; positive sees more of the subject's left), else the frontal camera."""
        config = self.system.config
        yaw = torch.deg2rad(torch.tensor(yaws))
        cam2world = eg3d_cam2world(yaw, torch.zeros_like(yaw), config.camera_radius, config.camera_pivot)
        intrinsics = intrinsics_from_focal(config.camera_focal).repeat(len(yaw), 1, 1)
        return self.system.to_head_space(Camera(cam2world, intrinsics))

    @property
    def metres(self) -> float:
        """Return how long a model unit is."""
        return 1 / self.system.config.head_to_model.scale

    def see_acting(
        self,
        portrait: Portrait,
        camera: Camera,
        actions: Float[Tensor, "n 52"],
        joints: Float[Tensor, "n 10 3"] | None = None,
    ) -> Shown:
        """Return what n cameras see of a person of an animatable model, who has another expression for each."""
        shown = []
        for number in range(len(camera)):
            acting = self.acting(portrait, actions[number], None if joints is None else joints[number])
            one = Camera(camera.cam2world[number : number + 1], camera.intrinsics[number : number + 1])
            shown.append(self.see(acting, one))
        depth, solid, picture = (
            torch.cat([getattr(one.views, name) for one in shown]) for name in ("depth", "solid", "picture")
        )
        return Shown(Views(camera.to("cpu"), depth, solid, picture), torch.cat([one.compared for one in shown]))

    @torch.inference_mode()
    def see(self, person: Field, camera: Camera, *, grey: bool = True) -> Shown:
        """Return what cameras see, on the CPU; one after the other, so that each picture is the same in any company.

        Args:
            person: who is seen.
            camera: n cameras.
            grey: lay what is not opaque over grey; if not, pictures are as the network made them.
        """
        pictures, depths, solid = [], [], []
        for index in range(len(camera)):
            one = Camera(camera.cam2world[index : index + 1], camera.intrinsics[index : index + 1])
            seen = person.render(one.to(self.system.device), self.size)
            opacity = F.interpolate(seen.opacity, seen.image.shape[-2:], mode="bilinear", align_corners=False)
            colour = (seen.image + 1) / 2
            pictures.append((over_grey(colour, opacity) if grey else colour).clamp(0, 1).float().cpu())
            depths.append(seen.depth[:, 0].nan_to_num(0.0).float().cpu())
            solid.append((F.adaptive_avg_pool2d(seen.opacity, seen.depth.shape[-1]) >= SOLID)[:, 0].cpu())
        picture = torch.cat(pictures)
        views = Views(camera.to("cpu"), torch.cat(depths), torch.cat(solid), picture)
        return Shown(views, F.adaptive_avg_pool2d(picture, self.pixels))
