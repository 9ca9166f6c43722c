# SPDX-License-Identifier: GPL-3.0-or-later
"""Inside a real Blender with a window: walk through a plan, one step a timer tick, as a user would (see window.py).

Plan "session": Create; undo and redo it; kill the worker in the middle of the next Create; Create again, once from a
photo; keep a picture live. Writes facts.json. Plan "picture": Create, open the panels, and wait to be photographed.
"""

import json
import os
import signal
import traceback

import bpy
import numpy as np
from neural_portrait import panels, session
from neural_portrait.scene import find, image_plane, lights

TICK_S = 0.2
PREVIEW_SAMPLES = 16
RENDERING_S = 40
CLOSER = 0.8
PANEL_SHARE = 0.14  # the sidebar covers the right of the view: its middle is further left
facts = {"drawn": [], "panels": [panel.__name__ for panel in panels.CLASSES]}


def remember_drawing(cls):
    original = cls.draw

    def draw(self, context):
        original(self, context)
        if cls.__name__ not in facts["drawn"]:
            facts["drawn"].append(cls.__name__)

    cls.draw = draw


def open_panels():
    """Let the panels be open that are closed at first, and so would not be drawn."""
    panels.unregister()
    for panel in panels.CLASSES:
        panel.bl_options = set()
    panels.register()


def view():
    return bpy.context.temp_override(**session.view3d())


def area():
    return session.view3d()["area"]


def open_tab():
    area().spaces.active.show_region_ui = True
    yield
    (region,) = [region for region in area().regions if region.type == "UI"]
    region.active_panel_category = "Portrait"
    yield


def press_create():
    with view():
        # As a button press does: with an undo step of its own if the operator asked for one.
        bpy.ops.portrait.create("INVOKE_DEFAULT", True)


def photographed(out):
    (out / "ready").touch()
    while (out / "ready").exists():
        yield


def until_free():
    while session.engine().busy:
        yield


def what_is_seen(root):
    """How far the view looks against the face (1: straight at it), and where in it the portrait is (0..1)."""
    from bpy_extras.view3d_utils import location_3d_to_region_2d
    from mathutils import Vector

    region, sidebar = (next(r for r in area().regions if r.type == kind) for kind in ("WINDOW", "UI"))
    view = area().spaces.active.region_3d
    places = [
        location_3d_to_region_2d(region, view, ob.matrix_world @ Vector(corner))
        for ob in (find.part(root, "SURFACE"), find.part(root, "PLANE"))
        for corner in ob.bound_box
    ]
    across, up = zip(*places, strict=True)
    free = region.width - sidebar.width
    toward_viewer = view.view_rotation @ Vector((0.0, 0.0, 1.0))
    face = root.matrix_world.to_3x3() @ Vector((0.0, 0.0, 1.0))
    shares = (min(across) / free, max(across) / free, min(up) / region.height, max(up) / region.height)
    return {"facing": toward_viewer.dot(face), "shares": shares, "shading": area().spaces.active.shading.type}


def session_plan(out):
    open_panels()
    yield from open_tab()
    before = {ob.name for ob in bpy.context.scene.objects}
    bpy.context.scene.portrait.detail, bpy.context.scene.portrait.size = 96, 64
    yield
    press_create()
    facts["returned_at_once"] = session.engine().busy
    yield from until_free()
    facts["created"] = len(find.roots(bpy.context.scene))
    yield
    facts["seen"] = what_is_seen(find.current(bpy.context))
    with view():
        bpy.ops.object.select_all("INVOKE_DEFAULT", True, action="DESELECT")
        bpy.ops.ed.undo()  # the selection
        facts["after_undoing_something_else"] = len(find.roots(bpy.context.scene))
        bpy.ops.ed.undo()  # the portrait, in one step
    yield
    facts["left_by_undo"] = sorted({ob.name for ob in bpy.context.scene.objects} - before)
    facts["lost_by_undo"] = sorted(before - {ob.name for ob in bpy.context.scene.objects})
    with view():
        bpy.ops.ed.redo()
    yield
    facts["after_redo"] = len(find.roots(bpy.context.scene))

    bpy.context.scene.portrait.model = "slow"
    press_create()
    while session.engine().status.fraction == 0.0:
        yield
    facts["stage"] = session.engine().status.stage
    os.kill(session.engine().pid, signal.SIGKILL)
    yield from until_free()
    facts["state"], facts["message"] = session.engine().status.state, session.engine().status.message
    facts["after_kill"] = len(find.roots(bpy.context.scene))
    bpy.context.scene.portrait.model = "default-next3d"
    press_create()
    yield from until_free()
    facts["after_next_create"] = len(find.roots(bpy.context.scene))

    settings = bpy.context.scene.portrait
    settings.source, settings.photo = "PHOTO", __file__  # the stub only asks whether it is there
    press_create()
    yield from until_free()
    facts["after_photo"] = len(find.roots(bpy.context.scene))
    status = session.engine().status = type(session.engine().status)("busy", "Create Portrait")
    status.preview = np.zeros((8, 8, 4), np.uint8)  # as if on the way: real ones may pass between two of these ticks
    facts["preview_icon"] = session.preview_icon()
    session.redraw()
    yield
    session.engine().dismiss()
    settings.source = "SEED"

    bpy.context.scene.portrait.model = "slow"
    press_create()
    while session.engine().status.fraction == 0.0:
        yield
    with view():
        bpy.ops.portrait.cancel()
    yield from until_free()
    facts["cancelled"] = session.engine().status.message
    yield
    yield from live_plan()
    yield from photographed(out)
    (out / "facts.json").write_text(json.dumps(facts))


