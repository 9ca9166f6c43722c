# SPDX-License-Identifier: GPL-3.0-or-later
"""Inside a real Blender with a window: everything that goes wrong on a bad day, one case after another.

    blender --factory-startup -P trouble.py -- <folder of the staged package> <name of a case, or all> <output folder>

Each case begins with Blender's own first scene. What the panel says, which buttons it has and what a case itself finds
goes into facts.json under the case's name, with the data-blocks that came and went, the longest time that our code held
the window up, and the frames that are in a folder. `test_trouble.py` judges.
"""

import json
import os
import signal
import sys
import time
from pathlib import Path

import addon_utils
import bpy

STAGE, CASE, OUT = sys.argv[sys.argv.index("--") + 1 :][:3]
OUT = Path(OUT)
MODELS = Path(os.environ["NEURAL_PORTRAIT_MODELS"])
sys.path.insert(0, STAGE)
sys.path[len(sys.path) :] = [str(Path(__file__).parent), str(Path(__file__).parents[1])]
addon_utils.enable("neural_portrait", default_set=True)

from neural_portrait import panels, pictures, preferences, session  # noqa: E402
from neural_portrait.panels import status as status_panel  # noqa: E402
from neural_portrait.scene import baked, find, image_plane  # noqa: E402
from recording import drawn  # noqa: E402
from user import (  # noqa: E402
    Watch,
    changes,
    data_blocks,
    open_tabs,
    press,
    until_free,
    until_works,
    view,
    walk,
)

facts = {}
watch = Watch()


def said():
    """What the top of the panel says, and the buttons that it offers."""
    text, buttons = drawn(panels.PORTRAIT_PT_status)
    return {"text": text, "buttons": buttons}


def settings(**values):
    for name, value in values.items():
        setattr(bpy.context.scene.portrait, name, value)


def create(model="moving", **values):
    """Press Create, and wait for what comes of it."""
    settings(model=model, detail=48, size=32, **values)
    press("portrait.create")
    yield from until_free()


def make_moving(model="moving", frames=4):
    """Make a portrait that opens its jaw within some frames, as an undo step of its own."""
    yield from create(model)
    root = find.current(bpy.context)
    rig = find.part(root, "RIG")
    for frame, value in ((1, 0.0), (frames, 1.0)):
        rig["jawOpen"] = value
        rig.keyframe_insert('["jawOpen"]', frame=frame)
    rig.update_tag()
    bpy.context.scene.frame_start, bpy.context.scene.frame_end = 1, frames
    with view():
        bpy.ops.ed.undo_push(message="Keys")
    yield


def portrait():
    return find.current(bpy.context)


def uuid():
    return find.identity_of(portrait()).uuid


