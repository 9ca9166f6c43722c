# SPDX-License-Identifier: Apache-2.0
"""What every test may ask for.

Nothing of ours is imported here: jaxtyping's import hook (see ``--jaxtyping-packages``) is set after this file is read.
"""

import os
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SEED = int(os.environ.get("NEURAL_PORTRAIT_TEST_SEED", "0"))
"""Of torch's own generator; tests have to pass with any."""


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup() -> None:
    """Let fixtures draw the same numbers, whichever test asks for them first."""
    _seed()


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_call() -> None:
    """Let a test draw the same numbers, whatever ran before it. For other generators pytest-randomly does so."""
    _seed()


def _seed() -> None:
    torch = sys.modules.get("torch")  # tests of what needs no torch do not load it
    if torch is not None:
        torch.manual_seed(SEED)


@pytest.fixture(scope="session")
def repository() -> Path:
    """The root of the clone."""
    return ROOT


@pytest.fixture(scope="session")
def parity_folder() -> Path:
    """The folder of reference arrays: ``$NEURAL_PORTRAIT_PARITY``, else ``../shared/parity`` beside the clone.

    The arrays are too large for the repository. A test that needs them is skipped without them; .ci/run counts skips.
    """
    folder = Path(os.environ.get("NEURAL_PORTRAIT_PARITY", ROOT.parent / "shared" / "parity"))
    if not folder.is_dir():
        pytest.skip(f"no parity folder at {folder}; set NEURAL_PORTRAIT_PARITY")
    return folder
