# SPDX-License-Identifier: Apache-2.0
"""Discriminators against the published EG3D code: logits, what lies between, and the gradients that R1 penalises."""

import csv
import re

import pytest
import torch

from tests.parity.published import arrays, check, facts, load_state
from tests.tolerances import EG3D_LOGIT, EG3D_PICTURE
from training.discriminators import Discriminator, DualDiscriminator
from training.losses.adversarial import non_saturating_discriminator, non_saturating_generator, r1

CASES = ["single64", "dual64", "dual128_nocond"]


def rename(key, resolution):
    """Return our name of a published discriminator's tensor; None for its constant filters."""
    if key.endswith("resample_filter"):
        return None
    key = re.sub(r"^b4\.", "head.", key)
    key = re.sub(r"^head\.fc\.", "head.hidden.", key)
    key = re.sub(r"^head\.out\.", "head.output.", key)
    key = re.sub(r"^mapping\.", "mapping_network.", key)
    key = re.sub(r"^mapping2\.", "expression_network.", key)  # Next3D's
    key = re.sub(r"\.fc(\d+)\.", r".layers.\1.", key)
    key = key.replace(f"b{resolution}.fromrgb.", "from_rgb.")
    return re.sub(r"^b(\d+)\.", r"blocks.\1.", key)


def build(eg3d, case):
    """Return the network with the stored weights."""
    described = facts(eg3d / f"disc_{case}.json")
    options = described["init_kwargs"]
    network = {"SingleDiscriminator": Discriminator, "DualDiscriminator": DualDiscriminator}[
        described["class_name"].rpartition(".")[2]
    ](
        options["img_resolution"],
        label_dim=options["c_dim"],
        channel_base=options["channel_base"],
        channel_max=options["channel_max"],
        group=options.get("epilogue_kwargs", {}).get("mbstd_group_size", 4),
        clamp=float(options.get("conv_clamp", 256)),
    )
    load_discriminator(network, arrays(eg3d / f"disc_{case}_state.npz"), options["img_resolution"])
    return network


def load_discriminator(network, state, resolution):
    """Load published tensors."""
    prefix = "network." if isinstance(network, DualDiscriminator) else ""
    names = {key: rename(key, resolution) for key in state}
    load_state(network, {prefix + name: state[key] for key, name in names.items() if name}, ours=True)


@pytest.mark.parametrize("case", CASES)
def test_discriminator(parity_folder, case):
    eg3d = parity_folder / "eg3d"
    network = build(eg3d, case)
    stored = arrays(eg3d / f"disc_{case}_io.npz")
    inner = network.network if isinstance(network, DualDiscriminator) else network
    seen = {}
    for size in (8, 16):
        block = inner.blocks[str(size)]
        block.register_forward_hook(lambda module, given, result, size=size: seen.update({f"b{size}_x": result}))
    pictures = [stored["image"].requires_grad_()]
    if "image_raw" in stored:
        pictures.append(stored["image_raw"].requires_grad_())
        if "image_raw_resized" in stored:
            enlarged = network.enlarged(stored["image_raw"], stored["image"].shape[-1])
            check("enlarged", enlarged, stored["image_raw_resized"], atol=EG3D_PICTURE)
    label = stored["c"] if stored["c"].numel() else None
    logits = network(*pictures, label)
    check("logits", logits, stored["logits"], relative=EG3D_LOGIT)
    for name, value in seen.items():
        check(name, value, stored[name], relative=EG3D_LOGIT)
    if "cmap" in stored:
        check("label's embedding", inner.mapping_network(None, label), stored["cmap"], relative=EG3D_LOGIT)
    real, fake = stored["softplus_real"].mean(), stored["softplus_fake"].mean()
    check("loss of the generator", non_saturating_generator(logits), real, relative=EG3D_LOGIT)
    loss = non_saturating_discriminator(logits, logits)
    check("loss of the discriminator", loss, real + fake, relative=EG3D_LOGIT)

    gradients = torch.autograd.grad(logits.sum(), pictures, create_graph=True)
    if "r1_grad_image" in stored:
        check("gradient, picture", gradients[0], stored["r1_grad_image"], relative=EG3D_LOGIT)
    else:
        check("gradient, picture", gradients[0][:1], stored["r1_grad_image_b0"], relative=EG3D_LOGIT)
    if len(pictures) == 2:
        check("gradient, raw picture", gradients[1], stored["r1_grad_image_raw"], relative=EG3D_LOGIT)
    penalty = r1(logits, *pictures)
    check("penalty", penalty, stored["r1_penalty"].mean(), relative=EG3D_LOGIT)
    # training differentiates the penalty once more: it moves every weight (with piecewise linear activations no bias
    # behind the one curved layer, the deviation of the batch)
    penalty.backward()
    for name, value in network.named_parameters():
        assert name.endswith("bias") or value.grad.any(), name


def test_every_array_is_used(parity_folder):
    known = {
        "image", "c", "image_raw", "image_raw_resized", "logits", "b8_x", "b16_x", "cmap", "softplus_real",
        "softplus_fake", "r1_grad_image", "r1_grad_image_b0", "r1_grad_image_raw", "r1_penalty",
    }  # fmt: skip
    found = set().union(*(arrays(parity_folder / "eg3d" / f"disc_{case}_io.npz") for case in CASES))
    assert found == known


def test_full_size_keys(parity_folder):
    """The default dual discriminator has the published names and shapes."""
    with (parity_folder / "eg3d" / "ffhq512_D_keys.tsv").open() as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    assert len(rows) == 92
    expected = {
        rename(row["key"], 512): tuple(int(size) for size in row["shape"].split("x"))
        for row in rows
        if not row["key"].endswith("resample_filter")
    }
    with torch.device("meta"):
        network = DualDiscriminator(512)
    assert expected == {key: tuple(value.shape) for key, value in network.network.state_dict().items()}
    assert sum(parameter.numel() for parameter in network.parameters()) == 31_359_744
