# SPDX-License-Identifier: Apache-2.0
"""Takes the pictures that test_cycles.py looks at, in a process of its own (the bpy wheel crashes or hangs at exit).

python cycles_pictures.py OUT.npz
"""

import os
import sys

import numpy as np

from neural_core.records import SKIN
from training.synthetic.cycles import Settings, Studio, develop
from training.synthetic.figure import Fibres, Figure, Material, Part
from training.synthetic.lighting import STUDIO, Lamp, Setting
from training.synthetic.people import View
from training.synthetic.views import FOCAL, intrinsics, orbit

SIZE = 24
FRONT, SIDE = (View(orbit(yaw, 0.0), intrinsics(FOCAL)) for yaw in (0.0, 40.0))
DIM = Setting((Lamp(np.array([0.5, 1.0, 1.5]), 0.5, 9.0, np.array([1.0, 0.8, 0.6])),), np.full(3, 0.1), -0.5)
SKY = Setting((), np.array([0.2, 0.3, 0.4]))
SKIN_COLOURS = {"red": (0.6, 0.1, 0.1), "green": (0.1, 0.5, 0.1)}


def square(name, kind, z, half, colour, texture=None, roughness=1.0, shift=0.0):
    """A square that faces +Z."""
    x, y = np.array([-half, half, half, -half]) + shift, np.array([-half, -half, half, half])
    vertices = np.stack([x, y, np.full(4, z)], 1)
    faces = np.array([[0, 1, 2], [0, 2, 3]], np.int32)
    uv = np.array([[0, 0], [1, 0], [1, 1], [0, 1]], np.float32)[faces]
    return Part(name, vertices, faces, SKIN, Material(kind, np.array(colour), texture, roughness), uv)


def person(colour, shift=0.0, bend=0.0):
    """A square of skin whose texture is of one colour, with a few strands before it."""
    texture = np.full((8, 8, 3), SKIN_COLOURS[colour], np.float32)
    roots = np.stack([np.linspace(-0.05, 0.05, 9), np.full(9, 0.06), np.full(9, 0.02)], 1)
    steps = np.linspace(0, 1, 5)[None, :, None]
    points = roots[:, None] + steps * np.array([bend, -0.1, 0.01])
    hair = Fibres("hair", points, np.full((9, 5), 0.001), np.array([0.1, 0.05, 0.02]), np.full((9, 3), 0.2), SKIN)
    skin = square("skin", "skin", 0.0, 0.08, (0, 0, 0), texture, shift=shift)
    return Figure((skin,), (hair,), skin.vertices, np.zeros((2, 2)))


def still(*parts):
    """A figure of some parts."""
    return Figure(parts, (), parts[0].vertices, np.zeros((2, 2)))


def main():
    """Take all pictures, some of them twice after others came between."""
    studio = Studio(Settings(SIZE, 3))
    found = {}

    def take(name, figure, view=FRONT, setting=STUDIO):
        picture = studio.photograph(figure, view, setting)
        found[f"{name}.rgba"], found[f"{name}.depth"] = picture.rgba, picture.depth

    take("red", person("red"))
    take("red moved", person("red", 0.02, 0.03))
    take("red from the side", person("red", 0.02, 0.03), SIDE)
    take("green", person("green"))
    take("green in dim light", person("green"), SIDE, DIM)
    take("again: green", person("green"))
    take("again: red from the side", person("red", 0.02, 0.03), SIDE)
    take("again: red", person("red"))
    take("again: red moved", person("red", 0.02, 0.03))
    take("again: green in dim light", person("green"), SIDE, DIM)

    far = square("ball", "eye", 0.0, 0.2, (0.3, 0.1, 0.1))
    take("eye", still(far))
    take("eye behind a lens", still(far, square("lens", "lens", 0.1, 0.2, (1, 1, 1), roughness=0.02)))
    take("eye behind a frame", still(far, square("frame", "frame", 0.1, 0.2, (0.1, 0.1, 0.1))))
    take("paper", still(square("paper", "cloth", 0.0, 0.05, (0.5, 0.5, 0.5))), FRONT, SKY)

    light = np.array([[[0.25, 0.125, 0.0, 0.5], [0.2, 0.2, 0.2, 1.0], [0.0, 0.0, 0.0, 0.0]]], np.float32)
    nothing = np.zeros((1, 3), np.float32)
    found["developed"] = develop(light, nothing, STUDIO).rgba
    found["developed brighter"] = develop(light, nothing, Setting((), np.zeros(3), 1.0)).rgba
    backdrop = np.full((1, 3, 3), 128, np.uint8)
    found["developed before grey"] = develop(light, nothing, Setting((), np.zeros(3), 0.0, backdrop)).rgba
    np.savez(sys.argv[1], **found)


if __name__ == "__main__":
    main()
    sys.stdout.flush()
    os._exit(0)
