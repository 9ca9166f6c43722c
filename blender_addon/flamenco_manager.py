# SPDX-License-Identifier: GPL-3.0-or-later
"""Sends jobs to a Flamenco Manager, by the HTTP interface (v3) that its OpenAPI document describes. Pure.

The manager says its version, what it knows of our job type, and where its shared storage is; then it gets the job. The
type's etag goes with it, so that a job is never made of settings that the manager reads otherwise by then.
"""

from __future__ import annotations

import http.client
import ipaddress
import json
import os
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .neural_core.errors import PortraitError, UsageError

DEFAULT_ADDRESS = "http://localhost:8080"
JOB_TYPE = "neural-portrait"
"""As Flamenco derives it of the script's name, `neural_portrait.js`."""
SCRIPT = Path(__file__).with_name("flamenco") / "neural_portrait.js"
PRIORITY_RANGE = (1, 100)
TIMEOUT_S = 10.0
"""For one answer."""
_LIMIT_BYTES = 1 << 22
_LONGEST_REASON = 300
_PLATFORMS = {"win32": "windows", "darwin": "darwin"}
_FIRST_ERROR, _NOT_FOUND, _TYPE_CHANGED = 400, 404, 412


@dataclass(frozen=True)
class Submission:
    """A job for a farm: its name, the settings of our job type, and its files, all of which workers must see."""

    name: str
    settings: Mapping[str, Any]
    files: Sequence[Path]
    priority: int = 50
    elsewhere: bool = False
    """The files need not be on the manager's shared storage: the workers have them at these paths all the same."""


@dataclass(frozen=True)
class Sent:
    """A job that a manager has taken: its number, its page for a browser, and the manager's name."""

    identifier: str
    page: str
    manager: str


def address(text: str) -> str:
    """Return a manager's address as it is used. Raises UsageError if it is none."""
    text = text.strip() or DEFAULT_ADDRESS
    parts = urllib.parse.urlsplit(text if "://" in text else f"http://{text}")
    try:
        usable = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:  # a port that is no number
        usable = False
    if not usable or any(char.isspace() for char in text):
        raise UsageError(f'"{text}" is no address of a Flamenco Manager.', f"Write it like {DEFAULT_ADDRESS}.")
    return urllib.parse.urlunsplit((parts.scheme, parts.netloc, parts.path.rstrip("/"), "", ""))


def is_local(manager: str) -> bool:
    """Return whether an address is that of this computer."""
    host = urllib.parse.urlsplit(manager).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def submit(manager: str, job: Submission, say: Callable[[str, float], None] = lambda stage, share: None) -> Sent:
    """Send a job.

    Args:
        manager: its address, as `address` returns it.
        job: what is to be done.
        say: told the stage and how far it is, 0..1.

    Raises:
        PortraitError: kind "farm", if no manager answers, it lacks our job type, or refuses the job; kind "usage" if
            the files are not on its shared storage.
    """
    say("Looking for the Flamenco Manager", 0.0)
    name = _text(_ask(manager, "version"), "name", "version")
    say("Looking for the job type", 0.3)
    try:
        etag = _text(_ask(manager, f"jobs/type/{JOB_TYPE}"), "etag")
    except _Refused as refused:
        if refused.code != _NOT_FOUND:
            raise
        hint = f'Copy "{SCRIPT}" into the folder "scripts" beside flamenco-manager, and start the manager again.'
        raise _failed(f'The Flamenco Manager at {manager} has no job type "{JOB_TYPE}".', hint) from refused
    if not job.elsewhere:
        say("Looking for the shared storage", 0.5)
        _check_storage(manager, job.files)
    say("Sending the job", 0.7)
    body = {
        "name": job.name,
        "type": JOB_TYPE,
        "type_etag": etag,
        "priority": job.priority,
        "submitter_platform": _platform(),
        "settings": dict(job.settings),
        "metadata": {"project": job.name, "made_by": "Neural Portrait"},
    }
    try:
        identifier = _text(_ask(manager, "jobs", body), "id")
    except _Refused as refused:
        if refused.code == _TYPE_CHANGED:
            raise _failed("The manager's job type was changed just now.", "Send the job once more.") from refused
        raise
    return Sent(identifier, f"{manager}/app/jobs/{identifier}", name)


class _Refused(PortraitError):
    """A manager answered with an HTTP error."""

    def __init__(self, manager: str, code: int, reason: str) -> None:
        said = " ".join(reason.split())[:_LONGEST_REASON]
        super().__init__(
            f"The Flamenco Manager at {manager} refused (HTTP {code}): {said or 'without a reason'}", "", "farm"
        )
        self.code = code


