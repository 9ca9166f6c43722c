# SPDX-License-Identifier: Apache-2.0
# Blender's Python module carries no types; without this pyright would guess some, wrongly.
from typing import Any

def __getattr__(name: str) -> Any: ...
