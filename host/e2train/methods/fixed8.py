# SPDX-License-Identifier: Apache-2.0
"""8-bit fixed-point training after Banner et al., "Scalable methods for 8-bit training" (2018).

Kept: 8-bit activations, weights and gradients; the bifurcated gradient (8 bits go back to the
input, section 4 there, while the weight gradient is taken from a wider copy, here the contract's
16 bits); float32 master weights and update. Not kept: Range BN (the contract's integer batch norm
stands in), stochastic rounding of the 8-bit gradient (round half up), and 8 bits for
`NetworkSpec.invariant_readers`, which that rounding would keep from training (docs/numerics.md).
"""

from __future__ import annotations

from ..network.integer import FixedSettings

INPUT_GRADIENT_BITS = 8


def settings(stream_bits: int) -> FixedSettings:
    """Integer arithmetic with full 8x16 weight gradients and 8-bit input gradients."""
    return FixedSettings(
        predict=False, input_gradient_bits=INPUT_GRADIENT_BITS, stream_bits=stream_bits
    )
