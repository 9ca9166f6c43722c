# SPDX-License-Identifier: Apache-2.0
"""Reading people, and choosing rays of them."""

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch

from neural_core import media
from neural_core.errors import InputError, UsageError
from neural_core.records import Record
from neural_core.systems.eg3d.config import EG3DConfig
from neural_core.systems.plane_config import IdentityConfig, SuperResolutionConfig
from tests.spheres import colour_of, write_spheres
from training.data.portraits import load_portraits
from training.data.ray_batches import PatchChoice, draw_rays
from training.recipes import eg3d_warm_start


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data") / "spheres"
    write_spheres(folder, people=4, views=3, size=32, z_dim=8)
    return folder


def test_a_ray_sees_its_own_pixel(folder):
    data = load_portraits(folder)
    people, choice = torch.tensor([3, 1]), PatchChoice(views=3, patches=5, side=4)
    batch = draw_rays(data, people, choice, 1, torch.Generator().manual_seed(0))
    assert batch.people.tolist() == [3, 1]
    assert batch.colour.shape == (6, 5 * 16, 3)
    columns, rows = (batch.pixels * 32 - 0.5).round().long().unbind(-1)
    for k, person in enumerate(batch.people.repeat_interleave(3)):
        view = (data.cameras[person] == batch.cameras[k]).all(-1).nonzero().item()
        alpha = data.rgba[person, view, 3][rows[k], columns[k]] / 255
        torch.testing.assert_close(batch.alpha[k], alpha)
        torch.testing.assert_close(batch.depth[k], data.depth[person, view].float()[rows[k], columns[k]])
        expected = torch.from_numpy(colour_of(data.codes[person].numpy())).float() * alpha[:, None]
        torch.testing.assert_close(batch.colour[k], expected, atol=1 / 255, rtol=0)


def test_patches_are_squares_of_neighbours_and_mostly_on_the_person(folder):
    data = load_portraits(folder)
    choice = PatchChoice(views=2, patches=30, side=4)
    batch = draw_rays(data, torch.arange(4), choice, 1, torch.Generator().manual_seed(1))
    patches = (batch.pixels * 32 - 0.5).round().unflatten(1, (30, 4, 4))
    torch.testing.assert_close(patches.diff(dim=2)[..., 1], torch.ones_like(patches.diff(dim=2)[..., 1]))
    torch.testing.assert_close(patches.diff(dim=3)[..., 0], torch.ones_like(patches.diff(dim=3)[..., 0]))
    covered = (data.rgba[:, :, 3] > 0).float().mean()
    assert batch.alpha.mean() > 1.5 * covered


def test_rays_four_pixels_apart_stand_for_the_squares_about_them(folder):
    data = load_portraits(folder)
    choice = PatchChoice(views=3, patches=3, side=5)
    batch = draw_rays(data, torch.tensor([0, 2]), choice, 4, torch.Generator().manual_seed(2))
    assert batch.picture.shape == (2 * 3 * 3, 4, 20, 20)
    corner = (batch.pixels * 32).unflatten(1, (3, 5, 5))[:, :, 0, 0] - 2  # a ray is in the middle of 4 x 4 pixels
    for k, person in enumerate(batch.people.repeat_interleave(3)):
        view = (data.cameras[person] == batch.cameras[k]).all(-1).nonzero().item()
        rgba, depth = data.rgba[person, view].double() / 255, data.depth[person, view].double()
        for patch in range(3):
            left, top = corner[k, patch].round().long().tolist()
            there = rgba[:, top : top + 20, left : left + 20].clone()
            there[:3] *= there[3]
            torch.testing.assert_close(batch.picture[3 * k + patch].double(), there, atol=1e-6, rtol=0)
            for row, column in [(0, 0), (4, 1), (2, 3)]:
                ray = patch * 25 + row * 5 + column
                square = (slice(4 * row, 4 * row + 4), slice(4 * column, 4 * column + 4))
                four = (slice(4 * row + 1, 4 * row + 3), slice(4 * column + 1, 4 * column + 3))
                expected = there[(slice(None), *square)].mean(dim=(1, 2))
                seen = torch.cat([batch.colour[k, ray], batch.alpha[k, ray, None]]).double()
                torch.testing.assert_close(seen, expected, atol=1e-6, rtol=0)
                near = depth[top : top + 20, left : left + 20][four]
                smooth = near.min() > 0 and near.max() - near.min() < 0.03
                assert batch.depth[k, ray] == pytest.approx(float(near.mean()) if smooth else 0.0, abs=1e-5)


