# SPDX-License-Identifier: GPL-3.0-or-later
"""Neural Portrait: 3D portraits from a seed, rigged and animated in Blender. A table of contents; read in this order.

- `panels/` is what the artist sees, `operators/` what the buttons do, `properties.py` and `preferences.py` what they
  edit.
- `tasks.py` says what is asked of the engine, `engine.py` runs it, `worker_client.py` holds the process,
  `session.py` the timer. `backend.py` sets the engine up. `live.py` keeps a picture up to date, `baking.py` draws
  frames to disk, `unbaked.py` those that a render lacks; `saving.py` says what a .blend carries.
- `scene/` turns arrays into Blender data. `batch.py` and `job.py` do the same without a window.

Nothing is imported before `register()`.
"""

_MODULES = (
    *("preferences", "properties", "session", "backend", "farm", "live", "bake_state", "unbaked", "saving"),
    *("operators", "panels"),
)


def _modules() -> list:
    import importlib

    return [importlib.import_module(f".{name}", __package__) for name in _MODULES]


def register() -> None:
    """Add the panel, the operators and the properties to Blender. Starts no process."""
    import importlib.util

    if importlib.util.find_spec("numpy") is None:
        from . import sentences

        raise RuntimeError(sentences.NUMPY_MISSING)
    for module in _modules():
        module.register()


def unregister() -> None:
    """Take everything back, and end the engine."""
    for module in reversed(_modules()):
        module.unregister()
