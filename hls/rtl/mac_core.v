// SPDX-License-Identifier: Apache-2.0
// The multiply-accumulate array that every pass of a convolution shares, for the place of the C++
// function of the same name (hls/src/mac_core.cpp; mac_core.json describes this module to HLS).
//
// 8 rows by 16 columns of DSP48E1s, and 256 products of 4 by 10 bits in LUTs beside them. Each step
// takes a word of each input stream; flags say where the step stands in its visit.
//   along: DSP (r, c) sums its row's operands, lane 0 of the row word, times column c over the
//     steps. Out goes word k with the 16 columns' sums of row k. Packed: rows r and r + 8 share a
//     DSP, and runs of at most 4 products are summed in it before they are taken apart.
//   across, plain: row r sums over steps and columns; its operands differ by column. Out goes one
//     word, lane r with the sum of row r.
//   across, packed: the lower slices of rows r and r + 8 share a DSP, the upper slice of each row
//     goes to LUTs. Word 0 has the sums of the lower slices, word 1 (if two are wanted) those of
//     the upper ones, lane r of row r.
// Which rows share a DSP cannot be seen from outside. Idle rows, columns and lanes hold zeros.
module mac_core (
    ap_clk, ap_rst, ap_ce, ap_start, ap_done, ap_idle, ap_ready, ap_continue,
    steps_dout, steps_empty_n, steps_read,
    rows_dout, rows_empty_n, rows_read,
    columns_dout, columns_empty_n, columns_read,
    sums_din, sums_full_n, sums_write
);
    `include "mac_params.vh"

    input wire ap_clk, ap_rst, ap_ce, ap_start, ap_continue;
    output wire ap_done, ap_idle, ap_ready;
    input wire [CORE_STEP_BITS-1:0] steps_dout;
    input wire steps_empty_n;
    output wire steps_read;
    input wire [CORE_ROW_BITS-1:0] rows_dout;
    input wire rows_empty_n;
    output wire rows_read;
    input wire [CORE_COLUMN_BITS-1:0] columns_dout;
    input wire columns_empty_n;
    output wire columns_read;
    output wire [CORE_SUM_BITS-1:0] sums_din;
    input wire sums_full_n;
    output wire sums_write;

    mac_constraints constraints ();

    // ---- control --------------------------------------------------------------------------------

    wire advance, take, ends_run, out_valid, out_last;
    assign steps_read = take;
    assign rows_read = take;
    assign columns_read = take;
    assign sums_write = ap_ce && out_valid && sums_full_n;
    mac_control control (
        .ap_clk(ap_clk), .ap_rst(ap_rst), .ap_ce(ap_ce), .ap_start(ap_start),
        .ap_continue(ap_continue), .ap_done(ap_done), .ap_idle(ap_idle), .ap_ready(ap_ready),
        .inputs_ready(steps_empty_n && rows_empty_n && columns_empty_n),
        .output_free(!out_valid || sums_full_n), .finish(sums_write && out_last),
        .last(steps_dout[CORE_LAST]), .ends_run(ends_run), .across(steps_dout[CORE_ACROSS]),
        .ends_launch(steps_dout[CORE_END]), .words(steps_dout[CORE_WORDS+:CORE_WORDS_BITS]),
        .advance(advance), .take(take)
    );

    wire [CHAIN-1:0] across, packed_pair, other, add_own, add_before, keep;
    wire [ROWS*CHAIN-1:0] ahead;
    wire [CHAIN_BITS-1:0] run_column, store_column;
    wire run_taken, run_fresh, run_packed, run_stored;
    wire sum_packed, sum_step, sum_fresh, lut_step, lut_fresh;
    wire visit_ends, visit_across, visit_packed, visit_end;
    wire [CORE_WORDS_BITS-1:0] visit_words;
    mac_flags step_flags (
        .clk(ap_clk), .rst(ap_rst), .advance(advance), .take(take), .flags(steps_dout),
        .ends_run(ends_run), .across(across), .packed_pair(packed_pair), .other(other),
        .ahead(ahead), .add_own(add_own), .add_before(add_before), .keep(keep),
        .run_column(run_column), .run_taken(run_taken), .run_fresh(run_fresh),
        .run_packed(run_packed), .run_stored(run_stored), .store_column(store_column),
        .sum_packed(sum_packed), .sum_step(sum_step), .sum_fresh(sum_fresh), .lut_step(lut_step),
        .lut_fresh(lut_fresh), .visit_ends(visit_ends), .visit_across(visit_across),
        .visit_packed(visit_packed), .visit_end(visit_end), .visit_words(visit_words)
    );

    wire [2*CHAIN-1:0] drain_column, drain_row, lane_class;
    wire [CHAIN-1:0] drain_packed, lane_valid;
    wire emit_dsp, emit_lut;
    mac_sequence sequence_of_words (
        .clk(ap_clk), .rst(ap_rst), .advance(advance), .visit_ends(visit_ends),
        .visit_across(visit_across), .visit_packed(visit_packed), .visit_end(visit_end),
        .visit_words(visit_words), .drain_column(drain_column), .drain_row(drain_row),
        .drain_packed(drain_packed), .lane_class(lane_class), .lane_valid(lane_valid),
        .emit_dsp(emit_dsp), .emit_lut(emit_lut), .out_valid(out_valid), .out_last(out_last)
    );

    // ---- products and sums ----------------------------------------------------------------------

    wire [CORE_ROW_BITS-1:0] rows;
    wire [HALF*COLUMNS-1:0] first, second;
    mac_operands operands (
        .clk(ap_clk), .rst(ap_rst), .advance(advance), .row_word(rows_dout),
        .column_word(columns_dout), .rows(rows), .first(first), .second(second)
    );

    wire [CELL*ROWS*CHAINS-1:0] drain_low, drain_high;  // chain g's row r at CELL * (ROWS * g + r)
    wire [SUM*PACKED_ROWS-1:0] dsp_sums;
    genvar r, g, c;
    generate
        for (r = 0; r < ROWS; r = r + 1) begin : array
            wire [BYTE*COLUMNS-1:0] low = rows[BYTE*COLUMNS*r+:BYTE*COLUMNS];
            wire [SLICE*COLUMNS-1:0] high_slices;
            wire [CHAIN-1:0] row_ahead;
            wire [CELL*CHAINS-1:0] row_low, row_high;
            for (c = 0; c < COLUMNS; c = c + 1) begin : slices
                assign high_slices[SLICE*c+:SLICE] = rows[BYTE*(COLUMNS*(ROWS+r)+c)+:SLICE];
            end
            for (c = 0; c < CHAIN; c = c + 1) begin : stages
                assign row_ahead[c] = ahead[ROWS*c+r];
            end
            for (g = 0; g < CHAINS; g = g + 1) begin : chains
                assign drain_low[CELL*(ROWS*g+r)+:CELL] = row_low[CELL*g+:CELL];
                assign drain_high[CELL*(ROWS*g+r)+:CELL] = row_high[CELL*g+:CELL];
            end
            mac_row row (
                .clk(ap_clk), .rst(ap_rst), .advance(advance), .along_low(low[BYTE-1:0]),
                .along_high(rows[BYTE*COLUMNS*(ROWS+r)+:BYTE]), .low(low), .high(high_slices),
                .first(first), .second(second), .across(across),
                .packed_pair(packed_pair), .ahead(row_ahead), .add_own(add_own),
                .add_before(add_before), .keep(keep), .run_column(run_column),
                .run_taken(run_taken), .run_fresh(run_fresh), .run_packed(run_packed),
                .run_stored(run_stored), .store_column(store_column),
                .drain_column(drain_column[2*(r%CHAIN)+:2]), .drain_low(row_low),
                .drain_high(row_high), .sum_packed(sum_packed), .sum_step(sum_step),
                .sum_fresh(sum_fresh), .sum_emit(emit_dsp), .sum_low(dsp_sums[SUM*r+:SUM]),
                .sum_high(dsp_sums[SUM*(ROWS+r)+:SUM])
            );
        end
    endgenerate

    wire [SUM*PACKED_ROWS-1:0] lut_sums;
    generate
        if (CORE_LUT_HALF != 0) begin : lut_half
            wire [SLICE*PACKED_ROWS*COLUMNS-1:0] upper;
            wire [COLUMN_SLICE*COLUMNS-1:0] narrow_first, narrow_second;
            for (c = 0; c < PACKED_ROWS * COLUMNS; c = c + 1) begin : upper_slices
                assign upper[SLICE*c+:SLICE] = rows[BYTE*c+SLICE+:SLICE];
            end
            for (c = 0; c < COLUMNS; c = c + 1) begin : columns
                assign narrow_first[COLUMN_SLICE*c+:COLUMN_SLICE] = first[HALF*c+:COLUMN_SLICE];
                assign narrow_second[COLUMN_SLICE*c+:COLUMN_SLICE] = second[HALF*c+:COLUMN_SLICE];
            end
            mac_slices products (
                .clk(ap_clk), .rst(ap_rst), .advance(advance), .other(other), .step(lut_step),
                .fresh(lut_fresh), .emit(emit_lut), .x(upper), .first(narrow_first),
                .second(narrow_second), .sums(lut_sums)
            );
        end else begin : no_lut_half
            assign lut_sums = {SUM * PACKED_ROWS{1'b0}};
            /* verilator lint_off UNUSEDSIGNAL */
            wire unused = ^{other, lut_step, lut_fresh, emit_lut, rows};
            /* verilator lint_on UNUSEDSIGNAL */
        end
    endgenerate

    // ---- words of sums --------------------------------------------------------------------------

    wire [CORE_SUM_BITS-1:0] lanes;
    generate
        for (g = 0; g < CHAINS; g = g + 1) begin : drains
            mac_drain drain (
                .clk(ap_clk), .rst(ap_rst), .advance(advance),
                .low(drain_low[CELL*ROWS*g+:CELL*ROWS]), .high(drain_high[CELL*ROWS*g+:CELL*ROWS]),
                .drain_row(drain_row), .drain_packed(drain_packed), .lane_class(lane_class),
                .lane_valid(lane_valid), .sums(lanes[SUM*CHAIN*g+:SUM*CHAIN])
            );
        end
    endgenerate

    // All that is due nothing holds zeros, so that the sources of a word are joined by OR.
    reg [CORE_SUM_BITS-1:0] word;
    always @(posedge ap_clk) if (advance) word <= lanes | dsp_sums | lut_sums;
    assign sums_din = word;

`ifdef E2_CHECKS
    mac_contract contract (
        .clk(ap_clk), .rst(ap_rst), .take(take), .step(steps_dout), .rows(rows_dout),
        .columns(columns_dout), .out_valid(out_valid), .out_taken(sums_write), .enabled(ap_ce),
        .word(word)
    );
`endif
endmodule