def test_eyes_and_mouth_count_more_and_are_chosen_more_often(folder):
    data = load_portraits(folder)
    features = torch.tensor([[0.25, 0.75, 1.0], [0.75, 0.75, 0.0], [0.5, 0.5, 0.0]])  # one is visible
    data = dataclasses.replace(data, features=features.expand(data.people, 3, 3, 3))
    choice = PatchChoice(views=2, patches=40, side=4, feature_weight=3.0, feature_size=0.05, feature_share=0.5)
    batch = draw_rays(data, torch.arange(4), choice, 1, torch.Generator().manual_seed(3))
    where = batch.pixels.unflatten(1, (40, 4, 4)).flatten(0, 1)
    apart = (where - torch.tensor([0.25, 0.75])).norm(dim=-1)
    expected = 1 + 3 * torch.exp(-(apart**2) / (2 * 0.05**2))
    torch.testing.assert_close(batch.weight[:, 0], expected)
    near = apart[:, 2, 2] < 3 * 0.05
    assert 0.4 < near.float().mean() < 0.75  # half were sent there, 11 % of the rest would be there anyway


def test_rays_know_what_the_face_does_in_their_picture(folder):
    data = load_portraits(folder)
    number = torch.arange(4 * 3).reshape(4, 3)
    actions = torch.zeros(4, 3, 52).index_fill(2, torch.tensor([5]), 1.0) * number[..., None]
    joints = torch.zeros(4, 3, 10, 3) + number[..., None, None] / 100
    data = dataclasses.replace(data, actions=actions, joints=joints)
    batch = draw_rays(data, torch.tensor([2, 0]), PatchChoice(2, 1, 4), 1, torch.Generator().manual_seed(4))
    for k, person in enumerate([2, 2, 0, 0]):
        view = int((data.cameras[person] == batch.cameras[k]).all(-1).nonzero())
        assert batch.actions[k, 5] == number[person, view]
        assert (batch.joints[k] == number[person, view] / 100).all()


def test_a_shut_eye_is_still_found(tmp_path):
    """The iris is behind the lids; of the other eye and the mouth nothing is seen but the lower lip."""
    write_spheres(tmp_path, people=1, views=2, size=16, z_dim=4)
    file = tmp_path / "records" / "000000.npz"
    points = np.random.default_rng(0).random((2, 478, 2)).astype(np.float32)
    visible = np.zeros((2, 478), bool)
    visible[0, [159, 14]] = True
    dataclasses.replace(Record.load(file), points_478=points, visible=visible).save(file)
    features = load_portraits(tmp_path).features[0]
    np.testing.assert_array_equal(features[..., 2], [[1, 0, 1], [0, 0, 0]])
    np.testing.assert_array_equal(features[:, :2, :2], points[:, [468, 473]])
    np.testing.assert_allclose(features[:, 2, :2], (points[:, 13] + points[:, 14]) / 2, rtol=1e-6)


def test_same_generator_same_rays(folder):
    data = load_portraits(folder)
    people, choice = torch.tensor([0, 2]), PatchChoice(2, 4, 4)
    first, second = (draw_rays(data, people, choice, 1, torch.Generator().manual_seed(9)) for _ in range(2))
    assert torch.equal(first.pixels, second.pixels)


def test_a_damaged_person_is_left_out_by_name(folder, tmp_path):
    copy = tmp_path / "copy"
    write_spheres(copy, people=3, views=2, size=16, z_dim=4)
    (copy / "records" / "000001.npz").write_bytes(b"PK\x03\x04 cut off")
    data = load_portraits(copy)
    assert data.people == 2
    assert len(data.skipped) == 1
    assert data.skipped[0].startswith("000001.npz")


def test_pictures_over_a_background_take_their_alpha_from_the_record(tmp_path):
    copy = tmp_path / "copy"
    write_spheres(copy, people=1, views=2, size=16, z_dim=4)
    before = load_portraits(copy)
    for path in copy.glob("0*/*.png"):
        picture = media.read_picture(path)
        media.write_png(path, np.where(picture[..., 3:] > 0, picture[..., :3], 99).astype(np.uint8), {})
    after = load_portraits(copy)
    assert torch.equal(before.rgba[:, :, 3], after.rgba[:, :, 3])
    there = before.rgba[:, :, 3] > 0
    assert torch.equal(before.rgba.movedim(2, -1)[there], after.rgba.movedim(2, -1)[there])
    assert (after.rgba.movedim(2, -1)[~there][:, :3] == 99).all()


