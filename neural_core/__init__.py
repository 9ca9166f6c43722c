# SPDX-License-Identifier: Apache-2.0
"""Networks and geometry behind Neural Portrait. Importing this package imports neither torch nor numpy."""

__version__ = "0.1.0"
