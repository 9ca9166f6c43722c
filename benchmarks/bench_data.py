# SPDX-License-Identifier: Apache-2.0
"""How fast pictures are read from a folder and from zips, and what a data set costs in memory.

    python benchmarks/bench_data.py [--pictures 600] [--size 256] [--workers 2] [--batch 16] [--listed 140000]

Prints pictures a second, and processor time a picture, of plain reading one after the other (the file's bytes and
Pillow, nothing else), of `PictureSet` in the same order, and of a `DataLoader` with workers in random order, each with
its ratio to a plain reading right before it; then what listing a zip of very many pictures takes. The files were just
written, so the system has them in memory: it is decoding that is measured, not the disk.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import tempfile
import time
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from PIL import Image
from torch.utils.data import DataLoader

from neural_core.cameras import orbit
from training.data.pictures import PictureSet


def files(count: int, size: int) -> dict[str, bytes]:
    """A data set of smooth noise, which packs about as well as a portrait."""
    rng = np.random.default_rng(0)
    label = orbit(0.0).label()[0].tolist()
    found = {}
    for index in range(count):
        coarse = Image.fromarray(rng.integers(0, 256, (size // 8, size // 8, 3)).astype(np.uint8))
        memory = io.BytesIO()
        coarse.resize((size, size), Image.Resampling.BICUBIC).save(memory, "png")
        found[f"{index // 1000:05d}/img{index:08d}.png"] = memory.getvalue()
    return {**found, "dataset.json": json.dumps({"labels": [[name, label] for name in found]}).encode()}


def write(root: Path, content: dict[str, bytes]) -> dict[str, Path]:
    """Write the three layouts."""
    for name, data in content.items():
        (root / "folder" / name).parent.mkdir(parents=True, exist_ok=True)
        (root / "folder" / name).write_bytes(data)
    for kind, packing in (("stored", zipfile.ZIP_STORED), ("deflated", zipfile.ZIP_DEFLATED)):
        with zipfile.ZipFile(root / f"{kind}.zip", "w", packing) as archive:
            for name, data in content.items():
                archive.writestr(name, data)
    return {"folder": root / "folder", "zip, stored": root / "stored.zip", "zip, deflated": root / "deflated.zip"}


@dataclass(frozen=True)
class Speed:
    """Of reading some pictures."""

    rate: float
    """Pictures a second of the clock."""
    effort: float
    """Processor time of all processes, ms a picture."""


def measure(count: int, read: Callable[[], object]) -> Speed:
    """Read `count` pictures three times, and return the best of each figure."""
    rates, efforts = [], []
    for _ in range(3):
        before, begin = sum(os.times()[:4]), time.perf_counter()
        read()
        rates.append(count / (time.perf_counter() - begin))
        efforts.append(1000 * (sum(os.times()[:4]) - before) / count)
    return Speed(max(rates), min(efforts))


def sequential(folder: Path) -> None:
    """Read all pictures of a folder with nothing around."""
    for path in sorted(folder.rglob("*.png")):
        np.array(Image.open(io.BytesIO(path.read_bytes())))


def listing(count: int) -> tuple[float, float]:
    """Seconds of the processor and MB to list a zip of `count` pictures, of which the first alone has content."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "many.zip"
        content = files(1, 8)
        (picture,) = (data for name, data in content.items() if name.endswith(".png"))
        label = orbit(0.0).label()[0].tolist()
        names = [f"{index // 1000:05d}/img{index:08d}.png" for index in range(count)]
        with zipfile.ZipFile(path, "w") as archive:
            for name in names:
                archive.writestr(name, picture)
            archive.writestr("dataset.json", json.dumps({"labels": [[name, label] for name in names]}))
        with get_context("spawn").Pool(1) as pool:
            return pool.apply(_list, (path,))


def _list(path: Path) -> tuple[float, float]:
    before = _resident()
    begin = time.process_time()
    data = PictureSet(path, mirror=True)
    seconds = time.process_time() - begin
    assert len(data) > 0
    return seconds, _resident() - before


def _resident() -> float:
    """Memory of this process in MB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, value in {"pictures": 600, "size": 256, "workers": 2, "batch": 16, "listed": 140000}.items():
        parser.add_argument(f"--{name}", type=int, default=value)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        paths = write(Path(folder), files(options.pictures, options.size))
        for kind, path in paths.items():
            data = PictureSet(path)
            loader = DataLoader(data, options.batch, shuffle=True, num_workers=options.workers)
            before = _resident()
            for name, read in (
                ("one process", lambda data=data: [item["index"] for item in data]),
                (f"{options.workers} workers", lambda loader=loader: [len(batch["index"]) for batch in loader]),
            ):
                plain = measure(len(data), lambda: sequential(paths["folder"]))
                seen = measure(len(data), read)
                print(
                    f"{f'{kind}, {name}':28} {seen.rate:6.0f} pictures a second, {seen.effort:.2f} ms; plain "
                    f"{plain.rate:.0f} and {plain.effort:.2f} ms; ratios {seen.rate / plain.rate:.2f} and "
                    f"{seen.effort / plain.effort:.2f}"
                )
            print(f"{'':28} {_resident() - before:6.1f} MB more in memory than before")
    seconds, megabytes = listing(options.listed)
    print(f"{options.listed} pictures in a zip, mirrored: listed in {seconds:.1f} s, {megabytes:.0f} MB")


if __name__ == "__main__":
    main()
