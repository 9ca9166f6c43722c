# SPDX-License-Identifier: Apache-2.0
"""Integrating any field of density and colour along rays."""
