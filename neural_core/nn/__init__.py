# SPDX-License-Identifier: Apache-2.0
"""Building blocks of networks. They take plain arguments and know no configuration."""
