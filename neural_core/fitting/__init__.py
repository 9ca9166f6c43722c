# SPDX-License-Identifier: Apache-2.0
"""Fitting a system's network to what a user has: a photo (`inversion.py`), or a text (`stylise.py`)."""
