# SPDX-License-Identifier: Apache-2.0
"""`python -m training.evaluate --model NAME --data DIR --metrics psnr,depth,faces,diversity --out DIR`.

Measures exported weights against people with exact truth and against a face detector that we did not train. Writes
metrics.json, a table and pictures to look at. Exit codes: 0 done, 1 failed, 2 wrong usage.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from neural_core.errors import PortraitError, UsageError

METRICS = {
    "psnr": "PSNR on held-out people at views that training never saw, and of the mean person there",
    "depth": "median depth error on the same pictures, as a share of the head's depth",
    "faces": "FaceMesh on frontal seeds: faces found, and distance of its landmarks from the rig's",
    "diversity": "median pairwise L1 between portraits, against that between training people",
}


def main(argv: list[str] | None = None) -> int:
    """Run the command line; return the exit code."""
    try:
        return _main(_parser().parse_args(argv))
    except PortraitError as error:
        print(error, file=sys.stderr)
        return 2 if isinstance(error, UsageError) else 1


def _parser() -> argparse.ArgumentParser:
    meanings = "; ".join(f"{name}: {meaning}" for name, meaning in METRICS.items())
    parser = argparse.ArgumentParser(prog="python -m training.evaluate", description=meanings)
    parser.add_argument("--model", required=True, help="name of installed weights, or a .safetensors file")
    parser.add_argument("--data", type=Path, help="held-out people (psnr, depth)")
    parser.add_argument("--train-data", type=Path, help="training people (diversity)")
    parser.add_argument("--metrics", default=",".join(METRICS), help=f"of {','.join(METRICS)}")
    parser.add_argument("--seeds", type=int, default=100, help="portraits looked at by faces and diversity")
    parser.add_argument("--truncation", type=float, default=0.7)
    parser.add_argument("--size", type=int, default=128, help="pixels of the portraits of faces and diversity")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--json", action="store_true", help="print the figures as one line of JSON at the end")
    parser.add_argument("--out", type=Path, required=True)
    return parser


def _main(flags: argparse.Namespace) -> int:
    wanted = flags.metrics.split(",")
    for name in wanted:
        if name not in METRICS:
            raise UsageError(f"There is no metric {name!r}.", f"Choose from: {', '.join(METRICS)}.")
    for name, folder, option in [("psnr", flags.data, "--data"), ("depth", flags.data, "--data"),
                                 ("diversity", flags.train_data, "--train-data")]:  # fmt: skip
        if name in wanted and folder is None:
            raise UsageError(f"The metric {name!r} needs people to compare with.", f"Give {option} DIR.")

    from neural_core import devices, models, systems
    from neural_core.systems.eg3d.system import EG3D

    from .metrics import protocol

    system = systems.load(models.find(flags.model).path, devices.choose(flags.device))
    if not isinstance(system, EG3D):
        raise UsageError(f'"{flags.model}" is no EG3D model, and the figures are only defined for those so far.')
    flags.out.mkdir(parents=True, exist_ok=True)
    figures: dict[str, float] = {}
    if {"psnr", "depth"} & set(wanted):
        figures |= protocol.held_out(system, flags.data, flags.out)
    if {"faces", "diversity"} & set(wanted):
        portraits = protocol.portraits(system, flags.seeds, flags.truncation, flags.size, flags.out)
        if "faces" in wanted:
            figures |= protocol.faces(portraits)
        if "diversity" in wanted:
            figures |= protocol.diversity(portraits, flags.train_data)
    for name, value in figures.items():
        print(f"{name:44} {value:10.4f}")
    (flags.out / "metrics.json").write_text(json.dumps(figures, indent=1))
    if flags.json:
        print(json.dumps(figures))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
