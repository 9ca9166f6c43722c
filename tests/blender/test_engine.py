# SPDX-License-Identifier: GPL-3.0-or-later
"""Engine, client and tasks of the add-on against the stub worker: no Blender is needed for these."""

import importlib
import os
import signal
import sys
import time

import numpy as np
import pytest


@pytest.fixture(scope="module")
def addon(stub_stage):
    """Modules of the staged package by name."""
    sys.path.insert(0, str(stub_stage))
    yield lambda name: importlib.import_module(f"neural_portrait.{name}")
    sys.path.remove(str(stub_stage))


@pytest.fixture
def engine(addon):
    settings = addon("worker_client").WorkerSettings(sys.executable)
    engine = addon("engine").Engine(lambda: settings)
    yield engine
    engine.stop()


def create(addon, model="default-next3d", **changes):
    choice = addon("requests").CreateChoice(model=model, detail=48, size=32, **changes)
    return addon("tasks").create(choice)


def pump(engine, seconds=60.0, until=lambda: False):
    """Step like the timer does, until the task ends, `until` holds or the time is over."""
    end = time.monotonic() + seconds
    while engine.step(0.02) and not until():
        assert time.monotonic() < end, f"still busy: {engine.status}"


def test_create_brings_everything_back(addon, engine):
    created = engine.run("Create", create(addon))
    assert created.portrait.fields["seed"] == 7
    assert created.portrait.arrays["rig/actions"].shape[0] == 52
    assert created.picture.pixels.shape == (32, 32, 4)
    np.testing.assert_allclose(created.surface.bind_weight.sum(axis=1), 1.0, atol=1e-5)
    assert engine.status.state == "idle"
    assert engine.device == "stub"
    engine.stop()
    assert engine.device == ""


def test_only_what_is_wanted_is_asked_for(addon, engine):
    created = engine.run("Create", create(addon, make_plane=False, make_mesh=False))
    assert created.picture is None
    assert created.surface is None


def in_pieces(notes, pieces=3, seconds=0.03):
    """Return a function that applies a result in pieces, each of which takes longer than a slice."""

    def apply(result):
        try:
            for number in range(pieces):
                time.sleep(seconds)
                notes.append((number, result["models"][0]["name"]))
                yield
            notes.append("done")
        except GeneratorExit:
            notes.append("taken back")
            raise

    return apply


def until_applying(addon, engine, apply):
    engine.start("Test", addon("tasks").test(), apply)
    pump(engine, until=lambda: engine.applying)
    assert engine.applying


def test_a_result_is_applied_in_slices_and_the_task_lasts_until_the_last(addon, engine):
    notes, seen = [], []
    until_applying(addon, engine, in_pieces(notes))
    assert len(notes) == 1
    while engine.step():
        seen.append(list(notes))
        assert (engine.status.state, engine.status.title) == ("busy", "Test")
    assert [len(one) for one in seen] == [2, 3]
    assert notes == [*((number, "default-next3d") for number in range(3)), "done"]
    assert (engine.busy, engine.applying, engine.status.state) == (False, False, "idle")
    assert engine.run("Again", addon("tasks").test())["models"]


@pytest.mark.parametrize("way", ["cancel", "stop"])
def test_what_is_applied_in_pieces_is_taken_back_when_it_is_given_up(addon, engine, way):
    notes = []
    until_applying(addon, engine, in_pieces(notes, pieces=1000))
    assert engine.step()
    getattr(engine, way)()
    assert notes[0] == (0, "default-next3d")
    assert notes[-1] == "taken back"
    assert not engine.busy
    assert engine.status.message == ("Test: cancelled. The scene is unchanged." if way == "cancel" else "")


def test_after_an_undo_it_is_applied_anew(addon, engine):
    notes = []
    until_applying(addon, engine, in_pieces(notes))
    engine.step()
    engine.apply_anew()
    assert notes[-1] == "taken back"
    pump(engine)
    assert [note if isinstance(note, str) else note[0] for note in notes][-5:] == ["taken back", 0, 1, 2, "done"]


def test_a_worker_that_dies_while_its_result_is_applied_is_not_missed(addon, engine):
    notes = []
    until_applying(addon, engine, in_pieces(notes))
    os.kill(engine.pid, signal.SIGKILL)
    time.sleep(0.2)
    pump(engine)
    assert notes[-1] == "done"
    assert engine.status.state == "idle"
    assert engine.run("Again", addon("tasks").test())["models"]


