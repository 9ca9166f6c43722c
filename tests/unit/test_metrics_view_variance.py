# SPDX-License-Identifier: Apache-2.0
"""IVV and NVV of matrices made by hand."""

import numpy as np
import pytest

from training.metrics.view_variance import view_matrix


def test_figures_of_a_matrix_made_by_hand():
    # Rows: made from a view; columns: looked at from a view.
    first = [[30, 26, 22], [27, 29, 22], [24, 26, 31]]
    second = [[30, 30, 30], [20, 20, 20], [10, 10, 10]]
    found = view_matrix(np.array([first, second]))
    assert found.synthesis == pytest.approx((237 + 180) / 18)
    assert found.nvs == pytest.approx((147 + 120) / 12)
    # Population deviations of three numbers: sqrt(sum of squared distances from the mean / 3), means 26, 26, 27.
    rows = [np.sqrt(32 / 3), np.sqrt((1 + 9 + 16) / 3), np.sqrt((9 + 1 + 16) / 3), 0, 0, 0]
    # Columns of the first: 30 27 24, 26 29 26, 22 22 31, means 27, 27, 25.
    columns = [np.sqrt(18 / 3), np.sqrt(6 / 3), np.sqrt((9 + 9 + 36) / 3), *3 * [np.sqrt(200 / 3)]]
    assert found.nvv == pytest.approx(np.mean(rows))
    assert found.ivv == pytest.approx(np.mean(columns))
    np.testing.assert_allclose(found.matrix, [[30, 28, 26], [23.5, 24.5, 21], [17, 18, 20.5]])


def test_input_and_output_views_are_told_apart():
    views = np.array([20.0, 24.0, 28.0, 32.0])
    deviation = np.sqrt((36 + 4 + 4 + 36) / 4)
    same_input = view_matrix(np.broadcast_to(views, (2, 4, 4)))  # every row 20 24 28 32
    assert (same_input.nvv, same_input.ivv) == (pytest.approx(deviation), 0)
    same_output = view_matrix(np.broadcast_to(views[:, None], (2, 4, 4)))
    assert (same_output.nvv, same_output.ivv) == (0, pytest.approx(deviation))


@pytest.mark.parametrize("shape", [(4, 4), (0, 4, 4), (2, 3, 4), (2, 1, 1)])
def test_what_is_no_score_matrix_is_refused(shape):
    with pytest.raises(ValueError, match="shape"):
        view_matrix(np.ones(shape))


def test_scores_without_bound_are_refused():
    scores = np.ones((1, 2, 2))
    scores[0, 0, 0] = np.inf  # the PSNR of a perfect copy
    with pytest.raises(ValueError, match="finite"):
        view_matrix(scores)
