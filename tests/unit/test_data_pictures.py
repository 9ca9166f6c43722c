# SPDX-License-Identifier: Apache-2.0
"""EG3D's data sets: what is read, what is mirrored, what is left out, and in which process."""

import json
import zipfile

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from neural_core.cameras import Camera, orbit
from neural_core.errors import InputError
from tests.layouts import encoded, write_folder, write_zip
from tests.spheres import write_spheres
from training.data.pictures import PictureSet
from training.data.sources import FolderSource, ZipSource, open_source

SIZE = 8


def noise(seed: int, size: int = SIZE, channels: int = 3) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (size, size, channels)).astype(np.uint8)


def label(seed: int) -> list[float]:
    return orbit(10.0 * seed, 3.0 * seed).label()[0].tolist()


def published(count: int, names: str = "{folder:05d}/img{index:08d}.png") -> dict[str, bytes]:
    """The files of a data set as EG3D's scripts leave them: two pictures a folder here, labels in another order."""
    files = {names.format(folder=index // 2, index=index): encoded(noise(index)) for index in range(count)}
    labels = [[name, label(index)] for index, name in enumerate(files)]
    return {**files, "dataset.json": json.dumps({"labels": labels[::-1]}).encode()}


@pytest.fixture(params=["folder", "stored", "deflated"])
def write(request, tmp_path):
    """Write files as each of the layouts."""
    packing = {"stored": zipfile.ZIP_STORED, "deflated": zipfile.ZIP_DEFLATED}
    if request.param == "folder":
        return lambda files: write_folder(tmp_path / "data", files)
    return lambda files: write_zip(tmp_path / "data.zip", files, packing[request.param])


def test_published_layout_is_read_in_the_order_of_names(write):
    data = PictureSet(write(published(5)))
    assert (len(data), data.size, data.channels, data.skipped) == (5, SIZE, 3, ())
    for index in range(5):
        item = data[index]
        np.testing.assert_array_equal(item["picture"].numpy(), noise(index).transpose(2, 0, 1))
        torch.testing.assert_close(item["label"], torch.tensor(label(index)), rtol=0, atol=0)
        assert item["index"] == index
    assert torch.equal(data.labels, torch.stack([data[index]["label"] for index in range(5)]))


def test_labels_may_be_a_mapping_and_have_windows_slashes(write):
    files = published(2)
    labels = dict(json.loads(files["dataset.json"])["labels"])
    files["dataset.json"] = json.dumps({"labels": {n.replace("/", "\\"): v for n, v in labels.items()}}).encode()
    data = PictureSet(write(files))
    torch.testing.assert_close(data.labels, torch.tensor([label(0), label(1)]), rtol=0, atol=0)


def test_our_own_data_sets_have_the_same_layout(tmp_path):
    write_spheres(tmp_path, people=2, views=3, size=16, z_dim=4)
    (tmp_path / "00000" / ".img.123.part.png").write_bytes(b"half")
    data = PictureSet(tmp_path)
    assert (len(data), data.size, data.channels, data.skipped) == (6, 16, 4, ())


def test_grey_and_jpeg_and_opaque_alpha_become_what_the_first_picture_is(write):
    files = published(1)
    files["00001/b.jpg"] = encoded(np.full((SIZE, SIZE, 3), (200, 30, 90), np.uint8), "jpeg")
    files["00001/c.png"] = encoded(noise(3, channels=1))
    files["00001/d.png"] = encoded(np.dstack([noise(4), np.full((SIZE, SIZE), 255, np.uint8)]))
    files["00001/e.png"] = encoded(noise(5, channels=4))
    files["dataset.json"] = json.dumps({"labels": [[name, label(1)] for name in files if "/" in name]}).encode()
    data = PictureSet(write(files))
    assert (data[1]["picture"].int() - torch.tensor([200, 30, 90])[:, None, None]).abs().max() <= 3
    assert torch.equal(data[2]["picture"], torch.from_numpy(noise(3, channels=1)[..., 0]).expand(3, -1, -1))
    assert torch.equal(data[3]["picture"], torch.from_numpy(noise(4)).movedim(-1, 0))
    assert data[4]["index"] == 0  # it goes round
    assert data.skipped == ('"00001/e.png" is transparent in parts, others are not. Lay it over a background.',)


def test_pictures_without_alpha_are_opaque_among_those_with(write):
    files = published(2)
    files["00000/img00000000.png"] = encoded(noise(0, channels=4))
    data = PictureSet(write(files))
    assert data.channels == 4
    np.testing.assert_array_equal(data[0]["picture"].numpy(), noise(0, channels=4).transpose(2, 0, 1))
    assert (data[1]["picture"][3] == 255).all()
    np.testing.assert_array_equal(data[1]["picture"][:3].numpy(), noise(1).transpose(2, 0, 1))


def skewed(seed: int) -> Camera:
    """A camera whose centre is off and whose axes are not orthogonal: what a symmetric one would hide shows."""
    camera = orbit(20.0 + seed, 10.0)
    intrinsics = torch.tensor([[[4.0, 0.1, 0.45], [0.0, 4.4, 0.52], [0.0, 0.0, 1.0]]])
    roll = torch.tensor([[0.8, -0.6, 0, 0], [0.6, 0.8, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1.0]])
    return Camera(camera.cam2world @ roll, intrinsics)


def splats(camera: Camera, points: torch.Tensor) -> torch.Tensor:
    """A picture of points, each a smooth blob of its own weight: [size, size], 0..1."""
    size = 48
    centres = (torch.arange(size) + 0.5) / size
    u, v = camera.project(points[None])[0].unbind(-1)
    across, down = (centres - u[:, None]) / 0.05, (centres - v[:, None]) / 0.05
    blobs = (-down.square()).exp()[:, :, None] * (-across.square()).exp()[:, None, :]
    weights = torch.linspace(0.2, 1, len(points))
    return (weights[:, None, None] * blobs).amax(0)


def test_a_mirrored_item_is_what_its_camera_sees_of_the_mirrored_world(tmp_path):
    """The picture of mirrored points with the mirrored camera, drawn from scratch, is the picture flipped."""
    camera = skewed(1)
    points = 0.3 * torch.randn(7, 3, generator=torch.Generator().manual_seed(3))
    picture = (splats(camera, points) * 255).round().byte()
    labels = [["a.png", camera.label()[0].tolist()]]
    files = {"a.png": encoded(picture.numpy()), "dataset.json": json.dumps({"labels": labels}).encode()}
    data = PictureSet(write_folder(tmp_path, files), mirror=True)
    assert len(data) == 2
    assert torch.equal(data[0]["picture"][0], picture)
    seen = splats(Camera.from_label(data[1]["label"][None]), points * torch.tensor([-1.0, 1.0, 1.0]))
    difference = (data[1]["picture"][0].int() - (seen * 255).round().int()).abs()
    assert difference.max() <= 1
    # The control: neither the unflipped picture nor the old camera would do.
    assert (data[0]["picture"][0].int() - (seen * 255).round().int()).abs().max() > 100
    wrong = splats(Camera.from_label(data[0]["label"][None]), points * torch.tensor([-1.0, 1.0, 1.0]))
    assert (data[1]["picture"][0].int() - (wrong * 255).round().int()).abs().max() > 100


def test_mirrored_cameras_are_rigid_and_mirroring_twice_is_nothing():
    camera = skewed(0)
    mirrored = camera.mirrored()
    rotation = mirrored.cam2world[0, :3, :3].double()
    torch.testing.assert_close(rotation @ rotation.T, torch.eye(3, dtype=torch.float64), atol=1e-6, rtol=0)
    assert torch.linalg.det(rotation) > 0
    assert torch.equal(mirrored.mirrored().cam2world, camera.cam2world)
    torch.testing.assert_close(mirrored.mirrored().intrinsics, camera.intrinsics)
    assert torch.equal(
        orbit(30.0, 5.0).mirrored().cam2world.round(decimals=5), orbit(-30.0, 5.0).cam2world.round(decimals=5)
    )


def test_mirroring_doubles_the_set_as_eg3d_does(write):
    plain, data = PictureSet(write(published(3))), PictureSet(write(published(3)), mirror=True)
    assert (len(plain), len(data), data.labels.shape) == (3, 6, (6, 25))
    for index in range(3):
        assert torch.equal(data[index]["picture"], plain[index]["picture"])
        np.testing.assert_array_equal(data[index + 3]["picture"].numpy(), noise(index)[:, ::-1].transpose(2, 0, 1))
        assert data[index + 3]["index"] == index + 3
        assert torch.equal(data[index + 3]["label"], data.labels[index + 3])
    with pytest.raises(IndexError):
        data[6]


def damaged_set() -> dict[str, bytes]:
    """Of eight pictures 2 and 3 are damaged, 5 has another size, 6 no label; the label of a ninth has no picture."""
    files = published(8)
    labels = json.loads(files["dataset.json"])["labels"]
    files["00001/img00000002.png"] = files["00001/img00000002.png"][:-40]
    files["00001/img00000003.png"] = b"no picture"
    files["00002/img00000005.png"] = encoded(noise(5, size=4))
    labels = [entry for entry in labels if "06.png" not in entry[0]] + [["00004/img00000008.png", label(1)]]
    return {**files, "dataset.json": json.dumps({"labels": labels}).encode()}


EXPECTED = [0, 1, 4, 4, 4, 7, 7]
"""Which picture each item of `damaged_set` is."""


def test_in_the_place_of_a_damaged_picture_stands_the_next_one(write):
    data = PictureSet(write(damaged_set()), mirror=True)
    assert len(data) == 14
    for mirrored in (False, True):
        for place, picture in enumerate(EXPECTED):
            item = data[place + 7 * mirrored]
            expected = noise(picture)[:, ::-1] if mirrored else noise(picture)
            np.testing.assert_array_equal(item["picture"].numpy(), expected.transpose(2, 0, 1))
            camera = Camera.from_label(torch.tensor([label(picture)]))
            torch.testing.assert_close(item["label"][None], (camera.mirrored() if mirrored else camera).label())
            assert torch.equal(item["label"], data.labels[item["index"]])
    assert data.damaged == 3
    assert data.skipped == (
        "00003/img00000006.png: it has no label.",
        "00004/img00000008.png: there is only its label.",
        'Cannot read "00001/img00000002.png" as a picture. PNG and JPEG files work.',
        'Cannot read "00001/img00000003.png" as a picture. PNG and JPEG files work.',
        '"00002/img00000005.png" has 4 x 4 pixels, not 8 x 8. All pictures need the same size.',
    )


@pytest.mark.parametrize(("start", "workers"), [("fork", 2), pytest.param("spawn", 1, marks=pytest.mark.slow)])
def test_workers_read_the_same_and_tell_what_is_damaged(tmp_path, capfd, start, workers):
    here = PictureSet(write_zip(tmp_path / "data.zip", damaged_set()))
    assert here.damaged == 0  # nothing but the first picture was opened
    loader = DataLoader(here, batch_size=3, num_workers=workers, multiprocessing_context=start)
    batches = list(loader)
    assert here.damaged == 3
    said = [line.removeprefix("left out: ") for line in capfd.readouterr().err.splitlines()]
    assert set(said) == set(here.skipped)
    assert workers > 1 or len(said) == len(here.skipped) == 5
    assert [index for batch in batches for index in batch["index"].tolist()] == [0, 1, 4, 4, 4, 6, 6]
    alone = PictureSet(tmp_path / "data.zip")
    assert torch.equal(torch.cat([batch["picture"] for batch in batches]), torch.stack([i["picture"] for i in alone]))


def test_only_the_first_picture_is_opened_before_it_is_asked_for(write, monkeypatch):
    path, opened = write(published(6)), []
    for source in (FolderSource, ZipSource):
        whole = source.read
        monkeypatch.setattr(source, "read", lambda self, name, whole=whole: (opened.append(name), whole(self, name))[1])
    data = PictureSet(path, mirror=True)
    assert opened == ["dataset.json", "00000/img00000000.png"]
    opened.clear()
    assert data[10]["index"] == 10
    assert opened == ["00002/img00000004.png"]


def test_limit_takes_the_first(write):
    assert PictureSet(write(published(5)), limit=2, mirror=True).labels.shape == (4, 25)
    assert len(PictureSet(write(published(5)), limit=9)) == 5


def changed(**files) -> dict[str, bytes]:
    return {**published(2), **{name.replace("dataset", "dataset.json"): data for name, data in files.items()}}


def said(labels) -> bytes:
    return json.dumps({"labels": labels}).encode()


NAME = "00000/img00000000.png"


@pytest.mark.parametrize(
    ("files", "sentence"),
    [
        ({}, "There are no pictures"),
        ({"readme.txt": b"hello"}, "There are no pictures"),
        ({NAME: encoded(noise(0))}, r"has no dataset\.json: nothing is known of the cameras.*training\.prepare"),
        ({f"ffhq/{name}": data for name, data in published(2).items()}, 'It is in "ffhq/dataset.json"'),
        (changed(dataset=said(None)), r"has no labels: nothing is known of the cameras"),
        (changed(dataset=said([])), "has no labels"),
        (changed(dataset=b"{"), "damaged"),
        (changed(dataset=b"[1]"), "damaged"),
        (changed(dataset=b'{"labels": 3}'), "damaged"),
        (changed(dataset=said([["a"]])), "damaged"),
        (changed(dataset=b"\xff\xfe"), "damaged"),
        (changed(dataset=said([[NAME, 4]])), f'are no cameras: that of "{NAME}" has the value 4, not 25'),
        (changed(dataset=said([[NAME, [1, 2, 3]]])), "has 3 numbers, not 25"),
        (changed(dataset=said([["other.png", label(0)]])), 'names none of its 2 pictures. It begins with "other.png"'),
    ],
)
def test_what_is_no_data_set_is_a_sentence(write, tmp_path, files, sentence):
    (tmp_path / "data").mkdir()
    with pytest.raises(InputError, match=sentence):
        PictureSet(write(files))


def test_a_label_that_is_not_finite_is_left_out(write):
    bad = label(1)
    bad[3] = float("nan")
    data = PictureSet(write(changed(dataset=said([[NAME, label(0)], ["00000/img00000001.png", bad]]))))
    assert (len(data), data.skipped) == (1, ("00000/img00000001.png: its label is not 25 numbers.",))


def test_wrong_sizes_are_a_sentence_with_the_file_and_both_sizes(write):
    path = write(published(3))
    with pytest.raises(InputError, match=rf'3 items in a row .*"{NAME}" has 8 x 8 pixels, not 16 x 16'):
        PictureSet(path, size=16)


def test_pictures_that_are_not_square_are_a_sentence(tmp_path):
    files = {NAME: encoded(noise(0)[:5]), "dataset.json": said([[NAME, label(0)]])}
    with pytest.raises(InputError, match="has 8 x 5 pixels, not a square"):
        PictureSet(write_folder(tmp_path, files))


def test_a_disk_that_goes_away_ends_the_run(tmp_path):
    data = PictureSet(write_folder(tmp_path, published(4)))
    for picture in tmp_path.rglob("*.png"):
        picture.unlink()
    with pytest.raises(InputError, match=r"4 items in a row.*00001/img00000003\.png.*No such file"):
        data[3]


def test_no_byte_that_changes_in_a_zip_is_read_as_a_picture(tmp_path):
    """Every byte of a picture is flipped in turn: the zip's checksum notices."""
    path = write_zip(tmp_path / "data.zip", published(1))
    data, whole = PictureSet(path), path.read_bytes()
    begin = whole.index(b"\x89PNG")
    for place in range(begin, begin + 60):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 0x10]) + whole[place + 1 :])
        with pytest.raises(InputError, match="checksum"):
            data.read(0)


