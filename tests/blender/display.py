# SPDX-License-Identifier: GPL-3.0-or-later
"""A real Blender with a window, on an X server of its own (Xvfb, software GL).

As a program it photographs the add-on's panel with a finished portrait, made by the real worker and the default model:

    BLENDER_EXE="../shared/tools/real-blender 5.2" python tests/blender/display.py docs/images/panel.png
"""

from __future__ import annotations

import os
import shlex
import shutil
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image
from staging import HERE, stage

WINDOW = (1400, 900)
_XWD_FIELDS = struct.Struct(">25I")
"""An XWD file begins with numbers; then come its colours, 12 bytes each, and the pixels."""


@contextmanager
def x_server(folder: Path) -> Iterator[str]:
    """Yield the DISPLAY of an X server that lives as long as the block and keeps its screen in a file of `folder`."""
    read_end, write_end = os.pipe()
    size = f"{WINDOW[0]}x{WINDOW[1]}x24"
    server = subprocess.Popen(
        ["Xvfb", "-displayfd", str(write_end), "-screen", "0", size, "-fbdir", str(folder), "+extension", "GLX"],
        pass_fds=[write_end],
        stderr=subprocess.DEVNULL,
    )
    os.close(write_end)
    try:
        with os.fdopen(read_end) as pipe:
            yield f":{int(pipe.readline())}"
    finally:
        server.terminate()
        server.wait()


def screen(folder: Path) -> np.ndarray:
    """Return what the X server of `folder` shows, [height, width, 3] uint8 RGB."""
    data = (folder / "Xvfb_screen0").read_bytes()
    fields = _XWD_FIELDS.unpack_from(data)
    size, width, height, bits, row, colours = (fields[number] for number in (0, 4, 5, 11, 12, 19))
    assert bits == 32, "a screen of 24 bits has four bytes a pixel: blue, green, red, nothing"
    rows = np.frombuffer(data, np.uint8, height * row, size + 12 * colours).reshape(height, row)
    return rows[:, : 4 * width].reshape(height, width, 4)[..., 2::-1]


def run_plan(
    blender: list[str],
    package_parent: Path,
    plan: str,
    out: Path,
    picture: Path | None = None,
    timeout_s: float = 300,
    script: str = "window.py",
) -> str:
    """Run a plan of a script of inside/ and return what Blender printed; photograph the window to `picture` when ready.

    256 colours keep the file small; nobody sees it in a screenshot.

    Raises:
        TimeoutError: if Blender does not end by itself.
    """
    with (
        tempfile.TemporaryDirectory() as home,
        x_server(Path(home)) as display,
        (out / "log.txt").open("w+") as log,
    ):
        environment = {**os.environ, "DISPLAY": display, "HOME": home, "LIBGL_ALWAYS_SOFTWARE": "1"}
        environment.setdefault("NEURAL_PORTRAIT_PYTHON", sys.executable)
        window = ["--window-geometry", "0", "0", *map(str, WINDOW)]
        arguments = ["--factory-startup", *window, "-P", str(HERE / "inside" / script)]
        process = subprocess.Popen(
            [*blender, *arguments, "--", str(package_parent), plan, str(out)],
            env=environment,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
        deadline = time.monotonic() + timeout_s
        try:
            while process.poll() is None:
                if time.monotonic() > deadline:
                    raise TimeoutError(f"Blender did not finish the plan {plan} in {timeout_s:g} s.")
                if picture is not None and (out / "ready").exists():
                    Image.fromarray(screen(Path(home))).quantize(256).save(picture, optimize=True)
                    (out / "ready").unlink()
                time.sleep(0.2)
        finally:
            process.kill()
            process.wait()
        log.seek(0)
        return log.read()


def main() -> int:
    """Make the picture of the panel; returns the exit code."""
    target = Path(sys.argv[1]).resolve()
    blender = shlex.split(os.environ.get("BLENDER_EXE", "blender").split(os.pathsep)[-1])
    with tempfile.TemporaryDirectory() as scratch:
        package = stage(Path(scratch), stub="--stub" in sys.argv)
        out = Path(scratch) / "out"
        out.mkdir()
        picture = out / "panel.png"
        log = run_plan(blender, package.parent, "picture", out, picture, timeout_s=900)
        if not picture.is_file():
            print(log[-3000:], file=sys.stderr)
            return 1
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(picture, target)
    print(f"{target}: {target.stat().st_size / 1e3:.0f} kB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
