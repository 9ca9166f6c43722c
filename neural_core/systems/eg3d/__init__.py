# SPDX-License-Identifier: Apache-2.0
"""EG3D (Chan et al., CVPR 2022): a code and a camera make a tri-plane, which is rendered as a volume.

To read it in the paper's order: `generator.py`, then `planes.py`, `rendering/volume.py`, `nn/superresolution.py`, and
`training/discriminators.py` for the other player.
"""
