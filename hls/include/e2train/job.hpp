// SPDX-License-Identifier: Apache-2.0
// What the pipeline works through in one go, and what its walker tells every process of a tile.
//
// The walker alone knows the layer. It sends scalars down one stream a process, so that no process
// divides, multiplies addresses or shares a structure with another.
#ifndef E2TRAIN_JOB_HPP
#define E2TRAIN_JOB_HPP

#include "e2train/layer.hpp"

namespace e2 {

constexpr int JOB_PASS = 0;     // forward or back to the input
constexpr int JOB_WEIGHTS = 1;  // gradients of a tile of weights
constexpr int JOB_SLOTS = 2;    // gradients of a tile of slots

// How sums become what is stored.
struct Finish {
    bool raw;    // 64-bit sums as they are
    bool carry;  // sums of an earlier launch come first
    bool statistics;
    bool residual;
    int mask_bits;  // 0: none
    Count mask_ceiling;
    Count shift;
};

struct Job {
    int kind;
    Count tiles;
    Layer layer;
    bool packed;  // two products a DSP
    bool narrow;  // the gradient's eight most significant bits
    Count x_msb;  // of the slices; 8: all of x
    Count g_msb;  // 16: all of g
    Count outer;  // first of the outer channels, and the one past the last
    Count end;
    Count tile_outer;  // of them a tile
    Count inner;       // first of the inner channels, and how many
    Count inners;
    Count visits;     // JOB_SLOTS
    Address columns;  // beats where the tensors begin
    Address rows;
    Address mask;
    Address residual;
    Address carry;
    Address output;
    Finish finish;
};

// A region of a tensor as bursts, in beats: `planes` times `runs` of them, `words` words each.
struct ColumnLoad {
    Address begin;
    Address plane_step;
    Address run_step;
    Count planes;
    Count runs;
    Count words;
    bool halves;  // 16-bit elements, else bytes made 16 bits wide
    bool shared;  // two ports take turns, plane by plane
    bool narrow;
    Count msb;
};

struct RowLoad {
    Address begin;
    Address plane_step;
    Address run_step;
    Count planes;
    Count runs;
    Count words;
    bool weights;  // words of weights one after the other, else a channel a bank
    bool nibbles;  // slices of four bits, two channels a byte
    bool twin;     // or the same channel twice
    Count msb;
    Count first;   // bank of the first channel
    Count region;  // words of a channel
    Count half;    // of the row buffer: its first word in every bank
};

// One axis of a tile along positions: where its first position reads, before taps, relative to the
// region in the buffer.
struct VisitTile {
    Place kind;
    Place visits;
    bool packed;
    bool depthwise;
    bool transposed;
    bool halved;  // transposed with stride 2: positions meet every second tap
    Place outers;
    Place y_count;
    Place x_count;
    Place y_begin;
    Place x_begin;
    Place y_from;
    Place x_from;
    Place stride;
    Place kernel_y;
    Place kernel_x;
    Place from_y;  // size of the region
    Place from_x;
    Place region;       // words of a channel of it
    Place block_words;  // of weights, for 16 rows
    Place inners;
    // To the weights:
    bool twin;
    Place filter;  // first of the tile
    Place filters;
    Place first;      // bank of the first channel (depthwise)
    Place positions;  // words of a filter's gradient
    Place slot_base;  // block of 16 channels that the buffer begins with
};

struct FeedTile {
    Place kind;
    Place half;
    bool packed;
    bool depthwise;
    bool twin;
    Place from_y;
    Place from_x;
    // Along positions: what a tap and a channel further means in both buffers.
    Place step;  // of coordinates: 1, or -1 transposed
    Place region;
    Place row_tap_x;
    Place row_tap_y;
    Place row_inner;
    // To the weights:
    Place positions;
    Count steps;  // of all visits
    Place x_count;
    Place y_begin;
    Place x_begin;
    Place stride;
};

struct CollectTile {
    Place kind;
    bool first;  // nothing to add to
    bool packed;
    Place words;
    Place rows;  // of a visit
    Place outers;
    Place positions;
};

// What is produced, as bursts in words of 16 samples; no planes: nothing to store.
struct StoreTile {
    Address begin;
    Address plane_step;
    Address run_step;
    Count planes;
    Count runs;
    Count words;
    Count outer;  // first channel
    bool raw;
    bool carry;
    bool statistics;
    bool residual;
    Count mask_bits;
    Count mask_ceiling;
    Count shift;
    Address mask;
    Address residual_begin;
    Address carry_begin;
    Address output;
};

}  // namespace e2

#endif
