// SPDX-License-Identifier: Apache-2.0
// A row of DSPs: its operands' ports, four chains of cells, and the sum over all of them.
module mac_row (
    input wire clk,
    input wire rst,
    input wire advance,
    // Operands: of two rows that share the DSPs, at their columns' stages.
    input wire [7:0] along_low,     // lane 0 of the low row
    input wire [7:0] along_high,
    input wire [127:0] low,         // a byte a column
    input wire [63:0] high,         // a slice a column
    input wire [255:0] first,
    input wire [255:0] second,
    input wire [3:0] across,
    input wire [3:0] packed_pair,
    input wire [3:0] ahead,
    input wire [3:0] add_own,
    input wire [3:0] add_before,
    input wire [3:0] keep,
    input wire [1:0] run_column,
    input wire run_taken,
    input wire run_fresh,
    input wire run_packed,
    input wire run_stored,
    input wire [1:0] store_column,
    input wire [1:0] drain_column,
    output wire [127:0] drain_low,
    output wire [127:0] drain_high,
    input wire sum_packed,
    input wire sum_step,
    input wire sum_fresh,
    input wire sum_emit,
    output wire [47:0] sum_low,
    output wire [47:0] sum_high
);
    `include "mac_params.vh"

    wire [WIDE*CHAIN-1:0] along_port;
    mac_along_port along_operand (
        .packed_pair(packed_pair[0]), .low(along_low), .high(along_high),
        .port(along_port[WIDE-1:0])
    );
    genvar j, g;
    generate
        for (j = 1; j < CHAIN; j = j + 1) begin : along_stages
            mac_delay #(.WIDTH(WIDE), .CYCLES(1)) next (
                .clk(clk), .rst(rst), .advance(advance), .d(along_port[WIDE*(j-1)+:WIDE]),
                .q(along_port[WIDE*j+:WIDE])
            );
        end
    endgenerate

    wire [ACROSS*CHAINS-1:0] chain_sums;
    generate
        for (g = 0; g < CHAINS; g = g + 1) begin : chains
            wire [WIDE*CHAIN-1:0] across_port;
            wire [HALF*CHAIN-1:0] column;
            wire [SUM-1:0] across_sum;
            for (j = 0; j < CHAIN; j = j + 1) begin : ports
                localparam integer C = CHAIN * g + j;
                mac_across_port across_operand (
                    .packed_pair(packed_pair[j]), .low(low[BYTE*C+:BYTE]),
                    .high(high[SLICE*C+:SLICE]), .port(across_port[WIDE*j+:WIDE])
                );
                assign column[HALF*j+:HALF] = ahead[j] ? second[HALF*C+:HALF] : first[HALF*C+:HALF];
            end
            mac_chain chain (
                .clk(clk), .rst(rst), .advance(advance), .along_port(along_port),
                .across_port(across_port), .column(column), .across(across), .add_own(add_own),
                .add_before(add_before), .keep(keep), .run_column(run_column),
                .run_taken(run_taken), .run_fresh(run_fresh), .run_packed(run_packed),
                .run_stored(run_stored), .store_column(store_column), .drain_column(drain_column),
                .drain_low(drain_low[CELL*g+:CELL]), .drain_high(drain_high[CELL*g+:CELL]),
                .across_sum(across_sum)
            );
            assign chain_sums[ACROSS*g+:ACROSS] = across_sum[ACROSS-1:0];
            /* verilator lint_off UNUSEDSIGNAL */
            wire unused = ^across_sum[SUM-1:ACROSS];  // copies of the sign
            /* verilator lint_on UNUSEDSIGNAL */
        end
    endgenerate

    mac_row_sum row_sum (
        .clk(clk), .advance(advance), .packed_pair(sum_packed), .step(sum_step), .fresh(sum_fresh),
        .emit(sum_emit), .chains(chain_sums), .low(sum_low), .high(sum_high)
    );
endmodule