def live_plan():
    """Keep the picture of a portrait live while time passes; count its undo steps."""
    settings, scene = bpy.context.scene.portrait, bpy.context.scene
    settings.model = "moving"
    press_create()
    yield from until_free()
    root = find.current(bpy.context)
    rig = find.part(root, "RIG")
    for frame, value in ((1, 0.0), (11, 1.0)):
        rig["jawOpen"] = value
        rig.keyframe_insert('["jawOpen"]', frame=frame)
    with view():
        bpy.ops.portrait.live_picture()
    facts["blue"] = []
    for frame in (1, 6, 11):
        scene.frame_set(frame)
        for _ in range(5):  # ticks of this plan, of 0.2 s each
            yield
        image = image_plane.image_of(find.part(root, "PLANE"))
        facts["blue"].append(round(255 * image.pixels[4 * (image.size[0] * image.size[1] // 2) + 2]))
    with view():
        bpy.ops.portrait.live_picture()


def picture_plan(out):
    scene = bpy.context.scene
    for ob in list(scene.objects):
        bpy.data.objects.remove(ob)
    scene.view_settings.view_transform = "Standard"
    yield from open_tab()
    scene.portrait.size = 256
    bpy.context.scene.portrait.seed = 4
    press_create()
    yield from until_free()
    assert session.engine().status.state == "idle", session.engine().status
    root = find.current(bpy.context)
    rig = find.part(root, "RIG")
    rig["mouthSmileLeft"] = rig["mouthSmileRight"] = 0.6
    rig["jawOpen"] = 0.25
    rig.update_tag()
    space = area().spaces.active
    # Cycles: software GL would compile EEVEE's shaders for minutes.
    scene.render.engine = "CYCLES"
    scene.cycles.preview_samples = PREVIEW_SAMPLES
    lights.ensure_world(scene)
    space.shading.type = "RENDERED"
    space.overlay.show_floor = space.overlay.show_axis_x = space.overlay.show_axis_y = False
    space.overlay.show_relationship_lines = space.overlay.show_extras = space.overlay.show_bones = False
    space.overlay.show_cursor = space.overlay.show_object_origins = False
    yield
    from mathutils import Euler, Vector

    surface, plane = find.part(root, "SURFACE"), find.part(root, "PLANE")
    with view():
        for ob in scene.objects:
            ob.select_set(ob in (surface, plane))
        bpy.ops.view3d.view_selected()
        space.region_3d.view_rotation = Euler((1.45, 0.0, 0.22)).to_quaternion()
    yield
    with view():
        bpy.ops.view3d.view_selected()
        for ob in scene.objects:
            ob.select_set(False)
    space.region_3d.view_distance *= CLOSER
    right = space.region_3d.view_rotation @ Vector((1.0, 0.0, 0.0))
    space.region_3d.view_location += PANEL_SHARE * space.region_3d.view_distance * right
    for _ in range(int(RENDERING_S / TICK_S)):
        yield
    yield from photographed(out)
    for _ in range(25):
        yield


def run(plan):
    """Give the timer a function that makes the next step of the plan, and quits at its end or when it fails."""

    def step():
        try:
            next(plan)
        except StopIteration:
            bpy.ops.wm.quit_blender()
            return None
        except Exception:
            traceback.print_exc()
            bpy.ops.wm.quit_blender()
            return None
        return TICK_S

    return step


def begin(plan, out):
    """Start a plan by its name; what it finds goes into the folder `out`."""
    for panel in panels.CLASSES:
        remember_drawing(panel)
    bpy.context.preferences.view.show_splash = False
    steps = {"session": session_plan, "picture": picture_plan}[plan](out)
    # Blender must have drawn its window once before a view has regions with a size.
    bpy.app.timers.register(run(steps), first_interval=1.5)
