# SPDX-License-Identifier: Apache-2.0
"""Kill a synthesis three times at random moments, go on each time, and compare with a run that was left in peace.

python -m tests.kills OUT --renderer cycles --people 4 --views 2 --size 64 --samples 4

Linux only: it looks for the render processes in /proc. Code that changes meanwhile changes the checksum, too.
"""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

from training.data.folders import checksum, finished_people

ROOT = Path(__file__).resolve().parents[1]


def synthesis(out: Path, *arguments: str) -> list[str]:
    """Return the command that renders a data set."""
    return [sys.executable, "-m", "training.synthesize", "portraits", "--out", str(out), *arguments]


def in_peace(out: Path, *arguments: str) -> str:
    """Render a data set and return its checksum."""
    subprocess.run(synthesis(out, *arguments), cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    return checksum(out)


def thrice_killed(out: Path, *arguments: str, seed: int = 7) -> str:
    """Render the same with three SIGKILLs on the way: to all processes, to the parent alone, to all.

    Each comes a few pictures after the process began. Afterwards no process may be left.
    """
    rng = random.Random(seed)
    for kill in range(3):
        before = len(list(out.rglob("img*.png")))
        command = synthesis(out, *arguments, *["--resume"][: kill > 0])
        with subprocess.Popen(command, cwd=ROOT, start_new_session=True, stdout=subprocess.DEVNULL) as running:
            wanted = before + rng.randint(1, 3)
            while len(list(out.rglob("img*.png"))) < wanted:
                assert running.poll() is None, "it was done before it was killed: ask for more people"
                time.sleep(0.01)
            time.sleep(rng.uniform(0, 0.3))
            renderers = descendants(running.pid)
            assert renderers, "no render processes"
            if kill == 1:
                running.kill()
            else:
                os.killpg(running.pid, signal.SIGKILL)
        print(f"kill {kill + 1}: {len(finished_people(out))} people finished", file=sys.stderr)
        limit = time.monotonic() + 20
        while any(Path(f"/proc/{renderer}").exists() for renderer in renderers):
            assert time.monotonic() < limit, "render processes outlive their parent"
            time.sleep(0.05)
    return in_peace(out, *arguments, "--resume", "--workers=1")


def descendants(process: int) -> list[int]:
    """Return the processes that a process started, and those that they did."""
    children = [int(child) for child in Path(f"/proc/{process}/task/{process}/children").read_text().split()]
    return children + [grandchild for child in children for grandchild in descendants(child)]


if __name__ == "__main__":
    folder, options = Path(sys.argv[1]), sys.argv[2:]
    peace, killed = in_peace(folder / "in_peace", *options), thrice_killed(folder / "killed", *options)
    print(f"{peace}  in peace\n{killed}  killed three times")
    raise SystemExit(peace != killed)
