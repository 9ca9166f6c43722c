# SPDX-License-Identifier: Apache-2.0
"""People of a tiny model whose truth is known are found again in a picture of them, and from the side as well."""

import dataclasses
import itertools

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from neural_core import models, others, systems
from neural_core.cameras import Camera, orbit
from neural_core.errors import InputError
from neural_core.fitting import inversion, reconstruct
from neural_core.fitting.inversion import Inversion, Length, Target, mirrored, start_latents
from neural_core.fitting.likeness import psnr
from neural_core.fitting.reconstruct import Options, fit, target_of
from neural_core.fitting.tunable import PREFIX
from neural_core.human.arkit import ACTIONS
from neural_core.systems.common import Control
from neural_core.systems.eg3d.generator import EG3DGenerator
from neural_core.systems.eg3d.system import EG3D, build_generator
from tests.tiny_models import make_ball, save_tiny_next3d
from tests.unit.test_eg3d_system import PLAIN
from tests.unit.test_fitting_tunable import OURS
from tests.unit.test_metrics_network_perceptual import ALEXNET, trunk

SMALL = dataclasses.replace(OURS, render=dataclasses.replace(OURS.render, coarse=6, fine=6, neural_resolution=16))


def ball(seed):
    """A system whose people are balls, coloured by their palettes."""
    torch.manual_seed(seed)
    generator = build_generator(SMALL)
    with torch.no_grad():
        for name, value in generator.named_parameters():
            if "to_rgb" in name:
                value.zero_()
        make_ball(generator.mean_planes.features, generator.decoder)
    return EG3D(generator, "ab" * 32)


def seen_from(system, yaw):
    camera = system.creation_camera()
    return Camera(orbit(float(yaw), 0.0, float(camera.cam2world[0, :3, 3].norm())).cam2world, camera.intrinsics)


def target(system, latents, yaw=0.0, generator=None, camera=None, controls=None):
    """A picture of a person before a grey wall."""
    camera = camera or seen_from(system, yaw)
    with torch.no_grad():
        seen = system.see(generator or system.generator, latents, camera, controls)
    picture = (seen.image + 1) / 2
    background = torch.full_like(picture, 0.4)
    return Target(
        picture + (1 - seen.opacity) * background, seen.opacity, background, torch.ones_like(seen.opacity), camera,
        latents["z"][0, :40], controls,
    )  # fmt: skip


def nearness(system, portrait, wanted):
    seen = system.pose(portrait, wanted.controls).render(wanted.camera)
    found = (seen.image + 1) / 2 + (1 - seen.opacity) * wanted.background
    return psnr(found, wanted.picture, wanted.weight)


@pytest.fixture(scope="module")
def system():
    return ball(1)


@pytest.fixture(scope="module")
def someone(system):
    """A person whose looks the start does not know: another code, and colours that no code has."""
    latents = system.latents(system.create(5, 1.0))
    latents["offset/palette"] = torch.full((1, 6, 3), -0.1)
    return latents


def test_the_pivot_is_the_person_from_the_front_and_from_the_side(system, someone):
    work = Inversion(system, target(system, someone), Length(60, 0))
    start = work.portrait()
    for _ in range(60):
        work.step()
    for yaw, gain in ((0, 10), (30, 8)):
        wanted = target(system, someone, yaw)
        assert nearness(system, work.portrait(), wanted) > nearness(system, start, wanted) + gain
    assert not any(name.startswith(PREFIX) for name in work.portrait().tensors)


def test_weights_learn_what_no_latent_has(system, someone, monkeypatch):
    """The truth has a chequered face, of which the model knows nothing."""
    monkeypatch.setattr(inversion, "WEIGHT_RATE", 0.01)  # small networks learn slowly
    other = ball(1).generator
    with torch.no_grad():
        other.decoder.output.weight[1:4] *= 20
        other.mean_planes.features[0, :, 1:3, 6:9] += 2.0
    wanted, side = (target(system, someone, yaw, other) for yaw in (0, 30))
    work = Inversion(system, wanted, Length(30, 40))
    for _ in range(30):
        work.step()
    pivot, latents = work.portrait(), {name: value.clone() for name, value in work.latents.items()}
    for _ in range(40):
        work.step()
    tuned = work.portrait()
    assert nearness(system, tuned, wanted) > nearness(system, pivot, wanted) + 0.8
    assert nearness(system, tuned, side) > nearness(system, pivot, side) + 0.2
    assert all(torch.equal(value, latents[name]) for name, value in work.latents.items())
    assert any(name.startswith(PREFIX) for name in tuned.tensors)
    shown = torch.from_numpy(reconstruct._bytes(work.preview())).float() / 255
    seen = shown[..., :3] * shown[..., 3:] + (1 - shown[..., 3:]) * 0.4
    assert psnr(seen.movedim(-1, 0)[None], wanted.picture, wanted.weight) == pytest.approx(
        nearness(system, tuned, wanted), abs=0.3
    )