def _failed(message: str, hint: str = "") -> PortraitError:
    return PortraitError(message, hint, kind="farm")


def _no_manager(manager: str, what: str) -> PortraitError:
    hint = "Start flamenco-manager, or set its address in the add-on's preferences."
    return _failed(f"No Flamenco Manager at {manager}: {what}.", hint)


def _platform() -> str:
    """Return this system as Go calls it, which is how managers know it."""
    return _PLATFORMS.get(sys.platform, "linux")


def _check_storage(manager: str, files: Sequence[Path]) -> None:
    """See that files are on a manager's shared storage; managers before 3.2 do not say where that is."""
    try:
        storage = _text(_ask(manager, f"configuration/shared-storage/users/{_platform()}"), "location")
    except _Refused as refused:
        if refused.code == _NOT_FOUND:
            return
        raise
    for file in files:
        if storage and not _is_inside(file, Path(storage)):
            raise UsageError(
                f'"{file}" is not on the farm\'s shared storage, "{storage}": its workers would not find it.',
                "Save the .blend there; or, if they have it at that very path, switch on Workers See These Paths.",
            )


def _is_inside(file: Path, folder: Path) -> bool:
    """Return whether a path is below a folder, as both are written or as links lead."""
    for one in (os.path.abspath, os.path.realpath):
        inner, outer = os.path.normcase(one(file)), os.path.normcase(one(folder))
        try:
            if os.path.commonpath([inner, outer]) == outer:
                return True
        except ValueError:  # on two drives
            continue
    return False


def _ask(manager: str, path: str, body: Mapping[str, Any] | None = None) -> Any:
    """Return a manager's answer, parsed; with a `body` it is sent something.

    Raises:
        PortraitError: kind "farm", if nothing answers or what answers is no manager; _Refused if it says no.
    """
    data = None if body is None else json.dumps(body).encode()
    headers = {"Accept": "application/json", **({"Content-Type": "application/json"} if data is not None else {})}
    request = urllib.request.Request(f"{manager}/api/v3/{path}", data, headers)
    code, data = _exchange(manager, request)
    try:
        answer = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise _no_manager(manager, "what answers there is something else") from error
    if code < _FIRST_ERROR:
        return answer
    if not isinstance(answer, dict) or not isinstance(answer.get("message"), str):
        raise _no_manager(manager, f"what answers there says HTTP {code}")
    raise _Refused(manager, code, answer["message"])


def _exchange(manager: str, request: urllib.request.Request) -> tuple[int, bytes]:
    """Return HTTP status and body of an answer, whatever they are. Raises PortraitError if none comes."""
    # Proxies are for other computers; and who does not answer here is not asked elsewhere.
    proxies = urllib.request.ProxyHandler({} if is_local(manager) else None)
    opener = urllib.request.build_opener(proxies, _NoRedirects)
    try:
        try:
            answer: Any = opener.open(request, timeout=TIMEOUT_S)
        except urllib.error.HTTPError as error:
            answer = error
        with answer:
            return answer.status, _read(answer)
    except (OSError, http.client.HTTPException) as error:
        reason = getattr(error, "reason", error)  # urllib wraps what fails before the answer begins
        if isinstance(reason, TimeoutError):
            raise _no_manager(manager, f"no answer within {TIMEOUT_S:g} s") from error
        said = getattr(reason, "strerror", None) or str(reason) or type(reason).__name__
        raise _no_manager(manager, said.rstrip(".")) from error


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """A manager answers itself: what sends one elsewhere is something else."""

    def redirect_request(self, req: Any, fp: Any, code: Any, msg: Any, headers: Any, newurl: Any) -> None:
        return None


def _read(answer: Any) -> bytes:
    """Return the body of an answer; one that drips is given up after the same time as one that is silent."""
    until, size = time.monotonic() + TIMEOUT_S, 0
    parts: list[bytes] = []
    while part := answer.read1(1 << 16):
        parts.append(part)
        size += len(part)
        if time.monotonic() > until:
            raise TimeoutError
        if size > _LIMIT_BYTES:
            break
    return b"".join(parts)


def _text(answer: Any, *names: str) -> str:
    """Return the first of some texts of an answer, all of which it must have."""
    if not isinstance(answer, dict) or not all(isinstance(answer.get(name), str) for name in names):
        raise _failed(f"The Flamenco Manager's answer lacks {' and '.join(names)}.", "Is it Flamenco 3?")
    return answer[names[0]]
