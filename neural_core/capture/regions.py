# SPDX-License-Identifier: Apache-2.0
"""Which part of a person every pixel shows: skin of the head, hair, skin of the neck, or clothes.

No network that we may ship knows hair from clothes, so this is a small Bayesian classifier made anew for every picture.
Where the fitted head, its scalp and its neck lie says what is likely (the prior); the colours of pixels that are almost
sure (the face, what surrounds the head above the eyes, what is far below the chin) are learned as mixtures of
Gaussians and decide the rest. The probabilities are smoothed along the picture's edges (guided filter).

Glasses, hats and hands are not known: they become what they resemble most.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..human.model import FaceModel
from ..records import BACKGROUND, CLOTH, HAIR, SKIN, TORSO
from .colours import Colours, opponent, unlike
from .matting import guided_filter
from .overlay import Sight

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]

# MediaPipe's outline of the face, from the middle of the forehead over the subject's left cheek to the right one.
_OVAL = (
    *(10, 338, 297, 332, 284, 251, 389, 356, 454, 323, 361, 288, 397, 365, 379, 378, 400, 377),
    *(152, 148, 176, 149, 150, 136, 172, 58, 132, 93, 234, 127, 162, 21, 54, 103, 67, 109),
)
_CHIN = 152
_EYES = (33, 133, 159, 145, 263, 362, 386, 374)
_BROWS = (70, 63, 105, 66, 107, 336, 296, 334, 293, 300)
_MOUTH = (61, 291, 0, 17)

# Where the scalp of the mean head begins: height y at some z, head space, metres; over the ears it comes down.
_HAIRLINE_Z = (-0.05, -0.03, 0.0, 0.03, 0.07, 0.09)
_HAIRLINE_Y = (-0.06, 0.02, 0.025, 0.035, 0.055, 0.07)

# How likely SKIN, HAIR, TORSO and CLOTH are on parts of the fitted head, before a colour is looked at.
_INNER_FACE = (0.997, 0.002, 0.0005, 0.0005)
_FOREHEAD = (0.9, 0.095, 0.0, 0.005)
_HAIRY_FOREHEAD = (0.55, 0.445, 0.0, 0.005)
_SIDES = (0.6, 0.385, 0.01, 0.005)
_JAW = (0.93, 0.02, 0.04, 0.01)
_SCALP = (0.6, 0.395, 0.0, 0.005)
_HAIRY_SCALP = (0.01, 0.985, 0.0, 0.005)
_NECK = (0.02, 0.08, 0.6, 0.3)
_HAIRY, _BUSHY = 0.3, 0.4  # shares of the scalp: unlike skin, or as large an area around it, if all of it is hair

_OUTLINE = 0.02  # how far the person's outline may lie outside the fitted head's, in sides
_AVERAGE = 0.008  # deviation of the blur of the evidence, in sides: hair is known by its texture's mean
_RADIUS = 1 / 100  # of the guided filter, in sides
_SPECKLE = 0.003  # deviation of the last blur of the probabilities, in sides: against single pixels
_MOUTH_HEIGHT = -0.2  # below the chin, in sides: from there up there is hair before and beside the face
_BELOW_EYES = 0.12  # of the way from the eyes to the chin: down to here lids and bags may not look like skin
_THIN = 0.012  # stripes thinner than this are not hair that hangs down, in sides


@dataclass(frozen=True)
class _Anatomy:
    """What the fitted head says about every pixel, [h, w]."""

    head: Mask
    """Skin of the head but for the scalp."""
    scalp: Mask
    neck: Mask
    inner: Mask
    """The face below the brows and within FaceMesh's outline."""
    sure_skin: Mask
    """Cheeks, nose and chin: the inner face without eyes and mouth."""
    above_brows: Mask
    above_eyes: Mask
    below_chin: Array
    """How far below the chin, in sides of the picture; negative above."""


