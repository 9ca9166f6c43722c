# SPDX-License-Identifier: Apache-2.0
"""Discriminators against the published Next3D code: labels that say the expression, too, whole or in two parts."""

import csv

import pytest
import torch

from tests.parity.published import arrays, check, facts
from tests.parity.test_eg3d_discriminators import load_discriminator, rename
from tests.tolerances import EG3D_LOGIT
from training.discriminators import DualDiscriminator

CASES = ["dual_c25", "dual_c75", "duallabel"]


def build(next3d, case):
    """Return the network with the stored weights, and what was computed with it."""
    options = facts(next3d / f"disc_{case}.json")["init_kwargs"]
    network = DualDiscriminator(
        options["img_resolution"],
        label_dim=options["c_dim"],
        expression_dim=options.get("c2_dim", 0),
        channel_base=options["channel_base"],
        channel_max=options["channel_max"],
        clamp=float(options["conv_clamp"]),
    )
    stored = arrays(next3d / f"disc_{case}.npz")
    state = {key.removeprefix("sd."): value for key, value in stored.items() if key.startswith("sd.")}
    load_discriminator(network, state, options["img_resolution"])
    return network, {key: value for key, value in stored.items() if not key.startswith("sd.")}


@pytest.mark.parametrize("case", CASES)
def test_discriminator(parity_folder, case):
    network, stored = build(parity_folder / "next3d", case)
    pictures = [stored.pop(name).requires_grad_() for name in ("image", "image_raw")]
    logits = network(*pictures, stored.pop("c"))
    check("logits", logits, stored.pop("logits"), relative=EG3D_LOGIT)
    for name, gradient in zip(("image", "image_raw"), torch.autograd.grad(logits.sum(), pictures), strict=True):
        check(f"gradient, {name}", gradient, stored.pop(f"r1_grad_{name}"), relative=EG3D_LOGIT)
    assert not stored  # every array was used


def test_a_part_of_the_label_that_is_missing_is_not_guessed(parity_folder):
    network, stored = build(parity_folder / "next3d", "duallabel")
    with pytest.raises(RuntimeError, match="split"):
        network(stored["image"], stored["image_raw"], stored["c"][:, :25])


def test_the_driving_mesh_is_three_more_channels(parity_folder):
    """While their weights are 0, the network is the published one of two pictures."""
    published, stored = build(parity_folder / "next3d", "dual_c25")
    image, raw, label = stored["image"], stored["image_raw"], stored["c"]
    network = DualDiscriminator(64, sees_driver=True, channel_base=512, channel_max=16)
    state = published.state_dict()
    of_pictures = state["network.from_rgb.weight"]
    state["network.from_rgb.weight"] = torch.cat([of_pictures, torch.zeros(8, 3, 1, 1)], dim=1)
    # a sum over 6 channels is scaled by 1 / sqrt(6), one over 9 by 1 / 3
    state["network.from_rgb.weight"] *= 3 / 6**0.5
    network.load_state_dict(state)
    driver = torch.rand(4, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    logits = network(image, raw, label, driver)
    check("logits", logits, stored["logits"], relative=EG3D_LOGIT)
    (gradient,) = torch.autograd.grad(logits.sum(), network.network.from_rgb.weight)
    assert gradient[:, 6:].abs().max() > 1e-3 * gradient[:, :6].abs().max()
    # it comes last, and is enlarged as raw pictures are: with all weights moved on, the picture is shown as the raw
    # one, and the raw one as the mesh
    network.load_state_dict({**state, "network.from_rgb.weight": state["network.from_rgb.weight"].roll(3, dims=1)})
    check("moved", network(torch.zeros_like(image), image, label, raw), stored["logits"], relative=EG3D_LOGIT)


def test_full_size_keys(parity_folder):
    with (parity_folder / "next3d" / "ffhq512_D_keys_c25.tsv").open() as file:
        rows = [row for row in csv.DictReader(file, delimiter="\t") if not row["key"].endswith("resample_filter")]
    expected = {rename(row["key"], 512): tuple(int(size) for size in row["shape"].split("x")) for row in rows}
    with torch.device("meta"):
        network = DualDiscriminator(512)
    assert expected == {key: tuple(value.shape) for key, value in network.network.state_dict().items()}
