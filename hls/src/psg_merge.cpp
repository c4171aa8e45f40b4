// SPDX-License-Identifier: Apache-2.0
// Signs from both phases, put together in the layer's order.
#include "e2train/psg.hpp"

namespace e2 {

namespace {

constexpr int BYTES_A_BEAT = WIDTHS_BEAT / 8;

// Signs that the visits of a base filter found, to where their weights are.
void place_signs(Count filter, Count count, const Beat* from, Queues& queues, Codes& codes) {
place_visits:
    for (Count i = 0; i < count; ++i) {
#pragma HLS LOOP_TRIPCOUNT min = 0 max = 512 avg = 32
#pragma HLS PIPELINE II = 1
        const Beat signs = from[i];
        const Popped popped = pop(queues);
    place_rows:
        for (int row = 0; row < ROWS; ++row) {
#pragma HLS UNROLL
            const Count owner = filter + ((popped.second >> row & 1U) != 0 ? 1 : 0);
            if ((popped.valid >> row & 1U) != 0) {
                codes.code[row][(owner & 1) * ROW_WEIGHTS + popped.entry[row]] =
                    ap_uint<3>(byte_of(signs, row) & 3);
            }
        }
    }
}

// Bytes one after the other; whole beats wait on the chip for one burst a filter.
struct ByteLine {
    Beat beat[FILTER_WEIGHTS / BYTES_A_BEAT];
    Count beats;
    Beat part;  // of the beat that is not full yet
    Count bytes;
};

// The codes of a filter in the order of its weights, channel by channel.
void pack_codes(const FilterWalk& walk, const Codes& codes, ByteLine& line) {
    Count row = walk.depthwise ? row_of(walk.filter) : 0;
    Count place = (walk.filter & 1) * ROW_WEIGHTS;
    Count begin = place;
    Count tap = 0;
    line.beats = 0;
pack_weights:
    for (Count i = 0; i < walk.weights; ++i) {
#pragma HLS LOOP_TRIPCOUNT min = 9 max = 960 avg = 288
#pragma HLS PIPELINE II = 1
        const Beat all = line.part | byte_at(codes.code[row][place].to_int(), line.bytes);
        const bool full = line.bytes == BYTES_A_BEAT - 1;
        if (full) {
            line.beat[line.beats] = all;
        }
        line.beats += full ? 1 : 0;
        line.part = full ? Beat(0) : all;
        line.bytes = full ? 0 : line.bytes + 1;
        const bool end = tap == walk.taps - 1;
        const bool wraps = end && row == ROWS - 1;
        begin += wraps ? walk.taps : 0;
        place = end ? begin : place + 1;
        row = wraps ? 0 : end ? row + 1 : row;
        tap = end ? 0 : tap + 1;
    }
}

void write_line(const ByteLine& line, Beat* to) {
write_line_beats:
    for (Count i = 0; i < line.beats; ++i) {
#pragma HLS LOOP_TRIPCOUNT min = 1 max = 512 avg = 36
#pragma HLS PIPELINE II = 1
        to[i] = line.beat[i];
    }
}

}  // namespace

void merge_signs(const Layer& layer, std::uint64_t threshold, const Scratch& scratch, Address out,
                 Beat* memory, Queues& queues, Codes& codes) {
    static ByteLine line;
    FilterWalk walk = filter_walk(layer, true);
    Address predictor = scratch.predictor;
    Address result = scratch.results;
    line.part = 0;
    line.bytes = 0;
    clear_queues(queues);
merge_filters:
    for (Count filter = 0; filter <= layer.outer; ++filter) {
#pragma HLS LOOP_TRIPCOUNT min = 16 max = 1280 avg = 64
        if (filter < layer.outer) {
            walk.filter = filter;
            queue_filter(walk, threshold, memory + predictor, queues, codes);
            predictor += static_cast<Address>(walk.weights);
        }
        if (filter > 0) {
            const Count count = visits_of_base(queues);
            place_signs(filter - 1, count, memory + result, queues, codes);
            result += static_cast<Address>(count);
            walk.filter = filter - 1;
            pack_codes(walk, codes, line);
            write_line(line, memory + out);
            out += static_cast<Address>(line.beats);
        }
        next_base(queues);
    }
    if (line.bytes > 0) {
        memory[out] = line.part;
    }
}

}  // namespace e2
