# SPDX-License-Identifier: GPL-3.0-or-later
"""A keyed job, run twice, and once killed in the middle and resumed: the same scenario for every way to run it."""

import json
import os
import signal
import subprocess

from test_batch import read_png

JOB = """
version = 1
[[job]]
do = "animate"
name = "nod"
[job.scene]
frames = "1-{frames}"
[job.portrait]
create = {{ seed = 7, model = "{model}", detail = 32, size = 32, make = ["rig"] }}
key = [
    {{ frame = 1, expression = {{ jawOpen = 0.0, mouthSmileLeft = 0.5 }} }},
    {{ frame = 24, expression = {{ jawOpen = 1.0, mouthSmileLeft = 0.0 }} }},
    {{ frame = 48, expression = {{ jawOpen = 0.2, mouthSmileLeft = 1.0 }} }},
]
[job.render]
what = {what}
engine = "{engine}"
size = 32
samples = 1
out = "{out}/f_####.png"
[job.worker]
models = "{models}"
device = "cpu"
"""


class Runner:
    """Runs job files by a command line that the job file is put behind."""

    def __init__(self, command, folder, frames=48, killed_at=20, **facts):
        self.command, self.folder, self.frames, self.killed_at = command, folder, frames, killed_at
        self.facts = {"what": '["plane"]', "engine": "CYCLES", "frames": frames, **facts}

    def start(self, out, *arguments):
        """Start a job that writes into folder `out`."""
        job = self.folder / f"{out}.toml"
        job.write_text(JOB.format(out=out, **self.facts))
        return subprocess.Popen(
            [*self.command, str(job), *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,
        )

    def run(self, out, *arguments):
        """Run a job to its end; returns what it said of each frame, and the summary."""
        process = self.start(out, *arguments)
        said, _ = process.communicate(timeout=400)
        assert process.returncode == 0, said[-4000:]
        lines = [json.loads(line.removeprefix("PORTRAIT ")) for line in said.splitlines() if line[:9] == "PORTRAIT "]
        return [line for line in lines if line["event"] == "frame"], lines[-1]

    def run_until_killed(self, out):
        """Run a job, and kill Blender without warning as soon as frame `killed_at` is written."""
        with self.start(out) as process:
            for line in process.stdout:
                if line.startswith("PORTRAIT ") and f'"frame": {self.killed_at},' in line:
                    os.killpg(process.pid, signal.SIGKILL)
                    break
            process.stdout.read()
        assert process.returncode == -signal.SIGKILL

    def pictures(self, out):
        """Return the pixels of all pictures of a folder by name."""
        return {path.name: read_png(path) for path in sorted((self.folder / out).glob("*.png"))}


def check(runner):
    """Raise AssertionError unless running twice, and killing and resuming, give the same pixels and no work twice."""
    _, summary = runner.run("first")
    assert summary["jobs"][0]["frames"] == {"drawn": runner.frames, "kept": 0, "skipped": []}
    runner.run("second")
    expected = runner.pictures("first")
    assert len(expected) == runner.frames
    assert len({picture.tobytes() for picture in expected.values()}) > runner.frames / 2  # it moves
    _same(runner.pictures("second"), expected)

    runner.run_until_killed("third")
    before = {path.name: _state(path) for path in (runner.folder / "third").glob("*.png")}
    assert runner.killed_at <= len(before) < runner.frames
    said, summary = runner.run("third", "--resume")
    kept = {line["path"].rpartition("/")[2] for line in said if line.get("resumed")}
    assert kept >= {name for name in expected if int(name[2:6]) < runner.killed_at}
    assert [name for name in kept if _state(runner.folder / "third" / name) != before[name]] == []
    _same(runner.pictures("third"), expected)
    assert summary["jobs"][0]["frames"]["drawn"] == runner.frames - len(kept)

    _check_damage(runner, expected)


def _state(path):
    stat = path.stat()
    return stat.st_mtime_ns, stat.st_ino


def _check_damage(runner, expected):
    """A picture that was cut and one that is gone are drawn again, and no others."""
    cut, gone, *_ = sorted(expected)
    path = runner.folder / "third" / cut
    path.write_bytes(path.read_bytes()[:-20])
    (runner.folder / "third" / gone).unlink()
    said, _ = runner.run("third", "--resume")
    assert {line["file"] for line in said if not line.get("resumed")} == {cut, gone}
    _same(runner.pictures("third"), expected)


def _same(pictures, expected):
    assert pictures.keys() == expected.keys()
    assert [name for name in expected if (pictures[name] != expected[name]).any()] == []
