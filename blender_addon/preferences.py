# SPDX-License-Identifier: GPL-3.0-or-later
"""Preferences: which Python runs the engine, where models lie, on what device; and a button that tests it."""

import os
from pathlib import Path

import bpy
from bpy.props import EnumProperty, StringProperty

from . import flamenco_manager, sentences
from .worker_client import WorkerSettings

PYTHON_VARIABLE = "NEURAL_PORTRAIT_PYTHON"
MODELS_VARIABLE = "NEURAL_PORTRAIT_MODELS"


class PortraitPreferences(bpy.types.AddonPreferences):
    """Preferences of the add-on."""

    bl_idname = __package__

    python: StringProperty(
        name="Engine's Python",
        description="A Python 3.11 or 3.12 with PyTorch, for example of a virtual environment",
        subtype="FILE_PATH",
    )
    models_folder: StringProperty(
        name="Models folder", description="Where more models lie (.safetensors)", subtype="DIR_PATH"
    )
    device: EnumProperty(
        name="Device",
        description="What the engine computes on",
        items=[
            ("auto", "Automatic", "The GPU if there is one"),
            ("cpu", "CPU", "The processor"),
            ("cuda", "GPU", "An NVIDIA GPU (CUDA)"),
        ],
        default="auto",
    )
    engine_folder: StringProperty(
        name="Engine's folder",
        description="Where Set Up puts the engine's environment; empty for the add-on's own folder",
        subtype="DIR_PATH",
    )
    base_python: StringProperty(
        name="Made of",
        description="The Python 3.12 or 3.11 that the environment is made of; empty to look for one",
        subtype="FILE_PATH",
    )
    wheels_folder: StringProperty(
        name="Folder of wheels",
        description="Install from the .whl files in this folder and download nothing; empty to download",
        subtype="DIR_PATH",
    )
    compute: EnumProperty(
        name="PyTorch for",
        description="Which build of PyTorch Set Up installs",
        items=[
            ("cpu", "CPU", "Small, runs everywhere; from PyTorch's own index"),
            ("cuda", "NVIDIA GPU", "Large; the build that fits the installed driver, from PyTorch's own index"),
            ("pip", "As pip has it", "What pip's own index gives, for example that of a company"),
        ],
        default="cpu",
    )

    flamenco: StringProperty(
        name="Flamenco Manager",
        description="Address of the render farm that Send to Flamenco sends jobs to",
        default=flamenco_manager.DEFAULT_ADDRESS,
    )
    farm_add_on: StringProperty(
        name="Add-on at the Farm",
        description="The add-on's batch.py at a path that all workers have; empty for the path on this computer",
        subtype="FILE_PATH",
    )

    def draw(self, context: bpy.types.Context) -> None:
        from .panels import status

        layout = self.layout
        layout.use_property_split = True
        column = layout.column()
        from_environment = os.environ.get(PYTHON_VARIABLE)
        if from_environment:
            column.label(text=f"{PYTHON_VARIABLE} is set and used: {from_environment}", icon="INFO")
        row = column.row()
        row.enabled = not from_environment
        row.prop(self, "python")
        column.prop(self, "models_folder")
        column.prop(self, "device")
        column.prop(self, "flamenco")
        column.prop(self, "farm_add_on")
        row = column.row(align=True)
        row.operator("portrait.setup_engine", icon="IMPORT")
        row.operator("portrait.use_python", icon="FILE_FOLDER")
        row.operator("portrait.test_engine", icon="CHECKMARK")
        status.draw_setup(layout)
        status.draw_status(layout)


def stored() -> PortraitPreferences | None:
    """Return the preferences that Blender keeps; None while the add-on is not enabled."""
    addon = bpy.context.preferences.addons.get(__package__)
    return addon.preferences if addon else None


def worker_settings() -> WorkerSettings:
    """Return what the preferences and the environment say; `python` is "" where nothing is set."""
    chosen = stored()
    python = os.environ.get(PYTHON_VARIABLE) or (bpy.path.abspath(chosen.python) if chosen else "")
    folder = bpy.path.abspath(chosen.models_folder) if chosen and chosen.models_folder else ""
    return WorkerSettings(python, folder or os.environ.get(MODELS_VARIABLE, ""), chosen.device if chosen else "auto")


def required_worker_settings() -> WorkerSettings:
    """Return the same, or raise the sentence that says what is missing."""
    settings = worker_settings()
    if not settings.python:
        raise sentences.engine_missing()
    return settings


def farm_address() -> str:
    """Return the address of the render farm as the preferences have it; "" for the usual one."""
    chosen = stored()
    return chosen.flamenco if chosen else ""


def farm_script() -> str:
    """Return where the farm's workers have our batch.py."""
    chosen = stored()
    if chosen and chosen.farm_add_on:
        return bpy.path.abspath(chosen.farm_add_on)
    return str(Path(__file__).with_name("batch.py"))


CLASSES = (PortraitPreferences,)


def register() -> None:
    """Make this part known to Blender."""
    for cls in CLASSES:
        bpy.utils.register_class(cls)


def unregister() -> None:
    """Take it back."""
    for cls in reversed(CLASSES):
        bpy.utils.unregister_class(cls)
