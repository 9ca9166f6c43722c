# SPDX-License-Identifier: Apache-2.0
"""The command `neural-portrait`: what it makes, what it says, and its exit codes."""

import json
import os
import subprocess
import sys

import av
import numpy as np
import pytest
import trimesh

from neural_core import cli, media, portraits
from tests.tiny_models import save_tiny


@pytest.fixture
def models_folder(tmp_path, monkeypatch):
    folder = tmp_path / "models"
    folder.mkdir()
    save_tiny(folder / "tiny.safetensors")
    monkeypatch.setenv("NEURAL_PORTRAIT_MODELS", str(folder))
    return folder


@pytest.fixture
def out(tmp_path):
    folder = tmp_path / "out"
    folder.mkdir()
    return folder


@pytest.fixture
def run(models_folder, capsys):
    """Run a command in this process; returns exit code, stdout and stderr."""

    def run(*words):
        try:
            code = cli.main([str(word) for word in words])
        except SystemExit as leaving:  # tyro leaves so for wrong options and for --help
            code = leaving.code
        said = capsys.readouterr()
        return code, said.out, said.err

    return run


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_generate_writes_a_portrait_with_its_provenance(run, out):
    code, said, _ = run("generate", "--model", "tiny", "--seed", 7, "--size", 32, "--out", out / "a.png", "--json")
    assert code == 0
    assert media.read_picture(out / "a.png").shape == (32, 32, 4)
    assert media.read_provenance(out / "a.png")["seed"] == 7
    assert json.loads(said.splitlines()[-1])["files"][0]["path"] == str(out / "a.png")


def test_the_same_seed_gives_the_same_bytes(run, out):
    for name in ("a", "b"):
        run("generate", "--model", "tiny", "--seed", 7, "--size", 32, "--out", out / f"{name}.png")
    run("generate", "--model", "tiny", "--seed", 8, "--size", 32, "--out", out / "c.png")
    a, b, c = ((out / f"{name}.png").read_bytes() for name in "abc")
    assert a == b != c


def test_sliders_change_the_person_and_the_provenance_says_so(run, out):
    common = ("generate", "--model", "tiny", "--seed", 7)
    code, _, _ = run(*common, "--set", "skin_tone=3,age=-1.5", "--out", out / "a.portrait")
    assert code == 0
    portrait = portraits.from_bytes((out / "a.portrait").read_bytes(), "a")
    assert portrait.provenance["changes"] == [{"sliders": {"skin_tone": 3.0, "age": -1.5}}]
    assert portrait.tensors["z"][0, 40] == 3.0
    for wrong, says in {"age=old": 'The value of age, "old", is no number.', "agee=1": 'Did you mean "age"?'}.items():
        code, _, said = run(*common, "--set", wrong, "--out", out / "b.portrait")
        assert code != 0
        assert says in said


def test_a_range_of_seeds_writes_numbered_files(run, out):
    code, said, _ = run("generate", "--model", "tiny", "--seed", "9-11", "--size", 16, "--out", out / "f.png")
    assert code == 0
    assert names(out) == ["f_0009.png", "f_0010.png", "f_0011.png"]
    assert len(said.splitlines()) == 3


def test_the_view_changes_the_picture_and_a_background_fills_it(run, out):
    for name, options in {"front": (), "left": ("--yaw", 60), "below": ("--pitch", -30)}.items():
        run("generate", "--model", "tiny", "--size", 32, *options, "--out", out / f"{name}.png")
    pictures = [media.read_picture(out / f"{name}.png") for name in ("front", "left", "below")]
    assert not np.array_equal(pictures[0], pictures[1])
    assert not np.array_equal(pictures[0], pictures[2])
    run("generate", "--model", "tiny", "--size", 32, "--background", "#102030", "--out", out / "b.png")
    assert media.read_picture(out / "b.png")[0, 0].tolist() == [16, 32, 48]


