# SPDX-License-Identifier: Apache-2.0
"""`python -m neural_core` is the command `neural-portrait`."""

import sys

from .cli import main

sys.exit(main())
