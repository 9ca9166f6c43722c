# SPDX-License-Identifier: Apache-2.0
"""The door to Next3D from head space: seeds to portraits, portraits and expressions to fields, fields to pictures."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, cast

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ...cameras import Camera
from ...checkpoints import Checkpoint, fill, parse_json_object
from ...errors import UsageError
from ...fitting.tunable import with_tuned
from ...human.arkit import ACTIONS
from ...human.model import FaceModel
from ...human.posing import FacePoser
from ...records import JOINTS
from ...rendering.sampling import HALF, Sampling
from ...rendering.volume import FieldFunction
from ..common import Control, Portrait, Rendering, SystemInfo
from ..plane_system import PlaneField, PlaneSystem, Render, offsets_of, own_face
from .config import Next3DConfig
from .generator import Next3DGenerator
from .identity_generator import IdentityNext3D

CONFIG = Next3DConfig

_RIG = (
    Control("actions", len(ACTIONS), "", 0.0, 1.0, "The 52 facial actions, in ARKit's order."),
    Control(
        "joints", 3 * len(JOINTS), "radian", -0.8, 0.8,
        "Rotations of neck, head, jaw and eyes relative to what they hang on, axis-angle; the skull stands still.",
    ),
)  # fmt: skip

Controls = Mapping[str, Tensor]


def build(checkpoint: Checkpoint, config: Next3DConfig, device: torch.device) -> Next3D:
    """Return the system of a checkpoint.

    Raises:
        ModelError: if its tensors do not fit its config.
        ModelError: if it needs a face model that the user has not brought.
    """
    generator = build_generator(config)
    fill(generator, checkpoint.tensors, checkpoint.name)
    face = None
    if isinstance(generator, Next3DGenerator):
        face = _driving_face(checkpoint, config.mesh.face)
    return Next3D(generator.to(device), checkpoint.hash, face)


def build_generator(config: Next3DConfig) -> Next3DGenerator | IdentityNext3D:
    """Return the network of a config, with random weights."""
    if config.identity is None:
        return Next3DGenerator(config)
    return IdentityNext3D(config, own_face(config.identity))


def _driving_face(checkpoint: Checkpoint, kind: str) -> FaceModel:
    """Return the face model that drives the paper's network: our own, or the one that weights were imported with."""
    from ...human.anny import NAME, load_anny_head
    from ...human.flame import read_flame
    from ...models import find_face

    if kind == NAME:
        return load_anny_head()
    requires = parse_json_object(checkpoint.metadata.get("requires") or "{}", "requires", checkpoint.name)
    needed = requires.get(kind) or {}
    by = f'"{checkpoint.name}"'
    return read_flame(find_face(needed.get("name", ""), kind, by, needed.get("sha256", "")))


@dataclass(frozen=True)
class _Known:
    """The person shown last, whom another expression does not change."""

    tensors: dict[str, Tensor]
    versions: dict[str, int]
    generator: Next3DGenerator | IdentityNext3D
    person: Any

    def is_of(self, tensors: Mapping[str, Tensor]) -> bool:
        """Return whether these are the very tensors it was made from, unchanged."""
        return self.tensors.keys() == tensors.keys() and all(
            tensor is self.tensors[name] and tensor._version == self.versions[name] for name, tensor in tensors.items()
        )


