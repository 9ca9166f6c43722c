# SPDX-License-Identifier: GPL-3.0-or-later
"""Jobs for a Flamenco Manager, over real HTTP: what it gets, and what is said when it does not answer as it should."""

import importlib
import re
import socket
import sys
import time
from pathlib import Path

import fake_flamenco
import pytest

SETTINGS = {
    "frames": "1-24",
    "chunk_size": 20,
    "render_output_path": "/farm/render/####.png",
    "what": "scene",
    "engine": "CYCLES",
    "samples": 32,
    "job_file": "/farm/seven.flamenco.toml",
    "batch_script": "/farm/neural_portrait/batch.py",
    "blendfile": "/farm/seven.blend",
}


@pytest.fixture(scope="module")
def flamenco(stub_stage):
    sys.path.insert(0, str(stub_stage))
    yield importlib.import_module("neural_portrait.flamenco_manager")
    sys.path.remove(str(stub_stage))


@pytest.fixture
def errors(flamenco):
    return importlib.import_module("neural_portrait.neural_core.errors")


@pytest.fixture
def manager(tmp_path):
    with fake_flamenco.running(str(tmp_path)) as running:
        yield running


@pytest.fixture
def job(flamenco, tmp_path):
    return flamenco.Submission("seven", SETTINGS, [tmp_path / "seven.blend", tmp_path / "render" / "####.png"], 70)


def refused(flamenco, errors, manager, job):
    """Send a job, which must fail; returns message and hint."""
    with pytest.raises(errors.PortraitError) as caught:
        flamenco.submit(manager if isinstance(manager, str) else manager.address, job)
    assert "Traceback" not in str(caught.value)
    assert "\n" not in caught.value.message
    return caught.value


def test_the_script_declares_the_settings_that_the_test_reads():
    kinds = {one["key"]: one["type"] for one in fake_flamenco.job_type()["settings"]}
    assert kinds.keys() == SETTINGS.keys()
    assert {key for key, kind in kinds.items() if kind == "int32"} == {"chunk_size", "samples"}


def test_a_job_arrives_whole(flamenco, manager, job):
    stages = []
    sent = flamenco.submit(manager.address, job, lambda stage, share: stages.append((stage, share)))
    (got,) = manager.jobs
    assert (got["name"], got["type"], got["type_etag"], got["priority"]) == ("seven", "neural-portrait", "3a1f", 70)
    assert got["settings"] == SETTINGS
    assert got["submitter_platform"] == {"win32": "windows", "darwin": "darwin"}.get(sys.platform, "linux")
    assert sent.identifier == fake_flamenco.IDENTIFIER
    assert sent.page == f"{manager.address}/app/jobs/{fake_flamenco.IDENTIFIER}"
    assert sent.manager == fake_flamenco.NAME
    shares = [share for _, share in stages]
    assert shares == sorted(shares)
    assert [stage for stage, _ in stages][-1] == "Sending the job"


def test_nobody_there(flamenco, errors, job):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{free.getsockname()[1]}"
        error = refused(flamenco, errors, address, job)
    assert error.message == f"No Flamenco Manager at {address}: Connection refused."
    assert "Start flamenco-manager" in error.hint
    assert error.kind == "farm"


@pytest.mark.parametrize("path", ["version", "jobs"])
@pytest.mark.parametrize("how", ["silent", "drips"])
def test_one_who_never_answers_is_given_up(flamenco, errors, manager, job, monkeypatch, path, how):
    monkeypatch.setattr(flamenco, "TIMEOUT_S", 0.4)
    getattr(manager, how).add(path)
    started = time.monotonic()
    error = refused(flamenco, errors, manager, job)
    assert error.message == f"No Flamenco Manager at {manager.address}: no answer within 0.4 s."
    assert time.monotonic() - started < 3.0


def test_a_manager_without_our_job_type_is_told_how_to_get_it(flamenco, errors, manager, job):
    manager.types.clear()
    error = refused(flamenco, errors, manager, job)
    assert error.message == f'The Flamenco Manager at {manager.address} has no job type "neural-portrait".'
    path = re.search(r'Copy "(.*)" into the folder "scripts"', error.hint)[1]
    assert "Neural Portrait" in Path(path).read_text()
    assert manager.jobs == []


def test_a_refusal_says_the_managers_own_reason(flamenco, errors, manager, job):
    manager.refuse = 500, "  error compiling job:\n chunk_size is 0, a task needs at least one frame " + "x" * 1000
    error = refused(flamenco, errors, manager, job)
    assert "refused (HTTP 500): error compiling job: chunk_size is 0, a task needs at least one frame" in error.message
    assert len(error.message) < 400


