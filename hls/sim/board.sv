// SPDX-License-Identifier: Apache-2.0
// The board as far as the accelerator sees it: a clock, the processor's bus to two register files,
// five ports to DDR, one interrupt line. The server (Python, cocotb) drives the signals of the bus.
`timescale 1ns / 1ps
`include "ports.vh"
module board;
    logic clk = 1'b0;
    logic rst_n = 1'b0;
    always #5 clk = ~clk;

    logic       interrupt;
    logic [7:0] stall = 8'd0;     // of DDR, chance in 256
    logic [7:0] latency = 8'd4;   // of DDR, cycles
    logic [7:0] pressure = 8'd0;  // of the kernel's masters, chance in 256

    // The processor's port GP0, AXI4-Lite. Bit 16 of an address chooses the register file.
    logic        s_awvalid = 1'b0, s_wvalid = 1'b0, s_arvalid = 1'b0;
    logic        s_bready, s_rready;
    logic [31:0] s_awaddr, s_wdata, s_araddr;
    logic        s_awready, s_wready, s_bvalid, s_arready, s_rvalid;
    logic [31:0] s_rdata;
    wire         write_watch = s_awaddr[16];
    wire         read_watch = s_araddr[16];
    logic [1:0]  awready_of, wready_of, bvalid_of, arready_of, rvalid_of;
    logic [31:0] rdata_of[2];
    assign s_awready = awready_of[write_watch];
    assign s_wready = wready_of[write_watch];
    assign s_bvalid = bvalid_of[write_watch];
    assign s_arready = arready_of[read_watch];
    assign s_rvalid = rvalid_of[read_watch];
    assign s_rdata = rdata_of[read_watch];

    // One access when `request` changes; `answered` follows it when the access has ended.
    logic        request = 1'b0, answered = 1'b0, accessing = 1'b0;
    logic        is_write = 1'b0;
    logic [31:0] address = 32'd0, data = 32'd0, result = 32'd0;
    longint      cycles = 0;

    assign s_bready = 1'b1;
    assign s_rready = 1'b1;

    always_ff @(posedge clk) begin
        cycles <= cycles + 1;
        if (!accessing && request != answered) begin
            accessing <= 1'b1;
            s_awvalid <= is_write;
            s_wvalid  <= is_write;
            s_arvalid <= !is_write;
            s_awaddr  <= address;
            s_wdata   <= data;
            s_araddr  <= address;
        end else if (accessing) begin
            if (s_awready) s_awvalid <= 1'b0;
            if (s_wready) s_wvalid <= 1'b0;
            if (s_arready) s_arvalid <= 1'b0;
            if (s_bvalid || s_rvalid) begin
                accessing <= 1'b0;
                answered  <= request;
                result    <= s_rdata;
            end
        end
    end

    logic [4:0] awvalid, awready, wvalid, wready, wlast, arvalid, arready;
    logic [4:0] rvalid, rready, rlast, bvalid, bready;
    logic [31:0] awaddr[5], araddr[5];
    logic [7:0] awlen[5], arlen[5], wstrb[5];
    logic [63:0] wdata[5], rdata[5];
    logic [1:0] rresp[5], bresp[5];

    e2train_accelerator accelerator (
        .ap_clk(clk),
        .ap_rst_n(rst_n),
        .interrupt(interrupt),
        .s_axi_control_AWVALID(s_awvalid && !write_watch),
        .s_axi_control_AWREADY(awready_of[0]),
        .s_axi_control_AWADDR(s_awaddr[8:0]),
        .s_axi_control_WVALID(s_wvalid && !write_watch),
        .s_axi_control_WREADY(wready_of[0]),
        .s_axi_control_WDATA(s_wdata),
        .s_axi_control_WSTRB(4'hf),
        .s_axi_control_ARVALID(s_arvalid && !read_watch),
        .s_axi_control_ARREADY(arready_of[0]),
        .s_axi_control_ARADDR(s_araddr[8:0]),
        .s_axi_control_RVALID(rvalid_of[0]),
        .s_axi_control_RREADY(s_rready),
        .s_axi_control_RDATA(rdata_of[0]),
        .s_axi_control_RRESP(),
        .s_axi_control_BVALID(bvalid_of[0]),
        .s_axi_control_BREADY(s_bready),
        .s_axi_control_BRESP(),
        `E2SIM_CONNECTED(m_axi_gmem0, 0),
        `E2SIM_CONNECTED(m_axi_gmem1, 1),
        `E2SIM_CONNECTED(m_axi_gmem2, 2),
        `E2SIM_CONNECTED(m_axi_gmem3, 3),
        `E2SIM_CONNECTED(m_axi_gmem4, 4)
    );

    e2train_bus_watch watch (
        .ap_clk(clk),
        .ap_rst_n(rst_n),
        .rvalid(rvalid),
        .rready(rready),
        .rresp({rresp[4], rresp[3], rresp[2], rresp[1], rresp[0]}),
        .bvalid(bvalid),
        .bready(bready),
        .bresp({bresp[4], bresp[3], bresp[2], bresp[1], bresp[0]}),
        .s_axi_awaddr(s_awaddr[3:0]),
        .s_axi_awvalid(s_awvalid && write_watch),
        .s_axi_awready(awready_of[1]),
        .s_axi_wdata(s_wdata),
        .s_axi_wstrb(4'hf),
        .s_axi_wvalid(s_wvalid && write_watch),
        .s_axi_wready(wready_of[1]),
        .s_axi_bresp(),
        .s_axi_bvalid(bvalid_of[1]),
        .s_axi_bready(s_bready),
        .s_axi_araddr(s_araddr[3:0]),
        .s_axi_arvalid(s_arvalid && read_watch),
        .s_axi_arready(arready_of[1]),
        .s_axi_rdata(rdata_of[1]),
        .s_axi_rresp(),
        .s_axi_rvalid(rvalid_of[1]),
        .s_axi_rready(s_rready)
    );

    for (genvar port = 0; port < 5; ++port) begin : memories
        e2sim_memory #(
            .PORT(port)
        ) memory (
            .clk(clk),
            .rst_n(rst_n),
            .stall(stall),
            .latency(latency),
            .AWVALID(awvalid[port]),
            .AWREADY(awready[port]),
            .AWADDR(awaddr[port]),
            .AWLEN(awlen[port]),
            .WVALID(wvalid[port]),
            .WREADY(wready[port]),
            .WDATA(wdata[port]),
            .WSTRB(wstrb[port]),
            .WLAST(wlast[port]),
            .ARVALID(arvalid[port]),
            .ARREADY(arready[port]),
            .ARADDR(araddr[port]),
            .ARLEN(arlen[port]),
            .RVALID(rvalid[port]),
            .RREADY(rready[port]),
            .RDATA(rdata[port]),
            .RRESP(rresp[port]),
            .RLAST(rlast[port]),
            .BVALID(bvalid[port]),
            .BREADY(bready[port]),
            .BRESP(bresp[port])
        );
    end
endmodule
