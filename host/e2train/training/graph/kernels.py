# SPDX-License-Identifier: Apache-2.0
"""The steps' Triton kernels; `fused` launches them.

Integers are exact as in `steps`. Floats are float64 with +, -, *, / and sqrt; they are launched
with `enable_fp_fusion=False`, so that Triton emits each one as an instruction of its own that is
rounded to nearest (`mul.rn.f64`, ...), which no later stage may contract. Optional pointers are
None. Peaks and sums go to zeroed memory by integer atomics, whose order does not matter.
"""

from __future__ import annotations

import triton
import triton.language as tl

SCALARS = (
    "at_exponent",
    "batch",
    "exponent",
    "g_exponent",
    "headroom",
    "limit",
    "out",
    "out_exponent",
    "peak",
    "ran",
    "samples",
    "shift_in",
    "shift_out",
    "sure",
    "target",
    "top",
    "track",
    "values",
    "w_exponent",
    "x_exponent",
    "y_exponent",
)


def _kernel(function):
    """`triton.jit` that compiles once, wherever in a vector the scalars pointed to may lie."""
    names = function.__code__.co_varnames[: function.__code__.co_argcount]
    loose = [name for name in names if name in SCALARS]
    return triton.jit(function, do_not_specialize_on_alignment=loose)


# ---- floats from bits ---------------------------------------------------------------------------


@triton.jit
def _power(exponent):
    return ((exponent + 1023) << 52).to(tl.float64, bitcast=True)


@triton.jit
def _ldexp(value, exponent):
    near = tl.minimum(tl.maximum(exponent, -1022), 1023)
    return value * _power(exponent - near) * _power(near)


@triton.jit
def _ceiling_exponent(value):
    bits = value.to(tl.int64, bitcast=True)
    biased = (bits >> 52) & 2047
    mantissa = bits & 4503599627370495
    normal = biased - 1022 - (mantissa == 0).to(tl.int64)
    again = mantissa.to(tl.float64).to(tl.int64, bitcast=True)
    below = ((again >> 52) - 1022) - ((again & 4503599627370495) == 0).to(tl.int64) - 1074
    exponent = tl.where(biased == 0, below, normal)
    return tl.where((biased == 2047) | (bits <= 0), 0, exponent)


@triton.jit
def _peak64(v):
    """Largest magnitude of an integer tile, int64."""
    return tl.max(tl.max(tl.abs(v), 1), 0).to(tl.int64)


@triton.jit
def _half(shift):
    return (1 << shift) >> 1


# ---- exponents ----------------------------------------------------------------------------------


@_kernel
def follow(track, headroom, limit, peak, exponent, ran, out, DECAY: tl.constexpr):
    seen = _ldexp(tl.load(peak).to(tl.float64), tl.load(exponent))
    before = tl.load(track)
    after = tl.maximum(seen, before * DECAY)
    if ran is not None:
        after = tl.where(tl.load(ran) > 0, after, before)
    tl.store(track, after)
    tl.store(out, _ceiling_exponent(after * tl.load(headroom) / tl.load(limit)))


@_kernel
def narrow(stream, exponent, target, x, out, size, BLOCK: tl.constexpr):
    at = tl.load(exponent)
    shift = tl.minimum(tl.maximum(tl.load(target) - at, 0), 15)
    if tl.program_id(0) == 0:
        tl.store(out, at + shift)
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    s = shift.to(tl.int32)
    v = (tl.load(stream + i, mask=i < size, other=0).to(tl.int32) + _half(s)) >> s
    tl.store(x + i, tl.minimum(tl.maximum(v, -128), 127).to(tl.int8), mask=i < size)


# ---- convolution --------------------------------------------------------------------------------


