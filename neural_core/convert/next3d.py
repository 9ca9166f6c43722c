# SPDX-License-Identifier: Apache-2.0
"""Published Next3D snapshots -> our config and tensors. Reads records only; nothing of theirs is executed.

Next3D was made from EG3D's code, so what is not said here is as in `eg3d.py`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, TypeVar

import torch
from torch import Tensor

from ..checkpoints import check_shapes
from ..errors import ModelError
from ..human.model import FaceModel
from ..planes import CORRECTED_AXES
from ..systems.next3d.config import DynamicOption, MeshConfig, Next3DConfig, StyleUNetConfig
from ..systems.next3d.generator import Next3DGenerator
from ..systems.plane_config import HeadToModel
from . import eg3d
from .snapshots import Record

METADATA: dict[str, str | dict[str, Any]] = {
    "licence": "not stated by the authors; a fine-tune of EG3D's weights (NVIDIA, non-commercial) on FLAME's mesh "
    "(non-commercial)",
    "licence_url": "https://github.com/NVlabs/eg3d/blob/main/LICENSE.txt",
    "use": "non-commercial",
}
SOURCE = {
    "title": "Next3D: Generative Neural Texture Rasterization for 3D-Aware Head Avatars (CVPR 2023)",
    "authors": "Jingxiang Sun, Xuan Wang, Lizhen Wang, Xiaoyu Li, Yong Zhang, Hongwen Zhang, Yebin Liu",
    "url": "https://github.com/MrTornado24/Next3D",
}

_RENAMES = [
    (r"^backbone\.synthesis\.", "static.synthesis."),
    (r"^texture_backbone\.", "texture."),
    (r"^mouth_backbone\.", "mouth.unet."),
    (r"^neural_blending\.", "blending."),
    (r"\.synthesis\.encoder\.", ".encoder."),
    (r"\.synthesis\.fusion\.", ".fusions."),
    (r"\.fromrgb\.", ".from_picture."),
]
"""What is Next3D's own; EG3D's key map follows."""

_LEFT_OUT = re.compile(
    r"(texture|mouth\.unet|blending)\.mapping\."  # all w come from the static planes' mapping network
    r"|(faces|face_uvcoords)$"  # see mesh_tensors
    r"|(dense_faces|raw_uvcoords|uvcoords|uvfaces)$"  # the mesh once more, otherwise put
)
_PLACE = ("orth_scale", "orth_shift")
"""Where the mesh lies: attributes; parameters in the class that came before."""

Value = TypeVar("Value")


def recognises(generator: Record) -> bool:
    """Return whether a generator is Next3D's; its class has the name of EG3D's."""
    return generator.class_name == eg3d.CLASS_NAME and "texture_backbone" in generator["_modules"]


def convert(generator: Record, name: str, face: FaceModel) -> tuple[Next3DConfig, dict[str, Tensor]]:
    """Return config and tensors of a published generator.

    Args:
        generator: its record, usually the snapshot's "G_ema".
        name: what to call the file in messages.
        face: the user's FLAME, whose vertices drive it; it says where head space lies.

    Raises:
        ModelError: if a part is missing, of a kind that this version does not know, or does not fit the others, or if
            the face model is not the one of the file.
    """
    state = eg3d.acting(generator.tensors(), name)
    place = {key: state.pop(key, None) for key in _PLACE}
    with eg3d.described_as("Next3D", name):
        mask = _numbers(generator["uv_face_mask"])
        scale, shift = (
            _numbers(generator[key] if value is None else value).flatten().tolist() for key, value in place.items()
        )
        config = read_config(
            generator["_init_kwargs"],
            generator["rendering_kwargs"],
            neural_resolution=generator["neural_rendering_resolution"],
            plane_axes=eg3d.axes_of(generator, CORRECTED_AXES),
            backbone_clamp=generator.module("backbone.synthesis.b4.conv1")["conv_clamp"],
            superresolution_clamp=generator.module("superresolution.block0.conv1")["conv_clamp"],
            mesh=mesh_config(
                scale[0],
                (shift[0], shift[1], shift[2]),
                triangles=state["faces"].shape[1],
                mask_resolution=mask.shape[-1],
                fill_mouth=bool(generator.state.get("fill_mouth", True)),
            ),
            head_origin=tuple(face.origin.tolist()),
        )
        tensors = {**rename_all(state, config), **mesh_tensors(state, mask)}
    with torch.device("meta"):  # shapes without numbers
        expected = Next3DGenerator(config).state_dict()
    check_shapes({key: tuple(value.shape) for key, value in expected.items()}, tensors, name)
    used = int(tensors["topology.faces"].max()) + 1
    if used > len(face.v_template):
        raise ModelError(
            f'"{name}" draws a mesh of {used} vertices, and the face model has {len(face.v_template)}.',
            "Import the FLAME that it was made with (5023 vertices): `neural-portrait faces import FILE`.",
        )
    return config, tensors


def read_config(
    arguments: Mapping[str, Any],
    rendering: Mapping[str, Any],
    *,
    neural_resolution: int,
    mesh: MeshConfig,
    head_origin: tuple[float, ...],
    plane_axes: tuple[str, ...] = CORRECTED_AXES,
    backbone_clamp: float | None = None,
    superresolution_clamp: float | None = 256.0,
    dynamic_planes: DynamicOption = "front_only",
) -> Next3DConfig:
    """Return our config for what a published generator was built with; see `eg3d.read_config` for what is not said.

    Args:
        arguments: of its constructor.
        rendering: its `rendering_kwargs`.
        neural_resolution: its `neural_rendering_resolution`.
        mesh: where its mesh lies.
        head_origin: where the origin of head space lies in the mesh's frame, metres.
        plane_axes: what its planes see.
        backbone_clamp: `conv_clamp` of its backbone's layers.
        superresolution_clamp: `conv_clamp` of its super-resolution's layers.
        dynamic_planes: what is drawn of the mesh. No file says it; the published weights want only the front.

    Raises:
        ModelError: if the super-resolution is of an unknown kind.
    """
    shared = eg3d.shared_config(arguments, rendering, neural_resolution, superresolution_clamp)
    backbone = eg3d.backbone_config(arguments, backbone_clamp)
    base, most = eg3d.channel_limits(arguments)
    unet = {"channel_base": base, "channel_max": most, "clamp": backbone.clamp}
    # A plane is as wide as the box, and the mesh is scaled in half widths.
    scale = mesh.scale * shared["render"].box / 2
    x, y, z = (scale * (origin + shift) for origin, shift in zip(head_origin, mesh.shift, strict=True))
    return Next3DConfig(
        plane_axes=plane_axes,
        static=backbone,
        texture=backbone,
        mouth=StyleUNetConfig(**{**asdict(MOUTH), **unet}),
        blending=StyleUNetConfig(**{**asdict(BLENDING), **unet}),
        dynamic_planes=dynamic_planes,
        mesh=mesh,
        head_to_model=HeadToModel(scale, (x, y, z)),
        **shared,
    )


MOUTH = StyleUNetConfig(input_resolution=64, smallest=4)
BLENDING = StyleUNetConfig(input_resolution=256, smallest=32)
"""The published networks' sizes, which are constants of their code."""


