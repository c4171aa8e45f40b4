# SPDX-License-Identifier: Apache-2.0
"""The table of docs/psg.md: bounds and observed failures on random layers of a network's shapes."""

from __future__ import annotations

import numpy as np

from ..device.emulator.numpy_emulator import NumpyEmulator
from ..device.geometry import Geometry
from ..methods.sign_bound import Predictor, failure_bound, observed_failures
from ..numerics.fixedpoint import saturate

LAYERS = {  # name: geometry, samples
    "16 channels, 32x32": (Geometry(16, 32, 32, 16, (3, 3), 1, 1, 1), 8),
    "32 channels, 16x16": (Geometry(32, 16, 16, 32, (3, 3), 1, 1, 1), 16),
    "64 channels, 8x8": (Geometry(64, 8, 8, 64, (3, 3), 1, 1, 1), 16),
    "depthwise 96, 16x16": (Geometry(96, 16, 16, 96, (3, 3), 1, 1, 96), 16),
}
PREDICTORS = {
    "4 x 10 rounded": Predictor(),
    "5 x 11 rounded": Predictor(x_msb_bits=5, g_msb_bits=11),
    "6 x 12 rounded": Predictor(x_msb_bits=6, g_msb_bits=12),
    "4 x 10 truncated": Predictor(truncate=True),
}
SEED = 2019
HEADER = (
    "| layer | slices | predicted | Δx²E1 | Δg²E2 | eq. 3 | per weight | cannot fail | observed |",
    "|---|---|---:|---:|---:|---:|---:|---:|---:|",
)


def random_layer(geometry: Geometry, samples: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Activations as after ReLU, int8, and gradients as behind batch norm and ReLU, int16.

    Activations: rectified normal, one scale a channel. Gradients: Student's t with three degrees
    of freedom (heavy tails) and an offset a channel, masked where the unit's normal output is
    negative, sent back through batch norm; scaled so that the largest just fits 16 bits.
    """
    rng = np.random.default_rng(seed)
    shape = (samples, geometry.channels, geometry.height, geometry.width)
    scale = rng.uniform(10, 40, (1, geometry.channels, 1, 1))
    x = saturate(np.rint(np.maximum(rng.standard_normal(shape), 0) * scale), 8).astype(np.int8)
    shape = (samples, geometry.filters, geometry.out_height, geometry.out_width)
    y, axes = rng.standard_normal(shape), (0, 2, 3)
    offset = 0.3 * rng.standard_normal((1, geometry.filters, 1, 1))
    g = (rng.standard_t(3, shape) + offset) * (y > 0)
    mean, slope = g.mean(axes, keepdims=True), (g * y).mean(axes, keepdims=True)
    g = g - (mean + y * slope)
    return x, np.rint(g * (32767 / np.abs(g).max())).astype(np.int16)


def rows() -> list[str]:
    """The table as lines of Markdown."""
    lines = list(HEADER)
    with NumpyEmulator() as device:
        for layer, (geometry, samples) in LAYERS.items():
            x, g = random_layer(geometry, samples, SEED)
            for name, predictor in PREDICTORS.items():
                found = failure_bound(x, g, geometry, predictor)
                seen = observed_failures(device, x, g, geometry, predictor)
                first, second = found.delta_x**2 * found.e1, found.delta_g**2 * found.e2
                lines.append(
                    f"| {layer} | {name} | {found.predicted / found.weights:.1%} | {first:.2g} "
                    f"| {second:.2g} | {found.bound:.2g} | {found.per_weight:.2g} "
                    f"| {found.certain:.1%} | {seen.rate:.2%} |"
                )
    return lines


def main() -> None:
    """Print the table."""
    print("\n".join(rows()))


if __name__ == "__main__":
    main()
