// SPDX-License-Identifier: Apache-2.0
// The walker: where every process of the pipeline works, tile after tile.
#include "e2train/memory.hpp"
#include "e2train/stages.hpp"

namespace e2 {

namespace {

constexpr int BYTE_SHIFT = 1;  // a word of bytes has two beats, one of halves four
constexpr int HALF_SHIFT = 2;
static_assert(BYTE_WORD_BEATS == 1 << BYTE_SHIFT && HALF_WORD_BEATS == 1 << HALF_SHIFT,
              "beats of a word are shifts");

// First group, position and channel of the tile; counted on, never divided.
struct TileWalk {
    Count group;
    Count y;
    Count x;
    Count outer;
    bool odd;  // tiles take the halves of the row buffer in turn
};

// The tile, and the region that it reads.
struct TilePlace {
    Count group;
    Count outer;
    Count outers;
    Span y;
    Span x;
    Span from_y;
    Span from_x;
    Count half;
};

// A region of a tensor, in words.
struct Region {
    Address begin;
    Address plane_step;
    Address run_step;
    Runs runs;
};

Span cut(Count begin, Count size, Count whole) {
    const Span span = {begin, smaller(size, whole - begin)};
    return span;
}

TilePlace place_of(const Job& job, const TileWalk& at) {
    const Layer& layer = job.layer;
    TilePlace tile;
    tile.group = at.group;
    tile.outer = at.outer;
    tile.outers = smaller(job.tile_outer, job.end - at.outer);
    tile.y = cut(at.y, layer.tile_y, layer.y.to);
    tile.x = cut(at.x, layer.tile_x, layer.x.to);
    tile.from_y = source_span(layer.y, tile.y);
    tile.from_x = source_span(layer.x, tile.x);
    tile.half = at.odd ? BUFFERS_ROW_DEPTH : 0;
    return tile;
}

// Channels first, then along x, y and the groups of samples.
void advance(const Job& job, TileWalk& at) {
    at.odd = !at.odd;
    at.outer += job.tile_outer;
    if (at.outer < job.end) {
        return;
    }
    at.outer = job.outer;
    at.x += job.layer.tile_x;
    if (at.x < job.layer.x.to) {
        return;
    }
    at.x = 0;
    at.y += job.layer.tile_y;
    if (at.y < job.layer.y.to) {
        return;
    }
    at.y = 0;
    ++at.group;
}

Region region_of(Count plane, const Span& y, const Span& x, Count height, Count width) {
    const Count row = times(plane, height) + y.begin;
    Region region;
    region.begin = static_cast<Address>(times(row, width) + x.begin);
    region.plane_step = static_cast<Address>(times(height, width));
    region.run_step = static_cast<Address>(width);
    region.runs = runs_of(y, x, width);
    return region;
}

ColumnLoad column_load(const Job& job, const TilePlace& at) {
    const Layer& layer = job.layer;
    const bool own = layer.depthwise || layer.weights;  // planes are the tile's outer channels
    const Count all = own ? layer.outer : layer.inner;
    const Count first = own ? at.outer : job.inner;
    const Count plane = times(at.group, all) + first;
    const Region region = layer.weights
                              ? region_of(plane, at.y, at.x, layer.y.to, layer.x.to)
                              : region_of(plane, at.from_y, at.from_x, layer.y.from, layer.x.from);
    const bool halves = layer.weights || layer.transposed;
    const int shift = halves ? HALF_SHIFT : BYTE_SHIFT;
    ColumnLoad load;
    load.begin = job.columns + (region.begin << shift);
    load.plane_step = region.plane_step << shift;
    load.run_step = region.run_step << shift;
    load.planes = own ? at.outers : job.inners;
    load.runs = region.runs.count;
    load.words = region.runs.words;
    load.halves = halves;
    load.shared = layer.weights;
    load.narrow = job.narrow;
    load.msb = job.g_msb;
    return load;
}

// Weights of 16 rows a word; a block's words for this launch's channels are one burst.
RowLoad weight_words(const Job& job, const TilePlace& at) {
    const Layer& layer = job.layer;
    const Count block = times(layer.inner, banks_of(at.outer)) + job.inner;
    RowLoad load = RowLoad();
    load.begin = job.rows + (static_cast<Address>(times(block, taps(layer))) << BYTE_SHIFT);
    load.plane_step = static_cast<Address>(times(layer.inner, taps(layer))) << BYTE_SHIFT;
    load.planes = banks_of(at.outers + LANES - 1);
    load.runs = 1;
    load.words = times(job.inners, taps(layer));
    load.weights = true;
    load.half = at.half;
    return load;
}

// Activations, each channel in the bank of its row of the array.
RowLoad activations(const Job& job, const TilePlace& at) {
    const Layer& layer = job.layer;
    const Count plane = times(at.group, layer.inner) + job.inner;
    const Region region = region_of(plane, at.from_y, at.from_x, layer.y.from, layer.x.from);
    RowLoad load;
    load.begin = job.rows + (region.begin << BYTE_SHIFT);
    load.plane_step = region.plane_step << BYTE_SHIFT;
    load.run_step = region.run_step << BYTE_SHIFT;
    load.planes = job.inners;
    load.runs = region.runs.count;
    load.words = region.runs.words;
    load.weights = false;
    load.nibbles = job.packed;
    load.twin = layer.depthwise || job.inners <= TWIN_CHANNELS;
    load.msb = job.x_msb;
    load.first = layer.depthwise ? bank_of(job.inner) : 0;
    load.region = times(at.from_y.count, at.from_x.count);
    load.half = at.half;
    return load;
}

// Where position 0 of a span reads: the region's own coordinate, or, transposed, what is halved
// before it is one.
Count begin_of(const Axis& axis, const Span& span, const Span& from) {
    return axis.transposed ? span.begin + axis.padding
                           : by_stride(axis, span.begin) - axis.padding - from.begin;
}

// Blocks of rows of the array.
Count blocks_of(const Job& job, Count outers) {
    return job.layer.depthwise ? outers
           : job.packed        ? banks_of(outers + PACKED_ROWS - 1)
                               : (outers + ROWS - 1) >> 3;
}

// Over the positions of a tile along one axis: taps that meet them, and positions that any meets.
struct AxisTaps {
    Count taps;
    Count met;
};

AxisTaps taps_along(const Axis& axis, const Span& span) {
    const Count kernel = axis.kernel;
    const Count odd_first = (span.begin + axis.padding) & 1;
    const Count even = (span.count + 1 - odd_first) >> 1;
    const Count odd = span.count - even;
    const bool halved = axis.transposed && axis.stride == 2;
    const AxisTaps every = {times(span.count, kernel), span.count};
    const AxisTaps second = {times(even, (kernel + 1) >> 1) + times(odd, kernel >> 1),
                             kernel > 1 ? span.count : even};
    return halved ? second : every;
}

// Steps of all visits along positions; a position that no tap meets takes one, of zeros.
Count position_steps(const Job& job, const TilePlace& at) {
    const AxisTaps y = taps_along(job.layer.y, at.y);
    const AxisTaps x = taps_along(job.layer.x, at.x);
    const Count products = times(times(y.taps, x.taps), job.inners);
    const Count empty = times(at.y.count, at.x.count) - times(y.met, x.met);
    return times(products + empty, blocks_of(job, at.outers));
}

VisitTile visit_tile(const Job& job, const TilePlace& at) {
    const Layer& layer = job.layer;
    const Count positions = times(at.y.count, at.x.count);
    VisitTile tile;
    tile.kind = place(job.kind);
    tile.packed = job.packed;
    tile.depthwise = layer.depthwise;
    tile.transposed = layer.transposed;
    tile.halved = layer.transposed && layer.y.stride == 2;
    tile.outers = place(at.outers);
    tile.y_count = place(at.y.count);
    tile.x_count = place(at.x.count);
    tile.y_begin = place(begin_of(layer.y, at.y, at.from_y));
    tile.x_begin = place(begin_of(layer.x, at.x, at.from_x));
    tile.y_from = place(at.from_y.begin);
    tile.x_from = place(at.from_x.begin);
    tile.stride = place(layer.y.stride);
    tile.kernel_y = place(layer.y.kernel);
    tile.kernel_x = place(layer.x.kernel);
    tile.from_y = place(at.from_y.count);
    tile.from_x = place(at.from_x.count);
    tile.region = place(times(at.from_y.count, at.from_x.count));
    tile.block_words = place(times(job.inners, taps(layer)));
    tile.inners = place(job.inners);
    tile.twin = layer.depthwise || (job.packed && job.inners <= TWIN_CHANNELS);
    tile.filter = place(at.outer);
    tile.filters = place(at.outers);
    tile.first = place(bank_of(job.inner));
    tile.positions = place(positions);
    tile.slot_base = place(layer.depthwise ? banks_of(job.inner) : 0);
    const Count blocks = blocks_of(job, at.outers);
    tile.visits =
        place(job.kind == JOB_SLOTS     ? job.visits
              : job.kind == JOB_WEIGHTS ? weight_visits(layer, job.packed, at.outers, job.inners)
                                        : times(blocks, positions));
    return tile;
}

FeedTile feed_tile(const Job& job, const TilePlace& at, const VisitTile& visits) {
    const Layer& layer = job.layer;
    const Count step = visits.halved ? 2 : 1;  // from tap to tap
    FeedTile tile;
    tile.kind = place(job.kind);
    tile.half = place(at.half);
    tile.packed = job.packed;
    tile.depthwise = layer.depthwise;
    tile.twin = visits.twin && job.packed;
    tile.from_y = place(at.from_y.count);
    tile.from_x = place(at.from_x.count);
    tile.step = place(layer.transposed ? -1 : 1);
    tile.region = visits.region;
    tile.row_tap_x = place(step);
    tile.row_tap_y = place(visits.halved ? 2 * layer.x.kernel : layer.x.kernel);
    tile.row_inner = place(taps(layer));
    tile.positions = visits.positions;
    tile.steps =
        job.kind == JOB_PASS ? position_steps(job, at) : times(visits.visits, visits.positions);
    tile.x_count = place(at.x.count);
    tile.y_begin = visits.y_begin;
    tile.x_begin = visits.x_begin;
    tile.stride = place(layer.y.stride);
    return tile;
}

CollectTile collect_tile(const Job& job, const VisitTile& visits, bool first) {
    CollectTile tile;
    tile.kind = place(job.kind);
    tile.first = first;
    tile.packed = job.packed;
    tile.words = place(job.kind == JOB_PASS ? times(visits.outers, visits.positions)
                       : job.packed         ? 2 * visits.visits
                                            : visits.visits);
    tile.rows = place(job.packed ? PACKED_ROWS : ROWS);
    tile.outers = visits.outers;
    tile.positions = visits.positions;
    if (visits.depthwise) {
        tile.rows = place(1);
    }
    return tile;
}

StoreTile store_tile(const Job& job, const TilePlace& at) {
    const Layer& layer = job.layer;
    const Count plane = times(at.group, layer.outer) + at.outer;
    const Region region = region_of(plane, at.y, at.x, layer.y.to, layer.x.to);
    StoreTile tile;
    tile.begin = region.begin;
    tile.plane_step = region.plane_step;
    tile.run_step = region.run_step;
    tile.planes = job.kind == JOB_PASS ? at.outers : 0;
    tile.runs = region.runs.count;
    tile.words = region.runs.words;
    tile.outer = at.outer;
    tile.raw = job.finish.raw;
    tile.carry = job.finish.carry;
    tile.statistics = job.finish.statistics;
    tile.residual = job.finish.residual;
    tile.mask_bits = job.finish.mask_bits;
    tile.mask_ceiling = job.finish.mask_ceiling;
    tile.shift = job.finish.shift;
    tile.mask = job.mask;
    tile.residual_begin = job.residual;
    tile.carry_begin = job.carry;
    tile.output = job.output;
    return tile;
}

}  // namespace

void walk_tiles(const Job& job, Count index, hls::stream<ColumnLoad>& columns,
                hls::stream<RowLoad>& rows, hls::stream<VisitTile>& visits,
                hls::stream<FeedTile>& feeds, hls::stream<CollectTile>& collects,
                hls::stream<StoreTile>& besides, hls::stream<StoreTile>& finishes,
                hls::stream<StoreTile>& stores) {
// A tile takes thousands of cycles: one multiplier, in turn, works out all of its addresses.
#pragma HLS ALLOCATION function instances = times limit = 1
    static TileWalk walk;
    if (index == 0) {
        const TileWalk begin = {0, 0, 0, job.outer, false};
        walk = begin;
    }
    const TilePlace at = place_of(job, walk);
    const VisitTile visit = visit_tile(job, at);
    const StoreTile store = store_tile(job, at);
    columns.write(column_load(job, at));
    rows.write(job.kind == JOB_PASS ? weight_words(job, at) : activations(job, at));
    visits.write(visit);
    feeds.write(feed_tile(job, at, visit));
    collects.write(collect_tile(job, visit, index == 0));
    besides.write(store);
    finishes.write(store);
    stores.write(store);
    advance(job, walk);
}

}  // namespace e2
