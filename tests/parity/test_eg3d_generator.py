# SPDX-License-Identifier: Apache-2.0
"""Super-resolution and the whole 512 generator, with what lies between, against the published EG3D code."""

import csv

import pytest
import torch

from neural_core.cameras import Camera
from neural_core.convert.eg3d import read_config, rename, rename_all
from neural_core.nn.superresolution import SuperResolution
from neural_core.systems.eg3d.config import EG3DConfig
from neural_core.systems.eg3d.generator import EG3DGenerator
from neural_core.systems.plane_config import SUPERRESOLUTION
from tests.parity.published import Recorded, arrays, check, facts, load_state
from tests.tolerances import EG3D_DEPTH_OUTLIER, EG3D_DEPTH_OUTLIER_SHARE, EG3D_PICTURE, EG3D_PLANES, EG3D_W

OUTPUTS = {
    "2x": ["out32_none", "out32_const", "out64_none"],
    "4x": ["out32_none", "out32_const", "out128_none"],
    "8x": ["out32_none_stride2"],
}


@pytest.mark.parametrize("kind", OUTPUTS)
def test_superresolution(parity_folder, kind):
    stored = arrays(parity_folder / "eg3d" / f"sr_{kind}_io.npz")
    options = facts(parity_folder / "eg3d" / f"sr_{kind}.json")["init_kwargs"]
    module = SUPERRESOLUTION[kind]
    network = SuperResolution(
        options["channels"], stored["ws"].shape[2], input_resolution=module.input_resolution, channels=module.channels,
        first_doubles=module.first_doubles, antialias=options["sr_antialias"], only_enlarge=module.only_enlarge,
        clamp=256.0 if options["sr_num_fp16_res"] else None,
    )  # fmt: skip
    assert network.resolution == module.image_size == options["img_resolution"]
    load_state(network, arrays(parity_folder / "eg3d" / f"sr_{kind}_state.npz"))
    assert set(OUTPUTS[kind]) == {name for name in stored if name.startswith("out")}
    for name in OUTPUTS[kind]:
        size, noise_mode, *stride = name.removeprefix("out").split("_")
        with torch.no_grad():
            found = network(stored[f"rgb{size}"], stored[f"x{size}"], stored["ws"], noise_mode)
        if stride:
            found = found[..., ::2, ::2]
        check(f"{kind} {name}", found, stored[name], atol=EG3D_PICTURE)


@pytest.fixture(scope="module")
def eg3d(parity_folder):
    return parity_folder / "eg3d"


@pytest.fixture(scope="module")
def stored(eg3d):
    return arrays(eg3d / "gen512_io.npz")


@pytest.fixture(scope="module")
def generator(eg3d):
    published = facts(eg3d / "gen512.json")
    options = published["init_kwargs"]
    config = read_config(
        options, options["rendering_kwargs"], neural_resolution=published["neural_rendering_resolution"],
        backbone_clamp=options["conv_clamp"],
    )  # fmt: skip
    network = EG3DGenerator(config).requires_grad_(False)
    load_state(network, arrays(eg3d / "gen512_state.npz"))
    return network


@pytest.fixture(scope="module")
def inside(generator, stored):
    """What passes through the modules while both people are rendered with the recorded numbers."""
    seen = {}
    hooks = [
        block.register_forward_hook(lambda module, given, result, size=size: seen.update({f"b{size}": result}))
        for size, block in generator.backbone.blocks.items()
    ]
    superresolution = generator.superresolution
    hooks.append(
        superresolution.block0.register_forward_hook(
            lambda module, given, result: seen.update(sr_input=given[:2], sr_block0=result)
        )
    )
    person = generator.person(stored["ws"])
    sampling = Recorded(stored["jitter_coarse"], stored["u_fine"])
    seen["rendering"] = generator.render(person, Camera.from_label(stored["c_render"]), sampling=sampling)
    seen["person"] = person
    for hook in hooks:
        hook.remove()
    return seen


def test_mapping(generator, stored):
    z, label = stored["z"], stored["c_cond"]
    check("psi 1", generator.mapping(z, label), stored["ws"], atol=EG3D_W)
    check("psi 0.7", generator.mapping(z, label, 0.7), stored["ws_psi0.7"], atol=EG3D_W)
    check("psi 0.5, cutoff 5", generator.mapping(z, label, 0.5, 5), stored["ws_psi0.5_cut5"], atol=EG3D_W)


def test_backbone(inside, stored):
    for size in (4, 8, 16, 32):
        x, picture = inside[f"b{size}"]
        check(f"b{size} features", x, stored[f"b{size}_x"], atol=EG3D_PLANES)
        check(f"b{size} picture", picture, stored[f"b{size}_img"], atol=EG3D_PLANES)


def test_planes(inside, stored):
    features = inside["person"].planes.features.flatten(1, 2)
    check("every 4th pixel", features[..., ::4, ::4], stored["planes_stride4"], atol=EG3D_PLANES)
    full = features[0, stored["planes_full_ch"]]
    check("full channels", full, stored["planes_full_b0"], atol=EG3D_PLANES)
    pixels = features.flatten(2)
    statistics = torch.stack([pixels.mean(-1), pixels.std(-1)])
    check("mean and deviation", statistics, stored["planes_mean_std"], atol=EG3D_PLANES)


