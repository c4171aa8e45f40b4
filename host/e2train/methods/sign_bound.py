# SPDX-License-Identifier: Apache-2.0
"""How often PSG's predictor may take the wrong sign: paper eq. 3, derived in docs/psg.md.

Everything is conditional on the slices, so the predicted weights and their |g_w^msb| are fixed and
only the bits below the slices, the noise, are random. Three statements:

- eq. 3: with independent, zero-mean noise of variance Delta^2/12 an element,
  P(H) <= Delta_x^2 E1 + Delta_g^2 E2, E1 = |g|^2 / (12 tau^2), E2 = |x_msb|^2 / (12 tau^2);
- per weight: independent noise with the mean and variance that the layer's noise has (so biases
  of ReLU, truncation and saturation count), by Cantelli's inequality at the weight's own gradient;
- certain: weights whose |g_w^msb| exceeds the largest error that their slices allow cannot fail.

`python -m e2train.bench.sign_bound_table` prints the table of docs/psg.md.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..device.base import Device
from ..device.emulator.im2col import convolve_weight_gradient
from ..device.emulator.numpy_emulator import decide_signs
from ..device.geometry import Geometry
from ..numerics.fixedpoint import ACTIVATION_BITS, GRADIENT_BITS, limits, quantise_beta, slice_msb


@dataclass(frozen=True)
class Predictor:
    """PSG's predictor: threshold ratio, slice widths, and how slices are cut.

    `truncate` drops the low bits instead of rounding: for comparison only, no device does it.
    """

    beta: float = 0.05
    x_msb_bits: int = 4
    g_msb_bits: int = 10
    truncate: bool = False

    @property
    def delta_x(self) -> float:
        """Step of x's slices where x spans [-1, 1): 2^-(B_x^msb - 1), as below eq. 3."""
        return float(np.ldexp(1.0, 1 - self.x_msb_bits))

    @property
    def delta_g(self) -> float:
        """Step of the output gradient's slices, likewise."""
        return float(np.ldexp(1.0, 1 - self.g_msb_bits))

    @property
    def step_x(self) -> int:
        """The same step in units of the int8 activation."""
        return 1 << (ACTIVATION_BITS - self.x_msb_bits)

    @property
    def step_g(self) -> int:
        """The same step in units of the int16 output gradient."""
        return 1 << (GRADIENT_BITS - self.g_msb_bits)


@dataclass(frozen=True)
class FailureBound:
    """Bounds on the rate of wrong signs among a layer's predicted weights; 0 where there are none.

    predicted, weights: how many of the layer's weights are predicted; e1, e2, delta_x, delta_g: of
    eq. 3, averaged over the predicted weights; per_weight: the second statement's mean; certain:
    share of the predicted weights that cannot fail.
    """

    predicted: int
    weights: int
    e1: float
    e2: float
    delta_x: float
    delta_g: float
    per_weight: float
    certain: float

    @property
    def bound(self) -> float:
        """Eq. 3's right-hand side (it may exceed 1, and then says nothing)."""
        return self.delta_x**2 * self.e1 + self.delta_g**2 * self.e2


@dataclass(frozen=True)
class Failures:
    """Wrong signs among a layer's predicted weights; `failed` is bool [K,C/groups,R,S]."""

    predicted: int
    failed: np.ndarray

    @property
    def rate(self) -> float:
        """Share of the predicted weights whose sign is wrong, 0 where none is predicted."""
        return int(self.failed.sum()) / self.predicted if self.predicted else 0.0


def layer_geometry(
    x: np.ndarray,
    g: np.ndarray,
    kernel_size: tuple[int, int],
    stride: int = 1,
    padding: int = 0,
    groups: int = 1,
) -> Geometry:
    """Geometry of a layer from x int8 [N,C,H,W] and g int16 [N,K,P,Q]; ValueError on a mismatch."""
    geometry = Geometry(
        x.shape[1], x.shape[2], x.shape[3], g.shape[1], kernel_size, stride, padding, groups
    )
    expected = (len(x), geometry.filters, geometry.out_height, geometry.out_width)
    if g.shape != expected:
        raise ValueError(f"g: shape {g.shape} given, expected {expected}")
    return geometry


def failure_bound(
    x: np.ndarray, g: np.ndarray, geometry: Geometry, predictor: Predictor | None = None
) -> FailureBound:
    """The three statements for one layer and mini-batch: x int8 [N,C,H,W], g int16 [N,K,P,Q]."""
    predictor = Predictor() if predictor is None else predictor
    cut_x, cut_g = cut(x, g, predictor)
    m, predicted = decide(_gradient(cut_x, cut_g, geometry), predictor.beta)
    count, delta_x, delta_g = int(predicted.sum()), predictor.delta_x, predictor.delta_g
    if count == 0:
        return FailureBound(0, predicted.size, 0.0, 0.0, delta_x, delta_g, 0.0, 0.0)
    tau = quantise_beta(predictor.beta) / 2**16 * float(np.abs(m).max())
    tau = max(tau, 1.0) * delta_x * delta_g  # m is a non-zero integer where it predicts
    e1, e2 = _paper_terms(x, g, cut_x, geometry, predictor)
    per_weight = _cantelli(
        m, _moments(x, cut_x, predictor.step_x), _moments(g, cut_g, predictor.step_g), geometry
    )
    certain = np.abs(m) * predictor.step_x * predictor.step_g > _largest_error(
        cut_x, cut_g, geometry, predictor
    )
    return FailureBound(
        count,
        predicted.size,
        float(e1[predicted].mean()) / tau**2,
        float(e2[predicted].mean()) / tau**2,
        delta_x,
        delta_g,
        float(per_weight[predicted].mean()),
        float(certain[predicted].mean()),
    )


