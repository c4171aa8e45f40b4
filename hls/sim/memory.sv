// SPDX-License-Identifier: Apache-2.0
// DDR behind one AXI4 port: random stalls, a chosen latency, and any response that C++ decides on.
// It reports what a master may not do.
module e2sim_memory #(
    parameter int PORT = 0
) (
    input logic       clk,
    input logic       rst_n,
    input logic [7:0] stall,   // chance in 256 that a channel is not ready, or has no data, in a cycle
    input logic [7:0] latency, // cycles from a burst's address to its first data or its response

    input  logic        AWVALID,
    output logic        AWREADY,
    input  logic [31:0] AWADDR,
    input  logic [ 7:0] AWLEN,
    input  logic        WVALID,
    output logic        WREADY,
    input  logic [63:0] WDATA,
    input  logic [ 7:0] WSTRB,
    input  logic        WLAST,
    input  logic        ARVALID,
    output logic        ARREADY,
    input  logic [31:0] ARADDR,
    input  logic [ 7:0] ARLEN,
    output logic        RVALID,
    input  logic        RREADY,
    output logic [63:0] RDATA,
    output logic [ 1:0] RRESP,
    output logic        RLAST,
    output logic        BVALID,
    input  logic        BREADY,
    output logic [ 1:0] BRESP
);
    import "DPI-C" function int memory_response(input int port, input int write,
                                                input int unsigned address, input int beats);
    import "DPI-C" function longint unsigned memory_read(input int unsigned address);
    import "DPI-C" function void memory_write(input int unsigned address,
                                              input longint unsigned data, input int strobes);
    import "DPI-C" function void bus_violation(input string rule, input int port);

    logic [22:0] random;

    always_ff @(posedge clk) begin
        if (!rst_n) random <= 23'h1234 ^ 23'(PORT * 104729);
        else random <= {random[21:0], random[22] ^ random[17]};
    end

    // ---- reads ----------------------------------------------------------------------------------

    logic        reading;
    logic        read_gate;
    int unsigned read_address;
    int          read_left, read_wait, read_response;

    assign ARREADY = !reading && read_gate;

    always_ff @(posedge clk) begin
        read_gate <= random[7:0] >= stall;
        if (!rst_n) begin
            reading <= 1'b0;
            RVALID  <= 1'b0;
        end else if (!reading) begin
            if (ARVALID && ARREADY) begin
                reading       <= 1'b1;
                read_address  <= ARADDR;
                read_left     <= int'(ARLEN) + 1;
                read_wait     <= int'(latency);
                read_response <= memory_response(PORT, 0, ARADDR, int'(ARLEN) + 1);
            end
        end else if (read_response >= 0) begin
            if (read_wait != 0) begin
                read_wait <= read_wait - 1;
            end else if (!RVALID || RREADY) begin
                RVALID <= 1'b0;
                if (read_left == 0) begin
                    reading <= 1'b0;
                end else if (random[15:8] >= stall) begin
                    RVALID       <= 1'b1;
                    RDATA        <= read_response == 0 ? memory_read(read_address)
                                                       : 64'hdeadbeefdeadbeef;
                    RRESP        <= 2'(read_response);
                    RLAST        <= read_left == 1;
                    read_address <= read_address + 8;
                    read_left    <= read_left - 1;
                end
            end
        end
    end

    // ---- writes ---------------------------------------------------------------------------------

    logic        writing;
    logic        address_gate, data_gate;
    int unsigned write_address;
    int          write_left, write_wait, write_response;

    assign AWREADY = !writing && address_gate;
    assign WREADY  = writing && write_left != 0 && data_gate;

    always_ff @(posedge clk) begin
        address_gate <= random[20:13] >= stall;
        data_gate    <= random[17:10] >= stall;
        if (!rst_n) begin
            writing <= 1'b0;
            BVALID  <= 1'b0;
        end else if (!writing) begin
            if (AWVALID && AWREADY) begin
                writing        <= 1'b1;
                write_address  <= AWADDR;
                write_left     <= int'(AWLEN) + 1;
                write_wait     <= int'(latency);
                write_response <= memory_response(PORT, 1, AWADDR, int'(AWLEN) + 1);
            end
        end else if (WVALID && WREADY) begin
            if (write_response == 0) memory_write(write_address, WDATA, int'(WSTRB));
            if (WLAST != (write_left == 1)) bus_violation("WLAST is not at the last beat", PORT);
            write_address <= write_address + 8;
            write_left    <= write_left - 1;
        end else if (write_left == 0 && write_response >= 0) begin
            if (write_wait != 0) begin
                write_wait <= write_wait - 1;
            end else if (!BVALID) begin
                BVALID <= 1'b1;
                BRESP  <= 2'(write_response);
            end else if (BREADY) begin
                BVALID  <= 1'b0;
                writing <= 1'b0;
            end
        end
    end

    // ---- what no master may do: take back or change what it offers before it is taken -----------

    logic        was_ar, was_aw, was_w;
    logic [31:0] last_ar, last_aw;
    logic [63:0] last_w;

    always_ff @(posedge clk) begin
        was_ar  <= rst_n && ARVALID && !ARREADY;
        was_aw  <= rst_n && AWVALID && !AWREADY;
        was_w   <= rst_n && WVALID && !WREADY;
        last_ar <= ARADDR;
        last_aw <= AWADDR;
        last_w  <= WDATA;
        if (was_ar && (!ARVALID || ARADDR != last_ar)) bus_violation("AR changed", PORT);
        if (was_aw && (!AWVALID || AWADDR != last_aw)) bus_violation("AW changed", PORT);
        if (was_w && (!WVALID || WDATA != last_w)) bus_violation("W changed", PORT);
    end
endmodule
