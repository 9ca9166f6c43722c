# SPDX-License-Identifier: GPL-3.0-or-later
"""Start the worker with the `neural_core` that lies beside this file. Run by another interpreter than Blender's.

The interpreter is started with `-I`, so nothing but this folder is added to its own packages: its environment holds
torch and friends, never a second `neural_core`.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from neural_core.worker import main

if __name__ == "__main__":
    sys.exit(main())
