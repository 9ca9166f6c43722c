# SPDX-License-Identifier: Apache-2.0
"""Cameras, rays, planes, sampling, compositing and the whole renderer against the published EG3D code."""

import math

import pytest
import torch

from neural_core.cameras import Camera, eg3d_cam2world, eg3d_focal_from_fov, intrinsics_from_focal
from neural_core.nn.decoders import TriplaneDecoder
from neural_core.planes import CORRECTED_AXES, PUBLISHED_AXES, Triplane, project
from neural_core.rendering.compositing import composite_midpoints, midpoint_weights
from neural_core.rendering.rays import box_limits, camera_rays, pixel_centres
from neural_core.rendering.sampling import HALF, importance, inverse_cdf, stratified
from neural_core.rendering.volume import VolumeRenderer
from tests.parity.published import Recorded, arrays, check, facts, load_state
from tests.tolerances import EG3D_DEPTH_OUTLIER, EG3D_DEPTH_OUTLIER_SHARE, EG3D_OPS, EG3D_PICTURE


@pytest.fixture(scope="module")
def stored(parity_folder):
    return arrays(parity_folder / "eg3d" / "rays_and_marching.npz")


def test_published_cameras(stored):
    yaw, pitch = stored["lookat_yaw_pitch"].unbind(1)
    check("look-at", eg3d_cam2world(yaw, pitch, 2.7, (0.0, 0.0, 0.2)), stored["lookat_cam2world"], relative=EG3D_OPS)
    # the Gaussian sampler is given the angles themselves (mean pi/2) with no spread
    yaw, pitch = torch.tensor([0.3, 2.0]), torch.tensor([0.1, -0.6])
    check("orbit", eg3d_cam2world(yaw, pitch, 1.7), stored["gauss_cam2world"], relative=EG3D_OPS)


@pytest.mark.parametrize("fov", [18.837, 30.0, 60.0])
def test_published_field_of_view(stored, fov):
    intrinsics = intrinsics_from_focal(eg3d_focal_from_fov(fov))[0]
    check("intrinsics", intrinsics, stored[f"fov_intrinsics_{fov}"], relative=EG3D_OPS)


def test_camera_label(stored):
    camera = Camera(stored["rs_cam2world"], stored["rs_intrinsics"])
    check("label", camera.label(), stored["camera25"])
    again = Camera.from_label(stored["camera25"])
    check("cam2world", again.cam2world, stored["rs_cam2world"])
    check("intrinsics", again.intrinsics, stored["rs_intrinsics"])


@pytest.mark.parametrize("size", [1, 4, 7, 16])
def test_rays(stored, size):
    camera = Camera(stored["rs_cam2world"], stored["rs_intrinsics"])
    origins, directions = camera_rays(camera, pixel_centres(size, size, camera.intrinsics))
    check("origins", origins, stored[f"rs_{size}_origins"])
    check("directions", directions, stored[f"rs_{size}_dirs"], relative=EG3D_OPS)


@pytest.mark.parametrize("box", ["1", "1.6"])
def test_box_limits(stored, box):
    near, far, valid = box_limits(stored["box_origins"], stored["box_dirs"], float(box))
    # the published code marks rays that miss by -1 and -2
    near, far = torch.where(valid, near, -1.0), torch.where(valid, far, -2.0)
    assert 0 < valid.sum() < valid.numel()
    check("near", near[..., None], stored[f"box{box}_tmin"], relative=EG3D_OPS)
    check("far", far[..., None], stored[f"box{box}_tmax"], relative=EG3D_OPS)


def test_even_steps(stored):
    start, stop, expected = stored["linspace_start"], stored["linspace_stop"], stored["linspace_out"]
    no_jitter = Recorded(torch.zeros(1, 5, len(expected)))
    found = stratified(start[..., 0], stop[..., 0], len(expected), no_jitter)
    check("linspace", found.movedim(-1, 0)[..., None], expected, relative=EG3D_OPS)


AXES = {"": PUBLISHED_AXES, "_corrected": CORRECTED_AXES}


@pytest.mark.parametrize("kind", AXES)
def test_planes(stored, kind):
    axes = AXES[kind]
    suffix = "_corrected_axes" if kind else ""
    # A stored matrix lists the axes by rows; a plane sees the point in their inverse's first two coordinates.
    inverses = torch.linalg.inv(stored[f"plane_axes{kind}"])
    points = stored["proj_points"]
    expected = torch.einsum("bni,pij->bpnj", points, inverses)[..., :2]
    check("axes", project(points, axes).transpose(1, 2), expected)
    projected = project(points, axes).transpose(1, 2).flatten(0, 1)
    check("projection", projected, stored[f"proj_out{suffix}"], relative=EG3D_OPS)
    boxes = ("1",) if kind else ("1", "1.6")
    for box in boxes:
        planes = Triplane(stored["sfp_planes"], axes, float(box))
        expected = stored[f"sfp_box{box}{suffix}"]
        check(f"box {box}", planes.sample(points), expected, relative=EG3D_OPS)
        check(f"box {box}, mean", planes.sample_mean(points), expected.mean(1), relative=EG3D_OPS)