def test_a_portrait_file_is_drawn_filmed_and_meshed(run, out):
    assert run("generate", "--model", "tiny", "--seed", 3, "--out", out / "p.portrait")[0] == 0
    assert run("render", out / "p.portrait", "--size", 32, "--out", out / "p.png")[0] == 0
    run("generate", "--model", "tiny", "--seed", 3, "--size", 32, "--out", out / "q.png")
    assert np.array_equal(media.read_picture(out / "p.png"), media.read_picture(out / "q.png"))
    film = ("render", out / "p.portrait", "--turntable", "--frames", 5, "--size", 32, "--out", out / "p.mp4")
    assert run(*film)[0] == 0
    with av.open(str(out / "p.mp4")) as read:
        assert len(list(read.decode(video=0))) == 5
    code, said, _ = run("mesh", out / "p.portrait", "--detail", 32, "--out", out / "p.ply", "--json")
    assert code == 0
    read = trimesh.load(out / "p.ply", process=False)
    assert json.loads(said.splitlines()[-1])["faces"] == len(read.faces)
    assert read.volume > 0
    assert run("mesh", "--model", "tiny", "--seed", 3, "--detail", 32, "--out", out / "q.ply")[0] == 0
    assert (out / "q.ply").read_bytes() == (out / "p.ply").read_bytes()


def test_models_are_listed_with_licence_and_info(run, models_folder):
    (models_folder / "bad.safetensors").write_bytes(b"")
    code, said, _ = run("models", "--json")
    assert code == 0
    listed = {model["name"]: model for model in json.loads(said.splitlines()[-1])["models"]}
    assert listed["tiny"]["licence"] == "CC0-1.0"
    assert "PROBLEM" in next(line for line in said.splitlines() if line.startswith("bad"))
    assert "CC0-1.0" in run("models", "info", "tiny")[1]
    assert run("models", "--where")[1].strip() == str(models_folder)


def test_models_are_imported(run, models_folder, tmp_path):
    source = save_tiny(tmp_path / "other.safetensors", seed=2)
    assert run("models", "import", source, "--name", "mine")[0] == 0
    assert (models_folder / "mine.safetensors").read_bytes() == source.read_bytes()
    code, _, said = run("models", "import", source, "--name", "mine")
    assert code == 2
    assert "already" in said


def test_faces_are_listed_and_imported(run, parity_folder, models_folder):
    assert "anny-head" in run("faces")[1]
    code, said, error = run("faces", "import", parity_folder / "faces" / "flame_like_chumpy.pkl", "--name", "mine")
    assert code == 0, error
    assert "flame" in said
    assert (models_folder.parent / "faces" / "mine.safetensors").is_file()
    assert "mine" in run("faces", "list")[1]


USAGE = [
    (("paint",), "no command"),
    (("generat",), 'Did you mean "generate"?'),
    (("reconstruct", "x.jpg", "--out", "x.png"), ".portrait"),
    (("reconstruct", "x.jpg", "--out", "x.portrait", "--iterations", "many"), "no two numbers"),
    (("reconstruct", "x.jpg", "--out", "x.portrait", "--iterations", "0,0"), "no two numbers"),
    (("reconstruct", "x.mp4", "--out", "x.portrait", "--frames", "0"), "--frames must be at least 1"),
    (("generate", "--out", "x.png", "--seed", "seven"), "no number"),
    (("generate", "--out", "x.png", "--seed", "9-3"), "no range"),
    (("generate", "--out", "x.png", "--seed", "-3"), "no number"),
    (("generate", "--out", "x.jpg"), ".png"),
    (("generate", "--out", "x.png", "--model", "tiny", "--size", "5"), "5 pixels"),
    (("generate", "--out", "x.png", "--model", "tiny", "--truncation", "9"), "Truncation 9"),
    (("generate", "--out", "x.png", "--model", "tiny", "--pitch", "100"), "Pitch 100"),
    (("generate", "--out", "x.png", "--background", "plaid"), "plaid"),
    (("generate", "--out", "x.png", "--device", "tpu"), "tpu"),
    (("generate", "--out", "x.png", "--model", "tiny", "--expression", "jawOpen=1"), "still face"),
    (("generate", "--out", "x.png", "--expression", "jawOpn=1"), 'Did you mean "jawOpen"?'),
    (("generate", "--out", "x.png", "--expression", "jawOpen=wide"), "no number"),
    (("mesh", "--out", "x.stl"), ".glb"),
    (("mesh", "--out", "x.glb", "--model", "tiny", "--detail", "1"), "detail 1"),
    (("mesh", "--out", "x.glb", "--seed", "1-3"), "one seed"),
    (("render", "x.portrait", "--out", "x.mp4"), "--turntable"),
    (("models", "info"), "needs a name"),
    (("models", "import", "x.pkl"), "--name"),
    (("faces", "import"), "needs a file"),
]