def test_a_captured_person_is_left_out(tmp_path):
    copy = tmp_path / "copy"
    write_spheres(copy, people=2, views=2, size=16, z_dim=4)
    file = copy / "records" / "000000.npz"
    dataclasses.replace(Record.load(file), z=np.zeros(0, np.float32)).save(file)
    data = load_portraits(copy)
    assert data.people == 1
    assert data.skipped == ("000000.npz: a captured person: no code, or no depth",)


def test_only_people_of_whom_the_code_says_everything(tmp_path):
    """One moves the jaw, one turns the neck, one stands in drawn light; the fourth rests in the studio."""
    write_spheres(tmp_path, people=4, views=2, size=16, z_dim=4)
    actions, joints = np.zeros((2, 52), np.float32), np.zeros((2, 10, 3), np.float32)
    actions[1, 7], joints[0, 1, 2] = 0.3, 0.2
    changes: list[dict[str, Any]] = [{"actions": actions}, {"joints": joints}, {"source": {"variety": "wide"}}]
    for index, change in enumerate(changes):
        file = tmp_path / "records" / f"{index:06d}.npz"
        dataclasses.replace(Record.load(file), **change).save(file)
    assert load_portraits(tmp_path).people == 4
    data = load_portraits(tmp_path, told_by_code=True)
    assert data.people == 1
    assert [reason.split(":")[0] for reason in data.skipped] == ["000000.npz", "000001.npz", "000002.npz"]
    assert "not a resting face" in data.skipped[0]
    told = load_portraits(tmp_path, told_by_code=True, moving=True)
    assert [reason.split(":")[0] for reason in told.skipped] == ["000002.npz"]
    np.testing.assert_array_equal(told.actions[0], actions)
    np.testing.assert_array_equal(told.joints[1], joints)
    assert not told.actions[1:].any()  # the second's record says nothing of actions, the third's nothing of joints
    assert not told.joints[[0, 2]].any()
    (tmp_path / "records" / "000002.npz").unlink()
    (tmp_path / "records" / "000003.npz").unlink()
    with pytest.raises(InputError, match=r"2 were left out, the first being 000000\.npz: not a resting face"):
        load_portraits(tmp_path, told_by_code=True)


@pytest.mark.parametrize(("name", "there"), [("views", 3), ("side", 32)])
def test_a_step_that_takes_more_than_there_is_is_a_sentence(folder, name, there):
    no_superresolution = SuperResolutionConfig(kind="none")
    model = EG3DConfig(z_dim=8, identity=IdentityConfig(), superresolution=no_superresolution)
    patches = dataclasses.replace(PatchChoice(views=3, side=8), **{name: there + 1})
    config = eg3d_warm_start.Config(model=model, data=eg3d_warm_start.DataConfig(path=(str(folder),)), patches=patches)
    with pytest.raises(UsageError, match=rf"patches\.{name} is {there + 1}, but the data has only {there}"):
        eg3d_warm_start.build(config, torch.device("cpu"))


def test_an_empty_folder_is_a_sentence(tmp_path):
    with pytest.raises(InputError, match=r"No people found.*training\.synthesize"):
        load_portraits(tmp_path)


def test_limit_reads_the_first(folder):
    data = load_portraits(folder, limit=2)
    np.testing.assert_array_equal(data.codes[1].numpy(), Record.load(folder / "records" / "000001.npz").z)
    assert data.people == 2


def test_people_with_fewer_views_repeat_theirs(folder, tmp_path):
    write_spheres(tmp_path / "two", people=1, views=2, size=32, z_dim=8)
    data = load_portraits(folder, tmp_path / "two")
    assert data.cameras.shape == (5, 3, 25)
    assert torch.equal(data.cameras[4, 2], data.cameras[4, 0])
    assert torch.equal(data.rgba[4, 2], data.rgba[4, 0])
    assert not torch.equal(data.cameras[4, 1], data.cameras[4, 0])