def observed_failures(
    device: Device,
    x: np.ndarray,
    g: np.ndarray,
    geometry: Geometry,
    predictor: Predictor | None = None,
) -> Failures:
    """Predicted weights whose sign is not that of the full gradient, on a device's exact integers.

    A full gradient of zero counts as a failure: the predictor says plus or minus one.
    """
    predictor = Predictor() if predictor is None else predictor
    layer = {"stride": geometry.stride, "padding": geometry.padding, "groups": geometry.groups}
    full = device.conv_backward_weight(x, g, geometry.kernel, **layer)
    cut_x, cut_g = cut(x, g, predictor)
    m = device.conv_backward_weight(cut_x, cut_g, geometry.kernel, **layer)
    m, predicted = decide(m, predictor.beta)
    return Failures(int(predicted.sum()), predicted & (np.sign(m) != np.sign(full)))


def _gradient(x: np.ndarray, g: np.ndarray, geometry: Geometry) -> np.ndarray:
    """Sum of x*g over each weight's reduction, float64; zero padding contributes nothing."""
    return convolve_weight_gradient(x.astype(np.float64), g.astype(np.float64), geometry)


def _slice(values: np.ndarray, bits: int, msb: int, truncate: bool) -> np.ndarray:
    if not truncate:
        return slice_msb(values, bits, msb)
    return values >> (bits - msb)


def cut(x: np.ndarray, g: np.ndarray, predictor: Predictor) -> tuple[np.ndarray, np.ndarray]:
    """The slices of x int8 [N,C,H,W] and g int16 [N,K,P,Q] that the predictor multiplies."""
    return (
        _slice(x, ACTIVATION_BITS, predictor.x_msb_bits, predictor.truncate),
        _slice(g, GRADIENT_BITS, predictor.g_msb_bits, predictor.truncate),
    )


def decide(m: np.ndarray, beta: float) -> tuple[np.ndarray, np.ndarray]:
    """The predictor's gradient as int64 [K,C/groups,R,S], and bool: where it decides the sign."""
    m = m.astype(np.int64)
    return m, decide_signs(m, np.zeros_like(m), quantise_beta(beta)).predicted


def _paper_terms(
    x: np.ndarray, g: np.ndarray, cut_x: np.ndarray, geometry: Geometry, predictor: Predictor
) -> tuple[np.ndarray, np.ndarray]:
    """|g|^2 / 12 and |x_msb|^2 / 12 over each weight's reduction, mantissas in [-1, 1)."""
    scaled_g = g.astype(np.float64) * 2.0 ** (1 - GRADIENT_BITS)
    scaled_x = cut_x.astype(np.float64) * predictor.delta_x
    e1 = _gradient(np.ones(x.shape), scaled_g**2, geometry) / 12
    e2 = _gradient(scaled_x**2, np.ones(g.shape), geometry) / 12
    return e1, e2


def _moments(values: np.ndarray, cut: np.ndarray, step: int) -> tuple[np.ndarray, np.ndarray]:
    """Mean and variance of each element given its slice, float64, shaped as `values` [N,C,H,W].

    The noise of an element is taken to be drawn from the noise of those elements of its channel
    whose slices have the same sign (negative, zero, positive).
    """
    centre = cut.astype(np.float64) * step
    noise = values - centre
    channels = np.arange(values.shape[1])[:, None, None]
    group = 3 * channels + np.sign(cut).astype(np.int64) + 1
    flat, size = group.ravel(), 3 * values.shape[1]
    count = np.maximum(np.bincount(flat, minlength=size), 1)
    mean = np.bincount(flat, noise.ravel(), size) / count
    variance = np.bincount(flat, (noise - mean[group]).ravel() ** 2, size) / count
    return centre + mean[group], variance[group]


def _cantelli(
    m: np.ndarray,
    x: tuple[np.ndarray, np.ndarray],
    g: tuple[np.ndarray, np.ndarray],
    geometry: Geometry,
) -> np.ndarray:
    """P(sgn g_w != sgn m) <= V / (V + d^2), d the expected g_w in m's direction (1 if d <= 0).

    x, g: mean and variance of each element given its slice.
    """
    distance = np.sign(m) * _gradient(x[0], g[0], geometry)
    variance = _gradient(x[0] ** 2, g[1], geometry) + _gradient(x[1], g[0] ** 2 + g[1], geometry)
    squared = np.maximum(distance, 0.0) ** 2
    return np.divide(variance, variance + squared, out=np.ones(m.shape), where=squared > 0)


def _reach(cut: np.ndarray, bits: int, msb: int, truncate: bool) -> np.ndarray:
    """Largest |element - slice| that a slice allows: half a step, or a whole one saturated."""
    step = 1 << (bits - msb)
    if truncate:
        return np.full(cut.shape, step - 1.0)
    return np.where(np.abs(cut) == limits(msb)[1], float(step), step / 2)


def _largest_error(
    cut_x: np.ndarray, cut_g: np.ndarray, geometry: Geometry, predictor: Predictor
) -> np.ndarray:
    """Upper bound of |g_w - g_w^msb| in full units, whatever the bits below the slices are."""
    reach_x = _reach(cut_x, ACTIVATION_BITS, predictor.x_msb_bits, predictor.truncate)
    reach_g = _reach(cut_g, GRADIENT_BITS, predictor.g_msb_bits, predictor.truncate)
    top_x = np.abs(cut_x.astype(np.float64)) * predictor.step_x
    top_g = np.abs(cut_g.astype(np.float64)) * predictor.step_g + reach_g
    return _gradient(reach_x, top_g, geometry) + _gradient(top_x, reach_g, geometry)