def test_a_job_type_that_changed_meanwhile(flamenco, errors, manager, job):
    manager.refuse = 412, "rejecting job because its settings are outdated"
    error = refused(flamenco, errors, manager, job)
    assert error.message == "The manager's job type was changed just now."
    assert error.hint == "Send the job once more."


@pytest.mark.parametrize(
    ("path", "answer"),
    [
        ("version", (200, "text/html", b"<html>It works!</html>")),
        ("version", (200, "application/json", b"")),
        ("version", (200, "application/json", b"[" * 100_000)),
        ("version", (200, "application/json", b"\xff\xfe\x00")),
        ("version", (404, "text/html", b"<h1>Not Found</h1>")),
        ("version", (404, "application/json", b'{"error": "no"}')),
        ("version", (200, "application/json", b'{"version": 3, "name": "printer"}')),
        ("version", (302, "http://127.0.0.1:9/elsewhere", b"")),
        ("jobs/type/neural-portrait", (200, "application/json", b'["neural-portrait"]')),
        ("jobs", (200, "application/json", b'{"id": 7}')),
        ("jobs", (500, "text/plain", b"internal error")),
        ("configuration/shared-storage/users/linux", (200, "application/json", b'{"location": null}')),
    ],
)
def test_what_is_no_manager_is_said_to_be_none(flamenco, errors, manager, job, monkeypatch, path, answer):
    monkeypatch.setattr(flamenco.sys, "platform", "linux")
    manager.answers[path] = answer
    error = refused(flamenco, errors, manager, job)
    assert error.kind == "farm"
    assert error.message.startswith(
        (f"No Flamenco Manager at {manager.address}", "The Flamenco Manager's answer lacks")
    )
    assert error.hint


def test_an_answer_that_breaks_off(flamenco, errors, job):
    import threading

    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer():
            connection, _ = server.accept()
            with connection:
                connection.recv(4096)
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{")

        threading.Thread(target=answer, daemon=True).start()
        error = refused(flamenco, errors, f"http://127.0.0.1:{server.getsockname()[1]}", job)
    assert error.message.startswith("No Flamenco Manager at")


def test_files_that_workers_do_not_see_are_not_sent(flamenco, errors, manager, job, tmp_path):
    manager.storage = str(tmp_path / "farm")
    error = refused(flamenco, errors, manager, job)
    assert error.kind == "usage"
    expected = f'"{tmp_path / "seven.blend"}" is not on the farm\'s shared storage, "{tmp_path / "farm"}"'
    assert error.message.startswith(expected)
    assert manager.jobs == []
    manager.storage = None  # an older manager
    flamenco.submit(manager.address, job)
    manager.storage = str(tmp_path / "farm")
    flamenco.submit(manager.address, flamenco.Submission(job.name, SETTINGS, job.files, elsewhere=True))
    assert len(manager.jobs) == 2


def test_shared_storage_may_be_reached_by_a_link_but_not_by_a_like_name(flamenco, errors, manager, tmp_path):
    farm = tmp_path / "farm"
    farm.mkdir()
    (tmp_path / "mnt").symlink_to(farm)
    manager.storage = str(tmp_path / "mnt")
    flamenco.submit(manager.address, flamenco.Submission("a", SETTINGS, [farm / "a.blend"]))
    refused(flamenco, errors, manager, flamenco.Submission("b", SETTINGS, [tmp_path / "farm2" / "b.blend"]))
    assert [one["name"] for one in manager.jobs] == ["a"]


def test_addresses_as_people_write_them(flamenco, errors):
    for written, used in {
        "": "http://localhost:8080",
        " http://localhost:8080/ ": "http://localhost:8080",
        "farm.example:8080": "http://farm.example:8080",
        "https://farm.example/flamenco/": "https://farm.example/flamenco",
        "[::1]:8080": "http://[::1]:8080",
        "http://farm:8080/?x=1#top": "http://farm:8080",
    }.items():
        assert flamenco.address(written) == used
    for wrong in (
        "file:///etc/passwd",
        "http://",
        "http://farm:port",
        "ftp://farm",
        "http://my farm:8080",
        "http://x:0",
    ):
        with pytest.raises(errors.UsageError, match="is no address of a Flamenco Manager"):
            flamenco.address(wrong)


def test_which_addresses_are_this_computer(flamenco):
    for mine in ("http://localhost:8080", "http://127.0.0.1", "http://127.3.2.1:9", "http://[::1]:8080"):
        assert flamenco.is_local(mine)
    for other in ("http://farm:8080", "http://192.168.0.7:8080", "http://localhost.example", "http://0.0.0.0:8080"):
        assert not flamenco.is_local(other)


def test_a_proxy_is_not_asked_for_this_computer(flamenco, manager, job, monkeypatch):
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.delenv("no_proxy", raising=False)
    flamenco.submit(manager.address, job)
    assert len(manager.jobs) == 1
