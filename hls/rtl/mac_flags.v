// SPDX-License-Identifier: Apache-2.0
// A step's flags, moving through the array beside its operands. Stage 0 is the cycle in which the
// step is taken; column j of a chain is j stages behind column 0. Vectors hold column 0 lowest.
module mac_flags (
    input wire clk,
    input wire rst,
    input wire advance,
    input wire take,
    input wire [23:0] flags,
    output wire ends_run,
    // Operands, stage 1.
    output wire [3:0] across,
    output wire [3:0] packed_pair,
    output wire [3:0] other,
    output wire [31:0] ahead,       // column j's row r at 8 * j + r
    // Into the DSPs.
    output wire [3:0] add_own,
    output wire [3:0] add_before,
    output wire [3:0] keep,
    // Runs that end.
    output reg [1:0] run_column,
    output reg run_taken,
    output reg run_fresh,
    output reg run_packed,
    output reg run_stored,
    output reg [1:0] store_column,
    // Sums across the columns.
    output wire sum_packed,
    output wire sum_step,
    output wire sum_fresh,
    output wire lut_step,
    output wire lut_fresh,
    // A visit whose words come next.
    output wire visit_ends,
    output wire visit_across,
    output wire visit_packed,
    output wire visit_end,
    output wire [4:0] visit_words
);
    `include "mac_params.vh"
    localparam integer LAST_STAGE = AT_LUT_SUM;
    localparam integer TOKEN = AT_SEQUENCE - 1;
    localparam integer CAPTURE = AT_SUM;

    wire is_first = flags[CORE_FIRST];
    wire is_last = flags[CORE_LAST];
    wire is_across = flags[CORE_ACROSS];
    wire is_packed = flags[CORE_PACKED];
    assign ends_run = !is_across && (is_packed ? flags[CORE_RUN_LAST] : is_last);

    // Until a visit's first run has ended, its sums are loaded instead of added.
    reg opening;
    wire loads = is_first || opening;
    always @(posedge clk)
        if (rst) opening <= 1'b0;
        else if (take) opening <= loads && !ends_run;

    // What must not linger after a reset.
    reg [LAST_STAGE:1] valid;
    reg [AT_SUM+CHAIN-1:1] run_ends;
    always @(posedge clk)
        if (rst) begin
            valid <= 0;
            run_ends <= 0;
        end else if (advance) begin
            valid <= {valid[LAST_STAGE-1:1], take};
            run_ends <= {run_ends[AT_SUM+CHAIN-2:1], take && ends_run};
        end

    /* verilator lint_off UNUSEDSIGNAL */
    reg [LAST_STAGE:1] first, last, acrosses, packs, others, fresh, load;
    reg [TOKEN:1] ends;
    reg [CORE_WORDS_BITS*TOKEN-1:0] words;
    reg [ROWS*CHAIN-1:0] aheads;
    always @(posedge clk)
        if (advance) begin
            first <= {first[LAST_STAGE-1:1], is_first};
            last <= {last[LAST_STAGE-1:1], is_last};
            acrosses <= {acrosses[LAST_STAGE-1:1], is_across};
            packs <= {packs[LAST_STAGE-1:1], is_packed};
            others <= {others[LAST_STAGE-1:1], flags[CORE_OTHER]};
            fresh <= {fresh[LAST_STAGE-1:1], is_packed ? flags[CORE_RUN_FIRST] : is_first};
            load <= {load[LAST_STAGE-1:1], loads || !is_packed};
            ends <= {ends[TOKEN-1:1], flags[CORE_END]};
            words <= {words[CORE_WORDS_BITS*(TOKEN-1)-1:0], flags[CORE_WORDS+:CORE_WORDS_BITS]};
            aheads <= {aheads[ROWS*(CHAIN-1)-1:0],
                flags[CORE_AHEAD+:ROWS] & {ROWS{is_across && !is_packed}}};
        end
    /* verilator lint_on UNUSEDSIGNAL */

    assign across = acrosses[CHAIN:1];
    assign packed_pair = packs[CHAIN:1];
    assign other = others[CHAIN:1];
    assign ahead = aheads;
    // A DSP takes these two registers before the product's own stage (see mac_dsp.v).
    assign add_own = ~acrosses[AT_PRODUCT-1+:CHAIN] & ~fresh[AT_PRODUCT-1+:CHAIN];
    assign add_before = acrosses[AT_PRODUCT-1+:CHAIN] & {{CHAIN - 1{1'b1}}, 1'b0};
    assign keep = valid[AT_PRODUCT+:CHAIN];

    // Runs end CHAIN cycles apart, so at most one column's stage has one.
    wire [CHAIN-1:1] next = run_ends[CAPTURE+:CHAIN-1];
    wire [CHAIN-1:0] now = run_ends[CAPTURE+:CHAIN];
    always @(posedge clk)
        if (rst) begin
            run_taken <= 1'b0;
            run_stored <= 1'b0;
        end else if (advance) begin
            run_taken <= |now;
            run_stored <= |(now & last[CAPTURE+:CHAIN]);
        end
    always @(posedge clk)
        if (advance) begin
            run_column <= {next[3] | next[2], next[3] | next[1]};
            run_fresh <= |(now & load[CAPTURE+:CHAIN]);
            run_packed <= |(now & packs[CAPTURE+:CHAIN]);
            store_column <= run_column;
        end

    assign sum_packed = packs[AT_ROW_SUM];
    assign sum_step = valid[AT_ROW_SUM];
    assign sum_fresh = valid[AT_ROW_SUM-1] && first[AT_ROW_SUM-1];
    assign lut_step = valid[AT_LUT_SUM];
    assign lut_fresh = valid[AT_LUT_SUM-1] && first[AT_LUT_SUM-1];

    assign visit_ends = valid[TOKEN] && last[TOKEN];
    assign visit_across = acrosses[TOKEN];
    assign visit_packed = packs[TOKEN];
    assign visit_end = ends[TOKEN];
    assign visit_words = words[CORE_WORDS_BITS*(TOKEN-1)+:CORE_WORDS_BITS];
endmodule
