// SPDX-License-Identifier: Apache-2.0
// The vector unit: memory-bound layers around the convolutions, sixteen samples at a time.
//
// Tensors lie sample-blocked, [ceil(samples / 16)][channels][height][width][16 lanes]; all are
// int16 unless a register says otherwise. Lanes of samples that do not exist are zero in every
// input and in every output. Registers an operation does not name are not looked at.
//
// A 64-bit port brings four 16-bit lanes a cycle, and the unit works on four: a word of sixteen
// takes four cycles. Each operation is a chain of processes, a reader a port, what is computed, a
// writer; all accesses of a port are one burst, or a few.
#ifndef E2TRAIN_VECTOR_UNIT_HPP
#define E2TRAIN_VECTOR_UNIT_HPP

#include "e2train/check.hpp"
#include "e2train/counters.hpp"
#include "e2train/types.hpp"

namespace e2 {

constexpr std::int32_t MAP_MOST_SHIFT = 30;

// Sums over a whole tensor. A tensor lies within 2^32 bytes, so it has at most 2^31 elements, and a
// product of two 16-bit numbers (or of one and a difference) is at most 2^31.
typedef std::int64_t WideSum;

// Sizes of a, from which every operation starts.
struct TensorSize {
    Count groups;  // of 16 samples
    Count plane;   // words of a channel
    Count planes;  // of all groups
    Count words;
};

// Out of `operation`: whether the vector unit knows it (map ... move).
bool is_vector_operation(std::int32_t operation);

// ERRORS_OK, ERRORS_OPERATION, ERRORS_GEOMETRY (a size of 0 or above its limit, a resampled
// position outside its source) or ERRORS_ARGUMENT (an option the operation does not have, a shift,
// ...).
std::uint32_t check_vector(const Arguments& a);

// Memory that a launch reads and writes, the result block's header included; returns how many.
// Only for arguments that check_vector found good.
int vector_ranges(const Arguments& a, Range ranges[MAX_RANGES]);

// Runs a checked operation. ERRORS_OK, or ERRORS_ARGUMENT for a table of `move` that names groups
// or lanes that do not exist: then nothing has been written.
std::uint32_t run_vector(const Arguments& a, const Beat* columns, const Beat* rows,
                         const Beat* extra, Beat* output, ChannelEntry table[LIMITS_CHANNELS],
                         Counters& counters);

// out = saturate(v) to `bits` (8: int8 out; 9 to 16: int16 out), of samples x channels x height x
// width, with v = (a*m + b*n + o + half) >> shift (shift 0 to MAP_MOST_SHIFT; b: option second),
// then residual added, max(v, 0) (rectify), min(v, register ceiling) (ceiling), 0 unless 0 < mask
// (mask8, mask16) and mask < register count (count 0: no limit). Mask and residual share a port:
// only one of them. Coefficients at rows_address: int32 [channels][4] = m, n, o, 0 with m and n of
// 16 bits. counters.peak: largest |v| before saturation.
void vector_map(const Arguments& a, const TensorSize& size, const Beat* columns, const Beat* rows,
                const Beat* extra, Beat* output, ChannelEntry table[LIMITS_CHANNELS],
                Counters& counters);

// Result: int64 sums of g = a, [channels], then of g * y with y = b, [channels].
void channel_sums(const Arguments& a, const TensorSize& size, const Beat* columns, const Beat* rows,
                  Beat* output, ChannelEntry table[LIMITS_CHANNELS], Counters& counters);

// Result: per sample the int64 sum of g * (after - before), [groups * 16], with g = a, after = b,
// before = residual.
void sample_products(const Arguments& a, const TensorSize& size, const Beat* columns,
                     const Beat* rows, const Beat* extra, Beat* output, Counters& counters);

// Result: int64 sums over rows 0, row_step, 2 row_step, ... and columns 0, column_step, ... of a:
// [groups][channels][16].
void pool(const Arguments& a, const TensorSize& size, const Beat* columns, Beat* output,
          Counters& counters);

// out [filters, out_height, out_width] takes channel c - channel_offset of a [channels, height,
// width] at (row, column) * stride; option up: at (row, column) / stride where that divides, else
// zero; option spread: at (0, 0). Zero where that channel does not exist.
void resample(const Arguments& a, const TensorSize& size, const Beat* columns, Beat* output,
              Counters& counters);

// out (samples) takes lanes from a (first_samples) and, option second, b (second_samples);
// all channels x height x width, elements of `bits` 8 or 16. The table at rows_address has
// `table_entries` entries of three beats: bits 0 to 15 of the first name the group of out, 16 to 31
// the source's group, bit 32 says that the source is b, bit 33 that this is its group's first
// entry; the two others say for each lane which lane of the source it takes (0 to 15), or 0x80:
// none, it stays. Each group of out has its entries one after another, all groups in order.
std::uint32_t move_samples(const Arguments& a, const TensorSize& size, const Beat* columns,
                           const Beat* rows, const Beat* extra, Beat* output, Counters& counters);

}  // namespace e2

#endif
