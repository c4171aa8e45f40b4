// SPDX-License-Identifier: Apache-2.0
// From the rows' stores to a word of sums, for the four lanes of one chain position. Rows with the
// same number mod 4 share a bus; each lane takes the bus of the row that it is due, a cycle after
// the lane before it, and lanes are aligned at the end. A lane that is due nothing holds zeros.
module mac_drain (
    input wire clk,
    input wire rst,
    input wire advance,
    input wire [255:0] low,         // row r's store at 32 * r
    input wire [255:0] high,
    input wire [7:0] drain_row,
    input wire [3:0] drain_packed,
    input wire [7:0] lane_class,
    input wire [3:0] lane_valid,
    output wire [191:0] sums
);
    `include "mac_params.vh"
    localparam integer MEMBERS = ROWS / CHAIN;  // rows of a class

    reg [SUM*CHAIN-1:0] bus;
    genvar q, j;
    generate
        for (q = 0; q < CHAIN; q = q + 1) begin : classes
            // Members of the class: the low lanes of its rows, then the high ones.
            wire [CELL*2*MEMBERS-1:0] members;
            for (j = 0; j < MEMBERS; j = j + 1) begin : rows
                assign members[CELL*j+:CELL] = low[CELL*(CHAIN*j+q)+:CELL];
                assign members[CELL*(MEMBERS+j)+:CELL] = high[CELL*(CHAIN*j+q)+:CELL];
            end
            wire [1:0] row = drain_row[2*q+:2];
            wire [CELL-1:0] pair = members[CELL*row+:CELL];
            // A plain sum was cut in two, and only low rows have any.
            wire [CELL-1:0] upper = row[0] ? members[CELL*(MEMBERS+1)+:CELL]
                : members[CELL*MEMBERS+:CELL];
            always @(posedge clk)
                if (advance)
                    bus[SUM*q+:SUM] <= {
                        drain_packed[q] ? {{SUM - CELL{pair[CELL-1]}}, pair[CELL-1:OFFSET]}
                            : upper[SUM-OFFSET-1:0],
                        pair[OFFSET-1:0]
                    };
            /* verilator lint_off UNUSEDSIGNAL */
            wire unused = upper[CELL-1];
            /* verilator lint_on UNUSEDSIGNAL */
        end
        for (j = 0; j < CHAIN; j = j + 1) begin : lanes
            reg [SUM-1:0] lane;
            always @(posedge clk)
                if (advance) lane <= lane_valid[j] ? bus[SUM*lane_class[2*j+:2]+:SUM] : {SUM{1'b0}};
            mac_delay #(.WIDTH(SUM), .CYCLES(CHAIN - 1 - j)) align (
                .clk(clk), .rst(rst), .advance(advance), .d(lane), .q(sums[SUM*j+:SUM])
            );
        end
    endgenerate
endmodule
