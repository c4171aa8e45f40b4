// SPDX-License-Identifier: Apache-2.0
// Remembers which memory port has met a response other than OKAY.
//
// The AXI masters that Vitis HLS makes go on whatever a response says. This block only listens: it
// taps the response signals of the five ports and keeps four bits for each, until they are cleared.
//
//   0x00  bits 4*port + 0: SLVERR on a read, + 1: DECERR on a read, + 2 and + 3: the same on writes.
//         A write clears the bits that are 1 in it.
//   0x04  reads 0x45325731, by which a driver knows this block.
`timescale 1ns / 1ps
module e2train_bus_watch (
    input  wire        ap_clk,
    input  wire        ap_rst_n,
    // response signals, the bits of port 0 lowest
    input  wire [ 4:0] rvalid,
    input  wire [ 4:0] rready,
    input  wire [ 9:0] rresp,
    input  wire [ 4:0] bvalid,
    input  wire [ 4:0] bready,
    input  wire [ 9:0] bresp,
    // registers
    input  wire [ 3:0] s_axi_awaddr,
    input  wire        s_axi_awvalid,
    output wire        s_axi_awready,
    input  wire [31:0] s_axi_wdata,
    input  wire [ 3:0] s_axi_wstrb,
    input  wire        s_axi_wvalid,
    output wire        s_axi_wready,
    output wire [ 1:0] s_axi_bresp,
    output reg         s_axi_bvalid,
    input  wire        s_axi_bready,
    input  wire [ 3:0] s_axi_araddr,
    input  wire        s_axi_arvalid,
    output wire        s_axi_arready,
    output reg  [31:0] s_axi_rdata,
    output wire [ 1:0] s_axi_rresp,
    output reg         s_axi_rvalid,
    input  wire        s_axi_rready
);
    localparam [31:0] KNOWN_BY = 32'h45325731;

    reg  [19:0] seen;
    reg  [19:0] now;
    wire        write = s_axi_awvalid && s_axi_wvalid && !s_axi_bvalid;
    wire [31:0] mask = {{8{s_axi_wstrb[3]}}, {8{s_axi_wstrb[2]}}, {8{s_axi_wstrb[1]}},
                        {8{s_axi_wstrb[0]}}};
    wire [31:0] written = s_axi_wdata & mask;
    wire [19:0] cleared = write && s_axi_awaddr[3:2] == 2'd0 ? written[19:0] : 20'd0;
    integer     port;

    always @* begin
        now = 20'd0;
        for (port = 0; port < 5; port = port + 1) begin
            now[4*port]   = rvalid[port] && rready[port] && rresp[2*port+:2] == 2'b10;
            now[4*port+1] = rvalid[port] && rready[port] && rresp[2*port+:2] == 2'b11;
            now[4*port+2] = bvalid[port] && bready[port] && bresp[2*port+:2] == 2'b10;
            now[4*port+3] = bvalid[port] && bready[port] && bresp[2*port+:2] == 2'b11;
        end
    end

    always @(posedge ap_clk) begin
        if (!ap_rst_n) seen <= 20'd0;
        else seen <= (seen & ~cleared) | now;
    end

    // One access at a time; address and data of a write are taken together.
    assign s_axi_awready = write;
    assign s_axi_wready  = write;
    assign s_axi_bresp   = 2'b00;
    assign s_axi_arready = s_axi_arvalid && !s_axi_rvalid;
    assign s_axi_rresp   = 2'b00;

    always @(posedge ap_clk) begin
        if (!ap_rst_n) begin
            s_axi_bvalid <= 1'b0;
            s_axi_rvalid <= 1'b0;
        end else begin
            if (write) s_axi_bvalid <= 1'b1;
            else if (s_axi_bready) s_axi_bvalid <= 1'b0;
            if (s_axi_arready) begin
                s_axi_rvalid <= 1'b1;
                s_axi_rdata  <= s_axi_araddr[3:2] == 2'd0 ? {12'd0, seen}
                              : s_axi_araddr[3:2] == 2'd1 ? KNOWN_BY : 32'd0;
            end else if (s_axi_rready) begin
                s_axi_rvalid <= 1'b0;
            end
        end
    end
endmodule
