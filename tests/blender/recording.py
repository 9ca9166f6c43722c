# SPDX-License-Identifier: GPL-3.0-or-later
"""What a panel draws, as words and buttons: for tests inside Blender without a window."""

import bpy


class Recorder:
    """Stands in for Blender's layout: remembers the words and buttons that a panel draws."""

    def __init__(self, kept=None):
        self.kept = kept if kept is not None else {"text": [], "buttons": []}

    def label(self, text="", **_):
        self.kept["text"].append(text)

    def progress(self, text="", **_):
        self.kept["text"].append(text)

    def operator(self, name, **_):
        self.kept["buttons"].append(name)
        return self

    def operator_menu_enum(self, name, _property, **_):
        self.kept["buttons"].append(name)

    def prop(self, *_, **__):
        pass

    def panel(self, *_, **__):
        return Recorder(self.kept), Recorder(self.kept)

    def row(self, **_):
        return Recorder(self.kept)

    column = box = row


def drawn(panel, context=None):
    """Return all words of a panel as one text, and the names of its buttons."""
    layout = Recorder()
    panel.draw(type("Panel", (), {"layout": layout})(), context or bpy.context)
    return " ".join(" ".join(layout.kept["text"]).split()), layout.kept["buttons"]