@_kernel
def convolve(
    x, w, x_exponent, w_exponent, target, ran, y, y_exponent, at_exponent, peak, sums,
    M, P: tl.constexpr, Q: tl.constexpr, H: tl.constexpr, W: tl.constexpr,
    C: tl.constexpr, K: tl.constexpr, R: tl.constexpr, S: tl.constexpr,
    STRIDE: tl.constexpr, PAD: tl.constexpr,
    BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr, BLOCK_K: tl.constexpr,
):  # fmt: skip
    """x int8 [n,H,W,C], w int8 [K, R*S*C] -> y int16 [M, K] with M = n*P*Q; sums int64 [2, K]."""
    TERMS: tl.constexpr = R * S * C
    m = tl.program_id(0) * BLOCK_M + tl.arange(0, BLOCK_M)
    k = tl.program_id(1) * BLOCK_N + tl.arange(0, BLOCK_N)
    n = m // (P * Q)
    row = (m // Q) % P * STRIDE - PAD
    column = m % Q * STRIDE - PAD
    acc = tl.zeros((BLOCK_M, BLOCK_N), tl.int32)
    for start in range(0, TERMS, BLOCK_K):
        t = start + tl.arange(0, BLOCK_K)
        h = row[:, None] + (t // (S * C))[None, :]
        v = column[:, None] + ((t // C) % S)[None, :]
        inside = (m < M)[:, None] & (t < TERMS)[None, :] & (h >= 0) & (h < H) & (v >= 0) & (v < W)
        at = ((n[:, None] * H + h) * W + v) * C + (t % C)[None, :]
        a = tl.load(x + at, mask=inside, other=0)
        b = tl.load(
            w + k[None, :] * TERMS + t[:, None],
            mask=(k < K)[None, :] & (t < TERMS)[:, None],
            other=0,
        )
        acc = tl.dot(a, b, acc, out_dtype=tl.int32)
    at = tl.load(x_exponent) + tl.load(w_exponent)
    shift = tl.minimum(tl.maximum(tl.load(target) - at, 0), 30)
    if (tl.program_id(0) == 0) & (tl.program_id(1) == 0):
        tl.store(at_exponent, at)
        tl.store(y_exponent, at + shift)
    s = shift.to(tl.int32)
    out = tl.minimum(tl.maximum((acc + _half(s)) >> s, -32768), 32767)
    valid = (m < M)[:, None] & (k < K)[None, :]
    tl.store(y + m[:, None] * K + k[None, :], out.to(tl.int16), mask=valid)
    if ran is not None:
        counted = tl.load(ran + n, mask=m < M, other=0).to(tl.int32)[:, None]
        acc, out = acc * counted, out * counted
    # what is masked off was loaded as 0 and shifts to 0
    tl.atomic_max(peak, _peak64(acc), sem="relaxed")
    total = tl.sum(out, 0).to(tl.int64)
    squares = tl.sum((out * out).to(tl.int64), 0)
    tl.atomic_add(sums + k, total, mask=k < K, sem="relaxed")
    tl.atomic_add(sums + K + k, squares, mask=k < K, sem="relaxed")


@_kernel
def input_gradient(
    g, w, g_exponent, w_exponent, target, output, residual, ran, result, exponent, peak,
    M, P: tl.constexpr, Q: tl.constexpr, H: tl.constexpr, W: tl.constexpr,
    C: tl.constexpr, K: tl.constexpr, R: tl.constexpr, S: tl.constexpr,
    STRIDE: tl.constexpr, PAD: tl.constexpr, BITS: tl.constexpr,
    BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr, BLOCK_K: tl.constexpr,
):  # fmt: skip
    """g int16 [n,P,Q,K], w int8 [C, R*S*K] turned round -> int16 [M, C] with M = n*H*W."""
    TERMS: tl.constexpr = R * S * K
    m = tl.program_id(0) * BLOCK_M + tl.arange(0, BLOCK_M)
    c = tl.program_id(1) * BLOCK_N + tl.arange(0, BLOCK_N)
    n = m // (H * W)
    row = (m // W) % H - (R - 1 - PAD)
    column = m % W - (S - 1 - PAD)
    high = tl.zeros((BLOCK_M, BLOCK_N), tl.int32)
    low = tl.zeros((BLOCK_M, BLOCK_N), tl.int32)
    weights = tl.zeros((BLOCK_N,), tl.int32)
    for start in range(0, TERMS, BLOCK_K):
        t = start + tl.arange(0, BLOCK_K)
        h = row[:, None] + (t // (S * K))[None, :]
        v = column[:, None] + ((t // K) % S)[None, :]
        inside = (m < M)[:, None] & (t < TERMS)[None, :] & (h >= 0) & (v >= 0)
        if STRIDE > 1:
            inside = inside & (h % STRIDE == 0) & (v % STRIDE == 0)
            h = h // STRIDE
            v = v // STRIDE
        inside = inside & (h < P) & (v < Q)
        at = ((n[:, None] * P + h) * Q + v) * K + (t % K)[None, :]
        a = tl.load(g + at, mask=inside, other=0)
        b = tl.load(
            w + c[None, :] * TERMS + t[:, None],
            mask=(c < C)[None, :] & (t < TERMS)[:, None],
            other=0,
        )
        if BITS == 8:
            rounded = tl.minimum((a.to(tl.int32) + 128) >> 8, 127)
            high = tl.dot(rounded.to(tl.int8), b, high, out_dtype=tl.int32)
        else:
            # a = 256*high + low + 128, as in products.split
            high = tl.dot((a >> 8).to(tl.int8), b, high, out_dtype=tl.int32)
            low = tl.dot(((a & 255) - 128).to(tl.int8), b, low, out_dtype=tl.int32)
            weights += tl.sum(b.to(tl.int32), 0)
    acc = high.to(tl.int64)
    if BITS == 16:
        acc = acc * 256 + low.to(tl.int64) + (weights.to(tl.int64) * 128)[None, :]
    at = tl.load(g_exponent) + tl.load(w_exponent) + (16 - BITS)
    shift = tl.minimum(tl.maximum(tl.load(target) - at, -15), 47)
    if (tl.program_id(0) == 0) & (tl.program_id(1) == 0):
        tl.store(exponent, at + shift)
    right = tl.maximum(shift, 0)
    acc = ((acc << tl.maximum(-shift, 0)) + _half64(right)) >> right
    valid = (m < M)[:, None] & (c < C)[None, :]
    place = m[:, None] * C + c[None, :]
    if output is not None:
        acc = tl.where(tl.load(output + place, mask=valid, other=0) > 0, acc, 0)
    if residual is not None:
        added = tl.load(residual + place, mask=valid, other=0).to(tl.int64)
        if ran is not None:
            added = added * tl.load(ran + n, mask=m < M, other=0).to(tl.int64)[:, None]
        acc += added
    acc = tl.where(valid, acc, 0)
    tl.store(result + place, tl.minimum(tl.maximum(acc, -32768), 32767).to(tl.int16), mask=valid)
    tl.atomic_max(peak, _peak64(acc), sem="relaxed")


@triton.jit
def _half64(shift):
    return (tl.full((), 1, tl.int64) << shift) >> 1


@triton.jit
def _slice(v, SHIFT: tl.constexpr, TOP: tl.constexpr):
    rounded = (v.to(tl.int32) + (1 << (SHIFT - 1))) >> SHIFT
    return tl.minimum(tl.maximum(rounded, -TOP), TOP)


@triton.jit
def _bytes(a, g, high, low):
    """The two sums of int8 a [J, M] x int16 g [M, K]: see `products.split`."""
    high = tl.dot(a, (g >> 8).to(tl.int8), high, out_dtype=tl.int32)
    low = tl.dot(a, ((g & 255) - 128).to(tl.int8), low, out_dtype=tl.int32)
    return high, low


@triton.jit
def _joined(high, low, ones):
    """int64 [J, K]; ones: sums of a over M, int32 [J]."""
    return high.to(tl.int64) * 256 + low.to(tl.int64) + (ones.to(tl.int64) * 128)[:, None]


@triton.jit
def weight_gradient(
    x, g, full, predictor,
    M, CHUNK: tl.constexpr, P: tl.constexpr, Q: tl.constexpr, H: tl.constexpr, W: tl.constexpr,
    C: tl.constexpr, K: tl.constexpr, R: tl.constexpr, S: tl.constexpr,
    STRIDE: tl.constexpr, PAD: tl.constexpr, X_MSB: tl.constexpr, G_MSB: tl.constexpr,
    BLOCK_J: tl.constexpr, BLOCK_N: tl.constexpr, BLOCK_M: tl.constexpr,
):  # fmt: skip
    """x int8 [n,H,W,C], g int16 [M, K] -> full int64 [K, R*S*C], and the slices' predictor.

    Program (j, k, chunk) adds its chunk of at most 2^16 positions, whose sums fit 32 bits.
    """
    TERMS: tl.constexpr = R * S * C
    j = tl.program_id(0) * BLOCK_J + tl.arange(0, BLOCK_J)
    k = tl.program_id(1) * BLOCK_N + tl.arange(0, BLOCK_N)
    r = j // (S * C)
    s = (j // C) % S
    c = j % C
    first = tl.program_id(2) * CHUNK
    high = tl.zeros((BLOCK_J, BLOCK_N), tl.int32)
    low = tl.zeros((BLOCK_J, BLOCK_N), tl.int32)
    ones = tl.zeros((BLOCK_J,), tl.int32)
    sliced_high = tl.zeros((BLOCK_J, BLOCK_N), tl.int32)
    sliced_low = tl.zeros((BLOCK_J, BLOCK_N), tl.int32)
    sliced_ones = tl.zeros((BLOCK_J,), tl.int32)
    for start in range(0, CHUNK, BLOCK_M):
        m = first + start + tl.arange(0, BLOCK_M)
        n = m // (P * Q)
        h = ((m // Q) % P * STRIDE - PAD)[None, :] + r[:, None]
        v = (m % Q * STRIDE - PAD)[None, :] + s[:, None]
        inside = (m < M)[None, :] & (j < TERMS)[:, None]
        inside = inside & (h >= 0) & (h < H) & (v >= 0) & (v < W)
        a = tl.load(x + ((n[None, :] * H + h) * W + v) * C + c[:, None], mask=inside, other=0)
        b = tl.load(
            g + m[:, None] * K + k[None, :], mask=(m < M)[:, None] & (k < K)[None, :], other=0
        )
        high, low = _bytes(a, b, high, low)
        ones += tl.sum(a.to(tl.int32), 1)
        if predictor is not None:
            few = _slice(a, 8 - X_MSB, (1 << (X_MSB - 1)) - 1)
            g_slice = _slice(b, 16 - G_MSB, (1 << (G_MSB - 1)) - 1)
            sliced_high, sliced_low = _bytes(few.to(tl.int8), g_slice, sliced_high, sliced_low)
            sliced_ones += tl.sum(few, 1)
    place = k[None, :] * TERMS + j[:, None]
    valid = (j < TERMS)[:, None] & (k < K)[None, :]
    tl.atomic_add(full + place, _joined(high, low, ones), mask=valid, sem="relaxed")
    if predictor is not None:
        coarse = _joined(sliced_high, sliced_low, sliced_ones)
        tl.atomic_add(predictor + place, coarse, mask=valid, sem="relaxed")


@_kernel
def largest(values, top, size, BLOCK: tl.constexpr):
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    v = tl.load(values + i, mask=i < size, other=0)
    tl.atomic_max(top, tl.max(tl.abs(v), 0), sem="relaxed")


@_kernel
def signs(
    full, predictor, top, sign, sure, size, BETA: tl.constexpr, FRACTION: tl.constexpr,
    C: tl.constexpr, R: tl.constexpr, S: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """float32 [K,C,R,S] from int64 [K, R*S*C] (numpy_emulator.decide_signs)."""
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    tap = i % (R * S)
    place = (i // (R * S * C)) * (R * S * C) + tap * C + (i // (R * S)) % C
    m = tl.load(predictor + place, mask=i < size, other=0)
    f = tl.load(full + place, mask=i < size, other=0)
    decided = (m != 0) & ((tl.abs(m) << FRACTION) >= BETA * tl.load(top))
    chosen = tl.where(decided, m, f)
    value = (chosen > 0).to(tl.int32) - (chosen < 0).to(tl.int32)
    tl.store(sign + i, value.to(tl.float32), mask=i < size)
    count = tl.sum(tl.where(i < size, decided.to(tl.int32), 0), 0)
    tl.atomic_add(sure, count.to(tl.int64), sem="relaxed")


@_kernel
def real_gradient(
    full, x_exponent, g_exponent, batch, gradient, size,
    C: tl.constexpr, R: tl.constexpr, S: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """float32 [K,C,R,S] of int64 [K, R*S*C] x 2^exponents / batch."""
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    tap = i % (R * S)
    place = (i // (R * S * C)) * (R * S * C) + tap * C + (i // (R * S)) % C
    v = tl.load(full + place, mask=i < size, other=0).to(tl.float64)
    v = _ldexp(v, tl.load(x_exponent) + tl.load(g_exponent)) / tl.load(batch)
    tl.store(gradient + i, v.to(tl.float32), mask=i < size)


# ---- batch norm ---------------------------------------------------------------------------------


@triton.jit
def _largest_shift(a, A_TOP: tl.constexpr, b, B_TOP: tl.constexpr, c, C_TOP: tl.constexpr):
    """normalisation._largest_shift of three groups' peaks, int64."""
    shifts = tl.arange(0, 32)
    powers = _power(shifts.to(tl.int64) + 1)
    large = (a * powers > A_TOP) | (b * powers > B_TOP) | (c * powers > C_TOP)
    count = tl.sum((large & (shifts < 30)).to(tl.int32), 0)
    return tl.maximum(30 - count, 1).to(tl.int64)


@triton.jit
def _integer(v, shift, TOP: tl.constexpr):
    return tl.floor(tl.minimum(tl.maximum(_ldexp(v, shift), -TOP), TOP) + 0.5).to(tl.int32)


@_kernel
def batch_norm_forward(
    sums, y_exponent, out_exponent, gamma, beta, running_mean, running_variance,
    values, samples, batch, ran, multiplier, offset, shift_out, mean_out, variance_out,
    K: tl.constexpr, TRAINING: tl.constexpr, EPSILON: tl.constexpr, MOMENTUM: tl.constexpr,
    SLOPE_TOP: tl.constexpr, OFFSET_TOP: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """normalisation.forward; *_TOP: largest integer of each width, as floats."""
    k = tl.arange(0, BLOCK)
    kept = k < K
    ye = tl.load(y_exponent)
    oe = tl.load(out_exponent)
    run_mean = tl.load(running_mean + k, mask=kept, other=0.0)
    run_variance = tl.load(running_variance + k, mask=kept, other=1.0)
    if TRAINING:
        count = tl.load(values)
        average = tl.load(sums + k, mask=kept, other=0).to(tl.float64) / count
        square = tl.load(sums + K + k, mask=kept, other=0).to(tl.float64) / count
        spread = tl.maximum(square - average * average, 0.0)
        mean = _ldexp(average, ye)
        variance = _ldexp(spread, 2 * ye)
        share = tl.load(samples) * MOMENTUM / tl.load(batch)
        unbiased = variance * (count / (count - 1.0))
        # each spread over k before it is compared: Triton's interpreter spreads no truth value
        moves = kept & (k.to(tl.float64) * 0.0 + count > 1.0)
        if ran is not None:
            moves = moves & (k * 0 + tl.load(ran).to(tl.int32) > 0)
        step = (share * (mean - run_mean.to(tl.float64))).to(tl.float32)
        tl.store(running_mean + k, run_mean + step, mask=moves)
        step = (share * (unbiased - run_variance.to(tl.float64))).to(tl.float32)
        tl.store(running_variance + k, run_variance + step, mask=moves)
    else:
        mean = run_mean.to(tl.float64)
        variance = run_variance.to(tl.float64)
    tl.store(mean_out + k, mean, mask=kept)
    tl.store(variance_out + k, variance, mask=kept)
    one = tl.full((BLOCK,), 1.0, tl.float64)
    inverse = one / tl.sqrt(variance + EPSILON)
    slope = tl.load(gamma + k, mask=kept, other=0.0).to(tl.float64) * inverse
    raw_offset = tl.load(beta + k, mask=kept, other=0.0).to(tl.float64) - slope * mean
    factor = tl.where(kept, _ldexp(slope, ye - oe), 0.0)
    constant = tl.where(kept, _ldexp(raw_offset, -oe), 0.0)
    zero = tl.full((), 0.0, tl.float64)
    shift = _largest_shift(
        tl.max(tl.abs(factor), 0), SLOPE_TOP - 1.0,
        tl.max(tl.abs(constant), 0), OFFSET_TOP - 1.0, zero, OFFSET_TOP,
    )  # fmt: skip
    tl.store(shift_out, shift)
    tl.store(multiplier + k, _integer(factor, shift, SLOPE_TOP), mask=kept)
    tl.store(offset + k, _integer(constant, shift, OFFSET_TOP), mask=kept)


@_kernel
def batch_norm_backward(
    sums, mean_in, variance_in, gamma, g_exponent, y_exponent, out_exponent, values, batch,
    a_out, b_out, c_out, shift_out, gamma_gradient, beta_gradient,
    K: tl.constexpr, EPSILON: tl.constexpr, SLOPE_TOP: tl.constexpr, OFFSET_TOP: tl.constexpr,
    BLOCK: tl.constexpr,
):  # fmt: skip
    """normalisation.backward."""
    k = tl.arange(0, BLOCK)
    kept = k < K
    ge = tl.load(g_exponent)
    ye = tl.load(y_exponent)
    oe = tl.load(out_exponent)
    mean = tl.load(mean_in + k, mask=kept, other=0.0)
    variance = tl.load(variance_in + k, mask=kept, other=1.0)
    one = tl.full((BLOCK,), 1.0, tl.float64)
    inverse = one / tl.sqrt(variance + EPSILON)
    sum_g = _ldexp(tl.load(sums + k, mask=kept, other=0).to(tl.float64), ge)
    sum_g_y = _ldexp(tl.load(sums + K + k, mask=kept, other=0).to(tl.float64), ge + ye)
    sum_g_y_hat = (sum_g_y - mean * sum_g) * inverse
    samples = tl.load(batch)
    tl.store(gamma_gradient + k, (sum_g_y_hat / samples).to(tl.float32), mask=kept)
    tl.store(beta_gradient + k, (sum_g / samples).to(tl.float32), mask=kept)
    count = tl.load(values)
    slope = tl.load(gamma + k, mask=kept, other=0.0).to(tl.float64) * inverse
    line_b = -(slope * inverse) * (sum_g_y_hat / count)
    line_c = -slope * (sum_g / count) - line_b * mean
    a = tl.where(kept, _ldexp(slope, ge - oe), 0.0)
    b = tl.where(kept, _ldexp(line_b, ye - oe), 0.0)
    c = tl.where(kept, _ldexp(line_c, -oe), 0.0)
    shift = _largest_shift(
        tl.max(tl.abs(a), 0), SLOPE_TOP - 1.0, tl.max(tl.abs(b), 0), SLOPE_TOP - 1.0,
        tl.max(tl.abs(c), 0), OFFSET_TOP - 1.0,
    )  # fmt: skip
    tl.store(shift_out, shift)
    tl.store(a_out + k, _integer(a, shift, SLOPE_TOP), mask=kept)
    tl.store(b_out + k, _integer(b, shift, SLOPE_TOP), mask=kept)
    tl.store(c_out + k, _integer(c, shift, OFFSET_TOP), mask=kept)


@_kernel
def normalise(
    y, multiplier, offset, shift_in, residual, ran, z, peak,
    M, POSITIONS, K: tl.constexpr, RECTIFY: tl.constexpr, LOW: tl.constexpr, HIGH: tl.constexpr,
    BLOCK_M: tl.constexpr, BLOCK_K: tl.constexpr,
):  # fmt: skip
    """y int16 [M, K] -> z int8 or int16 [M, K], saturated to [LOW, HIGH]."""
    m = tl.program_id(0) * BLOCK_M + tl.arange(0, BLOCK_M)
    k = tl.program_id(1) * BLOCK_K + tl.arange(0, BLOCK_K)
    valid = (m < M)[:, None] & (k < K)[None, :]
    place = m[:, None] * K + k[None, :]
    s = tl.load(shift_in).to(tl.int32)
    factor = tl.load(multiplier + k, mask=k < K, other=0)[None, :]
    constant = tl.load(offset + k, mask=k < K, other=0)[None, :] + _half(s)
    v = (tl.load(y + place, mask=valid, other=0).to(tl.int32) * factor + constant) >> s
    if residual is not None:
        v += tl.load(residual + place, mask=valid, other=0).to(tl.int32)
    if RECTIFY:
        v = tl.maximum(v, 0)
    saturated = tl.minimum(tl.maximum(v, LOW), HIGH)
    tl.store(z + place, saturated.to(z.dtype.element_ty), mask=valid)
    v = tl.where(valid, v, 0)
    if ran is not None:
        v = v * tl.load(ran + m // POSITIONS, mask=m < M, other=0).to(tl.int32)[:, None]
    tl.atomic_max(peak, _peak64(v), sem="relaxed")


@_kernel
def mask(g, output, masked, size, BLOCK: tl.constexpr):
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    v = tl.load(g + i, mask=i < size, other=0)
    opened = tl.load(output + i, mask=i < size, other=0) > 0
    tl.store(masked + i, tl.where(opened, v, 0), mask=i < size)


@_kernel
def channel_sums(
    a, b, ran, sums, M, POSITIONS, K: tl.constexpr, BLOCK_M: tl.constexpr, BLOCK_K: tl.constexpr,
    LOOPS: tl.constexpr,
):  # fmt: skip
    """Sums of int16 a and of a * b [M, K] into int64 [2, K]."""
    k = tl.program_id(1) * BLOCK_K + tl.arange(0, BLOCK_K)
    total = tl.zeros((BLOCK_K,), tl.int64)
    products = tl.zeros((BLOCK_K,), tl.int64)
    for loop in range(LOOPS):
        m = (tl.program_id(0) * LOOPS + loop) * BLOCK_M + tl.arange(0, BLOCK_M)
        valid = (m < M)[:, None] & (k < K)[None, :]
        place = m[:, None] * K + k[None, :]
        v = tl.load(a + place, mask=valid, other=0).to(tl.int32)
        if ran is not None:
            v = v * tl.load(ran + m // POSITIONS, mask=m < M, other=0).to(tl.int32)[:, None]
        u = tl.load(b + place, mask=valid, other=0).to(tl.int32)
        total += tl.sum(v, 0).to(tl.int64)
        products += tl.sum((v * u).to(tl.int64), 0)
    tl.atomic_add(sums + k, total, mask=k < K, sem="relaxed")
    tl.atomic_add(sums + K + k, products, mask=k < K, sem="relaxed")


@_kernel
def normalise_backward(
    g, y, a_in, b_in, c_in, shift_in, ran, dy, peak,
    M, POSITIONS, K: tl.constexpr, BLOCK_M: tl.constexpr, BLOCK_K: tl.constexpr,
):  # fmt: skip
    """g, y int16 [M, K] -> dy int16 [M, K]."""
    m = tl.program_id(0) * BLOCK_M + tl.arange(0, BLOCK_M)
    k = tl.program_id(1) * BLOCK_K + tl.arange(0, BLOCK_K)
    valid = (m < M)[:, None] & (k < K)[None, :]
    place = m[:, None] * K + k[None, :]
    s = tl.load(shift_in).to(tl.int32)
    a = tl.load(a_in + k, mask=k < K, other=0)[None, :]
    b = tl.load(b_in + k, mask=k < K, other=0)[None, :]
    c = tl.load(c_in + k, mask=k < K, other=0)[None, :] + _half(s)
    v = tl.load(g + place, mask=valid, other=0).to(tl.int32) * a
    v = (v + tl.load(y + place, mask=valid, other=0).to(tl.int32) * b + c) >> s
    v = tl.where(valid, v, 0)
    if ran is not None:
        v = v * tl.load(ran + m // POSITIONS, mask=m < M, other=0).to(tl.int32)[:, None]
    tl.store(dy + place, tl.minimum(tl.maximum(v, -32768), 32767).to(tl.int16), mask=valid)
    tl.atomic_max(peak, _peak64(v), sem="relaxed")
