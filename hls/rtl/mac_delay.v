// SPDX-License-Identifier: Apache-2.0
// Registers in a row. They have a reset so that they stay flip-flops: as shift registers in LUTs
// they would cost the LUTs that this chip is short of.
module mac_delay #(
    parameter integer WIDTH = 1,
    parameter integer CYCLES = 1
) (
    input wire clk,
    input wire rst,
    input wire advance,
    input wire [WIDTH-1:0] d,
    output wire [WIDTH-1:0] q
);
    generate
        if (CYCLES == 0) begin : none
            assign q = d;
            /* verilator lint_off UNUSEDSIGNAL */
            wire unused = clk & rst & advance;
            /* verilator lint_on UNUSEDSIGNAL */
        end else if (CYCLES == 1) begin : one
            reg [WIDTH-1:0] stage;
            always @(posedge clk)
                if (rst) stage <= {WIDTH{1'b0}};
                else if (advance) stage <= d;
            assign q = stage;
        end else begin : some
            (* shreg_extract = "no" *) reg [WIDTH*CYCLES-1:0] stages;
            always @(posedge clk)
                if (rst) stages <= {WIDTH * CYCLES{1'b0}};
                else if (advance) stages <= {stages[WIDTH*(CYCLES-1)-1:0], d};
            assign q = stages[WIDTH*CYCLES-1-:WIDTH];
        end
    endgenerate
endmodule
