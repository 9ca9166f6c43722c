# SPDX-License-Identifier: Apache-2.0
"""A package, because a dependency of the metrics installs one of the same name."""
