// SPDX-License-Identifier: Apache-2.0
// Across positions: a byte of its own for each column, or the lower slices of two (see
// mac_along_port.v).
module mac_across_port (
    input wire packed_pair,
    input wire [7:0] low,
    input wire [3:0] high,
    output wire [24:0] port
);
    wire negative = packed_pair ? low[3] : low[7];
    wire [3:0] pair = packed_pair ? high : 4'd0;
    // pair - negative, for pairs from -7 to 7.
    wire [3:0] upper;
    assign upper[0] = pair[0] ^ negative;
    assign upper[1] = pair[1] ^ (negative & ~pair[0]);
    assign upper[2] = pair[2] ^ (negative & ~pair[1] & ~pair[0]);
    assign upper[3] = pair[3] ^ (negative & ~pair[2] & ~pair[1] & ~pair[0]);
    wire [2:0] middle = packed_pair ? {3{low[3]}} : low[6:4];
    assign port = {{4{upper[3]}}, upper, {10{negative}}, middle, low[3:0]};
endmodule
