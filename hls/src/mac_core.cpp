// SPDX-License-Identifier: Apache-2.0
#include "e2train/mac_core.hpp"

#include "e2train/products.hpp"

namespace e2 {

namespace {

typedef ap_int<WIDTHS_CELL_SUM> CellSum;

constexpr Count MAX_CYCLES = 1 << 30;

// What the cells and rows have summed in the visit under way.
struct Accumulators {
    Sum dsp[ROWS][LANES];      // the DSPs' registers: plain sums, or a run of packed ones
    CellSum low[ROWS][LANES];  // packed sums, taken apart
    CellSum high[ROWS][LANES];
    Sum row_low[ROWS];  // sums across the columns
    Sum row_high[ROWS];
};

// Sums of the visit before, on their way out.
struct Drain {
    Sum row[PACKED_ROWS][LANES];
    Count next;
    Count words;
};

// Where a step stands in its visit, and in its run of packed products.
struct Position {
    bool first;
    bool first_run;
    bool run_begins;
    bool run_ends;
};

Position position_of(Count step, Count depth) {
    Position at;
    at.first = step == 0;
    at.first_run = step < ARRAY_PACKED_RUN;
    at.run_begins = step % ARRAY_PACKED_RUN == 0;
    at.run_ends = step % ARRAY_PACKED_RUN == ARRAY_PACKED_RUN - 1 || step == depth - 1;
    return at;
}

// What a cell multiplies with its column: one operand, or two that share the DSP. Along positions
// all columns of a row take the same, from lane 0.
RowPort row_port(const RowWord& row, const MacCommand& command, int dsp_row, int column) {
#pragma HLS INLINE
    const int lane = command.across ? column : 0;
    return command.packed
               ? Packed::port(row.row[2 * dsp_row + 1].lane[lane], row.row[2 * dsp_row].lane[lane])
               : Plain::port(row.row[dsp_row].lane[lane]);
}

// A product of one sample, added to what the cell has. Four packed products fit the DSP's register;
// then its two sums move to registers of their own.
void add_to_cell(Sum product, const MacCommand& command, const Position& at, int r, int c,
                 Accumulators& to) {
#pragma HLS INLINE
    const bool fresh = command.packed ? at.run_begins : at.first;
    const Sum run = fresh ? product : Sum(to.dsp[r][c] + product);
    to.dsp[r][c] = run;
    if (command.packed && at.run_ends) {
        const CellSum low = Packed::low(run);
        const CellSum high = Packed::high(run);
        to.low[r][c] = at.first_run ? low : CellSum(to.low[r][c] + low);
        to.high[r][c] = at.first_run ? high : CellSum(to.high[r][c] + high);
    }
}

// The products of a row's columns, summed in a chain through the DSPs' cascade ports.
void add_to_row(std::int64_t chain, const MacCommand& command, bool first, int r,
                Accumulators& to) {
#pragma HLS INLINE
    const Sum low = command.packed ? Packed::low(chain) : Plain::low(chain);
    const Sum high = command.packed ? Packed::high(chain) : Plain::high(chain);
    to.row_low[r] = first ? low : Sum(to.row_low[r] + low);
    to.row_high[r] = first ? high : Sum(to.row_high[r] + high);
}

// One multiplication a cell, whatever the pass: only what goes in and where it goes differ, so
// that every pass uses the same DSPs.
void step_array(const RowWord& row, const ColumnWord& column, const MacCommand& command, Count step,
                Accumulators& to) {
#pragma HLS INLINE
    const Position at = position_of(step, command.depth);
multiply_rows:
    for (int r = 0; r < ROWS; ++r) {
#pragma HLS UNROLL
        if ((command.packed ? 2 * r : r) < command.rows) {
            const bool ahead = ((command.second >> r) & 1) != 0;
            const HalfWord& operand = ahead ? column.second : column.first;
            std::int64_t chain = 0;
        multiply_columns:
            for (int c = 0; c < LANES; ++c) {
#pragma HLS UNROLL
                if (c < command.columns) {  // an idle column keeps its registers quiet
                    const RowPort port = row_port(row, command, r, c);
                    const std::int64_t product = multiply(port, operand.lane[c]);
                    chain += product;
                    if (!command.across) {
                        add_to_cell(product, command, at, r, c, to);
                    }
                }
            }
            if (command.across) {
                add_to_row(chain, command, at.first, r, to);
            }
        }
    }
}

// Copy a finished visit's sums, so that the next visit can start in the same cycle.
void begin_drain(const Accumulators& from, const MacCommand& command, Drain& to) {
#pragma HLS INLINE
    to.next = 0;
    to.words = command.across ? Count(1) : Count(command.rows);
drain_rows:
    for (int r = 0; r < PACKED_ROWS; ++r) {
#pragma HLS UNROLL
        if (command.across) {
            const int dsp_row = command.packed ? r / 2 : r % ROWS;
            const bool high = command.packed && r % 2 == 1;
            to.row[0][r] = high ? from.row_high[dsp_row] : from.row_low[dsp_row];
        } else if (r < command.rows) {
        drain_columns:
            for (int c = 0; c < LANES; ++c) {
#pragma HLS UNROLL
                const Sum packed = r % 2 == 1 ? from.high[r / 2][c] : from.low[r / 2][c];
                to.row[r][c] = command.packed ? packed : from.dsp[r % ROWS][c];
            }
        }
    }
}

SumWord next_sums(Drain& drain) {
#pragma HLS INLINE
    SumWord word;
next_sums_columns:
    for (int c = 0; c < LANES; ++c) {
#pragma HLS UNROLL
        word.lane[c] = drain.row[drain.next][c];
    }
    ++drain.next;
    --drain.words;
    return word;
}

}  // namespace

void mac_core(hls::stream<MacCommand>& commands, hls::stream<RowWord>& rows,
              hls::stream<ColumnWord>& columns, hls::stream<SumWord>& sums) {
    Accumulators accumulators = Accumulators();
    Drain drain = Drain();
// All cells work in the same cycle, so each needs registers of its own.
#pragma HLS ARRAY_PARTITION variable = accumulators.dsp complete dim = 0
#pragma HLS ARRAY_PARTITION variable = accumulators.low complete dim = 0
#pragma HLS ARRAY_PARTITION variable = accumulators.high complete dim = 0
#pragma HLS ARRAY_PARTITION variable = accumulators.row_low complete dim = 0
#pragma HLS ARRAY_PARTITION variable = accumulators.row_high complete dim = 0
#pragma HLS ARRAY_PARTITION variable = drain.row complete dim = 0
    MacCommand command = MacCommand();
    Count step = 0;
    bool open = false;
    bool ended = false;
// One loop for all visits: a loop a visit would empty the pipeline between visits, and with 144
// steps a visit every cycle of that costs 0.7 %.
mac_cycles:
    for (Count cycle = 0; cycle < MAX_CYCLES; ++cycle) {
#pragma HLS LOOP_TRIPCOUNT min = 16 max = 40000 avg = 9216
#pragma HLS PIPELINE II = 1
        if (drain.words > 0) {
            sums.write(next_sums(drain));
        }
        if (!open && !ended) {
            command = commands.read();
            step = 0;
            open = true;
        }
        if (open && step < command.depth) {
            step_array(rows.read(), columns.read(), command, step, accumulators);
            ++step;
        }
        if (open && step == command.depth && drain.words == 0) {
            begin_drain(accumulators, command, drain);
            open = false;
            ended = command.last;
        }
        if (ended && drain.words == 0) {
            break;
        }
    }
}

}  // namespace e2
