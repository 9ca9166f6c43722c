# SPDX-License-Identifier: Apache-2.0
"""FID and KID: the formulas against other roads, the network with random weights in the published layout."""

import itertools

import numpy as np
import pytest
import scipy.linalg
import torch

from neural_core import others
from neural_core.errors import InputError, UsageError
from training.metrics.fid import Gaussian, frechet_distance, inception, inception_features
from training.metrics.kid import kernel_distance, squared_discrepancy


def features(samples: int, channels: int, seed: int) -> torch.Tensor:
    """Correlated features with a mean of their own, like a network's: none is negative."""
    generator = torch.Generator().manual_seed(seed)
    mixing = torch.randn(channels, channels, generator=generator)
    return (torch.randn(samples, channels, generator=generator) @ mixing + 1).clamp(min=0)


@pytest.fixture(scope="module")
def fidelity():
    """torch-fidelity, where it is installed (its torchvision need not fit the installed torch)."""
    try:
        others.library("torch_fidelity", "this test", "metrics")
    except UsageError as error:
        pytest.skip(str(error))
    from torch_fidelity import feature_extractor_inceptionv3, metric_fid, metric_kid

    return metric_fid, metric_kid, feature_extractor_inceptionv3


def by_sqrtm(a: torch.Tensor, b: torch.Tensor) -> float:
    """The formula as the paper prints it, with a general matrix square root."""
    a, b = a.double().numpy(), b.double().numpy()
    cov_a, cov_b = np.cov(a, rowvar=False), np.cov(b, rowvar=False)
    root = scipy.linalg.sqrtm(cov_a @ cov_b)
    assert np.abs(root.imag).max() < 1e-3 * np.abs(root.real).max()
    return float(((a.mean(0) - b.mean(0)) ** 2).sum() + np.trace(cov_a + cov_b - 2 * root.real))


@pytest.mark.parametrize(("samples", "channels"), [(400, 32), (1000, 64), (200, 3)])
def test_frechet_distance_is_that_of_scipys_square_root(samples, channels):
    a, b = features(samples, channels, 1), features(samples + 50, channels, 2)
    assert frechet_distance(Gaussian.of(a), Gaussian.of(b)) == pytest.approx(by_sqrtm(a, b), rel=1e-9)


def test_frechet_distance_in_closed_form():
    """Independent channels: the sum of (m - n)^2 + (s - t)^2. It is 0 to itself, though covariances are singular."""
    mean = torch.tensor([0.0, 1.0, -2.0]).double()
    a = Gaussian(mean, torch.diag(torch.tensor([1.0, 4.0, 9.0]).double()))
    b = Gaussian(mean + 1, torch.diag(torch.tensor([4.0, 4.0, 0.0]).double()))
    assert frechet_distance(a, b) == pytest.approx(3 + 1 + 0 + 9)
    assert frechet_distance(b, a) == pytest.approx(3 + 1 + 0 + 9)
    few = features(20, 100, 3)
    assert frechet_distance(Gaussian.of(few), Gaussian.of(few)) == pytest.approx(0, abs=1e-5)


def test_one_sample_has_no_distance():
    with pytest.raises(InputError, match="at least 2 samples"):
        Gaussian.of(features(1, 4, 0))
    with pytest.raises(InputError, match="got 1 and 5"):
        kernel_distance(features(1, 4, 0), features(5, 4, 0))


def test_discrepancy_is_that_of_a_double_sum():
    a, b = features(7, 5, 4).double(), features(9, 5, 5).double()

    def kernel(x, y):
        return (sum(float(p) * float(q) for p, q in zip(x, y, strict=True)) / 5 + 1) ** 3

    within_a = [kernel(a[i], a[j]) for i, j in itertools.permutations(range(7), 2)]
    within_b = [kernel(b[i], b[j]) for i, j in itertools.permutations(range(9), 2)]
    between = [kernel(x, y) for x in a for y in b]
    expected = sum(within_a) / 42 + sum(within_b) / 72 - 2 * sum(between) / 63
    assert float(squared_discrepancy(a, b)) == pytest.approx(expected, rel=1e-12)


def test_kernel_distance_is_unbiased_and_says_what_it_averaged():
    """The mean over all subsets of a few is the estimate of the whole; of the same distribution it is about 0."""
    a, b = features(300, 8, 6), features(200, 8, 7)
    found = kernel_distance(a, b, subsets=400, subset_size=60)
    whole = float(squared_discrepancy(a.double(), b.double()))
    assert found.mean == pytest.approx(whole, abs=4 * found.deviation / 400**0.5)
    assert found.subset_size == 60
    assert kernel_distance(a, b).subset_size == 200
    same = kernel_distance(a[::2], a[1::2], subsets=50, subset_size=100)
    assert abs(same.mean) < same.deviation < whole
    assert kernel_distance(a, b, subsets=3, subset_size=9) == kernel_distance(a, b, subsets=3, subset_size=9)


def test_the_librarys_formulas_agree(fidelity):
    metric_fid, metric_kid, _ = fidelity
    a, b = features(300, 32, 8), features(300, 32, 9)
    statistics = [metric_fid.fid_features_to_statistics(x.double()) for x in (a, b)]
    theirs = metric_fid.fid_statistics_to_metric(*statistics, verbose=False)["frechet_inception_distance"]
    assert frechet_distance(Gaussian.of(a), Gaussian.of(b)) == pytest.approx(theirs, rel=1e-9)
    # A subset of everything is the same set in another order.
    theirs = metric_kid.kid_features_to_metric(
        a.double(), b.double(), kid_subsets=2, kid_subset_size=300, verbose=False
    )
    ours = kernel_distance(a, b, subsets=2, subset_size=300)
    assert ours.mean == pytest.approx(theirs["kernel_inception_distance_mean"], rel=1e-9)


def test_pictures_reach_the_network_as_8_bits():
    class Stub(torch.nn.Conv2d):
        def forward(self, pictures):
            assert pictures.dtype == torch.uint8
            return (pictures.flatten(1),)

    values = torch.tensor([1.4, 1.6, 300.0, -20.0]) / 255
    found = inception_features(Stub(1, 1, 1), [values[None, None, None], values[None, None, None] / 2])
    assert found.tolist() == [[1, 2, 255, 0], [1, 1, 150, 0]]


@pytest.mark.slow
def test_inception_is_read_from_the_published_layout(fidelity, tmp_path, monkeypatch):
    """Random weights under the published names: the features are those of the library's network given the same."""
    _, _, extractor = fidelity
    torch.manual_seed(0)
    monkeypatch.setattr(extractor, "load_state_dict_from_url", lambda *_, **__: {})  # nothing is downloaded
    with monkeypatch.context() as patch:
        patch.setattr(extractor.FeatureExtractorInceptionV3, "load_state_dict", lambda *_: None)
        theirs = extractor.FeatureExtractorInceptionV3("inception-v3-compat", ["2048"])
    torch.save(theirs.state_dict(), tmp_path / "inception.pth")

    ours = inception(tmp_path / "inception.pth")
    pictures = torch.rand(2, 3, 64, 64)
    found = inception_features(ours, [pictures[:1], pictures[1:]])
    with torch.inference_mode():
        expected = theirs((pictures * 255).round().to(torch.uint8))[0]
    assert found.shape == (2, 2048)
    assert found.std() > 0
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-6)

    torch.save({"fc.weight": torch.ones(1)}, tmp_path / "other.pth")
    with pytest.raises(InputError, match=r'"other.pth" is not the Inception of FID: Missing key'):
        inception(tmp_path / "other.pth")
