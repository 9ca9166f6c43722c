# SPDX-License-Identifier: GPL-3.0-or-later
"""What the user reads when something is missing or does not fit. One place, so that each sentence has a test. Pure."""

from __future__ import annotations

from .neural_core.errors import ModelError, PortraitError, UsageError


def engine_missing() -> PortraitError:
    """No interpreter is set."""
    return PortraitError(
        "Neural Portrait needs its engine, a Python 3.11 or 3.12 with PyTorch.",
        "Choose that Python in the add-on's preferences, or set NEURAL_PORTRAIT_PYTHON.",
        kind="engine",
    )


def no_torch(why: str) -> PortraitError:
    """The chosen interpreter cannot run networks."""
    return PortraitError(
        f"That Python has no torch (tried: `import torch`: {why}).",
        "Choose a Python that has PyTorch, or install it there by the command that System shows.",
        kind="engine",
    )


def offline(commands: str) -> PortraitError:
    """Blender's preferences forbid downloads; `commands` do the same by hand."""
    return PortraitError(
        "Blender's online access is off; nothing was downloaded.",
        "Switch on Preferences > System > Network > Allow Online Access, choose a folder of wheels, or run by hand: "
        + commands.replace("\n", " && "),
        kind="offline",
    )


def farm_offline(manager: str) -> PortraitError:
    """Blender's preferences forbid to send a job to another computer."""
    return PortraitError(
        f"Blender's online access is off; nothing was sent to {manager}.",
        "Switch on Preferences > System > Network > Allow Online Access, or submit the file of Write Batch Job there.",
        kind="offline",
    )


def sent_to_farm(manager: str, page: str) -> tuple[str, str]:
    """A farm has taken a job: message and hint."""
    return f'The job is at the farm "{manager}".', f"See {page}"


def model_missing(model: str, model_hash: str) -> ModelError:
    """A portrait of the scene was made with weights that are not here."""
    return ModelError(
        f'This portrait was made with "{model}" (hash {model_hash[:8]}...), which is not in your model folder.',
        "Put that model into the folder named in the preferences. Rig, keys and mesh work without it.",
    )


def newer_version(theirs: str, ours: str) -> UsageError:
    """A portrait of the scene was made by a later release."""
    return UsageError(
        f"Made by a newer Neural Portrait ({theirs}); this is {ours}: sliders still work, pictures will not update."
    )


def no_portrait() -> UsageError:
    """A button needs a portrait and none is selected."""
    return UsageError("No portrait is selected.", "Select any object of a portrait.")


def no_photo() -> UsageError:
    """Create from a photo, and none is chosen."""
    return UsageError("No photo is chosen.", "Choose a photo of one person from the front.")


def no_speech() -> UsageError:
    """Curves from speech, and no recording is chosen."""
    return UsageError("No recording is chosen.", "Choose a sound file of somebody who speaks, such as a WAV.")


def no_clip() -> UsageError:
    """Curves or a person from a video, and none is chosen."""
    return UsageError("No video is chosen.", "Choose a clip in which one face is seen all the time, such as an MP4.")


def no_style() -> UsageError:
    """Stylise, and no text is given."""
    return UsageError("No style is given.", 'Describe it in English: "a charcoal drawing".')


def no_camera() -> UsageError:
    """The scene has no camera to draw from."""
    return UsageError("The scene has no camera.", "Make a camera the scene's camera (Ctrl+Numpad 0).")


def frames_missing(count: int, summary: str) -> UsageError:
    """A render would show frames that the network has not drawn."""
    return UsageError(f"{count} frames of the portrait are not there: {summary}.", "Bake the range, then render.")


def moved_frames(folder: str) -> str:
    """The file was saved under another name while frames were baked."""
    return f'The file was saved elsewhere while frames were baked: they were copied to "{folder}".'


def rendered_without(failures: dict[int, str]) -> PortraitError:
    """Frames were rendered without the network's picture; `failures` says why, by frame."""
    first = min(failures)
    others = f" (and {len(failures) - 1} more)" if len(failures) > 1 else ""
    return PortraitError(
        f"Frame {first}{others} was rendered without the network's picture: {failures[first]}",
        "Bake the range, then render again.",
    )


LOCKED_NOW = (
    "Blender was not locked while rendering, so pictures could not be drawn meanwhile. Lock Interface is now on."
)


def stopped_by_load(title: str) -> tuple[str, str]:
    """Another file was opened while the engine worked for the old one: message and hint."""
    return f"{title} was stopped: another file was opened.", "Frames that were baked are kept on disk."


EXACT_MESHES_GONE = ("The exact meshes of frames showed the person before: they were removed.", "Bake them again.")
"""Message and hint after another person took the place of one."""

NO_SLIDERS = "This model knows its people by numbers without a name, so they have no sliders. They can be mixed."

UNSAVED = "Save the file to keep baked frames"

LINKED = "This portrait is linked from another file: make a library override of it, or append it"

OVERRIDDEN = "This portrait is a library override, to which nothing can be added: append it instead"

FLAME_LICENCE = (
    "FLAME is for non-commercial research; you get it from flame.is.tue.mpg.de after registering. We cannot ship it."
)

NO_OTHERS_SHIPPED = "Their licences do not let us ship them: get the files there, then import them here."

NUMPY_MISSING = "This Blender lacks numpy: install python3-numpy."

NON_COMMERCIAL = "Made with a non-commercial model: portraits carry that limit."


def view_transform(name: str) -> str:
    """Return the hint for a scene that shows other colours than the network made."""
    return f"{name} changes the portrait's colours"


def is_newer(theirs: str, ours: str) -> bool:
    """Return whether version `theirs` is later than `ours`; numbers separated by dots."""

    def numbers(version: str) -> tuple[int, ...]:
        return tuple(int(part) for part in version.split(".") if part.isdigit())

    return numbers(theirs) > numbers(ours)
