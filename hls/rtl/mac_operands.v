// SPDX-License-Identifier: Apache-2.0
// Input registers, and the stages by which column j of each chain is behind column 0.
module mac_operands (
    input wire clk,
    input wire rst,
    input wire advance,
    input wire [2047:0] row_word,      // byte (row, lane) at 8 * (16 * row + lane)
    input wire [511:0] column_word,    // 16 gradients or activations, then another 16
    output wire [2047:0] rows,
    output wire [255:0] first,
    output wire [255:0] second
);
    `include "mac_params.vh"

    genvar c, r;
    generate
        for (c = 0; c < COLUMNS; c = c + 1) begin : columns
            wire [BYTE*PACKED_ROWS-1:0] given, bytes;
            for (r = 0; r < PACKED_ROWS; r = r + 1) begin : row_bytes
                assign given[BYTE*r+:BYTE] = row_word[BYTE*(COLUMNS*r+c)+:BYTE];
                assign rows[BYTE*(COLUMNS*r+c)+:BYTE] = bytes[BYTE*r+:BYTE];
            end
            mac_delay #(.WIDTH(BYTE * PACKED_ROWS), .CYCLES(1 + c % CHAIN)) row_stages (
                .clk(clk), .rst(rst), .advance(advance), .d(given), .q(bytes)
            );
            mac_delay #(.WIDTH(2 * HALF), .CYCLES(1 + c % CHAIN)) column_stages (
                .clk(clk), .rst(rst), .advance(advance),
                .d({column_word[HALF*(COLUMNS+c)+:HALF], column_word[HALF*c+:HALF]}),
                .q({second[HALF*c+:HALF], first[HALF*c+:HALF]})
            );
        end
    endgenerate
endmodule
