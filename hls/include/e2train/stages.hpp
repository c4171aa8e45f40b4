// SPDX-License-Identifier: Apache-2.0
// The processes of the pipeline, each with its own tile's descriptor and one call a tile.
#ifndef E2TRAIN_STAGES_HPP
#define E2TRAIN_STAGES_HPP

#include "e2train/counters.hpp"
#include "e2train/job.hpp"
#include "e2train/mac_core.hpp"
#include "e2train/psg.hpp"

namespace e2 {

// Both halves of the row buffer, one a tile in turn. A word is 16 bytes; their low and their high
// nibbles lie in memories of their own, so that two channels of 4-bit slices share a word.
constexpr Count ROW_WORDS = 2 * BUFFERS_ROW_DEPTH;

struct RowBuffer {
    Part low[BUFFERS_ROW_BANKS][ROW_WORDS];
    Part high[BUFFERS_ROW_BANKS][ROW_WORDS];
};

struct ColumnBuffer {
    HalfBits word[BUFFERS_COLUMN_DEPTH];
};

struct TileSums {
    TileSumBits word[BUFFERS_TILE_SUMS];
};

// A visit along positions: where its operands begin and how far they go.
struct PassVisit {
    Place column;  // of the first tap; outside the region it is padding
    Place row;
    Place y;
    Place x;
    Place last_y;  // of the taps that meet this position
    Place last_x;
    Place last_inner;
    Place lane;   // first lane of the word of weights that is used
    Place words;  // that leave
    bool empty;   // no tap meets it: one step of zeros
    bool end;
};

// A visit to the weights: gradients of a filter and of the one after, and a weight a row.
struct WeightVisit {
    Place first;
    Place second;
    std::uint16_t low;   // rows whose low nibbles (plain: whose bytes) count
    std::uint16_t high;  // and whose high nibbles do
    std::uint8_t ahead;
    std::uint8_t odd;  // rows that read the upper eight banks
    Place offset[ROWS];
    std::uint8_t tap_y[ROWS];
    std::uint8_t tap_x[ROWS];
    bool end;
};

// Quarters of a word that is stored: four lanes.
constexpr int QUARTERS = HALF_PARTS;
constexpr int QUARTER = LANES / QUARTERS;
// A run's quarters wait while what lies beside them is read, so the streams hold one.
constexpr int RUN_QUARTERS = QUARTERS * BUFFERS_TILE_SUMS / LANES;
typedef ap_uint<QUARTER * PART> QuarterBits;  // four 64-bit sums
typedef ap_uint<QUARTER> OpenBits;

// What finishing a tile found.
struct TileTally {
    std::uint64_t peak;
    Count saturations;
};

void walk_tiles(const Job& job, Count index, hls::stream<ColumnLoad>& columns,
                hls::stream<RowLoad>& rows, hls::stream<VisitTile>& visits,
                hls::stream<FeedTile>& feeds, hls::stream<CollectTile>& collects,
                hls::stream<StoreTile>& besides, hls::stream<StoreTile>& finishes,
                hls::stream<StoreTile>& stores);

void load_columns(hls::stream<ColumnLoad>& tiles, const Beat* port, const Beat* second,
                  ColumnBuffer& buffer, hls::stream<Count>& beats,
                  hls::stream<Count>& second_beats);

// The row buffer is one memory with two halves, so this process and the one that reads it keep
// apart by tokens: `begun` holds two, and a third waits until a tile has been read.
void load_rows(hls::stream<RowLoad>& tiles, const Beat* port, RowBuffer& buffer,
               hls::stream<bool>& begun, hls::stream<bool>& loaded, hls::stream<Count>& beats);

void walk_visits(hls::stream<VisitTile>& tiles, const SlotVisits& slots,
                 hls::stream<PassVisit>& pass_visits, hls::stream<WeightVisit>& weight_visits);

void feed(hls::stream<FeedTile>& tiles, hls::stream<PassVisit>& pass_visits,
          hls::stream<WeightVisit>& weight_visits, const RowBuffer& row_buffer,
          const ColumnBuffer& column_buffer, hls::stream<bool>& begun, hls::stream<bool>& loaded,
          hls::stream<StepFlags>& flags, hls::stream<RowBits>& rows,
          hls::stream<ColumnBits>& columns, hls::stream<Count>& steps);
Count feed_pass(const FeedTile& tile, hls::stream<PassVisit>& visits, const RowBuffer& row_buffer,
                const ColumnBuffer& column_buffer, hls::stream<StepFlags>& flags,
                hls::stream<RowBits>& rows, hls::stream<ColumnBits>& columns);
Count feed_weights(const FeedTile& tile, hls::stream<WeightVisit>& visits,
                   const RowBuffer& row_buffer, const ColumnBuffer& column_buffer,
                   hls::stream<StepFlags>& flags, hls::stream<RowBits>& rows,
                   hls::stream<ColumnBits>& columns);

void collect(hls::stream<CollectTile>& tiles, hls::stream<SumBits>& words, TileSums& tile_sums,
             WeightSums& weight_sums);

void load_beside(hls::stream<StoreTile>& tiles, const Beat* port, hls::stream<OpenBits>& opens,
                 hls::stream<Part>& residuals, hls::stream<QuarterBits>& carries,
                 hls::stream<Count>& beats);

void finish_sums(hls::stream<StoreTile>& tiles, const TileSums& sums, hls::stream<OpenBits>& opens,
                 hls::stream<Part>& residuals, hls::stream<QuarterBits>& carries,
                 hls::stream<Part>& halves, hls::stream<QuarterBits>& raws,
                 hls::stream<TileTally>& tallies, ChannelEntry channels[LIMITS_CHANNELS]);

void store_words(hls::stream<StoreTile>& tiles, hls::stream<Part>& halves,
                 hls::stream<QuarterBits>& raws, hls::stream<TileTally>& tallies,
                 hls::stream<Count>& steps, hls::stream<Count>& column_beats,
                 hls::stream<Count>& second_beats, hls::stream<Count>& row_beats,
                 hls::stream<Count>& beside_beats, Beat* output, Counters& counters);

// Sums of y and y^2, gathered by channel while y is stored.
void clear_channels(ChannelEntry channels[LIMITS_CHANNELS], Count count);
void write_channels(const ChannelEntry channels[LIMITS_CHANNELS], Count count, Address begin,
                    Beat* output);

}  // namespace e2

#endif
