# SPDX-License-Identifier: Apache-2.0
"""Build hook: a wheel carries ``assets/`` as ``neural_core/assets``.

A clone, an editable install and the Blender extension have ``assets/`` beside ``neural_core/``; a wheel has no
"beside". An editable install must not get a copy, which would grow stale.
"""

from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class CarryAssets(BuildHookInterface):
    """Adds the assets to standard wheels only."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Name the extra folder; ``version`` is "standard" or "editable"."""
        if version == "standard":
            build_data["force_include"]["assets"] = "neural_core/assets"
