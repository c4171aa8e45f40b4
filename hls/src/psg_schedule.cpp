// SPDX-License-Identifier: Apache-2.0
#include "e2train/psg.hpp"

namespace e2 {

namespace {

constexpr int BETA_BITS = 16;

// What is known of a weight from the predictor alone.
struct Decision {
    bool sure;
    ap_uint<2> sign;
};

Decision decide(std::int64_t m, std::uint64_t threshold) {
    const std::uint64_t magnitude = static_cast<std::uint64_t>(m < 0 ? -m : m);
    Decision decision;
    // |m| < 2^47 and beta_q <= 2^16: both sides fit 64 bits.
    decision.sure = m != 0 && (magnitude << BETA_BITS) >= threshold;
    decision.sign = sign_code(m);
    return decision;
}

void push(Queues& queues, Count row, const Slot& slot, bool odd) {
#pragma HLS INLINE
    const Count at = (queues.head[row] + queues.length[row]) % QUEUE_DEPTH;
    queues.waiting[row][at].slot = slot;
    queues.waiting[row][at].odd = odd;
    ++queues.length[row];
}

bool holds(const Queues& queues, bool odd) {
#pragma HLS INLINE
    bool found = false;
holds_rows:
    for (int row = 0; row < ARRAY_ROWS; ++row) {
#pragma HLS UNROLL
        const bool any = queues.length[row] > 0;
        found = found || (any && queues.waiting[row][queues.head[row]].odd == odd);
    }
    return found;
}

Slot no_slot() {
    Slot slot;
    slot.block = 0;
    slot.tap_y = 0;
    slot.tap_x = 0;
    return slot;
}

// The first of every queue, whichever of the two filters it belongs to.
Visit pop(Queues& queues, Count filter) {
#pragma HLS INLINE
    Visit visit;
    visit.filter = filter;
    visit.valid = 0;
    visit.second = 0;
pop_rows:
    for (int row = 0; row < ARRAY_ROWS; ++row) {
#pragma HLS UNROLL
        visit.slot[row] = no_slot();
        if (queues.length[row] > 0) {
            const Waiting waiting = queues.waiting[row][queues.head[row]];
            visit.slot[row] = waiting.slot;
            visit.valid[row] = true;
            visit.second[row] = waiting.odd != (filter % 2 == 1);
            queues.head[row] = (queues.head[row] + 1) % QUEUE_DEPTH;
            --queues.length[row];
        }
    }
    return visit;
}

// Channel, row and place of the weights of a filter, one after the other.
struct WeightCursor {
    Count channel;
    Count tap_y;
    Count tap_x;
};

void advance(const WeightPass& pass, WeightCursor& cursor) {
#pragma HLS INLINE
    if (++cursor.tap_x == pass.x.kernel) {
        cursor.tap_x = 0;
        if (++cursor.tap_y == pass.y.kernel) {
            cursor.tap_y = 0;
            ++cursor.channel;
        }
    }
}

Slot slot_of(const WeightCursor& cursor) {
    Slot slot;
    slot.block = ap_uint<16 - 2 * TAP_BITS>(cursor.channel / ARRAY_ROWS);
    slot.tap_y = ap_uint<TAP_BITS>(cursor.tap_y);
    slot.tap_x = ap_uint<TAP_BITS>(cursor.tap_x);
    return slot;
}

// Queue the unsure weights of one filter; note what the predictor says of all.
Count queue_filter(const WeightPass& pass, Count filter, std::uint64_t threshold, Address predictor,
                   const Beat* memory, Queues& queues, Codes& codes) {
    const Count weights = times(filter_channels(pass), weight_taps(pass));
    const Address burst = predictor + static_cast<Address>(times(weights, filter));
    WeightCursor cursor = {pass.depthwise ? filter : 0, 0, 0};
    Count predicted = 0;
queue_weights:
    for (Count i = 0; i < weights; ++i) {
#pragma HLS LOOP_TRIPCOUNT min = 9 max = 960 avg = 288
#pragma HLS PIPELINE II = 1
        const std::int64_t m = static_cast<std::int64_t>(memory[burst + static_cast<Address>(i)]);
        const Decision decision = decide(m, threshold);
        if (decision.sure) {
            ++predicted;
        } else {
            push(queues, cursor.channel % ARRAY_ROWS, slot_of(cursor), filter % 2 == 1);
        }
        const int code = decision.sign.to_int() + 4;
        codes.code[filter % 2][i] = ap_uint<3>(decision.sure ? code : 0);
        advance(pass, cursor);
    }
    return predicted;
}

// Bytes one after the other into beats.
struct ByteWriter {
    Address next;
    Beat beat;
    Count bytes;
};

void put(ByteWriter& writer, ap_uint<3> code, Beat* memory) {
#pragma HLS INLINE
    writer.beat |= static_cast<Beat>(code.to_uint()) << (8 * writer.bytes);
    if (++writer.bytes == WIDTHS_BEAT / 8) {
        memory[writer.next] = writer.beat;
        ++writer.next;
        writer.beat = 0;
        writer.bytes = 0;
    }
}

void finish(const ByteWriter& writer, Beat* memory) {
    if (writer.bytes > 0) {
        memory[writer.next] = writer.beat;
    }
}

// Write the signs that a visit found where their weights are.
void place_signs(const WeightPass& pass, const Visit& visit, Beat signs, Codes& codes) {
#pragma HLS INLINE
place_rows:
    for (int row = 0; row < ARRAY_ROWS; ++row) {
#pragma HLS PIPELINE II = 1
        if (visit.valid[row]) {
            const Slot slot = visit.slot[row];
            const Count channel = pass.depthwise ? 0 : slot.block.to_int() * ARRAY_ROWS + row;
            const Count tap = times(slot.tap_y.to_int(), pass.x.kernel) + slot.tap_x.to_int();
            const Count filter = visit.filter + (visit.second[row] ? 1 : 0);
            codes.code[filter % 2][times(channel, weight_taps(pass)) + tap] =
                ap_uint<3>((signs >> (8 * row)) & 3);
        }
    }
}

void write_codes(const WeightPass& pass, Count filter, const Codes& codes, ByteWriter& writer,
                 Beat* memory) {
    const Count weights = times(filter_channels(pass), weight_taps(pass));
write_codes_weights:
    for (Count i = 0; i < weights; ++i) {
#pragma HLS LOOP_TRIPCOUNT min = 9 max = 960 avg = 288
#pragma HLS PIPELINE II = 1
        put(writer, codes.code[filter % 2][i], memory);
    }
}

}  // namespace

Visit read_visit(const Beat* port, Address index) {
    const Beat head = port[index];
    Visit visit;
    visit.filter = static_cast<Count>(head & 0xffff);
    visit.valid = ap_uint<ARRAY_ROWS>((head >> 16) & 0xff);
    visit.second = ap_uint<ARRAY_ROWS>((head >> 24) & 0xff);
read_slots:
    for (int row = 0; row < ARRAY_ROWS; ++row) {
#pragma HLS UNROLL
        const Beat slots = port[index + 1 + static_cast<Address>(row / 4)];
        const unsigned slot = static_cast<unsigned>(slots >> (16 * (row % 4))) & 0xffff;
        visit.slot[row].block = ap_uint<16 - 2 * TAP_BITS>(slot >> (2 * TAP_BITS));
        visit.slot[row].tap_y = ap_uint<TAP_BITS>((slot >> TAP_BITS) & 7);
        visit.slot[row].tap_x = ap_uint<TAP_BITS>(slot & 7);
    }
    return visit;
}

void write_visit(const Visit& visit, Address index, Beat* port) {
    Beat slots[2] = {0, 0};
write_slots:
    for (int row = 0; row < ARRAY_ROWS; ++row) {
#pragma HLS UNROLL
        const Slot slot = visit.slot[row];
        const unsigned code = (slot.block.to_uint() << (2 * TAP_BITS)) |
                              (slot.tap_y.to_uint() << TAP_BITS) | slot.tap_x.to_uint();
        slots[row / 4] |= static_cast<Beat>(code) << (16 * (row % 4));
    }
    port[index] = static_cast<Beat>(visit.filter) |
                  (static_cast<Beat>(visit.valid.to_uint()) << 16) |
                  (static_cast<Beat>(visit.second.to_uint()) << 24);
    port[index + 1] = slots[0];
    port[index + 2] = slots[1];
}

// Filters queue in turn. Once filter f + 1 waits behind f, visits go out until f has none left.
Count schedule_visits(const WeightPass& pass, std::uint64_t threshold, const Scratch& scratch,
                      Beat* memory, Queues& queues, Codes& codes, Counters& counters) {
    const Count most = all_weights(pass);
    Count visits = 0;
    Count predicted = 0;
schedule_filters:
    for (Count filter = 0; filter <= pass.filters; ++filter) {
#pragma HLS LOOP_TRIPCOUNT min = 16 max = 1280 avg = 64
        if (filter < pass.filters) {
            predicted +=
                queue_filter(pass, filter, threshold, scratch.predictor, memory, queues, codes);
        }
        const Count base = filter - 1;
    schedule_filter_visits:
        for (Count turn = 0; turn <= most; ++turn) {
#pragma HLS LOOP_TRIPCOUNT min = 0 max = 1024 avg = 16
#pragma HLS PIPELINE II = 3
            if (base < 0 || !holds(queues, base % 2 == 1)) {
                break;
            }
            const Visit visit = pop(queues, base);
            write_visit(visit, scratch.schedule + static_cast<Address>(VISIT_BEATS * visits),
                        memory);
            ++visits;
        }
    }
    counters.predicted = static_cast<std::uint64_t>(predicted);
    counters.output_beats += static_cast<std::uint64_t>(VISIT_BEATS * visits);
    return visits;
}

void merge_signs(const WeightPass& pass, std::uint64_t threshold, const Scratch& scratch,
                 Address out, Beat* memory, Queues& queues, Codes& codes) {
    const Count most = all_weights(pass);
    ByteWriter writer = {out, 0, 0};
    Address result = scratch.results;
merge_filters:
    for (Count filter = 0; filter <= pass.filters; ++filter) {
#pragma HLS LOOP_TRIPCOUNT min = 16 max = 1280 avg = 64
        if (filter < pass.filters) {
            queue_filter(pass, filter, threshold, scratch.predictor, memory, queues, codes);
        }
        const Count base = filter - 1;
    merge_filter_visits:
        for (Count turn = 0; turn <= most; ++turn) {
#pragma HLS LOOP_TRIPCOUNT min = 0 max = 1024 avg = 16
            if (base < 0 || !holds(queues, base % 2 == 1)) {
                break;
            }
            place_signs(pass, pop(queues, base), memory[result], codes);
            ++result;
        }
        if (base >= 0) {
            write_codes(pass, base, codes, writer, memory);
        }
    }
    finish(writer, memory);
}

}  // namespace e2
