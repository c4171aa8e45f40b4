// SPDX-License-Identifier: Apache-2.0
// Sums of a row over its columns and a visit's steps: the four chains' sums of a step are added,
// taken apart where they are packed, and added to the visit's. In the cycle that `emit` names the
// visit's sums go to the output registers, which else hold zeros.
module mac_row_sum (
    input wire clk,
    input wire advance,
    input wire packed_pair,
    input wire step,    // a step's sum stands at the accumulators
    input wire fresh,   // the next one opens a visit
    input wire emit,
    input wire [135:0] chains,
    output reg [47:0] low,
    output reg [47:0] high
);
    reg [135:0] taken;
    reg [33:0] left, right, sum;
    always @(posedge clk)
        if (advance) begin
            taken <= chains;
            left <= taken[33:0] + taken[67:34];
            right <= taken[101:68] + taken[135:102];
            sum <= left + right;
        end

    wire [47:0] step_low, step_high;
    wire carry;
    mac_across_unpack unpack (
        .packed_pair(packed_pair), .sum(sum), .low(step_low), .high(step_high), .carry(carry)
    );

    reg [47:0] visit_low, visit_high;
    wire [47:0] total_low = visit_low + step_low;
    /* verilator lint_off UNUSEDSIGNAL */
    wire [48:0] total_carry = {visit_high, 1'b1} + {step_high, carry};
    /* verilator lint_on UNUSEDSIGNAL */
    wire [47:0] total_high = total_carry[48:1];
    always @(posedge clk)
        if (advance) begin
            if (fresh) begin
                visit_low <= 48'd0;
                visit_high <= 48'd0;
            end else if (step) begin
                visit_low <= total_low;
                visit_high <= total_high;
            end
            low <= emit ? total_low : 48'd0;
            high <= emit ? total_high : 48'd0;
        end
endmodule
