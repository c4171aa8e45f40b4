// SPDX-License-Identifier: Apache-2.0
// What test_core_formal.py proves for all operands: each module's `holds` is never 0.

// A pair of bytes as the DSP takes it, and a plain byte.
module along_port_holds (input packed_pair, input signed [7:0] low, high, output holds);
    wire signed [24:0] port;
    mac_along_port dut (.packed_pair(packed_pair), .low(low), .high(high), .port(port));
    wire legal = high != -128;
    wire signed [24:0] wanted = packed_pair ? high * 25'sd131072 + low : low;
    assign holds = !legal || port == wanted;
endmodule

// Slices of two bytes, or a byte.
module across_port_holds (
    input packed_pair, input signed [7:0] low, input signed [3:0] high, output holds
);
    wire signed [24:0] port;
    mac_across_port dut (.packed_pair(packed_pair), .low(low), .high(high), .port(port));
    wire signed [3:0] slice = low[3:0];
    wire legal = high != -8;
    wire signed [24:0] wanted = packed_pair ? high * 25'sd131072 + slice : low;
    assign holds = !legal || port == wanted;
endmodule

// Any two lanes that a sum may hold come out as they went in; the high one is the sum rounded half
// up to a multiple of 2^17.
module unpack_holds (input signed [16:0] low, input signed [30:0] high, output holds);
    wire signed [47:0] sum = high * 48'sd131072 + low;
    wire [31:0] got_low, got_high;
    wire carry;
    mac_unpack dut (.packed_pair(1'b1), .sum(sum), .low(got_low), .high(got_high), .carry(carry));
    wire signed [31:0] whole = got_high + carry;
    wire signed [48:0] rounded = (sum + 49'sd65536) >>> 17;
    wire signed [31:0] wanted_low = low, wanted_high = high;
    // The topmost high lane would borrow below the sum's range: no sum of products comes near it.
    wire legal = high > -31'sd1073741824;
    assign holds = !legal || (got_low == wanted_low && whole == wanted_high && whole == rounded);
endmodule

module plain_unpack_holds (input [47:0] sum, output holds);
    wire [31:0] low, high;
    wire carry;
    mac_unpack dut (.packed_pair(1'b0), .sum(sum), .low(low), .high(high), .carry(carry));
    assign holds = {high[30:0], low[16:0]} == sum && !carry;
endmodule

// The same for a step's sum over the columns.
module across_unpack_holds (input signed [16:0] low, high, output holds);
    wire signed [33:0] sum = high * 34'sd131072 + low;
    wire signed [47:0] got_low, got_high;
    wire carry;
    mac_across_unpack dut (
        .packed_pair(1'b1), .sum(sum), .low(got_low), .high(got_high), .carry(carry)
    );
    wire signed [47:0] whole = got_high + carry;
    wire legal = high > -17'sd65536;
    assign holds = !legal || (got_low == low && whole == high);
endmodule

module plain_across_unpack_holds (input signed [33:0] sum, output holds);
    wire signed [47:0] low, high;
    wire carry;
    mac_across_unpack dut (
        .packed_pair(1'b0), .sum(sum), .low(low), .high(high), .carry(carry)
    );
    assign holds = low == sum && high == 0 && !carry;
endmodule

// A product of the LUT half, digit by digit.
module slice_cell_holds (
    input signed [3:0] x, input signed [9:0] g, input signed [14:0] earlier, output holds
);
    wire [10:0] minus;
    wire [11:0] three;
    wire [14:0] sum;
    mac_slice_multiples multiples (.g(g), .minus(minus), .three(three));
    mac_slice_cell dut (
        .x(x), .g(g), .minus(minus), .three(three), .earlier(earlier), .sum(sum)
    );
    wire signed [14:0] wanted = earlier + x * g;
    assign holds = sum == wanted;
endmodule
