// SPDX-License-Identifier: Apache-2.0
// The second phase: full precision for the unsure weights, eight slots a visit.
#include "e2train/psg.hpp"
#include "e2train/step_words.hpp"

namespace e2 {

namespace {

constexpr Count MAX_STEPS = 1 << 24;

// Each row reads the words of its own weight: eight banks, eight addresses.
RowWord slot_operands(const WeightPass& pass, const DataTile& data, const Visit& visit, Count y,
                      Count x, Count first_channel, const RowBuffer& buffer) {
#pragma HLS INLINE
    const ByteWord zero = zero_bytes();
    RowWord words;
slot_operands_rows:
    for (int row = 0; row < PACKED_ROWS; ++row) {
#pragma HLS UNROLL
        words.row[row] = zero;
        if (row < ARRAY_ROWS && visit.valid[row]) {
            const Slot slot = visit.slot[row];
            const Count channel = slot.block.to_int() * ARRAY_ROWS + row;
            const RowSource source = row_source(pass, first_channel, data, channel, y, x,
                                                slot.tap_y.to_int(), slot.tap_x.to_int());
            if (!source.padding) {
                words.row[row] = buffer.bank[source.bank][source.at];
            }
        }
    }
    return words;
}

MacCommand command_of(const DataTile& data, const Visit& visit, bool last) {
    MacCommand command;
    command.depth = times_on_chip(data.y.count, data.x.count);
    command.words = 1;
    command.packed = false;
    command.across = true;
    command.second = static_cast<std::uint8_t>(visit.second.to_uint());
    command.last = last;
    return command;
}

}  // namespace

// Read visits from the schedule until the buffers are full. A visit may need the filter after its
// own, so a span of filters always holds two where the layer has them.
SlotTile load_visits(const WeightPass& pass, const Scratch& scratch, Count first, Count all,
                     const Beat* memory, SlotVisits& to) {
    const Count fit = BUFFERS_COLUMN_DEPTH / times_on_chip(pass.tile_y, pass.tile_x);
    // Depthwise, the channels of the row buffer go with the filters.
    const Count most_filters = pass.depthwise ? smaller(fit, pass.tile_filters) : fit;
    SlotTile tile = {first, 0, {0, 0}};
load_visits_loop:
    for (Count i = 0; i < SLOT_VISITS; ++i) {
#pragma HLS LOOP_TRIPCOUNT min = 1 max = 1024 avg = 256
#pragma HLS PIPELINE II = 3
        if (first + i >= all) {
            break;
        }
        const Visit visit =
            read_visit(memory, scratch.schedule + static_cast<Address>(VISIT_BEATS * (first + i)));
        if (i == 0) {
            tile.filters.begin = visit.filter;
        }
        const Count last = smaller(visit.filter + 1, pass.filters - 1);
        if (last - tile.filters.begin + 1 > most_filters) {
            break;
        }
        tile.filters.count = last - tile.filters.begin + 1;
        tile.visits = i + 1;
        to.visit[i] = visit;
    }
    return tile;
}

void feed_slots(const WeightPass& pass, const SlotTile& tile, const DataTile& data,
                const SlotVisits& visits, Count first_channel, const RowBuffer& row_buffer,
                const ColumnBuffer& column_buffer, hls::stream<StepFlags>& flags,
                hls::stream<RowBits>& rows, hls::stream<ColumnBits>& columns,
                hls::stream<Count>& counted) {
    const Count plane = times_on_chip(data.y.count, data.x.count);
    const Count steps = smaller(times(plane, tile.visits), MAX_STEPS);
    counted.write(steps);
    StepWriter writer = StepWriter();
    Count index = 0;
    Count y = 0;
    Count x = 0;
feed_steps:
    for (Count step = 0; step < steps; ++step) {
#pragma HLS LOOP_TRIPCOUNT min = 16 max = 130000 avg = 16384
#pragma HLS PIPELINE II = 1
        const Visit visit = visits.visit[index];
        const Count at = times_on_chip(plane, visit.filter - tile.filters.begin) +
                         times_on_chip(y, data.x.count) + x;
        const bool two = visit.filter + 1 < tile.filters.begin + tile.filters.count;
        if (y == 0 && x == 0) {
            begin_visit(command_of(data, visit, index == tile.visits - 1), writer);
        }
        ColumnWord column;
        column.first = column_buffer.word[at];
        column.second = column_buffer.word[two ? at + plane : at];
        write_step(writer, slot_operands(pass, data, visit, y, x, first_channel, row_buffer),
                   column, flags, rows, columns);
        if (++x == data.x.count) {
            x = 0;
            if (++y == data.y.count) {
                y = 0;
                ++index;
            }
        }
    }
}

void collect_slots(const SlotTile& tile, bool first, hls::stream<SumBits>& words,
                   WeightSums& sums) {
collect_visits:
    for (Count visit = 0; visit < tile.visits; ++visit) {
#pragma HLS LOOP_TRIPCOUNT min = 1 max = 1024 avg = 256
#pragma HLS PIPELINE II = 8
        const SumBits word = words.read();
    collect_rows:
        for (int row = 0; row < ARRAY_ROWS; ++row) {
            const Count at = visit * ARRAY_ROWS + row;
            const Sum before = first ? Sum(0) : sums.sum[at];
            sums.sum[at] = before + sum_of(word, row);
        }
    }
}

void write_results(const SlotTile& tile, const WeightSums& sums, Address results, Beat* memory) {
write_results_visits:
    for (Count visit = 0; visit < tile.visits; ++visit) {
#pragma HLS LOOP_TRIPCOUNT min = 1 max = 1024 avg = 256
#pragma HLS PIPELINE II = 8
        Beat signs = 0;
    write_results_rows:
        for (int row = 0; row < ARRAY_ROWS; ++row) {
            const ap_uint<2> code = sign_code(sums.sum[visit * ARRAY_ROWS + row].to_int64());
            signs |= static_cast<Beat>(code.to_uint()) << (8 * row);
        }
        memory[results + static_cast<Address>(tile.first + visit)] = signs;
    }
}

}  // namespace e2
