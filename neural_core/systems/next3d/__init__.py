# SPDX-License-Identifier: Apache-2.0
"""Next3D (Sun et al., CVPR 2023): EG3D's planes, over which a face mesh's texture is drawn for each expression.

To read it in the paper's order: `generator.py` (the published network), `dynamic.py` (mesh and texture to planes),
`mouth.py` over `nn/style_unet.py` (the inside of the mouth), then `planes.py` and `rendering/volume.py` of the package.
"""
