// SPDX-License-Identifier: Apache-2.0
// Takes a DSP's sum apart into the two lanes that share it: sum = high * 2^17 + low, with low in 17
// bits, signed. A negative low lane has borrowed one from the high lane, which gets it back as a
// carry into the adder that follows. A plain sum is only cut in two, without that carry.
module mac_unpack (
    input wire packed_pair,
    input wire [47:0] sum,
    output wire [31:0] low,
    output wire [31:0] high,
    output wire carry
);
    assign low = {{15{sum[16]}}, sum[16:0]};
    assign high = {sum[47], sum[47:17]};
    assign carry = packed_pair & sum[16];
endmodule