def test_other_pictures_of_the_person_teach_what_the_first_does_not_show(system, someone):
    """Of the first picture no pixel matters."""
    wanted, left, right = (target(system, someone, yaw) for yaw in (0, 60, -60))
    blank = dataclasses.replace(wanted, weight=torch.zeros_like(wanted.weight))
    gained = []
    for further in ((), (left, right)):
        work = Inversion(system, blank, Length(30, 0), None, further)
        start = work.portrait()
        for _ in range(30):
            work.step()
        gained.append(
            [nearness(system, work.portrait(), view) - nearness(system, start, view) for view in (left, right)]
        )
    alone, together = np.array(gained)
    assert (together - alone).min() > 3


def test_each_other_picture_has_its_turn(system, someone, monkeypatch):
    wanted, left, right = (target(system, someone, yaw) for yaw in (40, 80, 0))
    work = Inversion(system, wanted, Length(8, 16), None, (left, right))
    looked = []
    monkeypatch.setattr(work, "_unlike", lambda seen, _: looked.append(seen) or work.latents["z"].sum() * 0)
    for _ in range(24):
        work._loss(inversion.HALF)
        if work.iteration == 7:
            work._pivot = [(wanted.camera, wanted.picture)]
        work.iteration += 1
    names = "".join({id(wanted): "w", id(left): "l", id(right): "r"}[id(view)] for view in looked)
    assert names == "wwwlwwwr" + "wwl" + "wwr" + "wwl" + "wwr"  # the pivot has the second place of four


def test_a_start_has_the_pictures_face(system):
    latents = start_latents(system, torch.arange(40.0))
    assert latents["z"][0].tolist() == [*range(40), *[0] * 24]
    assert start_latents(system)["z"].abs().max() == 0


@pytest.mark.parametrize("stop", [3, 7])
def test_work_taken_up_again_ends_where_it_would_have(system, someone, stop):
    wanted = target(system, someone, 20)
    through, first, second = (Inversion(system, wanted, Length(5, 5)) for _ in range(3))
    for _ in range(10):
        through.step()
    for _ in range(stop):
        first.step()
    second.resume(stop, {name: value.clone() for name, value in first.state().items()})
    for _ in range(10 - stop):
        second.step()
    expected, found = through.portrait().tensors, second.portrait().tensors
    assert expected.keys() == found.keys()
    assert all(torch.equal(expected[name], found[name]) for name in expected)


def test_mirrored_targets_show_mirrored_people(system, someone):
    """Balls have two equal sides, so what a mirrored camera sees is the mirrored picture."""
    camera = seen_from(system, 25)
    beside = Camera(camera.cam2world, camera.intrinsics + torch.tensor([[0, 0, -0.2], [0, 0, 0], [0, 0, 0]]))
    controls = {"actions": torch.eye(52)[ACTIONS.index("eyeBlinkLeft")]}
    wanted = dataclasses.replace(target(system, someone, camera=beside), controls=controls)
    other = mirrored(wanted)
    with torch.no_grad():
        seen = system.see(system.generator, someone, other.camera)
    found = (seen.image + 1) / 2 + (1 - seen.opacity) * other.background
    assert (found - other.picture).abs().mean() < 0.01
    assert (wanted.picture - other.picture).abs().mean() > 0.025
    assert torch.equal(other.alpha.flip(-1), wanted.alpha)
    assert ACTIONS[other.controls["actions"].argmax()] == "eyeBlinkRight"
    assert torch.allclose(mirrored(other).camera.label(), wanted.camera.label())


def test_few_samples_a_ray_are_taken_while_fitting_alone(system, someone, monkeypatch):
    monkeypatch.setattr(inversion, "SAMPLES", (4, 99))
    work = Inversion(system, target(system, someone), Length(1, 0))
    assert (work.generator.renderer.coarse, work.generator.renderer.fine) == (4, 6)
    assert (system.generator.renderer.coarse, system.generator.renderer.fine) == (6, 6)


