# SPDX-License-Identifier: GPL-3.0-or-later
"""Blender data <-> plain arrays. Under a portrait's root empty all is in head space; the root turns it upright."""
