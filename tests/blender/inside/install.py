# SPDX-License-Identifier: GPL-3.0-or-later
"""Inside a real Blender: install the ZIP as an extension, enable, disable, enable again. Prints INSTALLED <folder>.

blender -b --python-exit-code 9 -P install.py -- <zip>
"""

import sys
from pathlib import Path

import addon_utils
import bpy

MODULE = "bl_ext.user_default.neural_portrait"

bpy.ops.extensions.package_install_files(filepath=sys.argv[-1], repo="user_default", enable_on_install=True)
assert MODULE in bpy.context.preferences.addons, "not enabled after installing"
assert hasattr(bpy.types, "PORTRAIT_PT_create")
assert bpy.context.scene.portrait.seed == 7

addon_utils.disable(MODULE, default_set=True)
assert MODULE not in bpy.context.preferences.addons
assert not hasattr(bpy.types, "PORTRAIT_PT_create")
assert not hasattr(bpy.types.Scene, "portrait")

addon_utils.enable(MODULE, default_set=True)
assert MODULE in bpy.context.preferences.addons
assert hasattr(bpy.types, "PORTRAIT_PT_create")
assert bpy.ops.portrait.create.poll()
assert "torch" not in sys.modules
bpy.ops.wm.save_userpref()
print("INSTALLED", Path(sys.modules[MODULE].__file__).parent, flush=True)
sys.exit(0)
