# SPDX-License-Identifier: Apache-2.0
"""Training, synthesis and evaluation. Imports neural_core; nothing imports it."""
