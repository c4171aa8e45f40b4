// SPDX-License-Identifier: Apache-2.0
// Samples from one batch to another: what runs a block is taken out and merged back.
#include "e2train/vector_unit.hpp"
#include "e2train/vector_words.hpp"

namespace e2 {

namespace {

constexpr Address ENTRY_BEATS = 3;
constexpr int LANE_STAYS = 0x80;

// One line of the table: lanes of one source group for one group of the result.
struct Entry {
    Count destination;
    Count source;
    bool second;  // source is b
    bool first;   // the destination starts here, from zeros
    std::uint8_t lane[LANES];
};

// What all chunks share.
struct MoveSettings {
    Count group_words;
    bool narrow;  // 8-bit elements
};

// A stretch of a group's words, kept on chip while all of its entries go over it.
struct Chunk {
    Count begin;
    Count words;
};

Entry read_entry(const Arguments& a, const Beat* rows, Count index) {
    const Address begin = beat_of(a.rows_address) + static_cast<Address>(index) * ENTRY_BEATS;
    const Beat head = rows[begin];
    Entry entry;
    entry.destination = static_cast<Count>(head & 0xffff);
    entry.source = static_cast<Count>((head >> 16) & 0xffff);
    entry.second = ((head >> 32) & 1) != 0;
    entry.first = ((head >> 33) & 1) != 0;
entry_beats:
    for (int beat = 0; beat < LANES / BYTES_A_BEAT; ++beat) {
#pragma HLS PIPELINE II = 1
        const Beat lanes = rows[begin + 1 + static_cast<Address>(beat)];
        for (int i = 0; i < BYTES_A_BEAT; ++i) {
#pragma HLS UNROLL
            entry.lane[beat * BYTES_A_BEAT + i] = static_cast<std::uint8_t>(lanes >> (8 * i));
        }
    }
    return entry;
}

bool entry_valid(const Arguments& a, const Entry& entry, Count expected) {
    const Count samples = entry.second ? a.second_samples() : a.first_samples();
    bool valid = entry.destination == expected && entry.source < ceil_groups(samples) &&
                 (!entry.second || option(a, OPTIONS_SECOND));
valid_lanes:
    for (int lane = 0; lane < LANES; ++lane) {
#pragma HLS UNROLL
        valid = valid && (entry.lane[lane] < LANES || entry.lane[lane] == LANE_STAYS);
    }
    return valid;
}

// Whether the table covers all groups of the result in order and names nothing that is not there.
bool table_valid(const Arguments& a, const Beat* rows) {
    Count expected = -1;
    bool valid = true;
check_entries:
    for (Count index = 0; index < a.table_entries(); ++index) {
#pragma HLS LOOP_TRIPCOUNT min = 1 max = 4352 avg = 32
        const Entry entry = read_entry(a, rows, index);
        expected += entry.first ? 1 : 0;
        valid = valid && entry_valid(a, entry, expected);
    }
    return valid && expected + 1 == group_count(a);
}

HalfWord place_lanes(const Entry& entry, const HalfWord& source, const HalfWord& kept) {
#pragma HLS INLINE
    HalfWord placed;
place_each:
    for (int lane = 0; lane < LANES; ++lane) {
#pragma HLS UNROLL
        const int from = entry.lane[lane];
        placed.lane[lane] = from == LANE_STAYS ? kept.lane[lane] : source.lane[from % LANES];
    }
    return placed;
}

void merge_chunk(const Arguments& a, const MoveSettings& settings, const Entry& entry,
                 const Chunk& chunk, const Beat* columns, const Beat* rows,
                 HalfWord kept[BUFFERS_CHUNK]) {
    const Count begin = entry.source * settings.group_words + chunk.begin;
merge_words:
    for (Count i = 0; i < chunk.words; ++i) {
#pragma HLS LOOP_TRIPCOUNT min = 16 max = 512 avg = 512
#pragma HLS PIPELINE II = 4
// Each iteration reads and writes its own word.
#pragma HLS DEPENDENCE variable = kept inter false
        HalfWord source;
// Any lane of the source may go to any lane of the result.
#pragma HLS ARRAY_PARTITION variable = source.lane complete
        if (entry.second) {
            source = read_either(rows, word_at(a.b_address, begin + i, settings.narrow),
                                 settings.narrow);
        } else {
            source = read_either(columns, word_at(a.a_address, begin + i, settings.narrow),
                                 settings.narrow);
        }
        const HalfWord before = entry.first ? zero_halves() : kept[i];
        kept[i] = place_lanes(entry, source, before);
    }
}

void store_chunk(const Arguments& a, const MoveSettings& settings, Count group, const Chunk& chunk,
                 const HalfWord kept[BUFFERS_CHUNK], Beat* output) {
    const Count begin = group * settings.group_words + chunk.begin;
store_words:
    for (Count i = 0; i < chunk.words; ++i) {
#pragma HLS LOOP_TRIPCOUNT min = 16 max = 512 avg = 512
#pragma HLS PIPELINE II = 4
        const HalfWord word = only_real(kept[i], real_lanes(a, group));
        const Address at = word_at(a.out_address, begin + i, settings.narrow);
        write_either(output, at, word, settings.narrow);
    }
}

// All entries go over one chunk; a group's chunk is stored behind its last entry, so that nothing
// is ever read back. Returns how many words came from b.
std::uint64_t move_chunk(const Arguments& a, const MoveSettings& settings, const Chunk& chunk,
                         const Beat* columns, const Beat* rows, Beat* output) {
    HalfWord kept[BUFFERS_CHUNK];
// One memory word of 256 bits holds all lanes.
#pragma HLS AGGREGATE variable = kept
    std::uint64_t from_b = 0;
    Entry entry = read_entry(a, rows, 0);
// All lanes choose in the same cycle.
#pragma HLS ARRAY_PARTITION variable = entry.lane complete
move_entries:
    for (Count index = 0; index < a.table_entries(); ++index) {
#pragma HLS LOOP_TRIPCOUNT min = 1 max = 4352 avg = 32
        merge_chunk(a, settings, entry, chunk, columns, rows, kept);
        from_b += entry.second ? static_cast<std::uint64_t>(chunk.words) : 0;
        const bool table_ends = index + 1 == a.table_entries();
        const Count group = entry.destination;
        if (!table_ends) {
            entry = read_entry(a, rows, index + 1);
        }
        if (table_ends || entry.first) {
            store_chunk(a, settings, group, chunk, kept, output);
        }
    }
    return from_b;
}

}  // namespace

std::uint32_t move_samples(const Arguments& a, const Beat* columns, const Beat* rows, Beat* output,
                           Counters& counters) {
    if (!table_valid(a, rows)) {
        return ERRORS_ARGUMENT;
    }
    const MoveSettings settings = {a.channels * a.height * a.width, a.bits == WIDTHS_ACTIVATION};
    const std::uint64_t word_beats = settings.narrow ? BYTE_WORD_BEATS : HALF_WORD_BEATS;
    const std::uint64_t table_beats = static_cast<std::uint64_t>(a.table_entries()) * ENTRY_BEATS;
    counters.row_beats += table_beats;
move_chunks:
    for (Count begin = 0; begin < settings.group_words; begin += BUFFERS_CHUNK) {
#pragma HLS LOOP_TRIPCOUNT min = 1 max = 128 avg = 32
        const Count left = settings.group_words - begin;
        const Chunk chunk = {begin, left < BUFFERS_CHUNK ? left : Count(BUFFERS_CHUNK)};
        const std::uint64_t from_b = move_chunk(a, settings, chunk, columns, rows, output);
        const std::uint64_t merged =
            static_cast<std::uint64_t>(a.table_entries()) * static_cast<std::uint64_t>(chunk.words);
        counters.column_beats += (merged - from_b) * word_beats;
        counters.row_beats += from_b * word_beats + table_beats;
        counters.output_beats += static_cast<std::uint64_t>(group_count(a)) *
                                 static_cast<std::uint64_t>(chunk.words) * word_beats;
    }
    return ERRORS_OK;
}

}  // namespace e2
