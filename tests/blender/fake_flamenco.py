# SPDX-License-Identifier: GPL-3.0-or-later
"""A Flamenco Manager for tests: a real HTTP server that takes jobs as Flamenco's OpenAPI says, or misbehaves."""

from __future__ import annotations

import contextlib
import json
import re
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

SCRIPT = Path(__file__).resolve().parents[2] / "blender_addon" / "flamenco" / "neural_portrait.js"
IDENTIFIER = "e7e0d7c1-1c1b-4b0a-9a55-3f3c0c6d2b11"
NAME = "Farm of the tests"
_TYPES = {"string": str, "int32": int, "float": float, "bool": bool}
_GO_SYSTEMS = {"linux", "windows", "darwin"}


def job_type() -> dict[str, Any]:
    """Return what a manager tells of our job type: name, label, etag, and the settings that the script declares."""
    found = re.findall(r"\{\s*key: \"(\w+)\", type: \"(\w+)\"(.*?)\n? *\},?\n", SCRIPT.read_text(), re.S)
    settings = [{"key": key, "type": kind, "required": "required: true" in rest} for key, kind, rest in found]
    return {"name": "neural-portrait", "label": "Neural Portrait", "etag": "3a1f", "settings": settings}


class Manager(ThreadingHTTPServer):
    """The server. What tests look at: `jobs` that were taken, `asked` paths. What they set: how it behaves.

    Attributes:
        types: job types by name.
        storage: the shared storage; None for a manager that does not say.
        refuse: HTTP code and text that the next job is refused with.
        answers: HTTP code, content type and bytes by path, in place of what a manager says.
        silent: paths of which the answer never comes; `drips`: those of which it never ends.
    """

    daemon_threads = True

    def __init__(self, storage: str | None) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.types = {"neural-portrait": job_type()}
        self.storage = storage
        self.refuse: tuple[int, str] | None = None
        self.answers: dict[str, tuple[int, str, bytes]] = {}
        self.silent: set[str] = set()
        self.drips: set[str] = set()
        self.jobs: list[dict[str, Any]] = []
        self.asked: list[str] = []
        self.over = threading.Event()

    @property
    def address(self) -> str:
        """Where it is."""
        return f"http://127.0.0.1:{self.server_address[1]}"


@contextlib.contextmanager
def running(storage: str | None) -> Iterator[Manager]:
    """Run a manager for as long as the block takes."""
    with Manager(storage) as manager:
        thread = threading.Thread(target=manager.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        try:
            yield manager
        finally:
            manager.over.set()
            manager.shutdown()
            thread.join()


def problem(body: Any, types: dict[str, Any]) -> tuple[int, str] | None:
    """Return why a manager does not take a job: HTTP code and text; None if it takes it."""
    if not isinstance(body, dict):
        return 400, "invalid format"
    for key, kind in (("name", str), ("type", str), ("priority", int), ("submitter_platform", str)):
        if type(body.get(key)) is not kind:
            return 400, f'request body has an error: property "{key}" is missing or of the wrong type'
    unknown = body.keys() - {
        *(
            "name",
            "type",
            "type_etag",
            "priority",
            "settings",
            "metadata",
            "submitter_platform",
            "storage",
            "worker_tag",
        )
    }
    if unknown:
        return 400, f"unknown properties: {unknown}"
    if body["submitter_platform"] not in _GO_SYSTEMS:
        return 400, f"unknown platform {body['submitter_platform']}"
    if not all(isinstance(value, str) for value in body.get("metadata", {}).values()):
        return 400, "metadata are strings"
    if body["type"] not in types:
        return 500, f'job type unknown: "{body["type"]}"'
    kind = types[body["type"]]
    if body.get("type_etag") not in (None, kind["etag"]):
        return 412, "rejecting job because its settings are outdated, refresh the job type"
    known = {one["key"]: one for one in kind["settings"]}
    given = body.get("settings", {})
    for key, value in given.items():
        if key not in known or type(value) is not _TYPES[known[key]["type"]]:
            return 400, f'setting "{key}" is unknown or of the wrong type'
    missing = [key for key, one in known.items() if one["required"] and not given.get(key)]
    return (400, f"settings are missing: {missing}") if missing else None


class _Handler(BaseHTTPRequestHandler):
    server: Manager

    def do_GET(self) -> None:
        if self._misbehaves():
            return
        found = re.fullmatch(r"/api/v3/(.*)", self.path)
        path = found[1] if found else ""
        storage = re.fullmatch(r"configuration/shared-storage/users/(\w+)", path)
        if path == "version":
            self._say(200, {"version": "3.6 (v3.6)", "shortversion": "3.6", "name": NAME, "git": "v3.6"})
        elif path.startswith("jobs/type/"):
            kind = self.server.types.get(path.rpartition("/")[2])
            self._say(200, kind) if kind else self._say(404, {"code": 404, "message": "job type not found"})
        elif storage and storage[1] in _GO_SYSTEMS and self.server.storage is not None:
            told = {
                "location": self.server.storage,
                "audience": "users",
                "platform": storage[1],
                "shamanEnabled": False,
            }
            self._say(200, told)
        else:
            self._say(404, {"code": 404, "message": "Not Found"})

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self._misbehaves():
            return
        if self.path != "/api/v3/jobs" or self.headers["Content-Type"] != "application/json":
            self._say(404, {"code": 404, "message": "Not Found"})
            return
        job = json.loads(body)
        refused = self.server.refuse or problem(job, self.server.types)
        if refused:
            self._say(refused[0], {"code": refused[0], "message": refused[1]})
            return
        self.server.jobs.append(job)
        times = dict.fromkeys(("created", "updated"), "2026-11-21T20:25:00Z")
        self._say(200, {**job, **times, "id": IDENTIFIER, "status": "under-construction", "activity": "created"})

    def _misbehaves(self) -> bool:
        self.server.asked.append(self.path)
        name = self.path.removeprefix("/api/v3/")
        if name in self.server.silent:
            self.server.over.wait(20.0)
            return True
        if name in self.server.drips:
            self.send_response(200)
            self.end_headers()
            with contextlib.suppress(OSError):
                while not self.server.over.wait(0.05):
                    self.wfile.write(b" ")
                    self.wfile.flush()
            return True
        if name in self.server.answers:
            code, kind, data = self.server.answers[name]
            self._send(code, kind, data)
            return True
        return False

    def _say(self, code: int, answer: Any) -> None:
        self._send(code, "application/json", json.dumps(answer).encode())

    def _send(self, code: int, kind: str, data: bytes) -> None:
        self.send_response(code)
        self.send_header("Content-Type" if code not in (301, 302, 307) else "Location", kind)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def wait_for(what, seconds: float = 5.0) -> bool:
    """Wait until something is true; False if it never is."""
    until = time.monotonic() + seconds
    while not what() and time.monotonic() < until:
        time.sleep(0.01)
    return bool(what())
