# SPDX-License-Identifier: GPL-3.0-or-later
"""Sentences in pictures are read back from their dots."""

import importlib
import sys

import numpy as np
import pytest

SENTENCE = 'This portrait was made with "next3d-ffhq" (hash 3fa9c1d2...), which is not in your model folder.'


@pytest.fixture(scope="module")
def lettering(stub_stage):
    sys.path.insert(0, str(stub_stage))
    yield importlib.import_module("neural_portrait.lettering")
    sys.path.remove(str(stub_stage))


def read(picture, letters):
    """Return the size of a dot in pixels and the lines of a picture, found by looking for rows and columns with ink."""
    dark = picture[..., 0] < 64
    rows, columns = np.flatnonzero(dark.any(axis=1)), np.flatnonzero(dark.any(axis=0))
    runs = np.diff(np.flatnonzero(np.diff(np.pad(dark[rows[0]], 1).astype(int))))[::2]
    dot = runs.min()
    dots = dark[rows[0] % dot :: dot, columns[0] % dot :: dot]
    names = {drawn.tobytes(): char for char, drawn in letters.items()}
    left, lines = columns[0] // dot, []
    for top in range(rows[0] // dot, len(dots) - 7, 10):
        cells = [np.ascontiguousarray(dots[top : top + 8, x : x + 5]) for x in range(left, dots.shape[1] - 4, 6)]
        lines.append("".join(names[cell.tobytes()] for cell in cells).rstrip())
    return dot, [line for line in lines if line]


@pytest.mark.parametrize(("side", "dot"), [(16, 1), (128, 1), (256, 2), (512, 5)])
def test_a_sentence_is_there_whole_wrapped_between_words_and_as_large_as_the_card_allows(lettering, side, dot):
    picture = lettering.card(SENTENCE, side)
    assert picture.shape == (max(side, 128), max(side, 128), 4)
    assert (picture[..., 3] == 255).all()
    found, lines = read(picture, lettering.LETTERS)
    assert found == dot
    assert " ".join(lines) == SENTENCE
    assert len(lines) > 3


def test_every_letter_is_drawn_and_no_two_look_alike(lettering):
    letters = lettering.LETTERS
    assert "".join(letters) == "".join(map(chr, range(32, 127)))
    assert len({drawn.tobytes() for drawn in letters.values()}) == 95
    assert all(drawn.any() for char, drawn in letters.items() if char != " ")
    for one, other in ("bd", "pq", "()", "[]", "{}", "<>", "/\\", *(2 * char for char in "AHIMOTUVWXY8ovwx!^_|")):
        np.testing.assert_array_equal(letters[one], letters[other][:, ::-1], err_msg=one + other)


def test_a_long_path_is_cut_and_a_long_text_makes_the_picture_larger(lettering):
    path = "/home/somebody/with/a/folder/that/is/deep/and/deeper/" + "x" * 60
    dot, lines = read(lettering.card(path, 512), lettering.LETTERS)
    assert (dot > 1, "".join(lines)) == (True, path)
    story = " ".join(f"word{number}" for number in range(200))
    picture = lettering.card(story, 128)
    assert picture.shape[0] > 128
    assert " ".join(read(picture, lettering.LETTERS)[1]) == story


def test_lines_end_where_they_should_and_strange_letters_stay_readable(lettering):
    _, lines = read(lettering.card("Zoë's café\t(\N{SNOWMAN})\nA hint", 128), lettering.LETTERS)
    assert lines == ["Zoe's cafe (?)", "A hint"]
    assert not (lettering.card("", 64)[..., 0] < 64).any()
