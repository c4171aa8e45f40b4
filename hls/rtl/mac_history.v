// SPDX-License-Identifier: Apache-2.0
// The last STAGES values of one bit, the newest lowest.
module mac_history #(
    parameter integer STAGES = 2
) (
    input wire clk,
    input wire rst,
    input wire advance,
    input wire d,
    output reg [STAGES-1:0] q
);
    always @(posedge clk)
        if (rst) q <= {STAGES{1'b0}};
        else if (advance) q <= {q[STAGES-2:0], d};
endmodule
