// SPDX-License-Identifier: Apache-2.0
// The signals of one memory port under the names that Vitis HLS gives them: as ports of the kernel,
// and connected to the board's memory.
`define E2SIM_MEMORY_PORT(name) \
    output logic        name``_AWVALID, \
    input  logic        name``_AWREADY, \
    output logic [31:0] name``_AWADDR, \
    output logic [ 0:0] name``_AWID, \
    output logic [ 7:0] name``_AWLEN, \
    output logic [ 2:0] name``_AWSIZE, \
    output logic [ 1:0] name``_AWBURST, \
    output logic [ 1:0] name``_AWLOCK, \
    output logic [ 3:0] name``_AWCACHE, \
    output logic [ 2:0] name``_AWPROT, \
    output logic [ 3:0] name``_AWQOS, \
    output logic [ 3:0] name``_AWREGION, \
    output logic [ 0:0] name``_AWUSER, \
    output logic        name``_WVALID, \
    input  logic        name``_WREADY, \
    output logic [63:0] name``_WDATA, \
    output logic [ 7:0] name``_WSTRB, \
    output logic        name``_WLAST, \
    output logic [ 0:0] name``_WID, \
    output logic [ 0:0] name``_WUSER, \
    output logic        name``_ARVALID, \
    input  logic        name``_ARREADY, \
    output logic [31:0] name``_ARADDR, \
    output logic [ 0:0] name``_ARID, \
    output logic [ 7:0] name``_ARLEN, \
    output logic [ 2:0] name``_ARSIZE, \
    output logic [ 1:0] name``_ARBURST, \
    output logic [ 1:0] name``_ARLOCK, \
    output logic [ 3:0] name``_ARCACHE, \
    output logic [ 2:0] name``_ARPROT, \
    output logic [ 3:0] name``_ARQOS, \
    output logic [ 3:0] name``_ARREGION, \
    output logic [ 0:0] name``_ARUSER, \
    input  logic        name``_RVALID, \
    output logic        name``_RREADY, \
    input  logic [63:0] name``_RDATA, \
    input  logic        name``_RLAST, \
    input  logic [ 0:0] name``_RID, \
    input  logic [ 0:0] name``_RUSER, \
    input  logic [ 1:0] name``_RRESP, \
    input  logic        name``_BVALID, \
    output logic        name``_BREADY, \
    input  logic [ 1:0] name``_BRESP, \
    input  logic [ 0:0] name``_BID, \
    input  logic [ 0:0] name``_BUSER

`define E2SIM_MASTER(name, number) \
    e2sim_master #(.PORT(number)) name``_master ( \
        .clk(ap_clk), .rst_n(ap_rst_n), .busy(busy), .pressure(`E2SIM_PRESSURE), \
        .AWVALID(name``_AWVALID), .AWREADY(name``_AWREADY), .AWADDR(name``_AWADDR), \
        .AWLEN(name``_AWLEN), .WVALID(name``_WVALID), .WREADY(name``_WREADY), \
        .WDATA(name``_WDATA), .WLAST(name``_WLAST), .ARVALID(name``_ARVALID), \
        .ARREADY(name``_ARREADY), .ARADDR(name``_ARADDR), .ARLEN(name``_ARLEN), \
        .RVALID(name``_RVALID), .RREADY(name``_RREADY), .RDATA(name``_RDATA), \
        .BVALID(name``_BVALID), .BREADY(name``_BREADY) \
    ); \
    assign name``_AWID = 1'd0; \
    assign name``_AWSIZE = 3'd3; \
    assign name``_AWBURST = 2'd1; \
    assign name``_AWLOCK = 2'd0; \
    assign name``_AWCACHE = 4'd3; \
    assign name``_AWPROT = 3'd0; \
    assign name``_AWQOS = 4'd0; \
    assign name``_AWREGION = 4'd0; \
    assign name``_AWUSER = 1'd0; \
    assign name``_WSTRB = 8'hff; \
    assign name``_WID = 1'd0; \
    assign name``_WUSER = 1'd0; \
    assign name``_ARID = 1'd0; \
    assign name``_ARSIZE = 3'd3; \
    assign name``_ARBURST = 2'd1; \
    assign name``_ARLOCK = 2'd0; \
    assign name``_ARCACHE = 4'd3; \
    assign name``_ARPROT = 3'd0; \
    assign name``_ARQOS = 4'd0; \
    assign name``_ARREGION = 4'd0; \
    assign name``_ARUSER = 1'd0;

`define E2SIM_CONNECTED(name, number) \
    .name``_AWVALID(awvalid[number]), .name``_AWREADY(awready[number]), \
    .name``_AWADDR(awaddr[number]), .name``_AWLEN(awlen[number]), \
    .name``_WVALID(wvalid[number]), .name``_WREADY(wready[number]), \
    .name``_WDATA(wdata[number]), .name``_WSTRB(wstrb[number]), .name``_WLAST(wlast[number]), \
    .name``_ARVALID(arvalid[number]), .name``_ARREADY(arready[number]), \
    .name``_ARADDR(araddr[number]), .name``_ARLEN(arlen[number]), \
    .name``_RVALID(rvalid[number]), .name``_RREADY(rready[number]), \
    .name``_RDATA(rdata[number]), .name``_RLAST(rlast[number]), .name``_RRESP(rresp[number]), \
    .name``_RID(1'b0), .name``_RUSER(1'b0), \
    .name``_BVALID(bvalid[number]), .name``_BREADY(bready[number]), \
    .name``_BRESP(bresp[number]), .name``_BID(1'b0), .name``_BUSER(1'b0)
