# SPDX-License-Identifier: GPL-3.0-or-later
"""A real Blender with a window, on an X server of its own (Xvfb, software GL).

As a program it photographs the add-on's panel with a finished portrait, made by the real worker and the default model,
as panel.png, and every part of the panel alone, as panel-NAME.png:

    BLENDER_EXE="../shared/tools/real-blender 5.2" python tests/blender/display.py docs/images [whole] [sections]
"""

from __future__ import annotations

import json
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
HIGH_WINDOW = (1400, 1500)
"""For the longest part of the panel."""
_COLOURS = 256
"""They keep a picture's file small; nobody sees it in a screenshot."""
_TABS, _BELOW, _FRAME = 32, 8, 16
"""Columns at the right of a sidebar with the tabs; rows that are kept below its last panel; rows with its frame."""
_XWD_FIELDS = struct.Struct(">25I")
"""An XWD file begins with numbers; then come its colours, 12 bytes each, and the pixels."""


@contextmanager
def x_server(folder: Path, window: tuple[int, int] = WINDOW) -> Iterator[str]:
    """Yield the DISPLAY of an X server that lives as long as the block and keeps its screen in a file of `folder`."""
    read_end, write_end = os.pipe()
    size = f"{window[0]}x{window[1]}x24"
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
    window: tuple[int, int] = WINDOW,
    engine: str = "",
) -> str:
    """Run a plan of a script of inside/ and return what Blender printed.

    When the script makes the file `ready`, the window is photographed to `picture`; or, if the file has a name and a
    box (left, top, width, height) as JSON, that part of the window, to a file of that name beside `picture`. With
    `engine`, this Python has that name in the user's folder, so that pictures do not show where it really is.

    Raises:
        TimeoutError: if Blender does not end by itself.
    """
    with (
        tempfile.TemporaryDirectory() as home,
        x_server(Path(home), window) as display,
        (out / "log.txt").open("w+") as log,
    ):
        environment = {**os.environ, "DISPLAY": display, "HOME": home, "LIBGL_ALWAYS_SOFTWARE": "1"}
        environment.setdefault("NEURAL_PORTRAIT_PYTHON", sys.executable)
        if engine:
            (Path(home) / engine).symlink_to(sys.prefix)
            environment["NEURAL_PORTRAIT_PYTHON"] = f"{home}/{engine}/bin/python"
        place = ["--window-geometry", "0", "0", *map(str, window)]
        arguments = ["--factory-startup", *place, "-P", str(HERE / "inside" / script)]
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
                    _photograph(screen(Path(home)), (out / "ready").read_text(), picture)
                    (out / "ready").unlink()
                time.sleep(0.2)
        finally:
            process.kill()
            process.wait()
        log.seek(0)
        return log.read()


def _photograph(pixels: np.ndarray, wanted: str, picture: Path) -> None:
    """Save what is wanted of a window: all of it if nothing is said."""
    if wanted:
        order = json.loads(wanted)
        left, top, width, height = order["box"]
        picture = picture.with_name(f"{order['name']}.png")
        pixels = _without_void(pixels[max(top, 0) : top + height, max(left, 0) : left + width])
    Image.fromarray(pixels).quantize(_COLOURS).save(picture, optimize=True)


def _without_void(pixels: np.ndarray) -> np.ndarray:
    """Return a sidebar without the empty rows below its last panel; the tabs at its right do not count."""
    panels = pixels[:, :-_TABS]
    drawn = np.flatnonzero((panels[:-_FRAME] != panels[-_FRAME]).any(axis=(1, 2)))
    return pixels[: drawn[-1] + _BELOW] if len(drawn) else pixels


def _blender() -> list[str]:
    return shlex.split(os.environ.get("BLENDER_EXE", "blender").split(os.pathsep)[-1])


def _whole(package: Path, out: Path) -> dict[str, Path]:
    """Photograph the window with a finished portrait."""
    log = run_plan(_blender(), package.parent, "picture", out, out / "panel.png", timeout_s=900)
    if not (out / "panel.png").is_file():
        raise SystemExit(log[-3000:])
    return {"panel.png": out / "panel.png"}


def _sections(package: Path, out: Path) -> dict[str, Path]:
    """Photograph every part of the panel."""
    os.environ["NEURAL_PORTRAIT_OPS"] = "reference"  # else the log begins with what a compiler has to say
    place = {"script": "sections.py", "window": HIGH_WINDOW, "engine": "portrait-engine"}
    log = run_plan(_blender(), package.parent, "hello.wav", out, out / "section.png", timeout_s=900, **place)
    if not (out / "done").exists():
        raise SystemExit(log[-3000:])
    return {f"panel-{path.name}": path for path in sorted(out.glob("*.png"))}


def main() -> int:
    """Make the pictures; returns the exit code."""
    folder, *wanted = sys.argv[1:]
    makers = {"whole": _whole, "sections": _sections}
    for name in wanted or makers:
        with tempfile.TemporaryDirectory() as scratch:
            package, out = stage(Path(scratch), stub=False), Path(scratch) / "out"
            out.mkdir()
            for target, path in makers[name](package, out).items():
                shutil.copyfile(path, Path(folder) / target)
                print(f"{Path(folder) / target}: {path.stat().st_size / 1e3:.0f} kB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