class Next3D(PlaneSystem):
    """A generator with its weights (a `System`)."""

    name = "next3d"

    def __init__(
        self,
        generator: Next3DGenerator | IdentityNext3D,
        checkpoint_hash: str = "",
        face: FaceModel | None = None,
    ) -> None:
        """Take the network; see `PlaneSystem`. Published weights need `face`, the model that their mesh is of."""
        super().__init__(generator, generator.config, checkpoint_hash)
        if face is None and isinstance(generator, Next3DGenerator):
            raise ValueError("published weights need a face model")
        self.config, self.face = generator.config, face
        self._poser = None  # for our own face, which the rig drives directly
        if face is not None and face.expression_names == ACTIONS:
            self._poser = FacePoser(face).to(self.device)
        self._known: _Known | None = None

    @property
    def info(self) -> SystemInfo:
        """Return what is true of it."""
        identity = self.config.identity
        return SystemInfo(
            name=self.name,
            creates_from=("seed",),
            image_size=self.config.image_size,
            controls=self._controls,
            requires=(self.config.mesh.face if identity is None else identity.face,),
            knows_shape=identity is not None,
        )

    @property
    def _controls(self) -> tuple[Control, ...]:
        if self.face is None or self._poser is not None:
            return _RIG
        count = self.face.expressiondirs.shape[2]
        return (
            *_RIG,
            Control("expression", count, "standard deviation", -3.0, 3.0, "Expression of the face model."),
            Control("jaw_pose", 3, "radian", -0.5, 0.5, "Rotation of its jaw, axis-angle."),
            Control("neck_pose", 3, "radian", -0.8, 0.8, "Rotation of its neck, axis-angle; the skull stands still."),
            Control("eye_pose", 6, "radian", -0.6, 0.6, "Rotations of its left and right eye, axis-angle."),
        )

    @torch.no_grad()
    def pose(self, portrait: Portrait, controls: Controls | None = None) -> PlaneField:
        """Return the person at one instant. Their planes and texture are kept for the next instant of the same person.

        Args:
            portrait: the person.
            controls: as `info.controls` lists them, each a vector or a batch of one; what is missing is neutral.

        Raises:
            UsageError: if a control is unknown or has another size.
            InputError: if the portrait has not the numbers that these weights need.
        """
        known = self._known
        if known is None or not known.is_of(portrait.tensors):
            generator = with_tuned(self.generator, portrait.tensors)
            versions = {name: tensor._version for name, tensor in portrait.tensors.items()}
            person = _person(generator, self.latents(portrait))
            known = self._known = _Known(dict(portrait.tensors), versions, generator, person)
        return PlaneField(self.config, *self._at_instant(known.generator, known.person, 1, controls))

    def see(
        self,
        generator: nn.Module,
        latents: Mapping[str, Tensor],
        camera: Camera,
        controls: Controls | None = None,
        sampling: Sampling = HALF,
    ) -> Rendering:
        """Return people as cameras of head space see them, differentiable (see `fitting.tunable.Tunable`)."""
        _, render = self._at_instant(generator, _person(generator, latents), len(camera.cam2world), controls)
        return render(self._in_model(camera), sampling=sampling)

    def _at_instant(
        self, generator: nn.Module, person: Any, people: int, controls: Controls | None
    ) -> tuple[FieldFunction, Render]:
        """Return the field of some people who do something, and their generator's `render` of them."""
        asked = self._checked(controls or {}, people)
        actions = asked.get("actions", torch.zeros(people, len(ACTIONS), device=self.device))
        joints = asked.get("joints", torch.zeros(people, 3 * len(JOINTS), device=self.device)).unflatten(1, (-1, 3))
        if isinstance(generator, IdentityNext3D):
            own = generator.instant(person, generator.vertices(actions, joints))
            return generator.field(own), partial(generator.render, own)
        published = cast(Next3DGenerator, generator)
        instant = published.instant(person, *self._users_mesh(actions, joints, asked))
        return published.field(instant), partial(published.render, instant)

    def _checked(self, controls: Controls, people: int) -> dict[str, Float[Tensor, "b n"]]:
        """Return the controls, one row for each of some people."""
        sizes = {control.name: control.dimension for control in self._controls}
        checked = {}
        for name, value in controls.items():
            if name not in sizes:
                raise UsageError(f'These weights take no "{name}".', f"They take {', '.join(sizes)}.")
            if value.numel() not in (sizes[name], sizes[name] * people):
                raise UsageError(f'"{name}" is {sizes[name]} numbers, not {list(value.shape)}.')
            checked[name] = value.to(self.device, torch.float32).reshape(-1, sizes[name]).expand(people, -1)
        return checked

    def _users_mesh(
        self, actions: Float[Tensor, "b 52"], joints: Float[Tensor, "b 10 3"], asked: Mapping[str, Tensor]
    ) -> tuple[Float[Tensor, "b v 3"], Float[Tensor, "b 68 3"]]:
        """Return vertices and landmarks of the face model; for a user's the rig in its terms, its controls added."""
        from ...human.flame import CONTROLS, flame_mesh
        from ...human.retarget import retargeting

        if self._poser is not None:
            vertices = self._poser(actions, joints)
            return vertices, self._poser.landmarks(vertices)
        assert self.face is not None
        moved = {name: asked[name] for name in CONTROLS if name in asked}
        if not asked:  # the fit of the rig to the face model takes seconds, which a neutral face can do without
            moved["jaw_pose"] = torch.zeros(len(actions), 3, device=self.device)
        elif "actions" in asked or "joints" in asked:
            for name, value in retargeting(self.face).controls(actions, joints).items():
                moved[name] = moved[name] + value if name in moved else value
        return flame_mesh(self.face, None, moved)


def _person(generator: nn.Module, latents: Mapping[str, Tensor]) -> Any:
    """Return some latents' people."""
    if isinstance(generator, IdentityNext3D):
        return generator.person(latents["z"], offsets=offsets_of(latents))
    return cast(Next3DGenerator, generator).person(latents["w_plus"])