@pytest.mark.parametrize("white", [False, True])
def test_marching(stored, white):
    found = composite_midpoints(stored["rm_densities"][..., 0], stored["rm_colors"], stored["rm_depths"][..., 0])
    colour = found.colour + (1 - found.opacity)[..., None] if white else found.colour
    name = f"rm_wb{int(white)}"
    check("colour", colour * 2 - 1, stored[f"{name}_rgb"], atol=EG3D_OPS)
    # one ray is empty: its depth is nan, for which the renderer takes the furthest sample, as stored here
    assert found.depth.isnan().sum() == 1
    depth = torch.where(found.opacity > 0, found.depth, stored["rm_depths"].max())
    check("depth", depth[..., None], stored[f"{name}_depth"], relative=EG3D_OPS)
    weights = midpoint_weights(stored["rm_densities"][..., 0], stored["rm_depths"][..., 0])
    check("weights", weights[..., None], stored[f"{name}_weights"], atol=EG3D_OPS)


def test_marching_through_nothing(stored):
    distances = stored["rm_depths"][..., 0]
    found = composite_midpoints(stored["rm_nan_densities"][..., 0], stored["rm_colors"], distances)
    weights = midpoint_weights(stored["rm_nan_densities"][..., 0], distances)
    check("weights", weights[..., None], stored["rm_nan_weights"], atol=EG3D_OPS)
    check("colour", found.colour * 2 - 1, stored["rm_nan_rgb"], atol=EG3D_OPS)
    assert found.depth.isnan().any()
    depth = torch.where(found.opacity > 0, found.depth, distances.max())
    check("depth", depth[..., None], stored["rm_nan_depth"], relative=EG3D_OPS)


@pytest.mark.parametrize("kind", ["lin", "disp", "tensor"])
def test_coarse_samples(stored, kind):
    jitter = Recorded(stored[f"strat_{kind}_rand"])
    shape = stored[f"strat_{kind}"].shape[:2]
    bounds = (0.88, 1.12) if kind == "disp" else (2.25, 3.3)
    near, far = (torch.full(shape, bound) for bound in bounds)
    if kind == "tensor":
        near, far = stored["strat_tensor_start"][..., 0], stored["strat_tensor_end"][..., 0]
    found = stratified(near, far, 12, jitter, in_disparity=kind == "disp")
    check(kind, found[..., None], stored[f"strat_{kind}"], relative=EG3D_OPS)


def test_fine_samples(stored):
    drawn = Recorded(fine=stored["imp_u"])
    found = importance(stored["imp_zvals"][..., 0], stored["imp_weights"][..., 0], 10, drawn)
    check("importance", found[..., None], stored["imp_out"], relative=EG3D_OPS)


def test_inverse_cdf(stored):
    quantiles = torch.linspace(0, 1, 9).expand(6, -1)
    found = inverse_cdf(stored["pdf_bins"], stored["pdf_weights"], quantiles)
    check("pdf", found, stored["pdf_det_out"], relative=EG3D_OPS)


def test_union_of_samples(stored):
    names = ("depths", "colors", "dens")
    first = [stored[name] for name in ("rm_depths", "rm_colors", "rm_densities")]
    second = [stored[name] for name in ("uni_in_depths2", "uni_in_colors2", "uni_in_dens2")]
    depths, colours, densities = (torch.cat(pair, dim=2) for pair in zip(first, second, strict=True))
    sorted_depths, order = depths[..., 0].sort(dim=-1)
    check("depths", sorted_depths[..., None], stored["uni_depths"])
    # our marcher takes the colours as they lie, with the order; it has to equal marching the stored, sorted ones
    density = densities[..., 0].gather(-1, order)
    check("densities", density[..., None], stored["uni_dens"])
    found = composite_midpoints(density, colours, sorted_depths, order)
    depths, colours, densities = (stored[f"uni_{name}"] for name in names)
    expected = composite_midpoints(densities[..., 0], colours, depths[..., 0])
    check("union", found.colour, expected.colour, atol=EG3D_OPS)


RENDERINGS = ["ffhq", "ffhq_half", "coarse_only", "shapenet_auto_white", "disparity_noise"]


