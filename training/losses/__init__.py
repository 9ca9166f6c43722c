# SPDX-License-Identifier: Apache-2.0
"""Loss terms; each returns a value, the recipe weighs it."""
