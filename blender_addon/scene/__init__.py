# SPDX-License-Identifier: GPL-3.0-or-later
"""Blender data <-> plain arrays. Everything under a portrait's root empty is in head space; the root turns it upright."""
