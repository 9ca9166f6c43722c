# SPDX-License-Identifier: Apache-2.0
"""Numbers that decide tests, and where they come from."""

# EG3D parity: the README of the fixtures recommends these. Re-ordering legitimate float32 arithmetic in the code that
# made them moved planes by 8e-6 (values up to 15), raw pictures by 3.5e-6, depths by 1.7e-6 and pictures by 5.8e-6.
EG3D_OPS = 1e-5  # relative to the largest absolute value of the expected array
EG3D_W = 1e-5  # absolute
EG3D_PLANES = 1e-4  # absolute
EG3D_PICTURE = 1e-4  # absolute; features, raw pictures, depths, pictures
EG3D_LOGIT = 1e-4  # relative to the largest; logits and R1 gradients
# A fine sample whose quantile falls on an edge of the cumulative weights may land on either side of it.
EG3D_DEPTH_OUTLIER = 1e-3
EG3D_DEPTH_OUTLIER_SHARE = 1e-3

# Rasteriser parity: PyTorch3D works in float32, so a pixel centre within rounding of an edge may change sides; seen: at
# most 1 of 131072 pixels a view, weights by 8e-6.
RASTER_EDGE_PIXELS = 3
RASTER_PLACE = 2e-7  # pictures are 2 wide
RASTER_WEIGHT = 3e-5
RASTER_FEATURE = 5e-6  # codes in 0..1, depths up to 11

# Next3D parity: the README of the fixtures recommends these. The drawings are compared pixel for pixel, but for the few
# slivers of triangles that PyTorch3D's float32 puts before or behind their neighbours.
NEXT3D_COVERAGE = 1e-4  # absolute; of 0..1
NEXT3D_DRAWING = 1e-4  # relative to the largest; seen: 6e-5, in slivers whose area is rounding
NEXT3D_PLANES = 1e-5  # relative to the largest
NEXT3D_PICTURE = 2e-4  # absolute; raw pictures, depths, pictures
NEXT3D_UNIT = 1e-4  # absolute; the small files
NEXT3D_SLIVERS = 5e-3  # share of the planes' pixels; seen: 2.6e-3, around one pixel
NEXT3D_SLIVER_PICTURE = 4e-3  # absolute; seen: 1.8e-3