@pytest.mark.parametrize(("yaw", "looks"), [(0, 8), (5, 8), (25, 6)])
def test_mirrored_pictures_are_looked_at_if_they_show_another_side(system, someone, monkeypatch, yaw, looks):
    work = Inversion(system, target(system, someone, yaw), Length(8, 0))
    seen = []
    monkeypatch.setattr(work, "_unlike", lambda target, chance: seen.append(target) or work.latents["z"].sum())
    for _ in range(8):
        work.step()
    assert sum(one is work.target for one in seen) == looks
    assert len(seen) == 8


def test_a_smaller_picture_is_compared_with_averages(system, someone):
    """Halves of pictures: the person who is it has nearly no loss, and the portrait still has its own size."""
    wanted = target(system, someone)
    halves = {name: torch.nn.functional.avg_pool2d(getattr(wanted, name), 2) for name in ("picture", "alpha", "weight")}
    small = dataclasses.replace(wanted, **halves, background=wanted.background[..., :8, :8])
    of_mean, of_truth = Inversion(system, small, Length(1, 1)), Inversion(system, small, Length(1, 1))
    for name, value in of_truth.latents.items():
        value.data.copy_(someone[name])
    of_truth._start = {name: value.detach().clone() for name, value in of_truth.latents.items()}
    assert of_truth.step() < 0.2 * of_mean.step()
    assert of_truth.step() < 1.0  # a look at the picture with weights that move
    assert fit(system, small, Options("tiny", Length(1, 1)), {}).provenance["psnr"] > 5
    assert of_truth.preview().shape == (16, 16, 4)


def test_backgrounds_are_asked_of_models_that_leave_them_free(system, someone):
    wanted = target(system, someone)
    assert Inversion(system, wanted, Length(1, 0))._free
    torch.manual_seed(0)
    published = EG3D(EG3DGenerator(PLAIN))
    with torch.no_grad():
        published.generator.decoder.output.bias[0] = 50.0  # fills the whole box
    names = ("picture", "alpha", "background", "weight")
    small = {name: torch.nn.functional.interpolate(getattr(wanted, name), (16, 16)) for name in names}
    assert not Inversion(published, dataclasses.replace(wanted, **small), Length(1, 0))._free


class Stop(Exception):
    pass


def test_fitting_is_shown_stopped_and_taken_up(system, someone, tmp_path, monkeypatch):
    wanted, state = target(system, someone), tmp_path / "work.state"
    options = Options("tiny", Length(3, 3), preview_every=2, state=state)
    shown = []
    through = fit(system, wanted, options, {"source": "x.png"}, on_preview=lambda *args: shown.append(args))
    assert [done for _, done in shown] == [2, 4, 6]
    assert shown[0][0].shape == (16, 16, 4)
    assert through.provenance["source"] == "x.png"
    on_the_person = dataclasses.replace(wanted, weight=wanted.alpha)
    assert through.provenance["psnr"] == pytest.approx(nearness(system, through, on_the_person), abs=0.01)
    assert not state.exists()

    monkeypatch.setattr(reconstruct, "_KEPT_EVERY", -1.0)
    count = itertools.count()

    def stop(stage, done, total):
        if next(count) == 4:
            raise Stop

    with pytest.raises(Stop):
        fit(system, wanted, options, {}, stop)
    assert [path.name for path in tmp_path.iterdir()] == ["work.state"]
    told = []
    again = fit(system, wanted, options, {}, lambda stage, done, total: told.append(done))
    assert told[0] == 4
    assert all(torch.equal(again.tensors[name], value) for name, value in through.tensors.items())
    assert not state.exists()


def test_other_work_is_not_taken_up(system, someone, tmp_path, monkeypatch):
    monkeypatch.setattr(reconstruct, "_KEPT_EVERY", -1.0)
    state = tmp_path / "work.state"
    options = Options("tiny", Length(2, 2), state=state)

    def stop(stage, done, total):
        if done == 2:
            raise Stop

    with pytest.raises(Stop):
        fit(system, target(system, someone), options, {}, stop)
    with pytest.raises(InputError, match="another photo"):
        fit(system, target(system, someone, 10), options, {})
    with pytest.raises(InputError, match="another photo"):
        fit(system, target(system, someone), options, {}, others=[target(system, someone, 10)])
    with pytest.raises(InputError, match="other iterations"):
        fit(system, target(system, someone), dataclasses.replace(options, length=Length(2, 3)), {})
    state.write_bytes(state.read_bytes()[:-5])
    with pytest.raises(InputError, match="cannot be read"):
        fit(system, target(system, someone), options, {})


