# SPDX-License-Identifier: Apache-2.0
"""Predictive sign gradient descent (E2-Train, section 3.3, eq. 2).

8-bit activations and weights, 16-bit output gradients; a 4-bit x 10-bit predictor decides a sign
where |g_w^msb| >= beta * max|g_w^msb| of the layer, and the full 8x16 gradient decides elsewhere.
The threshold adapts to each layer through its maximum. The paper prints the maximum of |g_y^msb|;
its authors' released code takes that of |g_w^msb|, whose units match eq. 2, and so do we.
"""

from __future__ import annotations

from ..network.integer import FixedSettings

BETA = 0.05
X_MSB_BITS = 4
G_MSB_BITS = 10
LEARNING_RATE = 0.03  # section 4.1: initial rate with PSG


def settings(beta: float, x_msb_bits: int, g_msb_bits: int, stream_bits: int) -> FixedSettings:
    """Integer arithmetic with predicted signs."""
    return FixedSettings(
        predict=True,
        beta=beta,
        x_msb_bits=x_msb_bits,
        g_msb_bits=g_msb_bits,
        stream_bits=stream_bits,
    )