@pytest.mark.parametrize("case", RENDERINGS)
def test_renderer(parity_folder, case):
    stored = arrays(parity_folder / "eg3d" / f"render_{case}.npz")
    options = facts(parity_folder / "eg3d" / f"render_{case}.json")["rendering_options"]
    decoder = TriplaneDecoder(32)
    state = {f"net.{layer}.{part}": stored[f"decoder.net.{layer}.{part}"] for layer in (0, 2) for part in PARTS}
    load_state(decoder, state)
    renderer = VolumeRenderer(
        box=float(options["box_warp"]), ray_start=options["ray_start"], ray_end=options["ray_end"],
        coarse=options["depth_resolution"], fine=options["depth_resolution_importance"],
        in_disparity=options["disparity_space_sampling"], white_back=options.get("white_back", False),
        density_noise=options.get("density_noise", 0.0),
    )  # fmt: skip
    planes = Triplane(stored["planes"], PUBLISHED_AXES, float(options["box_warp"]))
    passes = []

    def field(points, directions):
        density, colour = decoder(planes.sample_mean(points))
        passes.append((points, density, colour))
        return density, colour

    sampling = HALF if case == "ffhq_half" else recorded_numbers(stored)
    with torch.no_grad():
        found = renderer(field, stored["origins"], stored["dirs"], sampling)

    # density noise is added by the renderer, after the field has answered; the stored sigma has it
    noise = iter(value for name, value in sorted(stored.items()) if name.endswith("randn_like"))
    for number, (points, density, colour) in enumerate(passes):
        check(f"pass {number} points", points, stored[f"pass{number}_coords"], atol=EG3D_PICTURE)
        if renderer.density_noise:
            density = density + next(noise) * renderer.density_noise
        check(f"pass {number} density", density, stored[f"pass{number}_sigma"], relative=EG3D_PICTURE)
        check(f"pass {number} colour", colour[:, :200], stored[f"pass{number}_rgb"], atol=EG3D_PICTURE)
    assert len(passes) == (1 if renderer.fine == 0 else 2)
    distances = [
        (points - stored["origins"].repeat_interleave(points.shape[1] // 144, 1)).norm(dim=-1).reshape(2, 144, -1)
        for points, *_ in passes
    ]
    check("coarse distances", distances[0][..., None], stored["march0_depths"], atol=EG3D_PICTURE)
    coarse_density = stored["pass0_sigma"].reshape(2, 144, -1)
    coarse_weights = midpoint_weights(coarse_density, stored["march0_depths"][..., 0])
    check("coarse weights", coarse_weights[..., None], stored["march0_weights"], atol=EG3D_PICTURE)
    if renderer.fine:
        merged, order = torch.cat(distances, -1).sort(dim=-1)
        check("all distances", merged[..., None], stored["march1_depths"], atol=EG3D_PICTURE)
        density = torch.cat([coarse_density, stored["pass1_sigma"].reshape(2, 144, -1)], -1).gather(-1, order)
        weights = midpoint_weights(density, stored["march1_depths"][..., 0])
        check("weights", weights[..., None], stored["march1_weights"], atol=EG3D_PICTURE)
    check("features", found.colour, stored["rgb"], atol=EG3D_PICTURE)
    check("opacity", found.opacity[..., None], stored["weights_sum"], atol=EG3D_PICTURE)
    jumps = (found.depth[..., None] - stored["depth"]).abs() > EG3D_DEPTH_OUTLIER
    assert jumps.double().mean() < EG3D_DEPTH_OUTLIER_SHARE
    check("depth", found.depth[..., None][~jumps], stored["depth"][~jumps], atol=EG3D_PICTURE)


PARTS = ("weight", "bias")


def recorded_numbers(stored):
    """Return the policy that plays back the random numbers, told apart by the functions that drew them."""
    drawn = {name.partition("_")[2]: [] for name in stored if name.startswith("rnd")}
    for name in sorted(name for name in stored if name.startswith("rnd")):
        drawn[name.partition("_")[2]].append(stored[name])
    assert set(drawn) <= {"rand_like", "rand", "randn_like"}
    fine = drawn.get("rand", [None])[0]
    return Recorded(drawn["rand_like"][0], fine, list(drawn.get("randn_like", [])))


def test_rays_in_chunks_equal_rays_at_once(parity_folder):
    """Limits and background depth are those of all rays, however few are rendered at a time."""
    stored = arrays(parity_folder / "eg3d" / "render_shapenet_auto_white.npz")
    planes = Triplane(stored["planes"], PUBLISHED_AXES, 1.6)
    decoder = TriplaneDecoder(32)
    load_state(decoder, {f"net.{layer}.{p}": stored[f"decoder.net.{layer}.{p}"] for layer in (0, 2) for p in PARTS})
    renderer = VolumeRenderer(box=1.6, ray_start="auto", ray_end="auto", coarse=16, fine=16, white_back=True)
    told = []
    with torch.no_grad():
        results = [
            renderer(
                lambda points, directions: decoder(planes.sample_mean(points)),
                stored["origins"],
                stored["dirs"],
                chunk=chunk,
                on_progress=lambda done, total: told.append((done, total)),
            )
            for chunk in (None, 50)
        ]
    assert told == [(144, 144), (50, 144), (100, 144), (144, 144)]
    for name, whole, parts in zip(("colour", "depth", "opacity"), *results, strict=True):
        check(name, parts, whole, atol=EG3D_PICTURE)
    assert math.isfinite(results[0].depth.max())
