// SPDX-License-Identifier: Apache-2.0
#include "e2train/mac_core.hpp"

#include "e2train/products.hpp"

namespace e2 {

namespace {

typedef ap_int<WIDTHS_CELL_SUM> CellSum;

constexpr Count MAX_CYCLES = 1 << 30;

// The flags of a step, each by its name.
struct Step {
    bool first;
    bool last;
    bool run_first;
    bool run_last;
    bool across;
    bool packed;
    bool other;
    bool end;
    std::uint8_t ahead;
    Count words;
};

// The operands of a step as numbers.
struct Operands {
    Byte row[PACKED_ROWS][LANES];
    Half first[LANES];
    Half second[LANES];
};

// What the cells and rows have summed in the visit under way.
struct Accumulators {
    Sum dsp[ROWS][LANES];      // the DSPs' registers: plain sums, or a run of packed ones
    CellSum low[ROWS][LANES];  // packed sums, taken apart
    CellSum high[ROWS][LANES];
    Sum row_low[ROWS];  // sums across the columns
    Sum row_high[ROWS];
    Sum beside[PACKED_ROWS];  // and of the products in LUTs
};

// Sums of the visit before, on their way out.
struct Drain {
    Sum row[PACKED_ROWS][LANES];
    Count next;
    Count words;
};

bool flag(std::uint32_t bits, int at) {
    return ((bits >> at) & 1U) != 0;
}

Step step_of(const StepFlags& flags) {
#pragma HLS INLINE
    const std::uint32_t bits = flags.to_uint();
    const std::uint32_t words = (bits >> CORE_WORDS) & ((1U << WORDS_BITS) - 1U);
    const Step step = {flag(bits, CORE_FIRST),
                       flag(bits, CORE_LAST),
                       flag(bits, CORE_RUN_FIRST),
                       flag(bits, CORE_RUN_LAST),
                       flag(bits, CORE_ACROSS),
                       flag(bits, CORE_PACKED),
                       flag(bits, CORE_OTHER),
                       flag(bits, CORE_END),
                       static_cast<std::uint8_t>(bits >> CORE_AHEAD),
                       static_cast<Count>(words)};
    return step;
}

Operands operands_of(const RowBits& rows, const ColumnBits& columns) {
#pragma HLS INLINE
    Operands operands;
operand_rows:
    for (int row = 0; row < PACKED_ROWS; ++row) {
#pragma HLS UNROLL
        for (int lane = 0; lane < LANES; ++lane) {
#pragma HLS UNROLL
            operands.row[row][lane] =
                byte_of(part(rows, BYTE_PARTS * row + lane / BYTES_A_PART), lane % BYTES_A_PART);
        }
    }
operand_columns:
    for (int c = 0; c < LANES; ++c) {
#pragma HLS UNROLL
        const int at = c / HALVES_A_PART;
        operands.first[c] = half_of(part(columns, at), c % HALVES_A_PART);
        operands.second[c] = half_of(part(columns, HALF_PARTS + at), c % HALVES_A_PART);
    }
    return operands;
}

// What a cell multiplies with its column. Along positions all columns of a row take the same, from
// lane 0; across, packed, the DSPs take the low nibbles.
RowPort row_port(const Operands& from, const Step& step, int r, int c) {
#pragma HLS INLINE
    const int lane = step.across ? c : 0;
    const Byte high = from.row[2 * r + 1][lane];
    const Byte low = from.row[2 * r][lane];
    const RowPort packed =
        step.across ? Packed::port(low_nibble(high), low_nibble(low)) : Packed::port(high, low);
    return step.packed ? packed : Plain::port(from.row[r][lane]);
}

// A product of one sample, added to what the cell has. Four packed products fit the DSP's register;
// then its two sums move to registers of their own.
void add_to_cell(Sum product, const Step& step, int r, int c, Accumulators& to) {
#pragma HLS INLINE
    const bool fresh = step.packed ? step.run_first : step.first;
    const Sum run = fresh ? product : Sum(to.dsp[r][c] + product);
    const bool taken = step.packed && step.run_last;
    const CellSum low = step.first ? CellSum(0) : to.low[r][c];
    const CellSum high = step.first ? CellSum(0) : to.high[r][c];
    to.dsp[r][c] = run;
    to.low[r][c] = taken ? CellSum(low + Packed::low(run)) : low;
    to.high[r][c] = taken ? CellSum(high + Packed::high(run)) : high;
}

// The products of a row's columns, summed in a chain through the DSPs' cascade ports.
void add_to_row(std::int64_t chain, const Step& step, int r, Accumulators& to) {
#pragma HLS INLINE
    const Sum low = step.packed ? Packed::low(chain) : Plain::low(chain);
    const Sum high = step.packed ? Packed::high(chain) : Plain::high(chain);
    to.row_low[r] = step.first ? low : Sum(to.row_low[r] + low);
    to.row_high[r] = step.first ? high : Sum(to.row_high[r] + high);
}

// The products in LUTs: of the high nibbles of every row.
void step_beside(const Operands& from, const Step& step, Accumulators& to) {
#pragma HLS INLINE
beside_rows:
    for (int row = 0; row < PACKED_ROWS; ++row) {
#pragma HLS UNROLL
        Count sum = 0;
    beside_columns:
        for (int c = 0; c < LANES; ++c) {
#pragma HLS UNROLL
            const Half column = step.other ? from.second[c] : from.first[c];
            const Count product = high_nibble(from.row[row][c]) * column;
#pragma HLS BIND_OP variable = product op = mul impl = fabric
            sum += product;
        }
        to.beside[row] = step.first ? Sum(sum) : Sum(to.beside[row] + sum);
    }
}

// One multiplication a cell, whatever the pass: only what goes in and where it goes differ, so
// that every pass uses the same DSPs.
void step_array(const Operands& from, const Step& step, Accumulators& to) {
#pragma HLS INLINE
multiply_rows:
    for (int r = 0; r < ROWS; ++r) {
#pragma HLS UNROLL
        const bool ahead = flag(step.ahead, r);
        std::int64_t chain = 0;
    multiply_columns:
        for (int c = 0; c < LANES; ++c) {
#pragma HLS UNROLL
            const Half column = ahead ? from.second[c] : from.first[c];
            const std::int64_t product = multiply(row_port(from, step, r, c), column);
            chain += product;
            if (!step.across) {
                add_to_cell(product, step, r, c, to);
            }
        }
        if (step.across) {
            add_to_row(chain, step, r, to);
        }
    }
    if (step.across && step.packed) {
        step_beside(from, step, to);
    }
}

// A word of the sums of a visit, lane c of word `row`; a visit across fills two words at most.
Sum drained(const Accumulators& from, const Step& step, int row, int c) {
#pragma HLS INLINE
    if (step.across && row == 0) {
        const Sum packed = c % 2 == 1 ? from.row_high[c / 2] : from.row_low[c / 2];
        return step.packed ? packed : c < ROWS ? from.row_low[c % ROWS] : Sum(0);
    }
    if (step.across) {
        return row == 1 ? from.beside[c] : Sum(0);
    }
    const Sum packed = row % 2 == 1 ? from.high[row / 2][c] : from.low[row / 2][c];
    return step.packed ? packed : row < ROWS ? from.dsp[row % ROWS][c] : Sum(0);
}

// Copy a finished visit's sums, so that the next visit can start in the same cycle.
void begin_drain(const Accumulators& from, const Step& step, Drain& to) {
#pragma HLS INLINE
    to.next = 0;
    to.words = step.words;
drain_rows:
    for (int row = 0; row < PACKED_ROWS; ++row) {
#pragma HLS UNROLL
    drain_columns:
        for (int c = 0; c < LANES; ++c) {
#pragma HLS UNROLL
            to.row[row][c] = drained(from, step, row, c);
        }
    }
}

SumBits next_sums(Drain& drain) {
#pragma HLS INLINE
    SumBits word;
    set_lanes<WIDTHS_SUM>(word, drain.row[drain.next]);
    ++drain.next;
    --drain.words;
    return word;
}

}  // namespace

void mac_core(hls::stream<StepFlags>& steps, hls::stream<RowBits>& rows,
              hls::stream<ColumnBits>& columns, hls::stream<SumBits>& sums) {
    Accumulators accumulators = Accumulators();
    Drain drain = Drain();
// All cells work in the same cycle, so each needs registers of its own.
#pragma HLS ARRAY_PARTITION variable = accumulators.dsp complete dim = 0
#pragma HLS ARRAY_PARTITION variable = accumulators.low complete dim = 0
#pragma HLS ARRAY_PARTITION variable = accumulators.high complete dim = 0
#pragma HLS ARRAY_PARTITION variable = accumulators.row_low complete dim = 0
#pragma HLS ARRAY_PARTITION variable = accumulators.row_high complete dim = 0
#pragma HLS ARRAY_PARTITION variable = accumulators.beside complete dim = 0
#pragma HLS ARRAY_PARTITION variable = drain.row complete dim = 0
    Step step = Step();
    bool held = false;  // a visit has ended and its sums wait for those of the one before
// One loop for all visits: a loop a visit would empty the pipeline between visits, and with 144
// steps a visit every cycle of that costs 0.7 %.
mac_cycles:
    for (Count cycle = 0; cycle < MAX_CYCLES; ++cycle) {
#pragma HLS LOOP_TRIPCOUNT min = 16 max = 40000 avg = 9216
#pragma HLS PIPELINE II = 1
        if (drain.words > 0) {
            sums.write(next_sums(drain));
        }
        if (!held && !step.end) {
            step = step_of(steps.read());
            step_array(operands_of(rows.read(), columns.read()), step, accumulators);
            held = step.last;
        }
        if (held && drain.words == 0) {
            begin_drain(accumulators, step, drain);
            held = false;
        } else if (step.end && !held && drain.words == 0) {
            break;
        }
    }
}

}  // namespace e2
