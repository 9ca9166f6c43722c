# SPDX-License-Identifier: Apache-2.0
"""What the published generators with planes have in common: w for each layer, super-resolution, and how to a picture.

EG3D (Chan et al. 2022) has no more than this; Next3D (Sun et al. 2023) makes its planes in another way.
"""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor

from ..cameras import Camera
from ..nn.stylegan2 import MappingNetwork
from ..nn.superresolution import SuperResolution
from ..rendering.rays import camera_rays, pixel_centres
from ..rendering.sampling import Sampling
from ..rendering.volume import FieldFunction, Progress, VolumeRenderer
from .common import Rendering
from .plane_config import SUPERRESOLUTION, MappingConfig, RenderConfig, SuperResolutionConfig


def superresolution_of(config: SuperResolutionConfig, features: int, w_dim: int) -> SuperResolution | None:
    """Return the published super-resolution of a config, None for none.

    Raises:
        ValueError: it is not a published one.
    """
    if config.kind == "none":
        return None
    if config.kind == "subpixel":
        raise ValueError("the sub-pixel super-resolution belongs to weights with a face code (config.identity)")
    module = SUPERRESOLUTION[config.kind]
    return SuperResolution(
        features, w_dim, input_resolution=module.input_resolution, channels=config.channels or module.channels,
        first_doubles=module.first_doubles, antialias=config.antialias, only_enlarge=module.only_enlarge,
        clamp=config.clamp,
    )  # fmt: skip


def renderer_of(config: RenderConfig) -> VolumeRenderer:
    """Return the volume renderer of a config."""
    return VolumeRenderer(
        box=config.box, ray_start=config.ray_start, ray_end=config.ray_end, coarse=config.coarse, fine=config.fine,
        in_disparity=config.in_disparity, white_back=config.white_back, density_noise=config.density_noise,
    )  # fmt: skip


def map_to_layers(
    network: MappingNetwork,
    config: MappingConfig,
    layers: int,
    z: Float[Tensor, "b z"],
    label: Float[Tensor, "#b l"],
    truncation_psi: float = 1.0,
    truncation_cutoff: int | None = None,
) -> Float[Tensor, "b n w"]:
    """Return w_plus, one w for each of some layers.

    Args:
        network: z and label -> w.
        config: of the network.
        layers: how many.
        z: the code, iid standard normal.
        label: camera label that the person is conditioned on; networks without labels ignore it.
        truncation_psi: 1 for no truncation, 0 for the mean person.
        truncation_cutoff: how many layers are truncated; None for all. Only where truncation acts on w.
    """
    told = label.to(z.device).expand(len(z), -1) * config.label_scale if config.label_dim else None
    if config.truncation == "z":
        z = z * truncation_psi
    w_plus = network(z, told)[:, None].expand(-1, layers, -1)
    return w_plus if config.truncation == "z" else network.truncate(w_plus, truncation_psi, truncation_cutoff)


def render_field(
    renderer: VolumeRenderer,
    superresolution: SuperResolution | None,
    config: SuperResolutionConfig,
    field: FieldFunction,
    w_plus: Float[Tensor, "b n w"],
    camera: Camera,
    size: int,
    sampling: Sampling,
    *,
    chunk: int | None = None,
    on_progress: Progress | None = None,
) -> Rendering:
    """Return what cameras see of a field.

    Args:
        renderer: renders the volume.
        superresolution: makes the picture; None leaves the volume rendering as it is.
        config: of the super-resolution.
        field: one for each camera.
        w_plus: what the super-resolution is told.
        camera: in the field's space.
        size: width and height of the volume rendering in pixels.
        sampling: source of the random numbers along the rays.
        chunk: rays rendered at a time; None for all.
        on_progress: told after each chunk.
    """
    origins, directions = camera_rays(camera, pixel_centres(size, size, camera.intrinsics))
    result = renderer(field, origins, directions, sampling, chunk=chunk, on_progress=on_progress)
    features = result.colour.transpose(1, 2).unflatten(2, (size, size))
    image = image_raw = features[:, :3]
    if superresolution is not None:
        image = superresolution(image_raw, features, w_plus, config.noise_mode)
    depth, opacity = (values[:, None].unflatten(2, (size, size)) for values in (result.depth, result.opacity))
    return Rendering(image, image_raw, features, depth, opacity)
