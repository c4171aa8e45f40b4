// SPDX-License-Identifier: Apache-2.0
// Samples from one batch to another: what runs a block is taken out and merged back.
//
// A group of the result is put together in passes, each over one stretch of its words: a pass
// takes lanes of one group of a, of one of b, or of both. Groups are read once where the table
// names one again in the next passes: the last one is kept on chip, of b where there is a b.
#include "e2train/vector_streams.hpp"
#include "e2train/vector_unit.hpp"

namespace e2 {

namespace {

constexpr Count ENTRY_BEATS = 3;
constexpr int LANE_BITS = 4;
static_assert(1 << LANE_BITS == LANES, "a lane's number");
constexpr std::uint64_t STAYS = 0x80;  // in the table: no lane of the source

// Which lane of the source a lane takes; the bit above: none, it stays.
typedef ap_uint<LANE_BITS + 1> Choice;

struct Choices {
    Choice lane[LANES];
};

// One line of the table: lanes of one source group for one group of the result.
struct Entry {
    Count destination;
    Count source;
    bool second;  // source is b
    bool first;   // the destination starts here, from zeros
    bool lanes_exist;
    Choices choices;
};

// What goes over a stretch of words at once; a's lanes are placed first.
struct Pass {
    bool first;  // from zeros
    bool last;   // its group of the result is complete
    bool takes_a;
    bool takes_b;
    bool reads_a;  // else the kept group is a's
    bool reads_b;
    Choices a;
    Choices b;
};

// The pass that grows from the table's lines, and which group is kept.
struct PassWalk {
    Pass pass;
    bool open;
    Count kept;  // -1: none yet
};

// How many passes there are, and groups that they read.
struct Plan {
    Count passes;
    Count reads_a;
    Count reads_b;
    bool valid;
};

bool choices_of(Beat beat, int first, Choices& choices) {
#pragma HLS INLINE
    bool exist = true;
choice_lanes:
    for (int i = 0; i < BYTES_A_BEAT; ++i) {
#pragma HLS UNROLL
        const std::uint64_t from = (beat >> (8 * i)) & 0xff;
        const bool stays = from == STAYS;
        exist = exist && (stays || from < LANES);
        choices.lane[first + i] = Choice(stays ? std::uint64_t(LANES) : from & (LANES - 1));
    }
    return exist;
}

Entry read_entry(hls::stream<Beat>& table) {
#pragma HLS INLINE
    const Beat head = table.read();
    Entry entry;
    entry.destination = static_cast<Count>(head & 0xffff);
    entry.source = static_cast<Count>((head >> 16) & 0xffff);
    entry.second = ((head >> 32) & 1) != 0;
    entry.first = ((head >> 33) & 1) != 0;
    const bool lower = choices_of(table.read(), 0, entry.choices);
    const bool upper = choices_of(table.read(), BYTES_A_BEAT, entry.choices);
    entry.lanes_exist = lower && upper;
    return entry;
}

PassWalk no_pass() {
    PassWalk walk = PassWalk();
    walk.kept = -1;
    return walk;
}

// Whether the line joins the open pass: b's lanes beside a's, for the same group.
bool joins(const PassWalk& walk, const Entry& entry) {
#pragma HLS INLINE
    return walk.open && !walk.pass.takes_b && entry.second && !entry.first;
}

// Takes a line in; `keeps_b`: the launch has a b.
void add_entry(const Entry& entry, bool joined, bool keeps_b, PassWalk& walk) {
#pragma HLS INLINE
    const bool again = entry.second == keeps_b && entry.source == walk.kept;
    if (!joined) {
        walk.pass.first = entry.first;
        walk.pass.takes_a = !entry.second;
        walk.pass.reads_a = !entry.second && !again;
        walk.pass.a = entry.choices;
    }
    walk.pass.takes_b = entry.second;
    walk.pass.reads_b = entry.second && !again;
    walk.pass.b = entry.choices;
    walk.kept = entry.second == keeps_b ? entry.source : walk.kept;
    walk.open = true;
}

bool entry_valid(const Entry& entry, Count expected, Count first_groups, Count second_groups) {
#pragma HLS INLINE
    const Count groups = entry.second ? second_groups : first_groups;
    return entry.lanes_exist && entry.destination == expected && entry.source < groups;
}

// Whether the table covers all groups of the result in order and names nothing that is not there,
// and what following it takes. `second_groups`: 0 without a b.
void plan_table(Count entries, Count groups, Count first_groups, Count second_groups,
                hls::stream<Beat>& table, Plan& plan) {
    PassWalk walk = no_pass();
    Plan found = {0, 0, 0, true};
    Count expected = -1;
plan_entries:
    for (Count index = 0; index < entries; ++index) {
#pragma HLS LOOP_TRIPCOUNT min = 1 max = 4352 avg = 32
#pragma HLS PIPELINE II = 3
        const Entry entry = read_entry(table);
        const bool joined = joins(walk, entry);
        expected += entry.first ? 1 : 0;
        const bool valid = entry_valid(entry, expected, first_groups, second_groups);
        found.valid = found.valid && valid;
        add_entry(entry, joined, second_groups > 0, walk);
        found.passes += joined ? 0 : 1;
        found.reads_a += !joined && walk.pass.reads_a ? 1 : 0;
        found.reads_b += walk.pass.reads_b ? 1 : 0;
    }
    found.valid = found.valid && expected + 1 == groups;
    plan = found;
}

void plan_move(Count begin, Count beats, Count entries, Count groups, Count first_groups,
               Count second_groups, const Beat* port, Plan& plan) {
#pragma HLS DATAFLOW
    hls::stream<Beat> table("move plan");
#pragma HLS STREAM variable = table depth = 16
    read_beats(port, begin, beats, table);
    plan_table(entries, groups, first_groups, second_groups, table, plan);
}

// Passes, and the groups that are read for them.
void send_passes(Count entries, bool keeps_b, hls::stream<Beat>& table, hls::stream<Pass>& passes,
                 hls::stream<Count>& sources_a, hls::stream<Count>& sources_b) {
    PassWalk walk = no_pass();
send_entries:
    for (Count index = 0; index < entries; ++index) {
#pragma HLS LOOP_TRIPCOUNT min = 1 max = 4352 avg = 32
#pragma HLS PIPELINE II = 3
        const Entry entry = read_entry(table);
        const bool joined = joins(walk, entry);
        if (walk.open && !joined) {
            walk.pass.last = entry.first;
            passes.write(walk.pass);
        }
        add_entry(entry, joined, keeps_b, walk);
        if (!joined && walk.pass.reads_a) {
            sources_a.write(entry.source);
        }
        if (walk.pass.reads_b) {
            sources_b.write(entry.source);
        }
    }
    walk.pass.last = true;
    passes.write(walk.pass);
}

void read_groups(const Beat* port, Count address, Count count, Count group_words, Count begin,
                 Count words, Count beats, hls::stream<Count>& sources, hls::stream<Beat>& to) {
read_groups_loop:
    for (Count i = 0; i < count; ++i) {
#pragma HLS LOOP_TRIPCOUNT min = 1 max = 4352 avg = 16
        const Count first = multiplied(group_words, sources.read()) + begin;
        // Two beats a word or four.
        const Count at = beats == QUARTERS ? first * QUARTERS : first * BYTE_QUARTERS;
        const Count all = beats == QUARTERS ? words * QUARTERS : words * BYTE_QUARTERS;
        read_beats(port, address + at, all, to);
    }
}

// Beats to words of sixteen lanes.
void pack_words(Count count, Count words, bool narrow, hls::stream<Beat>& from,
                hls::stream<HalfWord>& to) {
    Beat held[QUARTERS] = {};
#pragma HLS ARRAY_PARTITION variable = held complete
pack_groups:
    for (Count i = 0; i < count; ++i) {
#pragma HLS LOOP_TRIPCOUNT min = 1 max = 4352 avg = 16
        const QuarterIndex last = QuarterIndex(narrow ? BYTE_QUARTERS - 1 : QUARTERS - 1);
        QuarterIndex left = last;
        const Count beats = narrow ? words * BYTE_QUARTERS : words * QUARTERS;
    pack_beats:
        for (Count beat = 0; beat < beats; ++beat) {
#pragma HLS LOOP_TRIPCOUNT min = 64 max = 2048 avg = 2048
#pragma HLS PIPELINE II = 1
        shift_held:
            for (int place = 0; place < QUARTERS - 1; ++place) {
#pragma HLS UNROLL
                held[place] = held[place + 1];
            }
            held[QUARTERS - 1] = from.read();
            HalfWord word;
        pack_quarters:
            for (int quarter = 0; quarter < QUARTERS; ++quarter) {
#pragma HLS UNROLL
                const Beat bytes = held[QUARTERS - BYTE_QUARTERS + quarter / BYTE_QUARTERS];
                const Quarter part =
                    narrow ? quarter_of_bytes(bytes, quarter % 2 == 1) : quarter_of(held[quarter]);
                for (int lane = 0; lane < QUARTER_LANES; ++lane) {
#pragma HLS UNROLL
                    word.lane[quarter * QUARTER_LANES + lane] = part.lane[lane];
                }
            }
            const bool ends = left == 0;
            if (ends) {
                to.write(word);
            }
            left = ends ? last : QuarterIndex(left - 1);
        }
    }
}

HalfWord place_lanes(const Choices& choices, bool takes, const HalfWord& source,
                     const HalfWord& before) {
#pragma HLS INLINE
    HalfWord placed;
place_each:
    for (int lane = 0; lane < LANES; ++lane) {
#pragma HLS UNROLL
        const unsigned from = choices.lane[lane].to_uint();
        const bool moves = takes && from < LANES;
        placed.lane[lane] = moves ? source.lane[from % LANES] : before.lane[lane];
    }
    return placed;
}

void place_passes(Count passes, Count words, bool keeps_b, Count samples, hls::stream<Pass>& sent,
                  hls::stream<HalfWord>& words_a, hls::stream<HalfWord>& words_b,
                  hls::stream<HalfWord>& results) {
    HalfWord kept[BUFFERS_CHUNK];     // the group that may be read again
    HalfWord partial[BUFFERS_CHUNK];  // the result's group between its passes
// One memory word of 256 bits holds all lanes.
#pragma HLS AGGREGATE variable = kept
#pragma HLS AGGREGATE variable = partial
    Count real = samples;  // from the group's first on
place_passes_loop:
    for (Count index = 0; index < passes; ++index) {
#pragma HLS LOOP_TRIPCOUNT min = 1 max = 4352 avg = 16
        const Pass pass = sent.read();
    place_words:
        for (Count i = 0; i < words; ++i) {
#pragma HLS LOOP_TRIPCOUNT min = 16 max = 512 avg = 512
#pragma HLS PIPELINE II = 1
// Each iteration reads and writes its own word.
#pragma HLS DEPENDENCE variable = kept inter false
#pragma HLS DEPENDENCE variable = partial inter false
            const HalfWord again = kept[i];
            const HalfWord before = partial[i];
            HalfWord a = again;
            HalfWord b = again;
// Any lane of a group may go to any lane of the result.
#pragma HLS ARRAY_PARTITION variable = a.lane complete
#pragma HLS ARRAY_PARTITION variable = b.lane complete
            if (pass.reads_a) {
                a = words_a.read();
            }
            if (pass.reads_b) {
                b = words_b.read();
            }
            HalfWord begun;
        begin_lanes:
            for (int lane = 0; lane < LANES; ++lane) {
#pragma HLS UNROLL
                begun.lane[lane] = pass.first ? Half(0) : before.lane[lane];
            }
            const HalfWord with_a = place_lanes(pass.a, pass.takes_a, a, begun);
            const HalfWord placed = place_lanes(pass.b, pass.takes_b, b, with_a);
            const bool keeps = keeps_b ? pass.takes_b : pass.takes_a;
            HalfWord keep;
            HalfWord real_lanes;
        end_lanes:
            for (int lane = 0; lane < LANES; ++lane) {
#pragma HLS UNROLL
                const Half newest = keeps_b ? b.lane[lane] : a.lane[lane];
                keep.lane[lane] = keeps ? newest : again.lane[lane];
                real_lanes.lane[lane] = lane < real ? placed.lane[lane] : Half(0);
            }
            kept[i] = keep;
            partial[i] = placed;
            if (pass.last) {
                results.write(real_lanes);
            }
        }
        real -= pass.last ? LANES : 0;
    }
}

// Words of sixteen lanes to beats.
void unpack_words(Count groups, Count words, bool narrow, hls::stream<HalfWord>& from,
                  hls::stream<Beat>& to) {
    const Count beats = narrow ? words * BYTE_QUARTERS : words * QUARTERS;
    Beat held[QUARTERS] = {};
#pragma HLS ARRAY_PARTITION variable = held complete
unpack_groups:
    for (Count group = 0; group < groups; ++group) {
#pragma HLS LOOP_TRIPCOUNT min = 1 max = 256 avg = 8
        QuarterIndex place = 0;
    unpack_beats:
        for (Count beat = 0; beat < beats; ++beat) {
#pragma HLS LOOP_TRIPCOUNT min = 64 max = 2048 avg = 2048
#pragma HLS PIPELINE II = 1
        shift_held:
            for (int i = 0; i < QUARTERS - 1; ++i) {
#pragma HLS UNROLL
                held[i] = held[i + 1];
            }
            if (place == 0) {
                const HalfWord word = from.read();
            unpack_quarters:
                for (int quarter = 0; quarter < QUARTERS; ++quarter) {
#pragma HLS UNROLL
                    Quarter part;
                    Quarter next;
                    for (int lane = 0; lane < QUARTER_LANES; ++lane) {
#pragma HLS UNROLL
                        part.lane[lane] = word.lane[quarter * QUARTER_LANES + lane];
                        next.lane[lane] =
                            word.lane[(2 * quarter + 1) % QUARTERS * QUARTER_LANES + lane];
                    }
                    Quarter first;
                    for (int lane = 0; lane < QUARTER_LANES; ++lane) {
#pragma HLS UNROLL
                        first.lane[lane] = word.lane[2 * quarter % QUARTERS * QUARTER_LANES + lane];
                    }
                    const Beat bytes =
                        (static_cast<Beat>(bytes_of_quarter(next)) << 32) | bytes_of_quarter(first);
                    held[quarter] = narrow ? bytes : beat_of_quarter(part);
                }
            }
            to.write(held[0]);
            const QuarterIndex last = QuarterIndex(narrow ? BYTE_QUARTERS - 1 : QUARTERS - 1);
            place = QuarterIndex(place == last ? QuarterIndex(0) : QuarterIndex(place + 1));
        }
    }
}

void write_groups(Count address, Count groups, Count group_words, Count begin, Count words,
                  bool narrow, hls::stream<Beat>& from, Beat* port) {
    const Count step = narrow ? group_words * BYTE_QUARTERS : group_words * QUARTERS;
    const Count beats = narrow ? words * BYTE_QUARTERS : words * QUARTERS;
    Count at = address + (narrow ? begin * BYTE_QUARTERS : begin * QUARTERS);
write_groups_loop:
    for (Count group = 0; group < groups; ++group) {
#pragma HLS LOOP_TRIPCOUNT min = 1 max = 256 avg = 8
        write_beats(from, at, beats, port);
        at += step;
    }
}

void move_stretch(Count table_begin, Count table_beats, Count entries, bool keeps_b, Count passes,
                  Count reads_a, Count reads_b, Count address_a, Count address_b, Count group_words,
                  Count begin, Count words, bool narrow, Count beats, Count groups, Count samples,
                  Count out, const Beat* columns, const Beat* rows, const Beat* extra,
                  Beat* output) {
#pragma HLS DATAFLOW
    hls::stream<Beat> table("move table");
    hls::stream<Pass> sent("move passes");
    hls::stream<Count> sources_a("move sources a");
    hls::stream<Count> sources_b("move sources b");
    hls::stream<Beat> beats_a("move beats a");
    hls::stream<Beat> beats_b("move beats b");
    hls::stream<HalfWord> words_a("move words a");
    hls::stream<HalfWord> words_b("move words b");
    hls::stream<HalfWord> results("move results");
    hls::stream<Beat> written("move written");
#pragma HLS STREAM variable = table depth = 16
#pragma HLS STREAM variable = sent depth = 2
#pragma HLS STREAM variable = sources_a depth = 4
#pragma HLS STREAM variable = sources_b depth = 4
#pragma HLS STREAM variable = beats_a depth = 16
#pragma HLS STREAM variable = beats_b depth = 16
#pragma HLS STREAM variable = words_a depth = 4
#pragma HLS STREAM variable = words_b depth = 4
#pragma HLS STREAM variable = results depth = 4
#pragma HLS STREAM variable = written depth = 16
    read_beats(extra, table_begin, table_beats, table);
    send_passes(entries, keeps_b, table, sent, sources_a, sources_b);
    read_groups(columns, address_a, reads_a, group_words, begin, words, beats, sources_a, beats_a);
    read_groups(rows, address_b, reads_b, group_words, begin, words, beats, sources_b, beats_b);
    pack_words(reads_a, words, narrow, beats_a, words_a);
    pack_words(reads_b, words, narrow, beats_b, words_b);
    place_passes(passes, words, keeps_b, samples, sent, words_a, words_b, results);
    unpack_words(groups, words, narrow, results, written);
    write_groups(out, groups, group_words, begin, words, narrow, written, output);
}

}  // namespace

std::uint32_t move_samples(const Arguments& a, const TensorSize& size, const Beat* columns,
                           const Beat* rows, const Beat* extra, Beat* output, Counters& counters) {
    const Count entries = a.table_entries();
    const Count table = beat_at(a.rows_address);
    const bool keeps_b = option(a, OPTIONS_SECOND);
    const Count second_groups = keeps_b ? ceil_groups(a.second_samples()) : 0;
    const Count table_beats = entries * ENTRY_BEATS;
    Plan plan = {0, 0, 0, false};
    plan_move(table, table_beats, entries, size.groups, ceil_groups(a.first_samples()),
              second_groups, extra, plan);
    if (!plan.valid) {
        return ERRORS_ARGUMENT;
    }
    const bool narrow = a.bits == WIDTHS_ACTIVATION;
    const Count beats = narrow ? Count(BYTE_QUARTERS) : Count(QUARTERS);
    const Count group_words = multiplied(size.plane, a.channels);
    Count stretches = 1;
move_stretches:
    for (Count begin = 0; begin < group_words; begin += BUFFERS_CHUNK) {
#pragma HLS LOOP_TRIPCOUNT min = 1 max = 128 avg = 32
        const Count left = group_words - begin;
        const Count words = left < BUFFERS_CHUNK ? left : Count(BUFFERS_CHUNK);
        move_stretch(table, table_beats, entries, keeps_b, plan.passes, plan.reads_a, plan.reads_b,
                     beat_at(a.a_address), beat_at(a.b_address), group_words, begin, words, narrow,
                     beats, size.groups, a.samples, beat_at(a.out_address), columns, rows, extra,
                     output);
        ++stretches;
    }
    const std::uint64_t group_beats =
        static_cast<std::uint64_t>(narrow ? group_words * BYTE_QUARTERS : group_words * QUARTERS);
    counters.column_beats += multiplied_wide(group_beats, plan.reads_a);
    counters.row_beats += multiplied_wide(group_beats, plan.reads_b);
    counters.extra_beats += multiplied_wide(static_cast<std::uint64_t>(table_beats), stretches);
    counters.output_beats += multiplied_wide(group_beats, size.groups);
    return ERRORS_OK;
}

}  // namespace e2