def test_a_target_is_what_was_captured(system, repository):
    from neural_core.records import Record

    records = sorted((repository / "tests" / "fixtures" / "held_out" / "records").glob("*.npz"))
    record = Record.load(records[0])
    count, size = record.alpha.shape[:2]
    grey, first = np.full((count, size, size, 3), 100, np.uint8), np.eye(52, dtype=np.float32)[:count]
    record = dataclasses.replace(record, background=grey, actions=first)
    picture = np.zeros((size, size, 3), np.uint8)
    wanted = target_of(record, picture, system, "cpu")
    assert wanted.picture.shape == wanted.background.shape == (1, 3, 16, 16)
    assert wanted.alpha.mean().item() == pytest.approx(record.alpha[0].mean() / 255, abs=0.01)
    assert wanted.background.mean().item() == pytest.approx(100 / 255, abs=1e-3)
    assert 0.4 <= wanted.weight.min() < wanted.weight.max() <= 1.001
    # Model space is twice head space: landmarks, in metres, appear where the record says.
    points = torch.from_numpy(record.landmarks_68[:1])
    assert torch.allclose(wanted.camera.project(points), torch.from_numpy(record.points_68[:1]), atol=1e-3)
    assert wanted.controls is None
    second = target_of(record, picture, system, "cpu", 1)
    points = torch.from_numpy(record.landmarks_68[1:2])
    assert torch.allclose(second.camera.project(points), torch.from_numpy(record.points_68[1:2]), atol=1e-3)
    assert second.alpha.mean().item() == pytest.approx(record.alpha[1].mean() / 255, abs=0.01)

    moving = dataclasses.replace(system.info, controls=(Control("actions", 52, "", 0, 1, ""),))
    animatable = type("Animatable", (EG3D,), {"info": property(lambda self: moving)})
    wanted = target_of(record, picture, animatable(system.generator), "cpu")
    assert wanted.controls["actions"].tolist() == [1.0] + [0.0] * 51
    assert inversion.mirrored(wanted).controls["actions"].argmax() == 1  # browDownRight


@pytest.mark.slow
def test_people_who_move_are_found_in_what_they_do(tmp_path):
    """The picture shows an open mouth; with that known, the person is right at rest and from the side, too."""
    moving = systems.load(
        save_tiny_next3d(tmp_path / "moving.safetensors", seed=2)
    )  # whose people differ enough to be told apart
    truth = moving.latents(moving.create(5, 1.0))
    open_mouth = {"actions": torch.eye(52)[ACTIONS.index("jawOpen")]}
    wanted = target(moving, truth, controls=open_mouth)
    at_rest = target(moving, truth, 30)
    work = Inversion(moving, wanted, Length(30, 4))
    start = work.portrait()
    for _ in range(34):
        work.step()
    found = work.portrait()
    assert nearness(moving, found, wanted) > nearness(moving, start, wanted) + 3
    assert nearness(moving, found, at_rest) > nearness(moving, start, at_rest) + 3
    assert any(name.startswith(PREFIX + "blending") for name in found.tensors)


def test_lpips_counts_for_users_who_have_brought_it(system, someone, tmp_path, monkeypatch):
    others.library("lpips", "this test", "metrics")
    monkeypatch.setenv(models.FOLDER_VARIABLE, str(tmp_path))
    wanted = target(system, someone)
    large = dataclasses.replace(wanted, picture=torch.zeros(1, 3, 64, 64))
    assert reconstruct.users_lpips(large) is None
    others.folder().mkdir()
    save_file(trunk(ALEXNET), others.folder() / "alexnet.safetensors")
    assert reconstruct.users_lpips(wanted) is None, "too small for it"
    network = reconstruct.users_lpips(large)
    first = torch.rand(1, 3, 64, 64)
    assert network(first, first).item() == 0 < network(first, large.picture).item()

    def distance(found, picture):
        return (found - picture).abs().mean() * 2

    monkeypatch.setattr("neural_core.perceptual.SMALLEST", 16)
    without, with_it = (Inversion(system, wanted, Length(1, 0), judge).step() for judge in (None, distance))
    with torch.no_grad():
        seen = system.see(system.generator, start_latents(system, wanted.shape), wanted.camera)
    apart = (seen.image + 1) / 2 + (1 - seen.opacity) * 0.4 - wanted.picture
    # As LPIPS takes them pictures are twice as far apart; chance moves the samples of the step's own picture a little.
    assert with_it - without == pytest.approx(inversion.PERCEPTION * 4 * apart.abs().mean().item(), rel=0.1)
