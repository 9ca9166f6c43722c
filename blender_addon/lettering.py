# SPDX-License-Identifier: GPL-3.0-or-later
"""Sentences drawn into pictures, with letters of our own: Blender draws text in every version only in a window. Pure.

A letter is a grid of 5 x 8 dots; small letters hang down into the last row. What has no letter of its own loses its
accents, or becomes a question mark.
"""

from __future__ import annotations

import textwrap
import unicodedata

import numpy as np

PAPER, INK = 128, 16
"""Greys, 0..255."""
WIDTH, HEIGHT = 5, 8
_ADVANCE, _LEADING = WIDTH + 1, HEIGHT + 2
"""Dots from letter to letter, and from line to line."""
_MARGIN = 3
"""Dots that stay free at each side."""
_LEAST_COLUMNS = 16
"""Letters are at most so large that so many stand in a line."""
_LONGEST_WORD = 30
"""A word of more letters, such as a path, may be cut at the end of a line."""
_SMALLEST_SIDE = 128
"""A picture with text has at least so many pixels at a side."""

# Letters in the order of ASCII from the space on, sixteen in a band.
_BANDS = """
..... ..#.. .#.#. .#.#. ..#.. ##..# .##.. ..#.. ...#. .#... ..... ..... ..... ..... ..... ....#
..... ..#.. .#.#. .#.#. .#### ##..# #..#. ..#.. ..#.. ..#.. ..#.. ..#.. ..... ..... ..... ....#
..... ..#.. .#.#. ##### #.#.. ...#. #.#.. ..#.. .#... ...#. #.#.# ..#.. ..... ..... ..... ...#.
..... ..#.. ..... .#.#. .###. ..#.. .#... ..... .#... ...#. .###. ##### ..... ##### ..... ..#..
..... ..#.. ..... ##### ..#.# .#... #.#.# ..... .#... ...#. #.#.# ..#.. ..... ..... ..... .#...
..... ..... ..... .#.#. ####. #..## #..#. ..... ..#.. ..#.. ..#.. ..#.. ..##. ..... .##.. #....
..... ..#.. ..... .#.#. ..#.. #..## .##.# ..... ...#. .#... ..... ..... ..#.. ..... .##.. #....
..... ..... ..... ..... ..... ..... ..... ..... ..... ..... ..... ..... .#... ..... ..... .....

.###. ..#.. .###. ##### ...#. ##### ..##. ##### .###. .###. ..... ..... ...#. ..... .#... .###.
#...# .##.. #...# ....# ..##. #.... .#... ....# #...# #...# .##.. ..##. ..#.. ..... ..#.. #...#
#..## #.#.. ....# ...#. .#.#. ####. #.... ...#. #...# #...# .##.. ..##. .#... ##### ...#. ....#
#.#.# ..#.. ..##. ..##. #..#. ....# ####. ..#.. .###. .#### ..... ..... #.... ..... ....# ..##.
##..# ..#.. .#... ....# ##### ....# #...# ..#.. #...# ....# ..... ..... .#... ##### ...#. ..#..
#...# ..#.. #.... #...# ...#. #...# #...# .#... #...# ...#. .##.. ..##. ..#.. ..... ..#.. .....
.###. ##### ##### .###. ...#. .###. .###. .#... .###. .##.. .##.. ..#.. ...#. ..... .#... ..#..
..... ..... ..... ..... ..... ..... ..... ..... ..... ..... ..... .#... ..... ..... ..... .....

.###. ..#.. ####. .###. ###.. ##### ##### .###. #...# .###. ..### #...# #.... #...# #...# .###.
#...# .#.#. #...# #...# #..#. #.... #.... #...# #...# ..#.. ...#. #..#. #.... ##.## ##..# #...#
#.### #...# #...# #.... #...# #.... #.... #.... #...# ..#.. ...#. #.#.. #.... #.#.# ##..# #...#
#.#.# #...# ####. #.... #...# ####. ####. #.### ##### ..#.. ...#. ##... #.... #.#.# #.#.# #...#
#.##. ##### #...# #.... #...# #.... #.... #...# #...# ..#.. ...#. #.#.. #.... #...# #..## #...#
#.... #...# #...# #...# #..#. #.... #.... #...# #...# ..#.. #..#. #..#. #.... #...# #..## #...#
.#### #...# ####. .###. ###.. ##### #.... .#### #...# .###. .##.. #...# ##### #...# #...# .###.
..... ..... ..... ..... ..... ..... ..... ..... ..... ..... ..... ..... ..... ..... ..... .....

####. .###. ####. .#### ##### #...# #...# #...# #...# #...# ##### .###. #.... .###. ..#.. .....
#...# #...# #...# #.... ..#.. #...# #...# #...# #...# #...# ....# .#... #.... ...#. .#.#. .....
#...# #...# #...# #.... ..#.. #...# #...# #...# .#.#. .#.#. ...#. .#... .#... ...#. #...# .....
####. #...# ####. .###. ..#.. #...# .#.#. #.#.# ..#.. ..#.. ..#.. .#... ..#.. ...#. ..... .....
#.... #.#.# #.#.. ....# ..#.. #...# .#.#. #.#.# .#.#. ..#.. .#... .#... ...#. ...#. ..... .....
#.... #..#. #..#. ....# ..#.. #...# .#.#. ##.## #...# ..#.. #.... .#... ....# ...#. ..... .....
#.... .##.# #...# ####. ..#.. .###. ..#.. #...# #...# ..#.. ##### .###. ....# .###. ..... #####
..... ..... ..... ..... ..... ..... ..... ..... ..... ..... ..... ..... ..... ..... ..... .....

.#... ..... #.... ..... ....# ..... ..##. ..... #.... ..#.. ...#. #.... .##.. ..... ..... .....
..#.. ..... #.... ..... ....# ..... .#... ..... #.... ..... ..... #.... ..#.. ..... ..... .....
...#. .###. ####. .###. .#### .###. ####. .#### #.##. .##.. ..##. #..#. ..#.. ##.#. #.##. .###.
..... ....# #...# #.... #...# #...# .#... #...# ##..# ..#.. ...#. #.#.. ..#.. #.#.# ##..# #...#
..... .#### #...# #.... #...# ##### .#... #...# #...# ..#.. ...#. ##... ..#.. #.#.# #...# #...#
..... #...# #...# #.... #...# #.... .#... .#### #...# ..#.. ...#. #.#.. ..#.. #.#.# #...# #...#
..... .#### ####. .###. .#### .###. .#... ....# #...# .###. ...#. #..#. .###. #.#.# #...# .###.
..... ..... ..... ..... ..... ..... ..... .###. ..... ..... .##.. ..... ..... ..... ..... .....

..... ..... ..... ..... .#... ..... ..... ..... ..... ..... ..... ...## ..#.. ##... .....
..... ..... ..... ..... .#... ..... ..... ..... ..... ..... ..... ..#.. ..#.. ..#.. .....
####. .#### #.##. .#### ####. #...# #...# #...# #...# #...# ##### ..#.. ..#.. ..#.. .#..#
#...# #...# ##... #.... .#... #...# #...# #.#.# .#.#. #...# ...#. .#... ..#.. ...#. #.##.
#...# #...# #.... .###. .#... #...# .#.#. #.#.# ..#.. #...# ..#.. ..#.. ..#.. ..#.. .....
####. .#### #.... ....# .#... #..## .#.#. #.#.# .#.#. .#### .#... ..#.. ..#.. ..#.. .....
#.... ....# #.... ####. ..##. .##.# ..#.. .#.#. #...# ....# ##### ...## ..#.. ##... .....
#.... ....# ..... ..... ..... ..... ..... ..... ..... .###. ..... ..... ..... ..... .....
"""


