# SPDX-License-Identifier: Apache-2.0
"""The one layout in which every parametric face model is kept.

It is FLAME's layout (Li et al. 2017, section 3): a template, identity and expression blend shapes, pose correctives,
a joint regressor, a kinematic tree and skinning weights. The default source is anny (``human/anny.py``); FLAME and SMPL
files of the user are read into the same layout. Posing the model (linear blend skinning) is ``human/lbs.py``.

Space: head space, metres, +X towards the subject's left, +Y up, +Z out of the face. The origin is the centre of the
head: half-way between the eyes and the back of the skull, a little below the eyes.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

FORMAT = "face-model/1"

# One entry per landmark: the triangle that it lies on, and the barycentric coordinates of it in that triangle.
Embedding = tuple[NDArray[np.int32], NDArray[np.float32]]


@dataclass(frozen=True)
class FaceModel:
    """A linear face model with a skeleton.

    Attributes:
        name: Name of the model, for example ``"anny-head"``.
        v_template: [V, 3] mean person in neutral expression, metres, head space.
        shapedirs: [V, 3, K] displacement per standard deviation of each identity coefficient.
        expressiondirs: [V, 3, E] displacement of each expression control at its value 1.
        expression_names: E names of the controls; for anny the 52 ARKit actions.
        posedirs: [9 (J - 1), 3 V] pose correctives (SMPL, eq. 9) or None.
        j_regressor: [J, V] joints as weighted means of the vertices; rows sum to 1.
        parents: [J] index of each joint's parent, -1 for the root.
        joint_names: J names.
        weights: [V, J] skinning weights; rows sum to 1.
        faces: [F, 3] triangles, counter-clockwise seen from outside.
        uv: [U, 2] texture coordinates in 0..1, origin at the lower left.
        uv_faces: [F, 3] rows of ``uv`` used by the corners of each triangle.
        parts: Name to a mask [F] of triangles (``skin``, ``left_eye``, ``mouth`` ...).
        attributes: Name to [K + 1]: what the identity coefficients say about the person, as K slopes and one constant
            (``gender``: 0 feminine .. 1 masculine, ``age``: 0 child .. 1 old, ...). See :meth:`attribute`.
        landmarks_68: Where the 68 landmarks of the iBUG mark-up lie, or None.
        landmarks_478: Where MediaPipe's 468 face and 10 iris landmarks lie, or None.
        licence: Licence of the data.
        source: What it was made from, and how.
        origin: [3] where the origin of head space lies in the frame of the published file; 0 for a model of our own.
    """

    name: str
    v_template: NDArray[np.float32]
    shapedirs: NDArray[np.float32]
    expressiondirs: NDArray[np.float32]
    expression_names: tuple[str, ...]
    posedirs: NDArray[np.float32] | None
    j_regressor: NDArray[np.float32]
    parents: NDArray[np.int32]
    joint_names: tuple[str, ...]
    weights: NDArray[np.float32]
    faces: NDArray[np.int32]
    uv: NDArray[np.float32]
    uv_faces: NDArray[np.int32]
    parts: Mapping[str, NDArray[np.bool_]] = field(default_factory=dict)
    attributes: Mapping[str, NDArray[np.float32]] = field(default_factory=dict)
    landmarks_68: Embedding | None = None
    landmarks_478: Embedding | None = None
    licence: str = ""
    source: str = ""
    origin: NDArray[np.float32] = field(default_factory=lambda: np.zeros(3, np.float32))

    @property
    def J_regressor(self) -> NDArray[np.float32]:
        """FLAME's spelling of :attr:`j_regressor`."""
        return self.j_regressor

    def vertices(self, shape: NDArray | None = None, expression: NDArray | None = None) -> NDArray[np.float32]:
        """Vertices [V, 3] of a person, before any joint is turned.

        Args:
            shape: [k <= K] identity coefficients in standard deviations; missing ones are 0.
            expression: [e <= E] expression controls, usually 0..1.
        """
        vertices = self.v_template.astype(np.float64)
        for values, directions in ((shape, self.shapedirs), (expression, self.expressiondirs)):
            if values is not None:
                values = np.asarray(values, np.float64).reshape(-1)
                if len(values) > directions.shape[2]:
                    raise ValueError(f"{len(values)} coefficients for a basis of {directions.shape[2]}")
                vertices = vertices + directions[:, :, : len(values)] @ values
        return vertices.astype(np.float32)

    def joints(self, vertices: NDArray) -> NDArray[np.float32]:
        """Joint positions [J, 3] of a person's neutral vertices [V, 3]."""
        return (self.j_regressor @ np.asarray(vertices, np.float32)).astype(np.float32)

    def landmarks(self, vertices: NDArray, which: str = "68") -> NDArray[np.float32]:
        """Landmark positions, [68, 3] or [478, 3], on the given vertices.

        Args:
            vertices: [V, 3].
            which: ``"68"`` or ``"478"``.

        Raises:
            ValueError: The model has no such landmarks.
        """
        embedding = {"68": self.landmarks_68, "478": self.landmarks_478}.get(which)
        if embedding is None:
            raise ValueError(f"{self.name} has no landmarks {which!r}")
        triangles, barycentric = embedding
        corners = np.asarray(vertices, np.float32)[self.faces[triangles]]
        return np.einsum("nc,ncd->nd", barycentric, corners).astype(np.float32)

    def attribute(self, name: str, shape: NDArray) -> float:
        """What the identity coefficients say about a person, a linear estimate (``gender``, ``age``, ...)."""
        weights = self.attributes[name]
        shape = np.asarray(shape, np.float64).reshape(-1)
        return float(weights[: len(shape)] @ shape + weights[-1])

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the model as one safetensors file: directions in half precision, everything else exactly."""
        from safetensors.numpy import save

        tensors: dict[str, NDArray] = {
            "v_template": self.v_template,
            "shapedirs": self.shapedirs.astype(np.float16),
            "expressiondirs": self.expressiondirs.astype(np.float16),
            "j_regressor": self.j_regressor,
            "parents": self.parents,
            "weights": self.weights,
            "faces": self.faces,
            "uv": self.uv,
            "uv_faces": self.uv_faces,
        }
        if self.origin.any():
            tensors["origin"] = self.origin
        if self.posedirs is not None:
            tensors["posedirs"] = self.posedirs.astype(np.float16)
        tensors |= {f"parts/{name}": mask.astype(np.uint8) for name, mask in self.parts.items()}
        tensors |= {f"attributes/{name}": values for name, values in self.attributes.items()}
        for which, embedding in (("68", self.landmarks_68), ("478", self.landmarks_478)):
            if embedding is not None:
                tensors[f"landmarks_{which}/triangles"], tensors[f"landmarks_{which}/barycentric"] = embedding
        header = {
            "format": FORMAT,
            "name": self.name,
            "expression_names": json.dumps(self.expression_names),
            "joint_names": json.dumps(self.joint_names),
            "licence": self.licence,
            "source": self.source,
        }
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
        temporary.write_bytes(save({k: np.ascontiguousarray(v) for k, v in sorted(tensors.items())}, metadata=header))
        temporary.replace(path)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> FaceModel:
        """Read a model that :meth:`save` wrote.

        Raises:
            ValueError: The file is no face model of this format.
            OSError: The file cannot be read.
        """
        from safetensors import SafetensorError, safe_open

        try:
            with safe_open(os.fspath(path), framework="np") as file:
                header = file.metadata() or {}
                if header.get("format") != FORMAT:
                    raise ValueError(f"{path} is no face model of format {FORMAT}")
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
        except SafetensorError as error:
            raise ValueError(f"{path} is no face model: {error}") from error

        def group(prefix: str) -> dict[str, NDArray]:
            return {name.removeprefix(prefix): t for name, t in tensors.items() if name.startswith(prefix)}

        def embedding(which: str) -> Embedding | None:
            found = group(f"landmarks_{which}/")
            return (found["triangles"], found["barycentric"]) if found else None

        return cls(
            name=header["name"],
            v_template=tensors["v_template"],
            shapedirs=tensors["shapedirs"].astype(np.float32),
            expressiondirs=tensors["expressiondirs"].astype(np.float32),
            expression_names=tuple(json.loads(header["expression_names"])),
            posedirs=tensors["posedirs"].astype(np.float32) if "posedirs" in tensors else None,
            j_regressor=tensors["j_regressor"],
            parents=tensors["parents"],
            joint_names=tuple(json.loads(header["joint_names"])),
            weights=tensors["weights"],
            faces=tensors["faces"],
            uv=tensors["uv"],
            uv_faces=tensors["uv_faces"],
            parts={name: mask.astype(bool) for name, mask in group("parts/").items()},
            attributes=group("attributes/"),
            landmarks_68=embedding("68"),
            landmarks_478=embedding("478"),
            licence=header.get("licence", ""),
            source=header.get("source", ""),
            origin=tensors.get("origin", np.zeros(3, np.float32)),
        )
