# SPDX-License-Identifier: Apache-2.0
"""`neural-portrait models`."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import tyro

from .. import models
from ..errors import UsageError
from .console import Console
from .options import Common

TEXTS = ("licence", "licence_url", "use", "source", "data", "requires", "trained")


@dataclass(frozen=True)
class Models:
    """Show the installed models and their licences; bring in published checkpoints."""

    action: tyro.conf.Positional[Literal["list", "info", "import"]] = "list"
    """What to do: list all; info about one; import a file."""
    target: tyro.conf.Positional[str] = ""
    """info: the model's name. import: a .safetensors of ours, or a published .pkl."""
    name: str = ""
    """import: the model's new name."""
    face: str = ""
    """import: the face model of yours that drives it, if you have imported several of its kind."""
    where: bool = False
    """Print the folder that models are put into, and stop."""
    common: tyro.conf.OmitArgPrefixes[Common] = field(default_factory=Common)

    def run(self, console: Console) -> None:
        """Show or import."""
        if self.where:
            console.facts["folder"] = str(models.user_folder())
            console.say(console.facts["folder"])
        elif self.action == "list":
            self._list(console)
        elif not self.target:
            raise UsageError(f"`models {self.action}` needs a {'name' if self.action == 'info' else 'file'}.")
        elif self.action == "info":
            self._info(console, models.find(self.target))
        else:
            if not self.name:
                raise UsageError("The model needs a name.", "Add --name NAME.")
            model = models.import_model(Path(self.target), self.name, self.face, console.report)
            console.made(model.path, "imported; `neural-portrait models info` shows its licence")
            self._info(console, model)

    def _list(self, console: Console) -> None:
        found = [model.describe() for model in models.installed()]
        console.facts.update(models=found, default=models.DEFAULT_MODEL)
        for model in found:
            licence = f"{model['licence']}, use: {model['use']}"
            console.say(
                f"{model['name']:24} "
                + (f"PROBLEM: {model['problem']}" if model["problem"] else f"{model['system']:8} {licence}")
            )
        if not found:
            console.say(f"No models. Put .safetensors files into {models.user_folder()}.")

    def _info(self, console: Console, model: models.Model) -> None:
        assert model.header is not None  # `find` raises otherwise
        config = model.header.json("config")
        texts = {key: model.header.metadata[key] for key in TEXTS if key in model.header.metadata}
        console.facts.update(model.describe(), config=config, **texts, tensors=len(model.header.tensors))
        about = model.describe()
        for key in ("name", "system", "size_mb", "path"):
            console.say(f"{key:12} {about[key]}")
        for key, text in texts.items():
            console.say(f"{key:12} {text}")
        console.say(f"{'config':12} {json.dumps(config)}")
