# SPDX-License-Identifier: Apache-2.0
"""A photograph of a real person, and everything that is not one, through `capture` and `training.prepare`."""

import errno
import json
import math
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from neural_core import cli, media
from neural_core.records import BACKGROUND, CLOTH, HAIR, SKIN, Record
from tests.unit.test_capture_media import write_sound
from training import prepare

pytest.importorskip("mediapipe", reason="finding faces needs the capture extra")
skimage_data = pytest.importorskip("skimage.data", reason="the photo comes with scikit-image (extra dev)")

SIZE = 128


@pytest.fixture(scope="module")
def astronaut():
    """Eileen Collins, NASA, public domain: 512 x 512."""
    return skimage_data.astronaut()


@pytest.fixture(scope="module")
def tools():
    from neural_core.capture.labels import Tools

    with Tools() as tools:
        yield tools


@pytest.fixture(scope="module")
def one_set_of_tools(tools):
    """Commands set their tools up anew; here they borrow ours, which takes a second less each time."""
    from neural_core.capture import labels

    class Borrowed:
        def __enter__(self):
            return tools

        def __exit__(self, *_):
            pass

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(labels, "Tools", Borrowed)
        yield


@pytest.fixture
def run(capsys, one_set_of_tools):
    """Run a command in this process; returns exit code, stdout and stderr."""

    def run(main, *words):
        capsys.readouterr()
        try:
            code = main([str(word) for word in words])
        except SystemExit as leaving:
            code = leaving.code
        said = capsys.readouterr()
        assert "Traceback" not in said.out + said.err
        return code, said.out, said.err

    return run


