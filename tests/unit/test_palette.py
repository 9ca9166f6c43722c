# SPDX-License-Identifier: Apache-2.0
"""The colours that networks start from, against what the synthesiser paints."""

import numpy as np
import pytest
import torch

from neural_core.human.anny import load_anny_head
from neural_core.human.palette import HAIR, MATERIALS, SKIN, palette
from neural_core.human.traits import Traits
from training.synthetic.looks import linear_to_srgb, look_of


@pytest.fixture(scope="module")
def face():
    return load_anny_head()


def test_the_palette_is_what_people_are_painted_with(face):
    codes = np.random.default_rng(5).standard_normal((60, 64))
    colours = palette(Traits(face)(torch.from_numpy(codes))).numpy()
    assert colours.shape == (60, len(MATERIALS), 3)
    for material, bound in (("skin", 0.03), ("hair", 0.03), ("clothes", 1e-6), ("lips", 0.12), ("iris", 0.16)):
        painted = np.stack([linear_to_srgb(np.clip(getattr(look_of(code, face), material), 0, 1)) for code in codes])
        apart = np.abs(colours[:, MATERIALS.index(material)] - painted).mean()
        assert apart < bound, material
        others = np.abs(np.roll(colours[:, MATERIALS.index(material)], 1, axis=0) - painted).mean()
        assert apart < others, material  # than somebody else's colour


def test_anchors_are_met_and_colours_between_lie_on_the_line(face):
    traits = Traits(face)(torch.zeros(3, 64))
    traits["skin_tone"] = torch.tensor([0.0, 1.0, 0.5 / 6])
    traits["hair_lightness"] = torch.tensor([0.0, 1.0, 0.2])
    traits["hair_redness"] = traits["grey"] = torch.zeros(3)
    colours = 255 * palette(traits)
    skin, hair = colours[:, MATERIALS.index("skin")], colours[:, MATERIALS.index("hair")]
    halfway = [(a + b) / 2 for a, b in zip(SKIN[0], SKIN[1], strict=True)]
    for found, expected in ((skin, [SKIN[0], SKIN[-1], halfway]), (hair, [HAIR[0], HAIR[-1], HAIR[1]])):
        torch.testing.assert_close(found, torch.tensor(expected, dtype=found.dtype), atol=0.01, rtol=0)


def test_grey_and_red_show_in_the_hair_alone(face):
    plain = Traits(face)(torch.zeros(1, 64)) | {"hair_redness": torch.zeros(1), "grey": torch.zeros(1)}
    before = palette(plain)[0]
    hair = MATERIALS.index("hair")
    for name in ("hair_redness", "grey"):
        changed = palette(plain | {name: torch.ones(1)})[0] - before
        assert changed[hair].abs().max() > 0.05
        changed[hair] = 0
        assert not changed.any()
