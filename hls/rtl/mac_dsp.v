// SPDX-License-Identifier: Apache-2.0
// One DSP48E1: (across ? d : a) * b, added to nothing, to the sum so far, or to the sum of the
// column before, which comes through the cascade port.
//
// Data given in cycle 0 is in the input registers in cycle 1, behind the pre-adder (which here only
// chooses) in 2, multiplied in 3 and summed in 4. `across` belongs to cycle 0, `add_own` and
// `add_before` to cycle 2, `keep` (take this product into the sum) to cycle 3.
module mac_dsp (
    input wire clk,
    input wire advance,
    input wire across,
    input wire add_own,
    input wire add_before,
    input wire keep,
    input wire signed [24:0] a,
    input wire signed [24:0] d,
    input wire signed [15:0] b,
    input wire signed [47:0] earlier,
    output wire signed [47:0] cascade,
    output wire signed [47:0] sum
);
`ifdef SYNTHESIS
    DSP48E1 #(
        .ACASCREG(1), .ADREG(1), .ALUMODEREG(0), .AREG(1), .A_INPUT("DIRECT"),
        .BCASCREG(2), .BREG(2), .B_INPUT("DIRECT"),
        .CARRYINREG(0), .CARRYINSELREG(0), .CREG(0), .DREG(1), .INMODEREG(1), .MREG(1),
        .OPMODEREG(1), .PREG(1), .USE_DPORT("TRUE"), .USE_MULT("MULTIPLY"), .USE_SIMD("ONE48")
    ) dsp (
        .CLK(clk),
        .A({{5{a[24]}}, a}), .B({{2{b[15]}}, b}), .C(48'd0), .D(d),
        // The pre-adder's operands: only D, or only A.
        .INMODE({2'b00, across, across, 1'b0}),
        // Products, and above them zero, P or PCIN.
        .OPMODE({1'b0, add_own, add_before, 4'b0101}),
        .ALUMODE(4'd0), .CARRYIN(1'b0), .CARRYINSEL(3'd0),
        .PCIN(earlier), .PCOUT(cascade), .P(sum),
        .CEA1(1'b0), .CEA2(advance), .CEAD(advance), .CEALUMODE(1'b0), .CEB1(advance),
        .CEB2(advance), .CEC(1'b0), .CECARRYIN(1'b0), .CECTRL(advance), .CED(advance),
        .CEINMODE(advance), .CEM(advance), .CEP(advance & keep),
        .RSTA(1'b0), .RSTALLCARRYIN(1'b0), .RSTALUMODE(1'b0), .RSTB(1'b0), .RSTC(1'b0),
        .RSTCTRL(1'b0), .RSTD(1'b0), .RSTINMODE(1'b0), .RSTM(1'b0), .RSTP(1'b0),
        .ACIN(30'd0), .ACOUT(), .BCIN(18'd0), .BCOUT(), .CARRYCASCIN(1'b0), .CARRYCASCOUT(),
        .CARRYOUT(), .MULTSIGNIN(1'b0), .MULTSIGNOUT(), .OVERFLOW(), .UNDERFLOW(),
        .PATTERNDETECT(), .PATTERNBDETECT()
    );
`else
    // Registers as wide as the primitive's, so that both can be compared one by one.
    reg signed [29:0] a_in;
    reg signed [24:0] d_in, operand;
    reg signed [17:0] b_in, b_next;
    reg [4:0] inmode;
    reg [6:0] opmode;
    reg signed [42:0] product;
    reg signed [47:0] total;
    always @(posedge clk)
        if (advance) begin
            a_in <= {{5{a[24]}}, a};
            d_in <= d;
            b_in <= {{2{b[15]}}, b};
            inmode <= {2'b00, across, across, 1'b0};
            operand <= (inmode[2] ? d_in : 25'sd0) + (inmode[1] ? 25'sd0 : a_in[24:0]);
            b_next <= b_in;
            opmode <= {1'b0, add_own, add_before, 4'b0101};
            product <= operand * b_next;
            if (keep)
                total <= {{5{product[42]}}, product}
                    + (opmode[5:4] == 2'b10 ? total : opmode[5:4] == 2'b01 ? earlier : 48'sd0);
        end
    assign sum = total;
    assign cascade = total;
    /* verilator lint_off UNUSEDSIGNAL */
    wire unused = ^{a_in[29:25], inmode, opmode};
    /* verilator lint_on UNUSEDSIGNAL */
`endif
endmodule
