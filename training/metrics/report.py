# SPDX-License-Identifier: Apache-2.0
"""What an evaluation leaves: a table, metrics.json, and sheets of the worst cases."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from neural_core.files import write_bytes

from .protocol import Figure
from .registry import METRICS, Metric
from .worst import Worst, sheet

_ARROWS = {"higher": "↑", "lower": "↓", "": " "}


@dataclass
class Report:
    """Figures by metric, and what there is to say about them."""

    about: dict[str, Any]
    """Model, checksum, command, settings."""
    figures: dict[str, list[Figure]] = field(default_factory=dict)
    worst: dict[str, Worst] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)
    """Metrics that could not be taken, and why."""
    skipped: dict[str, str] = field(default_factory=dict)
    """Items that could not be read, and why."""

    def values(self) -> dict[str, float | None]:
        """Return all figures by name; null for what is no number."""
        return {figure.name: _number(figure.value) for figures in self.figures.values() for figure in figures}

    def table(self) -> str:
        """Return the figures as text: one a line, with unit, direction and count."""
        lines = [f"{'figure':30} {'value':>10}   {'unit':24} count"]
        for figures in self.figures.values():
            for figure in figures:
                lines.append(
                    f"{figure.name:30} {figure.value:10.4g} {_ARROWS[figure.better]} {figure.unit:24} "
                    f"{figure.count} {figure.of}"
                )
        lines += [f"left out: {name}: {why}" for name, why in self.left_out.items()]
        lines += [f"not read: {name}: {why}" for name, why in self.skipped.items()]
        return "\n".join(lines)

    def write(self, folder: Path) -> None:
        """Write metrics.json and worst_METRIC.png. Raises PortraitError if that fails."""
        content = {
            **self.about,
            "figures": {
                figure.name: _described(METRICS[name], figure)
                for name, figures in self.figures.items()
                for figure in figures
            },
            "worst": {
                name: [{"item": index, "badness": _number(case.badness)} for index, case in worst.ranked()]
                for name, worst in self.worst.items()
            },
            "left_out": self.left_out,
            "not_read": self.skipped,
        }
        write_bytes(folder / "metrics.json", json.dumps(content, indent=1, ensure_ascii=False).encode())
        self._write_sheets(folder)

    def _write_sheets(self, folder: Path) -> None:
        from neural_core import media

        for name, worst in self.worst.items():
            cases = [case for _, case in worst.ranked()]
            if cases:
                media.write_png(folder / f"worst_{name}.png", sheet(cases), {"made_by": "training.evaluate"})


def _described(metric: Metric, figure: Figure) -> dict[str, Any]:
    told = {"metric": metric.name, "definition": metric.definition, "paper": metric.paper}
    stored = asdict(figure)
    more = stored.pop("more")
    return {**stored, "value": _number(figure.value), **told, **more}


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None