def test_volume_rendering(inside, stored):
    found = inside["rendering"]
    rays = found.features.flatten(2).transpose(1, 2)
    check("features", rays, stored["feature_samples"], atol=EG3D_PICTURE)
    check("opacity", found.opacity.flatten(2).transpose(1, 2), stored["weights_sum"], atol=EG3D_PICTURE)
    check("raw picture", found.image_raw, stored["image_raw"], atol=EG3D_PICTURE)
    depth = found.depth.flatten(2).transpose(1, 2)
    check_depth(depth, stored["depth_samples"])
    check_depth(found.depth, stored["image_depth"])


def test_superresolution_inside(inside, stored):
    x, rgb = inside["sr_input"]
    check("resized rgb", rgb, stored["sr_in_rgb"], atol=EG3D_PICTURE)
    check("resized features", x[:1, :, ::4, ::4], stored["sr_in_x_stride4_b0"], atol=EG3D_PICTURE)
    x, rgb = inside["sr_block0"]
    check("block0 rgb", rgb[:1], stored["sr_block0_rgb_b0"], atol=EG3D_PICTURE)
    check("block0 features", x[:1, :, ::8, ::8], stored["sr_block0_x_stride8_b0"], atol=EG3D_PICTURE)


def test_picture(inside, stored):
    image = inside["rendering"].image
    check("first", image[:1], stored["image_b0"], atol=EG3D_PICTURE)
    check("second", image[1:, :, ::2, ::2], stored["image_b1_stride2"], atol=EG3D_PICTURE)


def test_deterministic_policy(generator, stored):
    found = generator.synthesis(stored["ws"], Camera.from_label(stored["c_render"]), 16)
    rays = found.features.flatten(2).transpose(1, 2)
    check("features", rays, stored["half16_feature_samples"], atol=EG3D_PICTURE)
    check("raw picture", found.image_raw, stored["half16_image_raw"], atol=EG3D_PICTURE)
    check_depth(found.depth, stored["half16_image_depth"])


def test_points(generator, inside, stored):
    points = stored["sample_coords"]
    density, colour = generator.field(inside["person"])(points, torch.zeros_like(points))
    check("density", density, stored["sample_sigma"], relative=EG3D_PICTURE)
    check("colour", colour, stored["sample_rgb"], atol=EG3D_PICTURE)


def test_density_grid(eg3d, generator, stored):
    grid = arrays(eg3d / "density_grid24.npz")
    count, points = 24, grid["samples"]
    check("grid", published_grid(count, 1.0), points, atol=1e-6)
    corner, cell = grid["voxel_origin"], grid["voxel_size"]
    check("corner", torch.full((3,), -0.5), corner)
    check("cell", torch.full((1,), 1 / (count - 1)), cell, atol=1e-7)
    w_plus = generator.mapping(stored["z"][:1], stored["c_cond"][:1], 0.7, 14)
    density, _ = generator.field(generator.person(w_plus))(points, torch.zeros_like(points))
    check("density", density, grid["sigma"], relative=EG3D_PICTURE)
    volume = density.reshape(count, count, count).flip(0)
    check("volume", volume, grid["sigma_volume_flipped"], relative=EG3D_PICTURE)


def published_grid(count, side):
    """Return the points of the published shape script, whose x and y are sheared by a division without rounding."""
    index = torch.arange(count**3)
    z = index % count
    y = (index.float() / count) % count
    x = (index.float() / count / count) % count
    return (torch.stack([x, y, z.float()], dim=-1) * (side / (count - 1)) - side / 2)[None]


def test_full_size_keys(eg3d):
    """The published FFHQ 512 configuration is our default, and has the published names and shapes."""
    with (eg3d / "ffhq512_G_keys.tsv").open() as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    assert len(rows) == 177
    shapes = {row["key"]: shape(row["shape"]) for row in rows if not row["key"].endswith("resample_filter")}
    del shapes["dataset_label_std"]
    with torch.device("meta"):
        network = EG3DGenerator(EG3DConfig())
    assert {rename(key): value for key, value in shapes.items()} == {
        key: tuple(value.shape) for key, value in network.state_dict().items()
    }
    parameters = {rename(row["key"]) for row in rows if row["kind"] == "param"}
    assert parameters == {name for name, _ in network.named_parameters()}
    assert sum(parameter.numel() for parameter in network.parameters()) == 30_662_136


def test_every_tensor_is_renamed(eg3d):
    state = arrays(eg3d / "gen512_state.npz")
    assert len(state) == 177
    filters = [key for key in state if key.endswith("resample_filter")]
    renamed = rename_all(state, "gen512")
    assert len(renamed) == 177 - len(filters) - 1  # dataset_label_std is a statistic of the training loop's
    assert set(renamed) == {rename(key) for key in state if key not in {*filters, "dataset_label_std"}}


def shape(text):
    """Return the shape that a table spells "512x4x4" or "scalar"."""
    return () if text == "scalar" else tuple(int(size) for size in text.split("x"))


def check_depth(found, expected):
    """Check depths but for the few that the fixtures' README allows to jump."""
    jumps = (found - expected).abs() > EG3D_DEPTH_OUTLIER
    assert jumps.double().mean() < EG3D_DEPTH_OUTLIER_SHARE
    check("depth", found[~jumps], expected[~jumps], atol=EG3D_PICTURE)
