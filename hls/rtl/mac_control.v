// SPDX-License-Identifier: Apache-2.0
// When a step is taken, and the block-level protocol (ap_ctrl_chain).
//
// From the cycle in which it is taken a step moves through the array without any further decision:
// what it needs arrives with it as flags (mac_flags.v). So all waiting is here:
// - all three streams must have a word;
// - runs that end must be CHAIN cycles apart: the columns of a chain share an unpacking adder;
// - a visit may end only when the words of the one before have had their cycles at the output.
// A visit so costs as many cycles as it has steps, or the one before it words, whichever are more;
// along positions both are rounded up to a multiple of CHAIN, the steps only where packed (plain
// visits take at least CHAIN).
module mac_control (
    input wire ap_clk,
    input wire ap_rst,
    input wire ap_ce,
    input wire ap_start,
    input wire ap_continue,
    output wire ap_done,
    output wire ap_idle,
    output wire ap_ready,
    input wire inputs_ready,   // a word of each stream
    input wire output_free,    // nothing waits at the output, or it leaves
    input wire finish,         // the launch's last word leaves
    input wire last,           // of the step that waits
    input wire ends_run,
    input wire across,
    input wire ends_launch,
    input wire [4:0] words,
    output wire advance,
    output wire take
);
    `include "mac_params.vh"
    localparam [1:0] IDLE = 2'd0, RUNNING = 2'd1, EMPTYING = 2'd2, DONE = 2'd3;

    reg [1:0] state;
    reg told;  // ready was shown: done stays until it may go on, ready does not
    assign ap_idle = state == IDLE && !ap_start;
    assign ap_done = state == DONE && ap_ce;
    assign ap_ready = ap_done && !told;
    always @(posedge ap_clk)
        if (ap_rst) begin
            state <= IDLE;
            told <= 1'b0;
        end else if (ap_ce) begin
            case (state)
                IDLE: if (ap_start) state <= RUNNING;
                RUNNING: if (take && ends_launch) state <= EMPTYING;
                EMPTYING: if (finish) state <= DONE;
                DONE: if (ap_continue) state <= IDLE;
            endcase
            told <= state == DONE && !ap_continue;
        end

    reg [CHAIN_BITS-1:0] run_wait;
    reg [CORE_WORDS_BITS-1:0] drain_wait;
    wire held = (ends_run && run_wait != 0) || (last && drain_wait != 0);
    assign advance = ap_ce && output_free;
    assign take = advance && state == RUNNING && inputs_ready && !held;

    wire [CORE_WORDS_BITS-1:0] more_words = words - 1'b1;
    wire [CORE_WORDS_BITS-1:0] turns = across ? more_words
        : {more_words[CORE_WORDS_BITS-1:CHAIN_BITS], {CHAIN_BITS{1'b1}}};
    always @(posedge ap_clk)
        if (ap_rst) begin
            run_wait <= 0;
            drain_wait <= 0;
        end else if (advance) begin
            if (take && ends_run) run_wait <= {CHAIN_BITS{1'b1}};
            else if (run_wait != 0) run_wait <= run_wait - 1'b1;
            if (take && last) drain_wait <= turns;
            else if (drain_wait != 0) drain_wait <= drain_wait - 1'b1;
        end
endmodule
