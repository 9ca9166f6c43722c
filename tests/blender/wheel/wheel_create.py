# SPDX-License-Identifier: GPL-3.0-or-later
"""Create, in the bpy wheel, with the stub worker."""

import numpy as np
from neural_portrait import session
from neural_portrait.scene import find


def test_create_makes_one_collection_with_all_parts(portrait, scene):
    collection = portrait.users_collection[0]
    assert collection.name == "Portrait 7"
    roles = {ob.portrait.role for ob in collection.objects}
    assert roles >= {"ROOT", "RIG", "DRIVER", "SURFACE", "PLANE", "CAMERA"}
    assert session.engine().status.state == "idle"


def test_rig_has_52_sliders_at_rest(portrait):
    rig = find.part(portrait, "RIG")
    driver = find.part(portrait, "DRIVER")
    assert len(driver.data.shape_keys.key_blocks) == 53
    assert all(block.value == 0.0 for block in driver.data.shape_keys.key_blocks)
    assert [bone.name for bone in rig.data.bones] == ["root", "neck", "head", "jaw", "left_eye", "right_eye"]
    for bone in rig.data.bones:
        np.testing.assert_allclose(np.array(bone.matrix_local)[:3, :3], np.eye(3), atol=1e-6)