def find_regions(
    picture: NDArray[np.uint8], alpha: NDArray[np.uint8], model: FaceModel, seen: Sight, points: NDArray[np.floating]
) -> NDArray[np.uint8]:
    """Return the region of every pixel [s, s]: BACKGROUND, SKIN, HAIR, TORSO or CLOTH of ``records``.

    Args:
        picture: [s, s, 3], the head upright.
        alpha: [s, s] of the person.
        model: the fitted face model.
        seen: what its camera sees of it.
        points: [478, 2] landmarks in 0..1 of the picture.

    Deterministic.
    """
    from scipy.ndimage import gaussian_filter

    size = len(picture)
    person = alpha > 127
    anatomy = _anatomy(model, seen, np.asarray(points, np.float64), size)
    colours = opponent(picture)
    odd = unlike(picture, anatomy.sure_skin & person)
    prior = _priors(anatomy, _hairy(person, anatomy, odd))
    sorts = _learn(colours, person, anatomy, odd)
    likely = _classify(colours, prior, sorts)
    best = np.where(person, likely.argmax(-1), -1)
    # Once more, now that parts of the hair and of the clothes are known that resemble skin.
    skin, hair, cloth = sorts
    if len(hair.weights):
        hair = Colours.of(colours, (best == 1) & ~anatomy.head)
    if len(cloth.weights):
        cloth = Colours.of(colours, (best == 3) & ~anatomy.neck)
    likely = _classify(colours, prior, (skin, hair, cloth))
    smooth = guided_filter(picture / 255, likely, max(2, round(_RADIUS * size)))
    smooth = gaussian_filter(smooth, (_SPECKLE * size, _SPECKLE * size, 0), mode="nearest")
    smooth[..., 1] = np.where(_hanging(smooth.argmax(-1) == 1, person, anatomy, size), smooth[..., 1], 0)
    names = np.array([SKIN, HAIR, TORSO, CLOTH], np.uint8)
    return np.where(person, names[smooth.argmax(-1)], np.uint8(BACKGROUND))


def _classify(colours: Array, prior: Array, sorts: tuple[Colours, Colours, Colours]) -> Array:
    """Return the probabilities [h, w, 4] of SKIN, HAIR, TORSO and CLOTH, given the colours of skin, hair and cloth."""
    from scipy.ndimage import gaussian_filter

    skin, hair, cloth = (sort.log_density(colours) for sort in sorts)
    evidence = np.stack([skin, hair, skin, cloth], axis=-1)
    deviation = _AVERAGE * len(colours)
    evidence = gaussian_filter(evidence, (deviation, deviation, 0), mode="nearest")
    score = np.log(prior) + evidence
    likely = np.exp(score - score.max(-1, keepdims=True))
    return likely / likely.sum(-1, keepdims=True)


def _learn(colours: Array, person: Mask, anatomy: _Anatomy, odd: Mask) -> tuple[Colours, Colours, Colours]:
    """Return the colours of skin, hair and clothes, from pixels that are almost sure; odd ones are no skin."""
    skin = Colours.of(colours, anatomy.sure_skin & person)
    mesh = anatomy.head | anatomy.scalp | anatomy.neck
    hair = Colours.of(colours, person & odd & anatomy.above_eyes & ~anatomy.head)
    cloth = Colours.of(colours, person & odd & ~mesh & (anatomy.below_chin > 0.08))
    return skin, hair, cloth


def _anatomy(model: FaceModel, seen: Sight, points: Array, size: int) -> _Anatomy:
    from scipy.ndimage import distance_transform_edt

    # The outline of the mesh is not exact: what is just beside it belongs to what is nearest.
    beside = np.zeros((2, size, size), np.int32)
    distance = np.asarray(distance_transform_edt(seen.triangle < 0, return_indices=True, indices=beside))
    covered = (distance <= _OUTLINE * size) & (seen.triangle >= 0).any()
    triangle = np.maximum(seen.triangle[tuple(beside)], 0)
    on_neck = _neck_triangles(model)[triangle] & covered
    on_scalp = _scalp_triangles(model)[triangle] & covered
    head = covered & ~on_neck & ~on_scalp
    height = np.broadcast_to(((np.arange(size) + 0.5) / size)[:, None], (size, size))
    above_brows = height < points[list(_BROWS), 1].mean()
    inner = _polygon(points[list(_OVAL)], size) & ~above_brows
    chin = points[_CHIN, 1]
    eyes = points[list(_EYES), 1]
    mouth = points[list(_MOUTH)]
    of_eyes = height < eyes.max() + _BELOW_EYES * (chin - eyes.max())
    of_mouth = (height > mouth[:, 1].min()) & (height < mouth[:, 1].max())
    sure = inner & head & ~of_eyes & ~of_mouth
    return _Anatomy(
        head=head,
        scalp=on_scalp,
        neck=on_neck,
        inner=inner,
        sure_skin=sure if sure.any() else inner,
        above_brows=above_brows,
        above_eyes=height < eyes.min(),
        below_chin=height - chin,
    )


