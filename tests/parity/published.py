# SPDX-License-Identifier: Apache-2.0
"""Reading the fixtures of EG3D and Next3D, and saying how far we are from them."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from neural_core.convert import next3d
from neural_core.convert.eg3d import rename_all
from neural_core.ops.rasterize import Fragments
from neural_core.systems.next3d.config import Next3DConfig
from neural_core.systems.next3d.dynamic import FaceTopology


def arrays(path: Path) -> dict[str, Tensor]:
    """Return the arrays of a fixture."""
    with np.load(path) as file:
        return {name: torch.from_numpy(file[name]) for name in file.files}


def facts(path: Path) -> dict:
    """Return the JSON beside a fixture."""
    return json.loads(path.read_text())


def load_state(module: torch.nn.Module, state: dict[str, Tensor], ours: bool = False) -> None:
    """Load published tensors into one of our modules; every tensor of the module has to be there, and no other."""
    tensors = state if ours else rename_all(state, "fixture")
    expected = module.state_dict()
    assert set(tensors) == set(expected)
    # 0-d tensors became [1] in the unit files
    module.load_state_dict({key: value.reshape(expected[key].shape) for key, value in tensors.items()})


def check(name: str, found: Tensor, expected: Tensor, atol: float = 0.0, relative: float = 0.0) -> None:
    """Assert shape and largest difference; print the latter (pytest -s shows it)."""
    assert found.shape == expected.shape, f"{name}: {tuple(found.shape)} is not {tuple(expected.shape)}"
    if not expected.numel():
        return
    found, expected = found.detach().double(), expected.double()
    error = (found - expected).abs().max().item()
    limit = atol + relative * expected.abs().max().item()
    print(f"{name}: {error:.2e} of {limit:.2e}")
    assert error <= limit, f"{name} differs by {error:.3e}, allowed {limit:.3e}"


@dataclass
class Recorded:
    """A sampling policy that plays back recorded numbers, in the order in which they were drawn."""

    jitters: Tensor | None = None
    fine: Tensor | None = None
    normals: list[Tensor] = field(default_factory=list)

    def jitter(self, like: Tensor) -> Tensor:
        """Return the recorded jitter."""
        return self.jitters.reshape(like.shape)

    def quantiles(self, like: Tensor) -> Tensor:
        """Return the recorded quantiles."""
        return self.fine.reshape(like.shape)

    def normal(self, like: Tensor) -> Tensor:
        """Return the next recorded normal numbers."""
        return self.normals.pop(0).reshape(like.shape)


def next3d_topology(state: dict[str, Tensor], stored: dict[str, Tensor]) -> FaceTopology:
    """Return the mesh of Next3D's fixtures."""
    return FaceTopology(state["faces"][0], state["face_uvcoords"][0, ..., :2], stored["uv_face_mask_256"])


def recorded_rasterizer(stored: dict[str, Tensor]) -> Callable[..., Fragments]:
    """Return a rasteriser that knows Next3D's recorded views by their vertices, and says what PyTorch3D saw there."""
    faces = len(stored["faces_used_by_rasterizer"])

    def rasterize(vertices: Tensor, triangles: Tensor, size: int, **options: Any) -> Fragments:
        parts = []
        for places in vertices[..., :2]:
            views = [
                (view, sample)
                for view in ("front", "left90", "right90", "top")
                for sample, known in enumerate(stored[f"verts_{view}"][..., :2])
                if torch.allclose(known, places[: len(known)], atol=1e-6)
            ]
            ((view, sample),) = views
            packed, weights = stored[f"pix_to_face_{view}"][sample], stored[f"bary_{view}"][sample]
            triangle = torch.where(packed < 0, packed, packed - sample * faces)
            parts.append((triangle, weights / weights.sum(-1, keepdim=True).clamp(min=0.5)))
        triangle, weights = (torch.stack(values) for values in zip(*parts, strict=True))
        return Fragments(triangle, weights, torch.zeros_like(weights[..., 0]))

    return rasterize


def next3d_names(state: Mapping[str, Any], config: Next3DConfig) -> dict[str, Any]:
    """Return what acts of a published Next3D state, or of facts about its tensors, under our names."""
    named = {key: value for key, value in state.items() if not key.endswith(("resample_filter", "dataset_label_std"))}
    return next3d.rename_all(named, config)