def save(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    with view():
        bpy.ops.wm.save_as_mainfile(filepath=str(path), check_existing=False)


def until_stage(beginning):
    """Wait until the engine does something whose description begins so."""
    while not session.engine().status.stage.startswith(beginning):
        assert session.engine().busy, session.engine().status
        yield


def blue():
    """The blue of the picture on the card: a quarter, and half of the jaw beside it."""
    image = image_plane.image_of(find.part(portrait(), "PLANE"))
    return round(255 * image.pixels[4 * (image.size[0] * image.size[1] // 2) + 2])


# The engine ----------------------------------------------------------------------------------------------------------


def no_engine(found):
    """No Python is chosen; then one that is not there."""
    python = os.environ.pop(preferences.PYTHON_VARIABLE)
    yield from create()
    found["none"] = said()
    session.engine().dismiss()
    os.environ[preferences.PYTHON_VARIABLE] = "/nowhere/python"
    yield from create()
    found["nowhere"], found["left"] = said(), changes(found["before"])
    os.environ[preferences.PYTHON_VARIABLE] = python


def killed(found):
    """The engine is killed while it creates, and while it does nothing; Create then works again."""
    settings(model="slow")
    press("portrait.create")
    yield from until_works()
    os.kill(session.engine().pid, signal.SIGKILL)
    yield from until_free()
    found["said"], found["left"] = said(), changes(found["before"])
    yield from create()
    os.kill(session.engine().pid, signal.SIGKILL)
    yield
    press("portrait.update_picture")
    yield from until_free()
    found["idle"], found["portraits"] = said(), len(find.roots(bpy.context.scene))


def no_memory(found):
    """There is none for the picture; half of it is tried."""
    yield from create("heavy")
    found["said"], found["left"] = said(), changes(found["before"])
    press("portrait.use_smaller")
    found["size"] = bpy.context.scene.portrait.size
    yield from create("too heavy", make_plane=False)
    found["killed"], found["left_when_killed"] = said(), changes(found["before"])


def silent(found):
    """The engine says nothing: wait, then restart. Asked after a second here, not after a minute."""
    usual, status_panel.SILENCE_S = status_panel.SILENCE_S, 1.0
    settings(model="mute")
    press("portrait.create")
    while session.engine().silent_s <= 1.0 or not session.engine().status.stage.startswith("Creating"):
        yield
    found["asks"] = said()
    press("portrait.wait_for_engine")
    found["waits"] = said()
    while session.engine().silent_s <= 1.0:
        yield
    found["asks_again"] = said()
    found["restart_s"] = press("portrait.restart_engine")
    found["restarted"], found["left"] = said(), changes(found["before"])
    status_panel.SILENCE_S = usual
    yield from create()
    found["portraits"] = len(find.roots(bpy.context.scene))


def model_removed(found):
    """The portrait's weights are removed while they are used, and come back."""
    yield from make_moving("crawls")
    file = MODELS / "crawls.safetensors"
    bpy.context.scene.frame_set(3)
    press("portrait.update_picture")
    yield from until_stage("Drawing")
    file.rename(file.with_suffix(".away"))
    yield from until_free()
    found["meanwhile"] = said()
    bpy.context.scene.frame_set(4)
    press("portrait.update_picture")
    yield from until_free()
    found["said"] = said()
    press("portrait.live_picture")
    yield
    yield
    found["live"] = said()
    file.with_suffix(".away").rename(file)
    session.engine().dismiss()
    press("portrait.update_picture")
    yield from until_free()
    found["back"], found["blue"] = said(), blue()


def no_face(found):
    """A clip in which nobody can be seen: a portrait is to be made of it, then one is to do what is done there."""
    yield from create(source="VIDEO", clip="/somewhere/faceless.mp4")
    found["create"], found["left"] = said(), changes(found["before"])
    settings(source="SEED")
    yield from create()
    before = data_blocks()
    press("portrait.track")
    yield from until_free()
    found["track"], found["left_of_track"] = said(), changes(before)


# The scene -----------------------------------------------------------------------------------------------------------


def scene_deleted(found):
    """Create was pressed in a scene that is deleted before the portrait comes: it comes into the one that is left."""
    with view():
        bpy.ops.scene.new(type="EMPTY")
    yield
    settings(model="slow")
    press("portrait.create")
    yield from until_works()
    press("portrait.cancel")
    yield from until_free()
    settings(model="moving", detail=48, size=32)
    press("portrait.create")
    with view():
        bpy.ops.scene.delete()
    yield from until_free()
    found["said"] = said()
    found["portraits"] = {scene.name: len(find.roots(scene)) for scene in bpy.data.scenes}


def other_scene(found):
    """The picture comes while the user looks at another scene: the portrait gets it all the same."""
    yield from make_moving("crawls")
    there = bpy.context.scene
    root = portrait()
    there.frame_set(4)
    press("portrait.update_picture")
    with view():
        bpy.ops.scene.new(type="EMPTY")
    yield from until_free()
    found["picture"] = said()
    with view():
        bpy.context.window.scene = there
    found["blue"] = blue()
    press("portrait.update_mesh")
    yield from until_stage("Extracting")
    bpy.context.window.scene = next(scene for scene in bpy.data.scenes if scene != there)
    yield from until_free()
    found["mesh"] = said()
    bpy.context.window.scene = there
    press("portrait.bake")
    bpy.context.window.scene = next(scene for scene in bpy.data.scenes if scene != there)
    yield from until_free()
    found["bake"] = said()
    bpy.context.window.scene = there
    yield
    found["baked"] = baked.is_shown(find.part(root, "PLANE"))
    found["surface"] = find.part(root, "SURFACE") is not None


def objects_deleted(found):
    """Card, camera, rig or everything are deleted while the engine works for them."""
    for role in ("PLANE", "CAMERA", "RIG", "SURFACE", "ROOT"):
        yield from make_moving("crawls")
        bpy.context.scene.camera = find.part(portrait(), "CAMERA")
        root, settled = portrait(), set(data_blocks()["objects"])
        bpy.context.scene.frame_set(3)
        press("portrait.update_picture" if role != "SURFACE" else "portrait.update_mesh")
        gone = find.part(root, role)
        bpy.data.objects.remove(gone)
        yield from until_free()
        now = set(data_blocks()["objects"])
        found[role] = {**said(), "gone": sorted(settled - now), "new": sorted(now - settled)}
        session.engine().dismiss()
        yield
        if bpy.ops.portrait.bake.poll():
            press("portrait.bake")
            yield from until_free()
            found[role]["bake"] = said()
            session.engine().dismiss()
        for ob in list(bpy.context.scene.objects):
            bpy.data.objects.remove(ob)
        pictures.drawn.clear()
        yield


def undone(found):
    """While a picture is drawn and while frames are baked, the portrait itself is undone; and done again."""
    yield from make_moving("crawls")
    who = uuid()
    for name, stage in (("update_picture", "Drawing"), ("bake", "Baking"), ("update_mesh", "Extracting")):
        pictures.drawn.clear()
        bpy.context.scene.frame_set(3)
        press(f"portrait.{name}")
        yield from until_stage(stage)
        with view():
            bpy.ops.ed.undo()
            bpy.ops.ed.undo()
        found[name] = {"gone": find.by_uuid(bpy.context.scene, who) is None}
        yield from until_free()
        found[name] |= {**said(), "left": changes(found["before"])}
        session.engine().dismiss()
        with view():
            bpy.ops.ed.redo()
            bpy.ops.ed.redo()
        yield
        found[name]["back"] = find.by_uuid(bpy.context.scene, who) is not None
    bpy.context.view_layer.objects.active = find.by_uuid(bpy.context.scene, who)
    bpy.context.scene.frame_set(4)
    press("portrait.update_picture")
    yield from until_free()
    found["blue"] = blue()


def created_and_undone(found):
    """Something else is undone and redone while Create works: the portrait comes, and is one step of its own."""
    with view():
        bpy.ops.mesh.primitive_cone_add("INVOKE_DEFAULT", True)
    cones = [ob.name for ob in bpy.context.scene.objects if ob.name.startswith("Cone")]
    settings(model="moving", detail=48, size=32)
    press("portrait.create")
    with view():
        bpy.ops.ed.undo()
    while session.engine().busy:
        with view():
            bpy.ops.ed.redo()
            bpy.ops.ed.undo()
        yield
    found["said"] = said()
    found["portraits"], found["cones"] = len(find.roots(bpy.context.scene)), len(cones)
    with view():
        bpy.ops.ed.undo()
    yield
    found["left"] = changes(found["before"])


def two_windows(found):
    """Each of two windows shows a scene of its own; Create is pressed in the second."""
    with view():
        bpy.ops.wm.window_new_main()
    yield
    first, second = bpy.context.window_manager.windows
    with bpy.context.temp_override(window=second):
        bpy.ops.scene.new(type="EMPTY")
    yield
    yield from open_tabs()
    there = second.scene
    there.portrait.model, there.portrait.detail, there.portrait.size = "moving", 48, 32
    area = next(area for area in second.screen.areas if area.type == "VIEW_3D")
    region = next(region for region in area.regions if region.type == "WINDOW")
    with bpy.context.temp_override(window=second, area=area, region=region):
        bpy.ops.portrait.create("INVOKE_DEFAULT", True)
    yield from until_free()
    found["said"] = said()
    found["scenes"] = [len(find.roots(window.scene)) for window in (first, second)]
    with bpy.context.temp_override(window=second):
        bpy.ops.wm.window_close()
    yield


# Files ---------------------------------------------------------------------------------------------------------------


def saved_while_baking(found):
    """The file is saved under another name in another folder while frames are baked."""
    save(OUT / "here" / "a.blend")
    yield from make_moving("crawls")
    press("portrait.bake")
    yield from until_stage("Baking 2/")
    save(OUT / "there" / "b.blend")
    yield from until_free()
    found["said"] = said()
    found["frames"] = {name: len(list((OUT / name).rglob("f_*.png"))) for name in ("here", "there")}
    found["path"] = bpy.data.images[find.part(portrait(), "PLANE").portrait.baked_image.name].filepath


def saved_while_rendering(found):
    """The file is saved under another name in another folder while it is rendered."""
    bpy.data.objects.remove(bpy.data.objects["Cube"])  # which would hide the head
    save(OUT / "from" / "a.blend")
    yield from make_moving(frames=6)
    scene = bpy.context.scene
    press("portrait.show", what="PICTURE")
    scene.camera = find.part(portrait(), "CAMERA")
    press("portrait.bake")
    yield from until_free()
    scene.render.engine, scene.cycles.samples = "CYCLES", 1
    scene.cycles.use_denoising = False
    scene.render.resolution_x = scene.render.resolution_y = 32
    scene.view_settings.view_transform = "Standard"
    scene.render.filepath = str(OUT / "rendered" / "r_")
    with view():
        bpy.ops.render.render("INVOKE_DEFAULT", animation=True)
    while not (OUT / "rendered" / "r_0002.png").exists():
        yield
    save(OUT / "to" / "b.blend")
    while bpy.app.is_job_running("RENDER"):
        yield
    found["said"] = said()
    yield
    rig = find.part(portrait(), "RIG")
    rig["jawOpen"] = 0.0
    rig.keyframe_insert('["jawOpen"]', frame=6)  # from the second frame on the baked ones are out of date
    rig.update_tag()
    scene.render.filepath = str(OUT / "again" / "r_")
    with view():
        bpy.ops.render.render("INVOKE_DEFAULT", animation=True)
    yield
    while bpy.app.is_job_running("RENDER"):
        yield
    found["again"] = said()
    yield


def nowhere_to_write(found):
    """A file lies in the place of the folder of baked frames."""
    save(OUT / "guarded" / "a.blend")
    yield from make_moving()
    (OUT / "guarded" / "portrait_cache").write_text("no folder")
    for name in ("bake", "bake_mesh", "render", "turntable", "make_portable"):
        before = data_blocks()
        press(f"portrait.{name}")
        yield from until_free()
        found[name] = {**said(), "left": changes(before)}
        session.engine().dismiss()
        yield
    (OUT / "guarded" / "portrait_cache").unlink()
    press("portrait.bake")
    yield from until_free()
    found["then"], found["frames"] = said(), len(list((OUT / "guarded").rglob("f_*.png")))


CASES = (
    *(no_engine, killed, no_memory, silent, model_removed, no_face),
    *(scene_deleted, other_scene, objects_deleted, undone, created_and_undone, two_windows),
    *(saved_while_baking, saved_while_rendering, nowhere_to_write),
)


def plan():
    for case in CASES:
        if CASE not in ("all", case.__name__):
            continue
        bpy.ops.wm.read_homefile(app_template="", use_factory_startup=True, use_empty=False)
        yield
        yield from open_tabs()
        for space in (area.spaces.active for area in bpy.context.window.screen.areas if area.type == "VIEW_3D"):
            space.shading.type = "WIREFRAME"  # software GL draws nothing faster
        session.engine().stop()
        session.engine().dismiss()
        pictures.drawn.clear()
        with view():
            bpy.ops.ed.undo_push(message="Start")
        watch.clear()
        found = facts[case.__name__] = {"before": data_blocks()}
        print(f"CASE {case.__name__}", flush=True)
        began = time.monotonic()
        yield from case(found)
        del found["before"]
        found |= {**watch.figures(), "seconds": round(time.monotonic() - began, 1)}
        (OUT / "facts.json").write_text(json.dumps(facts))
    (OUT / "done").touch()


walk(plan(), watch.restore)
