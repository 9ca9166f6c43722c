# SPDX-License-Identifier: Apache-2.0
"""The process that Blender talks to: framed messages on stdin and stdout, the log on stderr.

Importing this package needs the standard library only, so that a Python without torch can say so in an answer.
"""

from .process import main

__all__ = ["main"]
