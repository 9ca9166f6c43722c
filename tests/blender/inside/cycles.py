# SPDX-License-Identifier: GPL-3.0-or-later
"""Inside a real Blender with a window: create, delete and undo over and over, and count what stays behind.

    blender --factory-startup -P cycles.py -- <folder of the staged package> <number of rounds> <output folder>

A round creates a portrait, deletes it, undoes the deletion and then the creation. Every tenth round does not undo the
deletion but purges what lost its users, which must be all of the portrait. Writes facts.json: for each round seconds,
memory of worker and Blender in MB, and the data-blocks that came or went since the start.
"""

import json
import sys
import time
from pathlib import Path

import addon_utils
import bpy

STAGE, ROUNDS, OUT = sys.argv[sys.argv.index("--") + 1 :][:3]
TICK_S = 0.05
PURGE_EVERY = 10
sys.path.insert(0, STAGE)
sys.path.append(str(Path(__file__).parent))
addon_utils.enable("neural_portrait", default_set=True)

from neural_portrait import session  # noqa: E402
from neural_portrait.scene import find  # noqa: E402
from user import changes, data_blocks, press, until_free, view, walk  # noqa: E402


def resident_mb(pid):
    """Memory of a process that is not swapped out."""
    (line,) = [line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmRSS")]
    return int(line.split()[1]) / 1e3


def delete_the_portrait():
    (root,) = find.roots(bpy.context.scene)
    parts = [root, *root.children_recursive]
    with view():
        for ob in bpy.context.scene.objects:
            ob.hide_set(False)
            ob.select_set(ob in parts)
        # As a key press does: with an undo step of its own.
        bpy.ops.object.delete("INVOKE_DEFAULT", True, confirm=False)


def round_of(number):
    """Create and delete; then undo both, or purge."""
    purges = number % PURGE_EVERY == PURGE_EVERY - 1
    press("portrait.create")
    yield from until_free()
    status = session.engine().status
    assert status.state in ("idle", "notice"), status
    assert len(find.roots(bpy.context.scene)) == 1
    delete_the_portrait()
    assert find.roots(bpy.context.scene) == []
    yield
    if purges:
        for collection in [c for c in bpy.data.collections if not c.objects and not c.children]:
            bpy.data.collections.remove(collection)
        with view():
            bpy.ops.outliner.orphans_purge(do_local_ids=True, do_linked_ids=True, do_recursive=True)
            bpy.ops.ed.undo_push(message="Purge")  # else the next round's undo brings everything back
    else:
        with view():
            bpy.ops.ed.undo()
        assert len(find.roots(bpy.context.scene)) == 1
        yield
        with view():
            bpy.ops.ed.undo()
        assert find.roots(bpy.context.scene) == []
    yield


def plan():
    settings = bpy.context.scene.portrait
    settings.model, settings.size, settings.detail, settings.seed = "tiny", 32, 32, 3
    with view():
        bpy.ops.ed.undo_push(message="Settings")
        bpy.ops.outliner.orphans_purge(do_local_ids=True, do_linked_ids=True, do_recursive=True)
        bpy.ops.ed.undo_push(message="Start")
    yield
    before, facts = data_blocks(), {"rounds": []}
    for number in range(int(ROUNDS)):
        started = time.monotonic()
        yield from round_of(number)
        facts["rounds"].append(
            {
                "seconds": round(time.monotonic() - started, 3),
                "worker_mb": resident_mb(session.engine().pid),
                "blender_mb": resident_mb("self"),
                "worker": session.engine().pid,
                "changes": changes(before),
            }
        )
        (Path(OUT) / "facts.json").write_text(json.dumps(facts))
    (Path(OUT) / "done").touch()


walk(plan(), tick_s=TICK_S)
