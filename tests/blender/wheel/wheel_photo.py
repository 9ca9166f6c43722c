# SPDX-License-Identifier: GPL-3.0-or-later
"""Portraits from photos and in styles, with pictures on the way."""

import bpy
import numpy as np
import pytest
import stub_worker as stub
from neural_portrait import requests, session, tasks
from neural_portrait.neural_core import protocol
from neural_portrait.scene import find, portrait


@pytest.fixture
def photo(scene, tmp_path):
    """A scene whose panel says: from this photo."""
    path = tmp_path / "me at home.jpg"
    path.write_bytes(b"not looked at by the stub")
    scene.portrait.source, scene.portrait.photo = "PHOTO", str(path)
    scene.portrait.detail, scene.portrait.size = 48, 32
    return path


def test_a_photo_becomes_a_portrait_that_says_whose(photo, scene):
    assert bpy.ops.portrait.create() == {"FINISHED"}
    (root,) = find.roots(scene)
    assert root.users_collection[0].name == "Portrait me at home"
    identity = find.identity_of(root)
    assert (identity.photo, identity.style, identity.model) == ("me at home.jpg", "", "default-next3d")
    assert portrait.kept_bytes(root) == b"stub portrait 5"
    assert session.engine().status.message == "The face looks away."
    assert {ob.portrait.role for ob in root.children_recursive} >= {"RIG", "SURFACE", "PLANE", "CAMERA"}


def test_the_request_says_which_photo_and_how_long(photo):
    choice = requests.CreateChoice(photo=str(photo), latent_iterations=3, weight_iterations=4, identifier="x")
    expected = protocol.Reconstruct(0, "default-next3d", str(photo), "x", 3, 4)
    assert requests.create(choice) == expected
    assert requests.create(requests.CreateChoice(identifier="x")).type == "create"


def test_no_photo_and_a_photo_that_is_not_there_are_sentences(photo, scene):
    scene.portrait.photo = ""
    assert bpy.ops.portrait.create() == {"CANCELLED"}
    assert session.engine().status.message == "No photo is chosen."
    scene.portrait.photo = "/nowhere/me.jpg"
    assert bpy.ops.portrait.create() == {"CANCELLED"}
    assert 'Cannot read "/nowhere/me.jpg"' in session.engine().status.message
    assert find.roots(scene) == []


def test_pictures_on_the_way_are_an_icon_for_the_panel(photo):
    """Its number is 0 where there is no window; test_window.py looks at it in one."""
    engine, seen = session.engine(), []
    choice = requests.CreateChoice(photo=str(photo), make_mesh=False, make_plane=False)
    engine.start("Create Portrait", tasks.create(choice), lambda _: None)
    while engine.step(0.02):
        session.preview_icon()
        preview = session._previews.get("preview")
        if preview is not None:
            pixels = np.empty(8 * 8 * 4, np.float32)
            preview.image_pixels_float.foreach_get(pixels)
            seen.append(np.rint(pixels.reshape(8, 8, 4)[::-1] * 255).astype(int))
    blues = sorted({int(picture[4, 4, 2]) for picture in seen})
    assert blues == [int(stub.picture(8, jaw)[4, 4, 2]) for jaw in (0.5, 1.0)]
    assert engine.status.preview is None


def test_a_style_makes_a_second_portrait_beside_the_first(moving, scene):
    bpy.ops.portrait.create()
    source = find.current(bpy.context)
    source.location = (1.0, 2.0, 0.0)
    scene.portrait.style = "  a charcoal drawing "
    session.engine().stop()  # the new worker has to be given the portrait first
    assert bpy.ops.portrait.stylise() == {"FINISHED"}
    root = find.current(bpy.context)
    assert root != source
    assert root.location.x - source.location.x == pytest.approx(0.4)
    identity = find.identity_of(root)
    assert identity.style == "a charcoal drawing"
    assert identity.animatable
    assert identity.uuid != find.identity_of(source).uuid
    # The stub's seeds grow with the words, so the source and the text arrived.
    assert portrait.kept_bytes(root) == b"stub moving %d" % (7 + len("a charcoal drawing"))


def test_a_style_needs_words(moving):
    assert bpy.ops.portrait.stylise() == {"CANCELLED"}
    assert session.engine().status.message == "No style is given."
