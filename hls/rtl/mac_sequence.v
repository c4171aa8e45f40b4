// SPDX-License-Identifier: Apache-2.0
// Counts the words of a visit out, one a cycle, and says where each comes from.
//
// Along positions word k is a row of cells, whose columns are stored one after the other: column j
// of row k is looked up j cycles after column 0. Row r's store can give one column a cycle, so that
// rows with the same r mod CHAIN never speak at once, and form a class that shares a bus. Across
// positions words come from registers that hold them for a cycle: word 0 from the DSPs' rows, word
// 1 from the LUT half.
module mac_sequence (
    input wire clk,
    input wire rst,
    input wire advance,
    input wire visit_ends,
    input wire visit_across,
    input wire visit_packed,
    input wire visit_end,
    input wire [4:0] visit_words,
    // Class q: the column to look up, which of its rows, and whether its sums were packed.
    output wire [7:0] drain_column,
    output wire [7:0] drain_row,
    output wire [3:0] drain_packed,
    // Lane j of a chain, a stage later each: the class that it takes, if any.
    output wire [7:0] lane_class,
    output wire [3:0] lane_valid,
    output wire emit_dsp,
    output wire emit_lut,
    output wire out_valid,
    output wire out_last
);
    `include "mac_params.vh"
    localparam integer INDEX = CORE_WORDS_BITS - 1;
    localparam integer WORD_STAGES = AT_OUTPUT - AT_SEQUENCE;  // until a word is at the output
    localparam integer EMIT_STAGES = AT_ROW_SUM - AT_SEQUENCE;

    reg active, is_across, is_packed, is_end;
    reg [CORE_WORDS_BITS-1:0] left;
    reg [INDEX-1:0] index;
    wire final_word = left == 1;
    always @(posedge clk)
        if (rst) active <= 1'b0;
        else if (advance) begin
            if (visit_ends) active <= 1'b1;
            else if (final_word) active <= 1'b0;
        end
    always @(posedge clk)
        if (advance) begin
            if (visit_ends) begin
                is_across <= visit_across;
                is_packed <= visit_packed;
                is_end <= visit_end;
                left <= visit_words;
                index <= 0;
            end else begin
                left <= left - 1'b1;
                index <= index + 1'b1;
            end
        end

    wire along = active && !is_across;
    genvar q;
    generate
        for (q = 0; q < CHAIN; q = q + 1) begin : classes
            reg [1:0] next_column, row;
            reg was_packed;
            wire begins = along && index[1:0] == q;
            assign drain_column[2*q+:2] = begins ? 2'd0 : next_column;
            assign drain_row[2*q+:2] = begins ? index[3:2] : row;
            assign drain_packed[q] = begins ? is_packed : was_packed;
            always @(posedge clk)
                if (advance) begin
                    next_column <= drain_column[2*q+:2] + 1'b1;
                    row <= drain_row[2*q+:2];
                    was_packed <= drain_packed[q];
                end
        end
    endgenerate

    mac_history #(.STAGES(CHAIN)) lanes (
        .clk(clk), .rst(rst), .advance(advance), .d(along), .q(lane_valid)
    );
    reg [2*CHAIN-1:0] taken;
    always @(posedge clk) if (advance) taken <= {taken[2*CHAIN-3:0], index[1:0]};
    assign lane_class = taken;

    // The LUT half's accumulators are a stage behind the rows', as its word is a cycle later.
    wire [EMIT_STAGES-1:0] dsp_words, lut_words;
    mac_history #(.STAGES(EMIT_STAGES)) dsp_history (
        .clk(clk), .rst(rst), .advance(advance), .d(active && is_across && index == 0),
        .q(dsp_words)
    );
    mac_history #(.STAGES(EMIT_STAGES)) lut_history (
        .clk(clk), .rst(rst), .advance(advance), .d(active && is_across && index == 1),
        .q(lut_words)
    );
    assign emit_dsp = dsp_words[EMIT_STAGES-1];
    assign emit_lut = lut_words[EMIT_STAGES-1];

    wire [WORD_STAGES-1:0] words, ends;
    mac_history #(.STAGES(WORD_STAGES)) word_history (
        .clk(clk), .rst(rst), .advance(advance), .d(active), .q(words)
    );
    mac_history #(.STAGES(WORD_STAGES)) end_history (
        .clk(clk), .rst(rst), .advance(advance), .d(active && is_end && final_word), .q(ends)
    );
    assign out_valid = words[WORD_STAGES-1];
    assign out_last = ends[WORD_STAGES-1];
    /* verilator lint_off UNUSEDSIGNAL */
    wire unused = ^{dsp_words, lut_words, words, ends};
    /* verilator lint_on UNUSEDSIGNAL */
endmodule
