# SPDX-License-Identifier: Apache-2.0
"""Lay MediaPipe's landmarks on the face model, from rendered people whose mesh and camera are known.

    python -m training.synthetic.embed_landmarks --data DIR [--model assets/face/anny_head.safetensors]

FaceMesh runs on the near-frontal picture of every person; each landmark's ray is followed to the person's mesh, and the
place where it hits is carried to the mean head. The median over the people, moved to the nearest point of the mean
head's surface, is the landmark. So the landmarks are MediaPipe's own idea of where they are, on our mesh.
"""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from neural_core.capture.detect import face_landmarks
from neural_core.human.anny import SHIPPED
from neural_core.human.landmarks import MEDIAPIPE_COUNT, embed, first_hits, ibug_68
from neural_core.human.model import FaceModel
from neural_core.records import HEAD_TO_MODEL, Record
from training.data.folders import record_files
from training.synthetic.verify import enlarged


def median_places(model: FaceModel, data: Path, limit: int) -> NDArray[np.float64]:
    """Places [478, 3] on the mean head, medians over the people of a data set."""
    found = []
    seen = np.zeros(len(model.faces), bool)
    for part in ("skin", "left_eye", "right_eye"):
        seen |= model.parts[part]
    faces = model.faces[seen]
    people = []
    for file in record_files(data)[:limit]:
        record = Record.load(file)
        people.append((record.shape, record.cameras[0].astype(float), data / record.images[0]))
    detected = face_landmarks(np.stack([enlarged(path) for _, _, path in people]))
    for (shape, label, _), points in zip(people, detected, strict=True):
        if points is None:
            continue
        pose, intrinsics = label[:16].reshape(4, 4), label[16:].reshape(3, 3)
        rays = np.concatenate([points, np.ones((len(points), 1))], 1) @ np.linalg.inv(intrinsics).T
        vertices = model.vertices(shape)
        triangles, barycentric = first_hits(pose[:3, 3] / HEAD_TO_MODEL, rays @ pose[:3, :3].T, vertices, faces)
        places = np.einsum("nc,ncd->nd", barycentric, model.v_template[faces[triangles]])
        places[triangles < 0] = np.nan
        found.append(places)
    if len(found) < 8:
        raise ValueError(f"FaceMesh found only {len(found)} faces in {data}; at least 8 are needed")
    print(f"{len(found)} faces; hits per landmark at least {np.isfinite(found)[..., 0].sum(0).min()}")
    return np.nanmedian(found, axis=0)


def main() -> int:
    """Embed the landmarks and write them into the model's file."""
    parser = argparse.ArgumentParser(prog="training.synthetic.embed_landmarks", description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--model", type=Path, default=SHIPPED)
    parser.add_argument("--limit", type=int, default=200, help="people at most")
    options = parser.parse_args()
    model = FaceModel.load(options.model)
    places = median_places(model, options.data, options.limit)
    assert places.shape == (MEDIAPIPE_COUNT, 3)
    eyes = model.parts["left_eye"] | model.parts["right_eye"]
    skin_triangles, skin_weights = embed(model, places[:468], model.parts["skin"])
    iris_triangles, iris_weights = embed(model, places[468:], eyes)
    both = np.concatenate([skin_triangles, iris_triangles]), np.concatenate([skin_weights, iris_weights])
    dataclasses.replace(model, landmarks_478=both, landmarks_68=ibug_68(both)).save(options.model)
    print(f"{options.model}: landmarks written")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
