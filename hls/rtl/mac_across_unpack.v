// SPDX-License-Identifier: Apache-2.0
// Takes a step's sum over the columns apart, as mac_unpack.v does a cell's; a plain one is all low.
module mac_across_unpack (
    input wire packed_pair,
    input wire [33:0] sum,
    output wire [47:0] low,
    output wire [47:0] high,
    output wire carry
);
    wire [16:0] upper = packed_pair ? {17{sum[16]}} : sum[33:17];
    wire [16:0] other = packed_pair ? sum[33:17] : 17'd0;
    assign low = {{14{upper[16]}}, upper, sum[16:0]};
    assign high = {{31{other[16]}}, other};
    assign carry = packed_pair & sum[16];
endmodule
