// SPDX-License-Identifier: Apache-2.0
// Along positions: all columns of a row take the same bytes.
//
// What a row's operands look like at a DSP's 25-bit port: one of them, or a pair, high * 2^17 +
// low. The low one's sign is taken off the high one here, where it costs a few LUTs and no adder.
module mac_along_port (
    input wire packed_pair,
    input wire [7:0] low,
    input wire [7:0] high,
    output wire [24:0] port
);
    // 127 - 1 to -127 - 1: a byte holds it.
    wire [7:0] upper = (packed_pair ? high : 8'd0) - {7'd0, low[7]};
    assign port = {upper, {9{low[7]}}, low};
endmodule
