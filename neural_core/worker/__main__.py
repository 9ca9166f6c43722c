# SPDX-License-Identifier: Apache-2.0
"""`python -m neural_core.worker`."""

import sys

from . import main

sys.exit(main())