def test_a_bug_in_a_later_piece_is_shown(addon, engine):
    def apply(_result):
        yield
        raise KeyError("lost")

    engine.start("Test", addon("tasks").test(), apply)
    pump(engine)
    assert engine.status.state == "error"
    assert "lost" in engine.status.report


def test_what_the_last_piece_says_stays(addon, engine):
    def apply(_result):
        yield
        engine.notice("The face looks away.")

    engine.start("Test", addon("tasks").test(), apply)
    pump(engine)
    assert engine.status.message == "The face looks away."


def test_one_task_at_a_time(addon, engine):
    engine.start("First", create(addon), lambda _: None)
    with pytest.raises(addon("neural_core.errors").UsageError, match="busy"):
        engine.start("Second", create(addon), lambda _: None)


def test_progress_reaches_the_status(addon, engine):
    engine.start("Create", create(addon, "slow"), lambda _: None)
    pump(engine, until=lambda: engine.status.fraction > 0)
    assert engine.status.state == "busy"
    assert engine.status.stage == "Creating the portrait: lingering"


def test_time_left_is_told_once_it_is_known(addon, monkeypatch):
    clock = [100.0]
    monkeypatch.setattr(addon("engine").time, "monotonic", lambda: clock[0])
    status = addon("engine").Status("busy", "Create", started=90.0)
    status.go_on("Listening", 0.0)
    assert status.left_s is None
    clock[0] += 6.0
    status.go_on("Listening", 0.25)
    assert status.left_s == pytest.approx(18.0)
    assert status.elapsed_s == pytest.approx(16.0)
    status.go_on("Speaking", 0.5)  # nobody knows yet how fast this goes
    assert status.left_s is None


def test_kill_in_the_middle_of_create_leaves_a_sentence_and_the_next_create_works(addon, engine):
    results = []
    engine.start("Create", create(addon, "slow"), results.append)
    pump(engine, until=lambda: engine.status.fraction > 0)
    os.kill(engine.pid, signal.SIGKILL)
    pump(engine)
    assert results == []
    assert engine.status.state == "error"
    assert engine.status.kind == "worker"
    assert engine.status.message == (
        "The engine stopped (killed, perhaps for lack of memory) while creating the portrait."
    )
    engine.start("Create", create(addon), results.append)
    pump(engine)
    assert len(results) == 1
    assert engine.status.state == "idle"


def test_a_worker_that_dies_is_quoted_in_the_report(addon, engine):
    with pytest.raises(addon("neural_core.errors").PortraitError, match="exit code 3") as caught:
        engine.run("Create", create(addon, "dies"))
    assert caught.value.kind == "worker"
    assert "the sky is falling" in engine.status.report


def test_a_worker_that_died_while_idle_is_replaced(addon, engine):
    engine.run("Create", create(addon))
    os.kill(engine.pid, signal.SIGKILL)
    time.sleep(0.2)
    assert engine.run("Create", create(addon)) is not None


def test_nonsense_on_the_pipe_is_no_crash(addon, engine):
    with pytest.raises(addon("neural_core.errors").PortraitError, match="no answer"):
        engine.run("Create", create(addon, "babble"))


def test_cancel_is_obeyed_and_the_worker_lives_on(addon, engine):
    engine.start("Create", create(addon, "slow"), pytest.fail)
    pump(engine, until=lambda: engine.status.fraction > 0)
    pid = engine.pid
    engine.cancel()
    pump(engine)
    assert engine.pid == pid  # not killed: it obeyed within two seconds
    assert engine.status.state == "notice"
    assert engine.status.message == "Create: cancelled. The scene is unchanged."


def test_an_answer_that_comes_after_a_cancel_is_dropped(addon, engine):
    """The stub draws for most of a second without listening; then nothing else may be asked of it."""
    engine.start("Create", create(addon, "crawls"), pytest.fail)
    pump(engine, until=lambda: engine.status.stage == "Drawing the picture")
    pid, asked = engine.pid, time.monotonic()
    engine.cancel()
    pump(engine)
    assert time.monotonic() - asked < 1.8
    assert engine.pid == pid
    assert engine.status.message == "Create: cancelled. The scene is unchanged."