def files_of(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def test_a_photograph_becomes_a_crop_a_record_masks_and_an_overlay(run, astronaut, tmp_path):
    Image.fromarray(astronaut).save(tmp_path / "photo.png")
    out = tmp_path / "made" / "here"
    code, said, _ = run(cli.main, "capture", tmp_path / "photo.png", "--out", out, "--size", 256, "--json")
    assert code == 0
    masks = [f"mask_{name}.png" for name in ("background", "hair", "head", "torso")]
    assert files_of(out) == ["alpha.png", "background.png", "crop.png", *masks, "overlay.png", "record.npz"]
    facts = json.loads(said.splitlines()[-1])
    assert {Path(file["path"]).name for file in facts["files"]} == set(files_of(out))
    assert media.read_provenance(out / "crop.png")["synthetic"] is False
    record = Record.load(out / "record.npz")
    assert record.images == ("crop.png",)
    assert record.source["kind"] == "captured"

    # The camera: EG3D's sphere, nearly in front, the head's origin in the middle, upright.
    pose, intrinsics = record.cameras[0][:16].reshape(4, 4), record.cameras[0][16:].reshape(3, 3)
    assert np.linalg.norm(pose[:3, 3]) == pytest.approx(2.7, abs=0.01)
    assert math.degrees(math.atan2(pose[0, 3], pose[2, 3])) == pytest.approx(0, abs=8)
    assert intrinsics[0, 0] == pytest.approx(4.2647)
    origin = intrinsics @ (pose[:3, :3].T @ -pose[:3, 3])
    np.testing.assert_allclose(origin[:2] / origin[2], 0.5, atol=0.002)

    # Landmarks of the fitted mesh lie where she has them: in the photo her pupils are at (203, 101) and (247, 104).
    crop = record.source["crops"][0]
    pupils = np.array([[203, 101], [247, 104]]) - crop["centre"]
    c, s = math.cos(crop["angle"]), math.sin(crop["angle"])
    expected = pupils @ np.array([[c, -s], [s, c]]) / crop["side"] + 0.5
    np.testing.assert_allclose(record.points_478[0][[468, 473]], expected, atol=0.02)
    actions = dict(zip(_actions(), record.actions[0], strict=True))
    assert actions["mouthSmileLeft"] + actions["mouthSmileRight"] + actions["mouthUpperUpLeft"] > 0.6  # she smiles
    assert actions["eyeBlinkLeft"] < 0.3

    # Masks, at places read off the picture by eye: wall, cheek, hair above the forehead, the black suit.
    regions = record.regions[0]
    at = {(0.04, 0.04): BACKGROUND, (0.5, 0.6): SKIN, (0.5, 0.12): HAIR, (0.2, 0.4): HAIR, (0.4, 0.97): CLOTH}
    assert {place: regions[int(place[1] * 256), int(place[0] * 256)] for place in at} == at
    assert record.alpha[0][int(0.5 * 256), 128] == 255
    assert record.alpha[0][5, 5] == 0
    behind = record.background[0].astype(int)
    assert np.abs(behind - behind[5, 5]).max() < 70  # the wall, nothing of her hair or suit
    assert 2.3 < record.depth[0][150, 128] < 2.7
    assert record.visible[0].mean() > 0.8


def _actions():
    from neural_core.human.arkit import ACTIONS

    return ACTIONS


def test_however_it_is_stored_the_photo_gives_the_same_record(tools, astronaut, tmp_path):
    from neural_core.capture.photo import capture_photo

    straight = capture_photo(tools, astronaut, SIZE)
    exif = Image.Exif()
    exif[274] = 6
    Image.fromarray(np.ascontiguousarray(np.rot90(astronaut))).save(tmp_path / "turned.png", exif=exif)
    turned = capture_photo(tools, tmp_path / "turned.png", SIZE)
    for name in ("cameras", "shape", "actions", "alpha", "regions", "background", "depth"):
        np.testing.assert_array_equal(getattr(turned.record, name), getattr(straight.record, name), err_msg=name)

    photo = Image.fromarray(astronaut)
    grey = np.asarray(photo.convert("L")).astype(np.uint16) * 257
    photo.convert("CMYK").save(tmp_path / "cmyk.jpg", quality=95)
    Image.fromarray(grey).save(tmp_path / "deep.png")
    for name in ("cmyk.jpg", "deep.png"):
        other = capture_photo(tools, tmp_path / name, SIZE).record
        np.testing.assert_allclose(other.points_478, straight.record.points_478, atol=0.02, err_msg=name)
        # A grey photo says less about what is hair and what is wall; its matte lies about 2 % from the coloured one's,
        # and how far exactly depends on the processor. A photo cut elsewhere differs by far more (the last line).
        solid, expected = other.alpha > 127, straight.record.alpha > 127
        assert (solid != expected).mean() < 0.05, name
        assert (solid[..., ::-1] != expected).mean() > 0.1


def test_the_crop_follows_a_photo_that_is_turned(tools, astronaut):
    """Photo turned by 25 degrees: the same picture is cut out, the same camera fitted."""
    from neural_core.capture.photo import capture_photo

    straight = capture_photo(tools, astronaut, SIZE)
    photo = Image.fromarray(astronaut).rotate(25, Image.Resampling.BICUBIC, fillcolor=(200, 190, 190))
    turned = capture_photo(tools, np.asarray(photo), SIZE)
    assert math.degrees(straight.crops[0].angle - turned.crops[0].angle) == pytest.approx(25, abs=1.5)
    assert turned.crops[0].side == pytest.approx(straight.crops[0].side, rel=0.03)
    np.testing.assert_allclose(turned.record.cameras[0], straight.record.cameras[0], atol=0.1)
    middle = np.s_[32:96, 32:96]
    difference = np.abs(turned.pictures[0][middle].astype(int) - straight.pictures[0][middle])
    assert np.median(difference) < 12


def test_a_face_turned_too_far_is_one_sentence(run, astronaut, tmp_path, monkeypatch):
    """The limit is lowered, because FaceMesh finds few faces beyond 75 degrees at all."""
    from neural_core.capture import fit

    monkeypatch.setattr(fit, "LARGEST_YAW", 0.1)
    Image.fromarray(astronaut).save(tmp_path / "profile.png")
    code, _, error = run(cli.main, "capture", tmp_path / "profile.png", "--out", tmp_path / "out")
    assert code == 1
    assert 'The face in "profile.png" is turned' in error


def test_a_cat_is_no_face(run, tmp_path):
    Image.fromarray(skimage_data.cat()).save(tmp_path / "cat.png")
    code, _, error = run(cli.main, "capture", tmp_path / "cat.png", "--out", tmp_path / "out")
    assert code == 1
    assert "none at a second look" in error


def make_bad_inputs(folder: Path, astronaut) -> dict[str, str]:
    """Write files that cannot be used; returns what is said of each."""
    face = Image.fromarray(astronaut[20:220, 125:325])
    face.resize((40, 40), Image.Resampling.LANCZOS).save(folder / "tiny.png")
    noise = np.random.default_rng(0).integers(0, 255, (200, 300, 3), np.uint8)
    Image.fromarray(noise).save(folder / "noise.png")
    face.save(folder / "whole.jpg")
    (folder / "cut.jpg").write_bytes((folder / "whole.jpg").read_bytes()[:3000])
    (folder / "whole.jpg").unlink()
    (folder / "empty.jpg").write_bytes(b"")
    (folder / "phone.heic").write_bytes(b"\0\0\0\x18ftypheic")
    write_sound(folder / "sound.mp4")
    (folder / "broken.mp4").write_bytes(b"no film")
    media.write_mp4(folder / "faceless.mp4", [noise[:64, :64]] * 8, 25, {})
    return {
        "tiny.png": "64 are needed",
        "noise.png": "No face was found",
        "cut.jpg": "damaged",
        "empty.jpg": "is empty",
        "phone.heic": "HEIC",
        "sound.mp4": "no pictures, only sound",
        "broken.mp4": "damaged",
        "faceless.mp4": "No face can be followed",
    }


def test_bad_input_is_one_sentence_and_exit_code_1(run, astronaut, tmp_path):
    source = tmp_path / "in"
    source.mkdir()
    for name, says in make_bad_inputs(source, astronaut).items():
        code, said, error = run(cli.main, "capture", source / name, "--out", tmp_path / "out")
        complaint = error[error.index("Error:") :]
        assert (code, said) == (1, ""), name
        assert says in complaint, name
        assert name in complaint, name
        assert len(complaint.strip().splitlines()) <= 2, complaint  # the sentence, and the hint
    assert files_of(tmp_path / "out") == []
    for source_of_it, says in ((source, "is a folder"), (tmp_path / "none.jpg", "No such file")):
        code, _, error = run(cli.main, "capture", source_of_it, "--out", tmp_path / "out")
        assert code == 1
        assert says in error


def test_wrong_usage_is_exit_code_2(run, tmp_path):
    (tmp_path / "a.png").write_bytes(b"")
    for words, says in ((("--size", 5), "5 pixels"), (("--frames", 0), "--frames")):
        code, _, error = run(cli.main, "capture", tmp_path / "a.png", "--out", tmp_path / "out", *words)
        assert code == 2
        assert says in error
    assert run(prepare.main, tmp_path, "--out", tmp_path / "out", "--size", 5)[0] == 2
    assert not (tmp_path / "out").exists()


def moving(astronaut, count, mirrored=False):
    """Frames of a camera that pans, rolls and zooms over the photo, 320 x 288."""
    photo = Image.fromarray(astronaut[:, ::-1] if mirrored else astronaut)
    frames = []
    for i in range(count):
        roll, zoom = math.radians(6 * math.sin(i / 5)), 1 + 0.05 * math.sin(i / 7)
        x, y = (282 if mirrored else 230) + 6 * math.sin(i / 4), 150 + 4 * math.cos(i / 3)
        c, s = zoom * math.cos(roll), zoom * math.sin(roll)
        affine = (c, -s, x - 160 * c + 144 * s, s, c, y - 160 * s - 144 * c)
        frames.append(np.asarray(photo.transform((320, 288), Image.Transform.AFFINE, affine, Image.Resampling.BICUBIC)))
    return frames


@pytest.mark.slow
def test_a_clip_becomes_frames_of_one_person(run, astronaut, tmp_path):
    frames = moving(astronaut, 10)
    frames[6] = np.random.default_rng(0).integers(90, 160, frames[6].shape, np.uint8)  # somebody's hand
    dark = [np.where(np.arange(320)[None, :, None] < 100, np.uint8(10), f) for f in moving(astronaut, 5, mirrored=True)]
    media.write_mp4(tmp_path / "clip.mp4", frames + dark, 25, {})
    out = tmp_path / "out"
    code, said, error = run(cli.main, "capture", tmp_path / "clip.mp4", "--out", out, "--size", SIZE, "--json")
    assert code == 0, error
    assert "2 scenes; the longest was taken" in error
    assert "1 of 10 frames disagreed and were dropped" in error
    record = Record.load(out / "record.npz")
    kept = [i for i in range(10) if i != 6]
    assert record.source["frames"] == kept
    assert record.source["dropped"] == 1
    assert [Path(name).name for name in record.images] == [f"{i:06d}.png" for i in range(9)]
    assert all((out / name).is_file() for name in record.images)
    np.testing.assert_allclose(record.time, np.array(kept) / 25, atol=1e-4)
    assert json.loads(said.splitlines()[-1])["frames"] == 9
    assert len(list(media.read_clip(out / "overlay.mp4"))) == 9
    code, _, error = run(cli.main, "capture", tmp_path / "clip.mp4", "--out", out, "--size", 64)
    assert code == 2
    assert "holds frames already" in error
    # The camera moves over a still picture: every frame shows the same face, cut out in the same place.
    assert record.cameras[:, [3, 7, 11]].std(0).max() < 0.06
    assert record.actions.std(0).max() < 0.12
    pictures = np.stack([media.read_picture(out / name) for name in record.images]).astype(float)
    middle = pictures[:, 32:96, 32:96]
    assert np.abs(middle - middle.mean(0)).mean() < 8
    # Its roll was 6 degrees to either side, and is undone.
    rolls = np.degrees([crop["angle"] for crop in record.source["crops"]])
    expected = np.array([6 * math.sin(i / 5) for i in kept])
    assert np.corrcoef(rolls, expected)[0, 1] ** 2 > 0.9


@pytest.mark.slow
def test_a_batch_goes_on_and_says_what_it_left_out(run, astronaut, tmp_path, monkeypatch):
    source, out = tmp_path / "mine", tmp_path / "data"
    (source / "older").mkdir(parents=True)
    bad = make_bad_inputs(source, astronaut)
    collage = np.full((420, 700, 3), 90, np.uint8)
    collage[200:400, 20:220] = astronaut[20:220, 125:325]
    collage[10:410, 280:680] = np.repeat(np.repeat(astronaut[20:220, 125:325], 2, 0), 2, 1)
    Image.fromarray(collage).save(source / "older" / "two.png")
    Image.fromarray(astronaut).save(source / "a.jpg", quality=95)
    cuts = moving(astronaut, 5) + [np.minimum(f, 120) for f in moving(astronaut, 5, mirrored=True)]
    media.write_mp4(source / "clip.mp4", cuts, 25, {})
    (source / "notes.txt").write_text("not a picture")
    (source / ".hidden.jpg").write_bytes(b"")
    words = (source, "--out", out, "--size", SIZE, "--json")

    # First the disk is full when the third record is to be written: what is finished stays.
    written = []
    real_write = Path.write_bytes

    def write(path, data):
        if "records" in path.parts and len(written) == 2:
            raise OSError(errno.ENOSPC, "No space left on device")
        written.extend([path] if "records" in path.parts else [])
        return real_write(path, data)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", write)
        code, _, error = run(prepare.main, *words)
    assert code == 1
    assert "disk is full" in error
    assert [name for name in files_of(out) if "records" in name] == ["records/000000.npz", "records/000001.npz"]
    stamps = {path: path.stat().st_mtime_ns for path in (out / "records").iterdir()}

    code, said, error = run(prepare.main, *words)
    assert code == 0, error
    facts = json.loads(said.splitlines()[-1])
    assert set(facts["left_out"]) == set(bad)
    for name, says in bad.items():
        assert says in facts["left_out"][name]
        assert any(line.split()[:1] == [name] and says in line for line in said.splitlines())
    assert "older/two.png" in error
    assert "2 faces" in error
    assert files_of(out / "records") == [f"{i:06d}.npz" for i in range(4)]  # a.jpg, two scenes, two.png
    assert {path: path.stat().st_mtime_ns for path in stamps if path.name == "000000.npz"}.items() <= stamps.items()

    labels = json.loads((out / "dataset.json").read_text())["labels"]
    assert facts["pictures"] == len(labels) == 1 + 10 + 1
    for name, camera in labels:
        assert media.read_picture(out / name).shape == (SIZE, SIZE, 3)
        assert len(camera) == 25
    record = Record.load(out / "records" / "000003.npz")
    assert record.source["file"] == "older/two.png"
    assert record.images == ("00000/img000003_0000.png",)

    # Once more: nothing is new. Then one file changes, and one is new.
    before = {path: path.stat().st_mtime_ns for path in (out / "records").iterdir()}
    assert run(prepare.main, *words)[0] == 0
    assert {path: path.stat().st_mtime_ns for path in (out / "records").iterdir()} == before
    Image.fromarray(astronaut).save(source / "tiny.png")
    assert run(prepare.main, *words)[0] == 0
    assert Record.load(out / "records" / "000004.npz").source["file"] == "tiny.png"
    code, _, error = run(prepare.main, source, "--out", out, "--size", 64)
    assert code == 2
    assert "other settings" in error


def test_a_folder_without_pictures_is_one_sentence(run, tmp_path):
    (tmp_path / "notes.txt").write_text("hello")
    code, _, error = run(prepare.main, tmp_path, "--out", tmp_path / "out")
    assert code == 1
    assert "neither photos nor clips" in error
    code, _, error = run(prepare.main, tmp_path / "none", "--out", tmp_path / "out")
    assert code == 1
    assert "There is no folder" in error
    assert not (tmp_path / "out").exists()


def test_a_folder_of_which_nothing_can_be_used_fails_and_says_why(run, tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "empty.jpg").write_bytes(b"")
    code, said, _ = run(prepare.main, tmp_path / "in", "--out", tmp_path / "out")
    assert code == 1
    assert "1 left out" in said
    assert "is empty" in said
