# SPDX-License-Identifier: Apache-2.0
"""People that we make: bodies, paint, hair, cameras, and the renderer (``cycles.py``, the only user of bpy)."""