def test_a_deaf_worker_is_killed_after_two_seconds(addon, engine):
    engine.start("Create", create(addon, "deaf"), pytest.fail)
    pump(engine, until=lambda: engine.status.fraction > 0)
    asked = time.monotonic()
    engine.cancel()
    pump(engine)
    assert time.monotonic() - asked > 1.8
    assert engine.status.message == "Create: cancelled. The scene is unchanged."
    assert engine.run("Create", create(addon)) is not None


def test_time_limit(addon, engine):
    with pytest.raises(addon("neural_core.errors").PortraitError, match=r"longer than 0\.5 s") as caught:
        engine.run("Create", create(addon, "deaf"), timeout_s=0.5)
    assert caught.value.kind == "timeout"


@pytest.mark.parametrize(("model", "kind"), [("missing", "model"), ("memory", "memory")])
def test_errors_of_the_worker_arrive_whole(addon, engine, model, kind):
    with pytest.raises(addon("neural_core.errors").PortraitError) as caught:
        engine.run("Create", create(addon, model))
    assert (caught.value.kind, caught.value.hint) == (kind, "A hint.")
    assert "A trace." in engine.status.report


def test_a_python_that_is_not_there(addon):
    settings = addon("worker_client").WorkerSettings("/nowhere/python")
    engine = addon("engine").Engine(lambda: settings)
    with pytest.raises(addon("neural_core.errors").PortraitError, match="cannot be started") as caught:
        engine.run("Create", create(addon))
    assert caught.value.kind == "engine"


def test_a_python_without_torch(addon, tmp_path):
    """A bare virtual environment: the stub needs numpy, which is not there either."""
    import venv

    venv.create(tmp_path / "bare", with_pip=False, symlinks=True)
    settings = addon("worker_client").WorkerSettings(str(tmp_path / "bare" / "bin" / "python"))
    engine = addon("engine").Engine(lambda: settings)
    with pytest.raises(addon("neural_core.errors").PortraitError) as caught:
        engine.run("Create", create(addon))
    assert caught.value.message == "That Python has no numpy (tried: `import numpy`: No module named 'numpy')."
    assert caught.value.kind == "engine"


def test_a_program_that_is_no_python(addon):
    settings = addon("worker_client").WorkerSettings("/bin/true")
    engine = addon("engine").Engine(lambda: settings)
    with pytest.raises(addon("neural_core.errors").PortraitError, match="did not start"):
        engine.run("Create", create(addon))


def test_no_engine_is_set(addon):
    def settings():
        raise addon("sentences").engine_missing()

    engine = addon("engine").Engine(settings)
    engine.start("Create", create(addon), pytest.fail)
    assert engine.status.state == "error"
    assert engine.status.message == "Neural Portrait needs its engine, a Python 3.11 or 3.12 with PyTorch."


def test_the_worker_sees_nothing_of_the_host(addon, monkeypatch):
    for name in ("PYTHONPATH", "LD_LIBRARY_PATH", "BLENDER_USER_SCRIPTS"):
        monkeypatch.setenv(name, "/elsewhere")
    monkeypatch.setenv("HOME", "/home/somebody")
    client = addon("worker_client")
    environment = client.clean_environment(client.WorkerSettings("python", models_folder="/models"))
    assert not {"PYTHONPATH", "LD_LIBRARY_PATH", "BLENDER_USER_SCRIPTS"} & set(environment)
    assert (environment["HOME"], environment["NEURAL_PORTRAIT_MODELS"]) == ("/home/somebody", "/models")
    assert "-I" in client.command(client.WorkerSettings("python"))


def test_closing_the_pipe_ends_the_worker(addon, engine):
    engine.run("Create", create(addon))
    pid = engine.pid
    engine.stop()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


@pytest.mark.parametrize(
    "changes",
    [
        *({"seed": -1}, {"seed": 2**31}, {"truncation": 3.0}, {"detail": 8}, {"size": 5000}),
        {"make_rig": False, "make_plane": False, "make_mesh": False},
    ],
)
def test_choices_that_no_worker_could_serve(addon, changes):
    with pytest.raises(addon("neural_core.errors").UsageError):
        addon("requests").CreateChoice(**changes)