def _priors(anatomy: _Anatomy, hairy: bool) -> Array:
    """Return how likely SKIN, HAIR, TORSO and CLOTH are at every pixel [h, w, 4] before its colour is looked at."""

    def below(start: float, softness: float) -> Array:
        return 1 / (1 + np.exp(-(anatomy.below_chin - start) / softness))

    low, shoulders, far = below(0.0, 0.02), below(-0.08, 0.04), below(0.06, 0.04)
    beside = (0.04 * (1 - low), 1 - far, 0.3 * low, shoulders * (0.4 + 0.6 * far))
    chosen = np.stack(beside, axis=-1)
    for mask, values in (
        (anatomy.head, _SIDES),
        (anatomy.head & anatomy.above_brows, _HAIRY_FOREHEAD if hairy else _FOREHEAD),
        (anatomy.head & (anatomy.below_chin > _MOUTH_HEIGHT), _JAW),
        (anatomy.scalp, _HAIRY_SCALP if hairy else _SCALP),
        (anatomy.neck, _NECK),
        (anatomy.inner, _INNER_FACE),
    ):
        chosen = np.where(mask[..., None], values, chosen)
    return chosen + 1e-6


def _hairy(person: Mask, anatomy: _Anatomy, odd: Mask) -> bool:
    """Say whether there is hair on the scalp: much of it is unlike skin, or much stands out above the eyes."""
    scalp = anatomy.scalp & person
    around = person & anatomy.above_eyes & ~anatomy.head & ~anatomy.scalp
    return bool(odd[scalp].sum() > _HAIRY * scalp.sum() or around.sum() > _BUSHY * scalp.sum())


def _hanging(hair: Mask, person: Mask, anatomy: _Anatomy, size: int) -> Mask:
    """Return the hair [h, w] without stripes and islands that do not come from the head's upper half."""
    from scipy.ndimage import binary_dilation, binary_opening, label

    radius = max(1, round(_THIN * size / 2))
    wide = np.asarray(binary_opening(hair | ~person & anatomy.above_eyes, iterations=radius), bool) & hair
    wide |= hair & (anatomy.below_chin < _MOUTH_HEIGHT)
    named = np.zeros(wide.shape, np.int32)
    label(wide, output=named)
    roots = np.unique(named[wide & anatomy.above_eyes])
    kept = np.isin(named, roots[roots > 0])
    return hair & np.asarray(binary_dilation(kept, iterations=radius), bool)


def _neck_triangles(model: FaceModel) -> Mask:
    """Return which triangles [F] move with the neck rather than with the head."""
    head = model.weights[:, [name not in ("root", "neck") for name in model.joint_names]].sum(1)
    return head[model.faces].mean(1) < 0.5


def _scalp_triangles(model: FaceModel) -> Mask:
    """Return which triangles [F] of the skin bear the hair of the head."""
    _, y, z = np.moveaxis(model.v_template[model.faces].mean(1).astype(np.float64), -1, 0)
    return model.parts["skin"] & (y > np.interp(z, _HAIRLINE_Z, _HAIRLINE_Y)) & ~_neck_triangles(model)


def _polygon(corners: Array, size: int) -> Mask:
    """Return the pixels [size, size] inside a polygon [n, 2] given in 0..1."""
    from PIL import Image, ImageDraw

    canvas = Image.new("L", (size, size))
    ImageDraw.Draw(canvas).polygon([tuple(corner) for corner in corners * size - 0.5], fill=1)
    return np.array(canvas, bool)
