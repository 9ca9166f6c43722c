# SPDX-License-Identifier: GPL-3.0-or-later
"""Inside a real Blender with a window: enable the staged add-on, then walk through a plan of gui.py.

blender --factory-startup -P window.py -- <folder of the staged package> <plan> <output folder>
"""

import sys
from pathlib import Path

import addon_utils


def main():
    stage, plan, out = sys.argv[sys.argv.index("--") + 1 :][:3]
    sys.path[:0] = [stage, str(Path(__file__).parent)]
    addon_utils.enable("neural_portrait", default_set=True)
    import gui  # needs the add-on

    gui.begin(plan, Path(out))


main()
