# SPDX-License-Identifier: Apache-2.0
"""The style U-Net alone against the published code, in the two shapes that Next3D has."""

import pytest
import torch

from neural_core.nn.style_unet import StyleUNet
from neural_core.systems.next3d.config import MeshConfig, Next3DConfig, StyleUNetConfig
from tests.parity.published import arrays, check, facts, next3d_names
from tests.tolerances import NEXT3D_UNIT

# How many tensors never act: those of the last fusion, of the block of 4 pixels, and of the two blocks after it.
DEAD = {"teeth": 2 + 11, "blend": 2 + 11 + 2 * 16}


@pytest.mark.parametrize("kind", DEAD)
def test_style_unet(parity_folder, kind):
    stored = arrays(parity_folder / "next3d" / f"styleunet_{kind}.npz")
    options = facts(parity_folder / "next3d" / f"styleunet_{kind}.json")["init_kwargs"]
    config = StyleUNetConfig(
        options["in_size"], options["final_size"], options["img_resolution"], options["channel_base"],
        options["channel_max"],
    )  # fmt: skip
    network = StyleUNet(
        options["img_channels"], options["w_dim"], config.channels, input_resolution=config.input_resolution,
        smallest=config.smallest,
    )  # fmt: skip
    assert network.layers == stored["ws"].shape[1]

    prefix = "mouth_backbone."
    state = {prefix + key.removeprefix("sd."): value for key, value in stored.items() if key.startswith("sd.synthesis")}
    named = next3d_names(state, Next3DConfig(mouth=config, blending=None, mesh=MeshConfig(resolution=64)))
    own = network.state_dict()
    loaded = {key.removeprefix("mouth.unet."): value for key, value in named.items()}
    published = [key for key in state if not key.endswith("resample_filter")]
    assert len(published) - len(loaded) == DEAD[kind]
    network.load_state_dict({key: value.reshape(own[key].shape) for key, value in loaded.items()})

    with torch.no_grad():
        check(kind, network(stored["x"], stored["ws"]), stored["out"], atol=NEXT3D_UNIT)