@pytest.mark.parametrize(("words", "says"), USAGE, ids=[" ".join(words) for words, _ in USAGE])
def test_wrong_usage_is_a_sentence_and_exit_code_2(run, out, monkeypatch, words, says):
    monkeypatch.chdir(out)
    code, said, error = run(*words)
    assert code == 2
    assert says in error
    assert "Traceback" not in said + error
    assert names(out) == []


@pytest.mark.parametrize(
    "words", [("generate",), ("generate", "--sead", "3"), ("generate", "--yaw", "q", "--out", "x")]
)
def test_wrong_options_are_exit_code_2(run, words):
    assert run(*words)[0] == 2


FAILURES = [
    (("generate", "--out", "x.png", "--model", "none"), "no model"),
    (("generate", "--out", "x.png", "--model", "cut"), "cut short"),
    (("generate", "--out", "no/where/x.png", "--model", "tiny"), "does not exist"),
    (("generate", "--out", "locked/x.png", "--model", "tiny"), "file, not a folder"),
    (("mesh", "no.portrait", "--out", "x.glb"), "Cannot read"),
    (("render", "bad.portrait", "--out", "x.png"), "no safetensors"),
    (("models", "info", "none"), "no model"),
    (("models", "import", "bad.portrait", "--name", "x"), "bad.portrait"),
    (("faces", "import", "bad.portrait"), "bad.portrait"),
    (("demo", "--out", "locked"), "Cannot write"),
]


@pytest.mark.parametrize(("words", "says"), FAILURES, ids=[" ".join(words) for words, _ in FAILURES])
def test_failure_is_a_sentence_and_exit_code_1(run, out, models_folder, monkeypatch, words, says):
    monkeypatch.chdir(out)
    (models_folder / "cut.safetensors").write_bytes((models_folder / "tiny.safetensors").read_bytes()[:-9])
    (out / "bad.portrait").write_bytes(b"hello")
    (out / "locked").write_bytes(b"a file")
    code, said, error = run(*words)
    assert code == 1
    assert says in error
    assert "Traceback" not in said + error
    assert names(out) == ["bad.portrait", "locked"]


def test_a_bug_of_ours_is_one_sentence_too(run, out, monkeypatch):
    monkeypatch.setattr(media, "write_png", lambda *_: 1 / 0)
    code, _, error = run("generate", "--model", "tiny", "--size", 16, "--out", out / "x.png")
    assert code == 1
    assert "ZeroDivisionError" in error
    assert "bug" in error
    assert "Traceback" not in error


def test_the_demo_without_blender_makes_the_rest_and_says_so(run, out, monkeypatch):
    from neural_core.cli import blender, demo

    monkeypatch.delenv("BLENDER_EXE", raising=False)
    monkeypatch.setattr(blender.importlib.util, "find_spec", lambda name: None)
    monkeypatch.setattr(demo, "PICTURE_SIZE", 32)
    monkeypatch.setattr(demo, "FILM_SIZE", 32)
    monkeypatch.setattr(demo, "FILM_FRAMES", 4)
    monkeypatch.setattr(demo, "MESH_DETAIL", 32)
    code, said, error = run("demo", "--model", "tiny", "--out", out / "new" / "folder")
    assert code == 1
    assert "no Blender" in error
    assert "portrait.blend" in error
    assert names(out / "new" / "folder") == ["portrait.glb", "portrait.png", "turntable.mp4"]
    assert len(said.splitlines()) == 3


def test_help_and_lists_do_not_wait_for_torch(repository, models_folder):
    code = (
        "import sys\n"
        "from neural_core.cli import main\n"
        "try: code = main(sys.argv[1:])\n"
        "except SystemExit as leaving: code = leaving.code\n"
        "sys.exit(9 if 'torch' in sys.modules else code)\n"
    )
    lists = (["models"], ["models", "info", "tiny"], ["faces"])
    for words in ([], ["--help"], ["generate", "--help"], ["--version"], *lists):
        command = [sys.executable, "-c", code, *words]
        done = subprocess.run(command, cwd=repository, capture_output=True, text=True, env=os.environ, check=False)
        assert done.returncode == 0, (words, done.stderr)
        assert done.stdout


def test_the_module_is_the_command(repository, models_folder):
    done = subprocess.run(
        [sys.executable, "-m", "neural_core", "paint"], cwd=repository, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert done.stderr.startswith('Error: There is no command "paint".')