def _letters() -> dict[str, np.ndarray]:
    """Return the dots [HEIGHT, WIDTH] of each letter."""
    bands = [band.splitlines() for band in _BANDS.strip("\n").split("\n\n")]
    drawn = [letter for band in bands for letter in zip(*(row.split() for row in band), strict=True)]
    return {chr(32 + number): np.array([list(row) for row in rows]) == "#" for number, rows in enumerate(drawn)}


LETTERS = _letters()


def card(text: str, side: int) -> np.ndarray:
    """Return a picture [h, h, 4] uint8 of an even grey with a text on it, first row on top, opaque.

    Letters are as large as the text allows without common words being cut.

    Args:
        text: sentences; a line break begins a new line.
        side: pixels that h should have; it is larger where the text needs it.
    """
    side = max(side, _SMALLEST_SIDE)
    longest = min(max(map(len, text.split()), default=0), _LONGEST_WORD)
    while True:
        for dot in range(side // (_LEAST_COLUMNS * _ADVANCE + 2 * _MARGIN), 0, -1):
            columns = (side // dot - 2 * _MARGIN) // _ADVANCE
            lines = _wrapped(text, columns)
            if (columns >= longest or dot == 1) and (len(lines) * _LEADING + 2 * _MARGIN) * dot <= side:
                picture = np.full((side, side, 4), (PAPER, PAPER, PAPER, 255), np.uint8)
                _write(picture, lines, dot)
                return picture
        side *= 2


def _wrapped(text: str, columns: int) -> list[str]:
    """Return the lines of a text, none longer than so many letters."""
    plain = unicodedata.normalize("NFKD", text.replace("\t", " "))
    plain = "".join(char for char in plain if not unicodedata.combining(char))
    shown = "".join(char if char in LETTERS or char == "\n" else "?" for char in plain)
    return [line for part in shown.split("\n") for line in textwrap.wrap(part, columns) or [""]]


def _write(picture: np.ndarray, lines: list[str], dot: int) -> None:
    """Draw lines into a picture in place, from the top left; a dot of a letter is so many pixels wide."""
    for row, line in enumerate(lines):
        top = (_MARGIN + row * _LEADING) * dot
        for column, char in enumerate(line):
            left = (_MARGIN + column * _ADVANCE) * dot
            dots = LETTERS[char].repeat(dot, axis=0).repeat(dot, axis=1)
            picture[top : top + HEIGHT * dot, left : left + WIDTH * dot, :3][dots] = INK