def test_a_silent_worker_is_noticed_and_may_be_waited_for(addon, engine, monkeypatch):
    engine.start("Create", create(addon, "mute"), pytest.fail)
    pump(engine, until=lambda: engine.status.stage == "Creating the portrait")
    assert engine.silent_s < 30
    monkeypatch.setattr(engine, "_heard", time.monotonic() - 61)
    assert engine.silent_s > addon("engine").SILENCE_S == 60
    engine.step()
    assert engine.silent_s > 60  # stepping is not hearing
    engine.wait_on()
    assert engine.silent_s < 30
    asked = time.monotonic()
    engine.restart()
    assert time.monotonic() - asked < 1
    assert engine.silent_s == 0
    assert engine.status.message == "Create: stopped, the engine did not answer. The scene is unchanged."
    assert engine.run("Create", create(addon)) is not None


def test_progress_is_an_answer(addon, engine, monkeypatch):
    engine.start("Create", create(addon, "slow"), pytest.fail)
    monkeypatch.setattr(engine, "_heard", time.monotonic() - 61)
    pump(engine, until=lambda: engine.status.fraction > 0)
    assert engine.silent_s < 30


def test_too_little_memory_says_what_to_try(addon, engine):
    """The worker that says so, and the one that is killed for it, while it draws at 32."""
    with pytest.raises(addon("neural_core.errors").PortraitError):
        engine.run("Create", create(addon, "heavy"))
    assert (engine.status.kind, engine.status.smaller) == ("memory", ("size", 16))
    with pytest.raises(addon("neural_core.errors").PortraitError, match="killed, perhaps for lack of memory"):
        engine.run("Create", create(addon, "too heavy"))
    assert engine.status.hint == "The scene is unchanged. Try a picture of 16 pixels."
    assert engine.status.smaller == ("size", 16)
    with pytest.raises(addon("neural_core.errors").PortraitError, match="killed"):
        engine.run("Create", create(addon, "too heavy", make_plane=False))
    assert engine.status.hint == "The scene is unchanged. Try a mesh detail of 24."


def test_a_bug_while_applying_is_a_sentence_with_a_report(addon, engine):
    def apply(_):
        raise ReferenceError("StructRNA of type Object has been removed")

    engine.start("Create", create(addon), apply)
    pump(engine)
    assert engine.status.state == "error"
    assert engine.status.message.startswith("Something went wrong inside Neural Portrait (ReferenceError")
    assert "test_engine.py" in engine.status.report
    assert "Traceback" not in engine.status.message


def test_free_memory_forgets_what_was_open(addon, engine):
    choice = addon("requests").CreateChoice(detail=48, size=32)
    engine.run("Create", addon("tasks").create(choice))
    assert engine.has_open(choice.identifier)
    assert engine.run("Free", addon("tasks").free()) == pytest.approx(21.4)
    assert not engine.has_open(choice.identifier)


def test_what_is_asked_for_meanwhile_waits_for_its_turn(addon, engine):
    seeds = []
    for seed in (1, 2, 3):
        task = create(addon, seed=seed, make_plane=False, make_mesh=False)
        engine.enqueue(f"Person {seed}", task, lambda made: seeds.append(made.portrait.fields["seed"]))
    assert engine.waiting == ("Person 2", "Person 3")
    engine.forget_waiting(0)
    engine.forget_waiting(7)
    assert engine.waiting == ("Person 3",)
    pump(engine)
    assert seeds == [1, 3]
    assert engine.waiting == ()


def test_a_failure_holds_the_queue_until_it_is_dismissed(addon, engine):
    made = []
    engine.enqueue("First", create(addon, "missing"), made.append)
    engine.enqueue("Second", create(addon), made.append)
    pump(engine)
    assert (engine.status.state, engine.waiting, made) == ("error", ("Second",), [])
    engine.step()
    assert engine.status.title == "First"
    engine.dismiss()
    engine.step()
    pump(engine)
    assert len(made) == 1


def test_cancel_goes_on_with_the_next_and_stop_forgets_all(addon, engine):
    made = []
    engine.enqueue("First", create(addon, "slow"), pytest.fail)
    engine.enqueue("Second", create(addon), made.append)
    pump(engine, until=lambda: engine.status.fraction > 0)
    engine.cancel()
    pump(engine)
    assert len(made) == 1
    for _ in range(2):
        engine.enqueue("Slow", create(addon, "slow"), pytest.fail)
    engine.stop()
    assert (engine.busy, engine.waiting) == (False, ())
