// SPDX-License-Identifier: Apache-2.0
// Four neighbouring cells of a row, a cycle apart, and what they share: the adder that takes packed
// sums apart, the accumulators of packed sums, and the store from which a visit's sums are drained.
//
// Vectors hold column 0 lowest; column j's inputs belong to the cycle j later than column 0's.
module mac_chain (
    input wire clk,
    input wire rst,
    input wire advance,
    // Operands, and the step's flags at the stage where they are used.
    input wire [99:0] along_port,
    input wire [99:0] across_port,
    input wire [63:0] column,
    input wire [3:0] across,
    input wire [3:0] add_own,
    input wire [3:0] add_before,
    input wire [3:0] keep,
    // Which column's run has ended, and in the cycle after what becomes of it.
    input wire [1:0] run_column,
    input wire run_taken,
    input wire run_fresh,
    input wire run_packed,
    input wire run_stored,
    input wire [1:0] store_column,
    input wire [1:0] drain_column,
    output wire [31:0] drain_low,
    output wire [31:0] drain_high,
    output wire [47:0] across_sum
);
    wire [239:0] cascade;
    wire [191:0] sums;
    assign cascade[47:0] = 48'd0;
    genvar j;
    generate
        for (j = 0; j < 4; j = j + 1) begin : cells
            mac_dsp dsp (
                .clk(clk), .advance(advance), .across(across[j]), .add_own(add_own[j]),
                .add_before(add_before[j]), .keep(keep[j]), .a(along_port[25*j+:25]),
                .d(across_port[25*j+:25]), .b(column[16*j+:16]), .earlier(cascade[48*j+:48]),
                .cascade(cascade[48*(j+1)+:48]), .sum(sums[48*j+:48])
            );
        end
    endgenerate
    assign across_sum = sums[191:144];
    /* verilator lint_off UNUSEDSIGNAL */
    wire [47:0] unused_cascade = cascade[239:192];  // nothing follows the chain
    /* verilator lint_on UNUSEDSIGNAL */

    reg [47:0] run;
    always @(posedge clk) if (advance) run <= sums[48*run_column+:48];

    wire [31:0] low, high;
    wire carry;
    mac_unpack unpack (
        .packed_pair(run_packed), .sum(run), .low(low), .high(high), .carry(carry)
    );

    // The four columns take turns, so their accumulators move past the adder in a circle. (They
    // have a reset so that they stay flip-flops.)
    (* shreg_extract = "no" *) reg [255:0] accumulators;
    wire [63:0] so_far = run_fresh ? 64'd0 : accumulators[255:192];
    wire [31:0] total_low = low + so_far[31:0];
    // The carry comes in through one more bit, which makes this one adder in every tool.
    /* verilator lint_off UNUSEDSIGNAL */
    wire [32:0] total_carry = {high, 1'b1} + {so_far[63:32], carry};
    /* verilator lint_on UNUSEDSIGNAL */
    wire [63:0] total = {total_carry[32:1], total_low};
    always @(posedge clk)
        if (rst) accumulators <= 256'd0;
        else if (advance && run_taken) accumulators <= {accumulators[191:0], total};

    (* ram_style = "distributed" *) reg [63:0] store[0:3];
    always @(posedge clk) if (advance && run_stored) store[store_column] <= total;
    assign {drain_high, drain_low} = store[drain_column];
endmodule
