# SPDX-License-Identifier: Apache-2.0
"""The operations that StyleGAN2's networks are made of, in plain torch."""