def mesh_config(
    scale: float, shift: tuple[float, float, float], *, triangles: int, mask_resolution: int, fill_mouth: bool
) -> MeshConfig:
    """Return how the published code draws its mesh.

    Args:
        scale: its `orth_scale`.
        shift: its `orth_shift`, whose y is downwards.
        triangles: of the mesh.
        mask_resolution: of the mask over its texture.
        fill_mouth: whether holes of the drawing are filled.
    """
    x, y, z = shift
    return MeshConfig(
        scale=scale, shift=(x, -y, z), triangles=triangles, mask_resolution=mask_resolution, fill_mouth=fill_mouth
    )


def rename(key: str) -> str:
    """Return our name of a published generator's tensor."""
    for pattern, ours in _RENAMES:
        key = re.sub(pattern, ours, key)
    return eg3d.rename(key)


def rename_all(state: Mapping[str, Value], config: Next3DConfig) -> dict[str, Value]:
    """Return what acts of a published generator's tensors under our names; its mesh is left out, too.

    Never acting are the mapping networks of all but the static planes, and in the style U-Nets the blocks up to the
    smallest code's size and fusions from the picture's size on.
    """
    networks = {"mouth.unet.": config.mouth, "blending.": config.blending}
    found = {}
    for key, value in state.items():
        name = rename(key)
        prefix = next((prefix for prefix in networks if name.startswith(prefix)), "")
        network = networks.get(prefix)
        if _LEFT_OUT.match(name) or (network is not None and _is_idle(name.removeprefix(prefix), network)):
            continue
        found[name] = value
    return found


def mesh_tensors(state: Mapping[str, Tensor], mask: Tensor) -> dict[str, Tensor]:
    """Return the mesh under our names.

    Args:
        state: a published generator's tensors: "faces" [1, f, 3] and "face_uvcoords" [1, f, 3, 3], -1..1.
        mask: its `uv_face_mask`, which is no tensor of the state.
    """
    return {
        "topology.faces": state["faces"][0],
        "topology.corner_uv": state["face_uvcoords"][0, ..., :2].contiguous(),
        "topology.mask": mask,
    }


def _is_idle(name: str, network: StyleUNetConfig) -> bool:
    """Return whether a tensor of a style U-Net never acts."""
    part = re.match(r"(blocks|fusions)\.(\d+)\.", name)
    if part is None:
        return False
    number = int(part[2])
    if part[1] == "blocks":
        return number <= network.smallest
    return network.smallest << number >= network.input_resolution


def _numbers(value: object) -> Tensor:
    """Return a tensor as float32 on the processor. Raises TypeError if it is none."""
    if not isinstance(value, Tensor):
        raise TypeError(f"a {type(value).__name__} where numbers should be")
    return value.detach().float().cpu()
