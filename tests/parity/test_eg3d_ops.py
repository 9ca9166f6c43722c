# SPDX-License-Identifier: Apache-2.0
"""Operations and layers against the published EG3D code: all 227 unit cases."""

from collections import Counter

import pytest
import torch

from neural_core.nn.decoders import TriplaneDecoder
from neural_core.nn.layers import Convolution, FullyConnected, MinibatchDeviation, filtered_resize
from neural_core.nn.stylegan2 import MappingNetwork, SynthesisLayer, ToRGB
from neural_core.ops.bias_act import bias_act
from neural_core.ops.modulated_conv import conv2d_resample, modulated_conv2d
from neural_core.ops.upfirdn2d import downsample2d, filter2d, make_filter, upfirdn2d, upsample2d
from tests.parity.published import arrays, check, facts, load_state
from tests.tolerances import EG3D_OPS
from training.blur import blurred

CASES = {
    "setup_filter": 6, "upfirdn2d": 35, "filter2d": 8, "upsample2d": 8, "downsample2d": 8, "train_blur": 1,
    "bias_act": 38, "conv2d_resample": 35, "modulated_conv2d": 48, "FullyConnectedLayer": 4, "Conv2dLayer": 12,
    "SynthesisLayer": 4, "ToRGBLayer": 1, "MappingNetwork": 4, "MinibatchStdLayer": 5, "filtered_resizing": 8,
    "OSGDecoder": 2,
}  # fmt: skip


@pytest.fixture(scope="module")
def eg3d(parity_folder):
    return parity_folder / "eg3d"


@pytest.fixture(scope="module")
def cases(eg3d):
    return facts(eg3d / "ops_cases.json")


def test_there_are_227_cases(cases):
    assert Counter(case["op"] for case in cases) == CASES
    assert sum(CASES.values()) == 227


@pytest.mark.parametrize("op", CASES)
def test_op(op, cases, eg3d):
    stored = arrays(eg3d / "ops.npz")
    for case in (case for case in cases if case["op"] == op):
        inputs = {name: None if key is None else stored[key] for name, key in case["inputs"].items()}
        state = {key.removeprefix("sd."): inputs.pop(key) for key in list(inputs) if key.startswith("sd.")}
        with torch.no_grad():
            found = RUN[op](inputs, dict(case["params"]), state)
        check(f"{op} {case['id']}", found, stored[case["output"]], relative=EG3D_OPS)


def run_make_filter(inputs, params, state):
    flip, gain = params.pop("flip_filter", False), float(params.pop("gain", 1))
    return make_filter(params.pop("f"), flip=flip, gain=gain, **params)


def run_upfirdn2d(inputs, params, state):
    params.pop("filter")
    return upfirdn2d(inputs["x"], inputs.get("f"), **params)


def run_resampler(function):
    return lambda inputs, params, state: function(inputs["x"], inputs["f"], **params)


def run_train_blur(inputs, params, state):
    return blurred(inputs["x"], params["sigma"])


def run_bias_act(inputs, params, state):
    return bias_act(
        inputs["x"], inputs["b"], dim=params["dim"], activation=params["act"], slope=params["alpha"],
        gain=params["gain"], clamp=None if params["clamp"] is None else float(params["clamp"]),
    )  # fmt: skip


def run_conv2d_resample(inputs, params, state):
    return conv2d_resample(inputs["x"], inputs["w"], inputs["f"], **params)


def run_modulated_conv2d(inputs, params, state):
    assert params.pop("down") == 1
    return modulated_conv2d(
        inputs["x"], inputs["weight"], inputs["styles"], noise=inputs["noise"], kernel=inputs["resample_filter"],
        fused=params.pop("fused_modconv"), **params,
    )  # fmt: skip


def run_fully_connected(inputs, params, state):
    layer = FullyConnected(
        params["in_features"], params["out_features"], activation=params["activation"],
        lr_multiplier=float(params["lr_multiplier"]), bias_init=params["bias_init"],
    )  # fmt: skip
    torch.testing.assert_close(layer.bias * layer.bias_gain, torch.full_like(layer.bias, params["bias_init"]))
    load_state(layer, state)
    return layer(inputs["x"])


def run_convolution(inputs, params, state):
    layer = Convolution(
        params["in_channels"], params["out_channels"], params["kernel_size"], bias=params["bias"],
        activation=params["activation"], up=params["up"], down=params["down"], clamp=params["conv_clamp"],
    )  # fmt: skip
    load_state(layer, state)
    return layer(inputs["x"], gain=float(params["gain"]))


def run_synthesis_layer(inputs, params, state):
    layer = SynthesisLayer(
        params["in_channels"], params["out_channels"], params["w_dim"], params["resolution"], up=params["up"],
        clamp=params["conv_clamp"],
    )  # fmt: skip
    load_state(layer, state)
    return layer(inputs["x"], inputs["w"], params["noise_mode"])


def run_to_rgb(inputs, params, state):
    layer = ToRGB(params["in_channels"], params["out_channels"], params["w_dim"], clamp=params["conv_clamp"])
    load_state(layer, state)
    return layer(inputs["x"], inputs["w"])


def run_mapping(inputs, params, state):
    network = MappingNetwork(
        params["z_dim"], params["c_dim"], params["w_dim"], layers=params["num_layers"], track_mean="w_avg" in state
    )
    load_state(network, state)
    w = network(inputs.get("z"), inputs["c"])
    if params["num_ws"] is None:
        return w
    w_plus = w[:, None].expand(-1, params["num_ws"], -1)
    return network.truncate(w_plus, float(params["truncation_psi"]), params["truncation_cutoff"])


def run_minibatch_deviation(inputs, params, state):
    return MinibatchDeviation(params["group_size"], params["num_channels"])(inputs["x"])


def run_filtered_resize(inputs, params, state):
    return filtered_resize(inputs["x"], params["size"], inputs["f"], params["filter_mode"])


def run_decoder(inputs, params, state):
    decoder = TriplaneDecoder(32, lr_multiplier=float(params["decoder_lr_mul"]))
    load_state(decoder, state)
    # features of the planes arrive as [b, p, n, c]; our decoder is given their mean
    density, colour = decoder(inputs["sampled_features"].mean(dim=1))
    return torch.cat([density, colour], dim=-1)


RUN = {
    "setup_filter": run_make_filter,
    "upfirdn2d": run_upfirdn2d,
    "filter2d": run_resampler(filter2d),
    "upsample2d": run_resampler(upsample2d),
    "downsample2d": run_resampler(downsample2d),
    "train_blur": run_train_blur,
    "bias_act": run_bias_act,
    "conv2d_resample": run_conv2d_resample,
    "modulated_conv2d": run_modulated_conv2d,
    "FullyConnectedLayer": run_fully_connected,
    "Conv2dLayer": run_convolution,
    "SynthesisLayer": run_synthesis_layer,
    "ToRGBLayer": run_to_rgb,
    "MappingNetwork": run_mapping,
    "MinibatchStdLayer": run_minibatch_deviation,
    "filtered_resizing": run_filtered_resize,
    "OSGDecoder": run_decoder,
}
