# SPDX-License-Identifier: Apache-2.0
"""Training of people who move, from the command line on spheres: it learns, and what it exports can be posed."""

import dataclasses
import json

import pytest
import torch

from neural_core import systems
from tests.spheres import write_moving_spheres
from tests.tiny_models import tiny_next3d_config
from training.train import main


def toml(values: dict, section: str = "model") -> str:
    """Return nested plain values as TOML tables; None is left out."""
    values = {key: value for key, value in values.items() if value is not None}
    tables = [(key, value) for key, value in values.items() if isinstance(value, dict)]
    lines = [f"[{section}]"]
    lines += [f"{key} = {json.dumps(value)}" for key, value in values.items() if not isinstance(value, dict)]
    return "\n".join([*lines, *(toml(value, f"{section}.{key}") for key, value in tables)])


@pytest.mark.slow
def test_the_loss_falls_and_the_export_can_be_posed(tmp_path):
    write_moving_spheres(tmp_path / "data", people=3, views=3, size=32, z_dim=64)
    (tmp_path / "tiny.toml").write_text(
        toml(dataclasses.asdict(tiny_next3d_config()))
        + "\n[patches]\nviews = 2\npatches = 3\nside = 6\n[rays]\neven = 8\nguided = 4\n[run]\nbatch = 3\nthreads = 1\n"
        + "log_every = 1\nsample_every = 1000\n"
    )
    assert main([
        "next3d-warm-start", "--config", str(tmp_path / "tiny.toml"), "--run", str(tmp_path / "run"),
        "--data.path", str(tmp_path / "data"), "--run.steps", "80", "--device", "cpu",
    ]) == 0  # fmt: skip
    lines = [json.loads(line) for line in (tmp_path / "run" / "stats.jsonl").read_text().splitlines()]
    for term, share in (("colour", 0.9), ("alpha", 0.75), ("depth", 0.6)):  # colours of stripes take longer than shapes
        values = [line[term] for line in lines]
        assert sum(values[-10:]) < share * sum(values[:10]), term
    assert len(list((tmp_path / "run" / "samples").glob("*.png"))) == 1
    system = systems.load(tmp_path / "run" / "model.safetensors")
    portrait = system.create(7, 0.7)
    pictures = [
        system.pose(portrait, {"actions": torch.full((52,), amount)}).render(system.creation_camera(), 16).image
        for amount in (0.0, 0.9)
    ]
    assert all(torch.isfinite(picture).all() for picture in pictures)
    assert (pictures[0] - pictures[1]).abs().max() > 1e-3
