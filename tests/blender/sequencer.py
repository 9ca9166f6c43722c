# SPDX-License-Identifier: GPL-3.0-or-later
"""Inside Blender: what is in the sequencer, and whether this build of Blender can have sounds there."""

import bpy

HAS_SOUND = bpy.app.build_options.audaspace
"""The wheel of Blender 4.2 was built without."""
NOT_ADDED = "" if HAS_SOUND else " Its sound could not be added to the sequencer."
"""What the panel then says behind what it says elsewhere."""


def sounds(scene):
    """Return type, name and first frame of each strip."""
    editor = scene.sequence_editor
    strips = () if editor is None else editor.strips if hasattr(editor, "strips") else editor.sequences
    return [(strip.type, strip.name, strip.frame_start) for strip in strips]


def expected_sounds(*strips):
    """Return the strips that there should be, if this Blender can have any."""
    return [("SOUND", *strip) for strip in strips] if HAS_SOUND else []
