# SPDX-License-Identifier: GPL-3.0-or-later
"""The sliders of a person, as a portrait keeps them: where the person is, and what is asked for."""

from __future__ import annotations

from collections.abc import Sequence

import bpy

from ..answers import Slider

_SAME = 1e-4
"""Sliders that were hardly moved ask for nothing."""


def fill(identity: bpy.types.PropertyGroup, described: Sequence[Slider]) -> None:
    """Let a portrait have these sliders, where the person is; nothing is asked for then."""
    identity.sliders.clear()
    for slider in described:
        item = identity.sliders.add()
        item.name, item.group, item.label = slider.name, slider.group, slider.label
        item.low, item.high = slider.low, slider.high
        item.value = slider.value
        item.own = item.value  # which has limits
    identity.sliders_known = True


def is_moved(item: bpy.types.PropertyGroup) -> bool:
    """Return whether something else is asked of a slider than the person is."""
    return abs(item.value - item.own) > _SAME


def asked(identity: bpy.types.PropertyGroup) -> dict[str, float]:
    """Return the values that are asked for, by name."""
    return {item.name: item.value for item in identity.sliders if is_moved(item)}


def reset(identity: bpy.types.PropertyGroup, name: str = "") -> None:
    """Put the sliders, or the one of a name, back to where the person is."""
    for item in identity.sliders:
        if name in ("", item.name):
            item.value = item.own


def word(item: bpy.types.PropertyGroup) -> str:
    """Return what the value of a slider looks like; "" near the mean, or where there is no word."""
    return "" if abs(item.value) < 0.5 else item.low if item.value < 0 else item.high


def found(identity: bpy.types.PropertyGroup, search: str) -> dict[str, list[bpy.types.PropertyGroup]]:
    """Return the sliders that have every word of `search` in group, label, low or high, by group."""
    words = search.lower().split()
    groups: dict[str, list[bpy.types.PropertyGroup]] = {}
    for item in identity.sliders:
        text = f"{item.group} {item.label} {item.low} {item.high}".lower()
        if all(one in text for one in words):
            groups.setdefault(item.group, []).append(item)
    return groups
