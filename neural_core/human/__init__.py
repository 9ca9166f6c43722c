# SPDX-License-Identifier: Apache-2.0
"""Parametric people: one layout (``model.py``), several sources, and what drives them."""
