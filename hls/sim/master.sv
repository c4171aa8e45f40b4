// SPDX-License-Identifier: Apache-2.0
// One memory port of the shell: an AXI4 master whose bursts the body asks for.
module e2sim_master #(
    parameter int PORT = 0
) (
    input  logic        clk,
    input  logic        rst_n,
    input  logic        busy,
    input  logic [ 7:0] pressure,  // chance in 256 that a cycle does not take a beat of data

    output logic        AWVALID,
    input  logic        AWREADY,
    output logic [31:0] AWADDR,
    output logic [ 7:0] AWLEN,
    output logic        WVALID,
    input  logic        WREADY,
    output logic [63:0] WDATA,
    output logic        WLAST,
    output logic        ARVALID,
    input  logic        ARREADY,
    output logic [31:0] ARADDR,
    output logic [ 7:0] ARLEN,
    input  logic        RVALID,
    output logic        RREADY,
    input  logic [63:0] RDATA,
    input  logic        BVALID,
    output logic        BREADY
);
    import "DPI-C" function int body_next_read(input int port, output int unsigned address,
                                               output int beats);
    import "DPI-C" function void body_read_beat(input int port, input longint unsigned data);
    import "DPI-C" function int body_next_write(input int port, output int unsigned address,
                                                output int beats);
    import "DPI-C" function longint unsigned body_write_beat();
    import "DPI-C" function void body_write_answered();

    int unsigned read_address, write_address;
    int read_beats, write_beats, left;
    logic [15:0] random;

    always_ff @(posedge clk) begin
        if (!rst_n) begin
            random <= 16'h1ace ^ 16'(PORT * 7919);
        end else begin
            random <= {random[14:0], random[15] ^ random[13] ^ random[12] ^ random[10]};
        end
    end

    // Reads: addresses ahead of data, data when there is no pressure. Like the master that Vitis
    // HLS makes, this one takes a beat whatever its response says.
    always_ff @(posedge clk) begin
        if (!rst_n) begin
            ARVALID <= 1'b0;
            RREADY  <= 1'b0;
        end else begin
            if (!ARVALID || ARREADY) begin
                ARVALID <= 1'b0;
                if (busy && body_next_read(PORT, read_address, read_beats) != 0) begin
                    ARVALID <= 1'b1;
                    ARADDR  <= read_address;
                    ARLEN   <= 8'(read_beats - 1);
                end
            end
            RREADY <= random[7:0] >= pressure;
            if (RVALID && RREADY) body_read_beat(PORT, RDATA);
        end
    end

    // Writes: one burst at a time, its address and its data side by side.
    always_ff @(posedge clk) begin
        if (!rst_n) begin
            AWVALID <= 1'b0;
            WVALID  <= 1'b0;
            left    <= 0;
        end else begin
            if (AWVALID && AWREADY) AWVALID <= 1'b0;
            if (WVALID && WREADY) WVALID <= 1'b0;
            if (left == 0 && (!AWVALID || AWREADY) && (!WVALID || WREADY)) begin
                if (busy && body_next_write(PORT, write_address, write_beats) != 0) begin
                    AWVALID <= 1'b1;
                    AWADDR  <= write_address;
                    AWLEN   <= 8'(write_beats - 1);
                    left    <= write_beats;
                end
            end else if (left != 0 && (!WVALID || WREADY)) begin
                WVALID <= 1'b1;
                WDATA  <= body_write_beat();
                WLAST  <= left == 1;
                left   <= left - 1;
            end
        end
    end

    always_ff @(posedge clk) begin
        BREADY <= rst_n && random[15:8] >= pressure;
        if (rst_n && BVALID && BREADY) body_write_answered();
    end
endmodule