@pytest.mark.parametrize("kept", [0.0, 0.02, 0.3, 0.6, 0.9, 0.99])
def test_a_zip_that_was_cut_is_a_sentence(tmp_path, kept):
    path = write_zip(tmp_path / "data.zip", published(4))
    path.write_bytes(path.read_bytes()[: int(kept * path.stat().st_size)])
    with pytest.raises(InputError, match="is no zip"):
        PictureSet(path)


def test_unusual_packing_is_a_sentence(tmp_path):
    with pytest.raises(InputError, match="zip -0"):
        PictureSet(write_zip(tmp_path / "data.zip", published(1), zipfile.ZIP_BZIP2))


def test_an_encrypted_zip_is_a_sentence(tmp_path):
    """Bit 0 of the flags, in the directory and before the member."""
    path = write_zip(tmp_path / "data.zip", {"a.png": encoded(noise(0))})
    data = bytearray(path.read_bytes())
    data[data.index(b"PK\x03\x04") + 6] |= 1
    data[data.index(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(data)
    with pytest.raises(InputError, match="is encrypted"):
        PictureSet(path)


def test_a_path_that_is_nothing_is_a_sentence(tmp_path):
    with pytest.raises(InputError, match="There is no"):
        open_source(tmp_path / "none")


def test_of_very_many_sentences_the_first_are_said(tmp_path, capsys):
    files = {**published(2), **{f"extra/{index:02d}.png": b"" for index in range(13)}}
    assert len(PictureSet(write_folder(tmp_path, files)).skipped) == 13
    said = capsys.readouterr().err.splitlines()
    assert (len(said), said[0], said[-1]) == (11, "left out: extra/00.png: it has no label.", "left out: 3 more.")


def test_a_zip_reads_what_zipfile_reads(tmp_path):
    """Members with extra fields, comments, folders and zip64 sizes."""
    rng = np.random.default_rng(1)
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.comment = b"made by hand"
        archive.mkdir("folder")
        for index in range(20):
            info = zipfile.ZipInfo(f"folder/{rng.integers(10**9)}ä.bin")
            info.compress_type = zipfile.ZIP_DEFLATED if index % 2 else zipfile.ZIP_STORED
            info.extra = b"\xfe\xca" + bytes([index, 0]) + bytes(index)
            with archive.open(info, "w", force_zip64=index % 3 == 0) as member:
                member.write(rng.integers(0, 4, int(rng.integers(0, 3000)), np.uint8).tobytes())
        archive.writestr("__MACOSX/._a", b"")
        archive.writestr(".hidden", b"")
    source = open_source(path)
    with zipfile.ZipFile(path) as archive:
        assert source.names() == sorted(name for name in archive.namelist() if name.endswith(".bin"))
        assert len(source.names()) == 20
        for name in source.names():
            assert source.read(name) == archive.read(name)
    with pytest.raises(InputError, match="No such file"):
        source.read("folder/zzz")
