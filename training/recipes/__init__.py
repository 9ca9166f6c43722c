# SPDX-License-Identifier: Apache-2.0
"""Recipes: what each system's training consists of. Names to modules, nothing else."""

RECIPES = {
    "eg3d": ("training.recipes.eg3d", "EG3D: adversarial training on pictures with camera labels"),
    "eg3d-warm-start": (
        "training.recipes.eg3d_warm_start",
        "EG3D with a face code: supervised warm start on people of our own",
    ),
    "next3d": ("training.recipes.next3d", "Next3D: adversarial training on people whose faces move"),
    "next3d-warm-start": (
        "training.recipes.next3d_warm_start",
        "Next3D with a face code: supervised warm start on moving people of our own",
    ),
    "lipsync": ("training.recipes.lipsync", "lips from sound, learnt from spoken clips of our own"),
}
