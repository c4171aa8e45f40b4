// SPDX-License-Identifier: Apache-2.0
// The LUT half: products of the rows' upper slices (4 bits) and the columns' (10 bits), 256 a step,
// in LUTs beside the DSPs, which multiply the lower slices.
module mac_slices (
    input wire clk,
    input wire rst,
    input wire advance,
    input wire [3:0] other,       // of column j of every chain: take the second word
    input wire step,
    input wire fresh,
    input wire emit,
    input wire [1023:0] x,        // slice (row, column) at 4 * (16 * row + column)
    input wire [159:0] first,
    input wire [159:0] second,
    output wire [767:0] sums
);
    reg [159:0] g;
    reg [175:0] minus;
    reg [191:0] three;
    reg [1023:0] x_next;
    wire [159:0] chosen;
    wire [175:0] minus_now;
    wire [191:0] three_now;
    genvar c, r;
    generate
        for (c = 0; c < 16; c = c + 1) begin : columns
            assign chosen[10*c+:10] = other[c%4] ? second[10*c+:10] : first[10*c+:10];
            mac_slice_multiples multiples (
                .g(chosen[10*c+:10]), .minus(minus_now[11*c+:11]), .three(three_now[12*c+:12])
            );
        end
        for (r = 0; r < 16; r = r + 1) begin : rows
            mac_slice_row row (
                .clk(clk), .rst(rst), .advance(advance), .step(step), .fresh(fresh), .emit(emit),
                .x(x_next[64*r+:64]), .g(g), .minus(minus), .three(three), .sum(sums[48*r+:48])
            );
        end
    endgenerate
    always @(posedge clk)
        if (advance) begin
            g <= chosen;
            minus <= minus_now;
            three <= three_now;
            x_next <= x;
        end
endmodule
