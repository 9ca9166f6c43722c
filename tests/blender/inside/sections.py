# SPDX-License-Identifier: GPL-3.0-or-later
"""Inside a real Blender with a window: show every part of the panel alone and open, and wait to be photographed.

    blender --factory-startup -P sections.py -- <folder of the staged package> <recording.wav> <output folder>

With the real worker and the default weights. Each picture shows one panel with the panels that are part of it.
"""

import json
import sys
from pathlib import Path

import addon_utils
import bpy

STAGE, RECORDING, OUT = sys.argv[sys.argv.index("--") + 1 :][:3]
SETTLE_TICKS = 4
CLIP = "take 3.mp4"
sys.path[:0] = [STAGE, str(Path(__file__).parent)]
addon_utils.enable("neural_portrait", default_set=True)

import gui  # noqa: E402  (needs the add-on)
from neural_portrait import panels, session  # noqa: E402
from neural_portrait.scene import find  # noqa: E402

SECTIONS = {
    "create": ("PORTRAIT_PT_create", "PORTRAIT_PT_make"),
    "create-video": ("PORTRAIT_PT_create",),
    "style-and-faces": ("PORTRAIT_PT_style", "PORTRAIT_PT_face"),
    "person": ("PORTRAIT_PT_person",),
    "animate": ("PORTRAIT_PT_animate", "PORTRAIT_PT_expression"),
    "motion": ("PORTRAIT_PT_motion", "PORTRAIT_PT_speak", "PORTRAIT_PT_clip"),
    "render": (
        "PORTRAIT_PT_render",
        "PORTRAIT_PT_picture",
        "PORTRAIT_PT_surface",
        "PORTRAIT_PT_frames",
        "PORTRAIT_PT_elsewhere",
    ),
    "system": ("PORTRAIT_PT_system",),
    "models": ("PORTRAIT_PT_models",),
}
"""Pictures by name: which panels each shows. Together they are all panels but the status, which has its own."""


def only(names):
    """Let the tab have only these panels, open; parts whose whole is not shown stand by themselves."""
    for panel in reversed(panels.CLASSES):
        if hasattr(bpy.types, panel.__name__):
            bpy.utils.unregister_class(panel)
    for panel in panels.CLASSES:
        if panel.__name__ in names:
            panel.bl_options = set()
            whole = getattr(panel, "bl_parent_id", "")
            if whole and whole not in names:
                panel.bl_parent_id = ""
            bpy.utils.register_class(panel)
            panel.bl_parent_id = whole


def sidebar():
    (region,) = [region for region in gui.area().regions if region.type == "UI"]
    return region


def photographed(name):
    """Wait until the outer process has taken a picture of the sidebar."""
    for _ in range(SETTLE_TICKS):
        session.redraw()
        yield
    region = sidebar()
    height = bpy.context.window_manager.windows[0].height
    box = [region.x, height - region.y - region.height, region.width, region.height]
    part = Path(OUT) / "ready.part"
    part.write_text(json.dumps({"name": name, "box": box}))
    part.rename(Path(OUT) / "ready")
    while (Path(OUT) / "ready").exists():
        yield


def plan():
    scene = bpy.context.scene
    for ob in list(scene.objects):
        bpy.data.objects.remove(ob)
    scene.view_settings.view_transform = "Standard"
    only({"PORTRAIT_PT_status"})  # a panel that was drawn closed once stays so
    gui.area().spaces.active.shading.type = "WIREFRAME"  # software GL draws nothing faster
    yield from gui.open_tab()
    settings = scene.portrait
    settings.size, settings.seed = 256, 4
    with gui.view():
        bpy.ops.portrait.variations("INVOKE_DEFAULT", True)
    yield from gui.until_free()
    gui.press_create()
    while session.engine().status.fraction < 0.3 and session.engine().busy:
        yield
    only({"PORTRAIT_PT_status"})
    yield from photographed("status-busy")
    yield from gui.until_free()
    assert session.engine().status.state == "idle", session.engine().status
    root = find.current(bpy.context)
    rig = find.part(root, "RIG")
    scene.frame_end = 12
    for frame, value in ((1, 0.0), (12, 0.7)):
        rig["jawOpen"] = value
        rig.keyframe_insert('["jawOpen"]', frame=frame)
    rig.update_tag()
    bpy.ops.wm.save_as_mainfile(filepath=str(Path(OUT) / "scene.blend"))
    scene.frame_end = 4
    with gui.view():
        bpy.ops.portrait.bake("INVOKE_DEFAULT", True)
    yield from gui.until_free()
    scene.frame_end = 12
    settings.speech, settings.clip, settings.style = RECORDING, CLIP, "a charcoal drawing"
    find.identity_of(root).sliders["age"].value += 1.5
    for name, shown in SECTIONS.items():
        settings.source = "VIDEO" if name == "create-video" else "SEED"
        only(shown)
        yield from photographed(name)
    settings.source = "PHOTO"  # and none is chosen
    gui.press_create()
    yield
    only({"PORTRAIT_PT_status"})
    yield from photographed("status-error")
    (Path(OUT) / "done").touch()


missing = {panel.__name__ for panel in panels.CLASSES} - {name for names in SECTIONS.values() for name in names}
assert missing == {"PORTRAIT_PT_status"}, missing
bpy.context.preferences.view.show_splash = False
bpy.context.preferences.system.use_region_overlap = False  # else the scene is seen through the sidebar
bpy.app.timers.register(gui.run(plan()), first_interval=1.5, persistent=True)
