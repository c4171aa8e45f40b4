// SPDX-License-Identifier: Apache-2.0
// What a column is multiplied by: once and three times, and minus once; twice is wiring.
module mac_slice_multiples (
    input wire signed [9:0] g,
    output wire signed [10:0] minus,
    output wire signed [11:0] three
);
    assign minus = 11'sd0 - {g[9], g};
    assign three = {{2{g[9]}}, g} + {g[9], g, 1'b0};
endmodule
