// SPDX-License-Identifier: Apache-2.0
// The kernel as Vitis HLS would make it, seen from outside: its register file, its interrupt and its
// five AXI4 masters. Inside runs the kernel's C++ (body.cpp). The Verilog that Vitis HLS writes has
// the same name and ports and can stand in its place.
`include "ports.vh"
// The masters' own back-pressure is set from the board, not through a port that the kernel has not.
`define E2SIM_PRESSURE board.pressure
module e2train_accelerator (
    input  logic        ap_clk,
    input  logic        ap_rst_n,
    output logic        interrupt,

    input  logic        s_axi_control_AWVALID,
    output logic        s_axi_control_AWREADY,
    input  logic [ 8:0] s_axi_control_AWADDR,
    input  logic        s_axi_control_WVALID,
    output logic        s_axi_control_WREADY,
    input  logic [31:0] s_axi_control_WDATA,
    input  logic [ 3:0] s_axi_control_WSTRB,
    input  logic        s_axi_control_ARVALID,
    output logic        s_axi_control_ARREADY,
    input  logic [ 8:0] s_axi_control_ARADDR,
    output logic        s_axi_control_RVALID,
    input  logic        s_axi_control_RREADY,
    output logic [31:0] s_axi_control_RDATA,
    output logic [ 1:0] s_axi_control_RRESP,
    output logic        s_axi_control_BVALID,
    input  logic        s_axi_control_BREADY,
    output logic [ 1:0] s_axi_control_BRESP,

    `E2SIM_MEMORY_PORT(m_axi_gmem0),
    `E2SIM_MEMORY_PORT(m_axi_gmem1),
    `E2SIM_MEMORY_PORT(m_axi_gmem2),
    `E2SIM_MEMORY_PORT(m_axi_gmem3),
    `E2SIM_MEMORY_PORT(m_axi_gmem4)
);
    `include "e2train_hardware.vh"
    import "DPI-C" function void body_argument(input int word, input int unsigned value);
    import "DPI-C" function void body_start();
    import "DPI-C" function int body_done(output int unsigned error,
                                          output int unsigned abi_version,
                                          output int unsigned configuration_hash);

    localparam int WORDS = 128;
    localparam logic [6:0] CONTROL = 7'(REGISTERS_CONTROL / 4);
    localparam logic [6:0] GLOBAL_INTERRUPT = 7'(REGISTERS_GLOBAL_INTERRUPT / 4);
    localparam logic [6:0] INTERRUPT_ENABLE = 7'(REGISTERS_INTERRUPT_ENABLE / 4);
    localparam logic [6:0] INTERRUPT_STATUS = 7'(REGISTERS_INTERRUPT_STATUS / 4);
    localparam logic [6:0] ERROR = 7'(REGISTERS_ERROR / 4);
    localparam logic [6:0] ABI = 7'(REGISTERS_ABI_VERSION / 4);
    localparam logic [6:0] HASH = 7'(REGISTERS_CONFIGURATION_HASH / 4);
    localparam logic [6:0] FIRST = 7'(REGISTERS_FIRST / 4);

    logic start, busy, done, ready, enabled;
    logic [1:0] interrupts_enabled, interrupt_status;  // bit 0: done, bit 1: ready
    logic abi_valid, hash_valid;
    logic [31:0] error, abi_version, configuration_hash;
    logic [31:0] arguments[WORDS];
    int unsigned ended_error, ended_abi, ended_hash;

    assign interrupt = enabled && interrupt_status != 2'b00;

    `E2SIM_MASTER(m_axi_gmem0, 0)
    `E2SIM_MASTER(m_axi_gmem1, 1)
    `E2SIM_MASTER(m_axi_gmem2, 2)
    `E2SIM_MASTER(m_axi_gmem3, 3)
    `E2SIM_MASTER(m_axi_gmem4, 4)

    // ---- register file: one access at a time, an address before its data ------------------------

    logic [6:0] write_word;
    wire [31:0] mask = {{8{s_axi_control_WSTRB[3]}}, {8{s_axi_control_WSTRB[2]}},
                        {8{s_axi_control_WSTRB[1]}}, {8{s_axi_control_WSTRB[0]}}};
    wire [31:0] written = s_axi_control_WDATA & mask;
    wire writes = s_axi_control_WVALID && s_axi_control_WREADY;
    wire reads = s_axi_control_ARVALID && s_axi_control_ARREADY;
    wire [6:0] read_word = s_axi_control_ARADDR[8:2];

    assign s_axi_control_RRESP = 2'b00;
    assign s_axi_control_BRESP = 2'b00;
    assign s_axi_control_ARREADY = ap_rst_n && !s_axi_control_RVALID;

    always_ff @(posedge ap_clk) begin
        if (!ap_rst_n) begin
            s_axi_control_AWREADY <= 1'b1;
            s_axi_control_WREADY  <= 1'b0;
            s_axi_control_BVALID  <= 1'b0;
            s_axi_control_RVALID  <= 1'b0;
        end else begin
            if (s_axi_control_AWVALID && s_axi_control_AWREADY) begin
                write_word            <= s_axi_control_AWADDR[8:2];
                s_axi_control_AWREADY <= 1'b0;
                s_axi_control_WREADY  <= 1'b1;
            end
            if (writes) begin
                s_axi_control_WREADY <= 1'b0;
                s_axi_control_BVALID <= 1'b1;
            end
            if (s_axi_control_BVALID && s_axi_control_BREADY) begin
                s_axi_control_BVALID  <= 1'b0;
                s_axi_control_AWREADY <= 1'b1;
            end
            if (reads) begin
                s_axi_control_RVALID <= 1'b1;
                case (read_word)
                    CONTROL:
                        s_axi_control_RDATA <= {22'd0, interrupt, 5'd0, ready, !busy && !start,
                                                done, start};
                    GLOBAL_INTERRUPT: s_axi_control_RDATA <= {31'd0, enabled};
                    INTERRUPT_ENABLE: s_axi_control_RDATA <= {30'd0, interrupts_enabled};
                    INTERRUPT_STATUS: s_axi_control_RDATA <= {30'd0, interrupt_status};
                    ERROR: s_axi_control_RDATA <= error;
                    ABI: s_axi_control_RDATA <= abi_version;
                    ABI + 7'd1: s_axi_control_RDATA <= {31'd0, abi_valid};
                    HASH: s_axi_control_RDATA <= configuration_hash;
                    HASH + 7'd1: s_axi_control_RDATA <= {31'd0, hash_valid};
                    default: s_axi_control_RDATA <= arguments[read_word];
                endcase
            end else if (s_axi_control_RREADY) begin
                s_axi_control_RVALID <= 1'b0;
            end
        end
    end

    // ---- control --------------------------------------------------------------------------------

    always_ff @(posedge ap_clk) begin
        if (!ap_rst_n) begin
            {start, busy, done, ready, enabled} <= 5'd0;
            {interrupts_enabled, interrupt_status} <= 4'd0;
            {abi_valid, hash_valid} <= 2'd0;
            {error, abi_version, configuration_hash} <= 96'd0;
            for (int word = 0; word < WORDS; ++word) arguments[word] <= 32'd0;
        end else begin
            // done and ready are cleared by reading them, the valid bits as well
            if (reads && read_word == CONTROL) {done, ready} <= 2'b00;
            if (reads && read_word == ABI + 7'd1) abi_valid <= 1'b0;
            if (reads && read_word == HASH + 7'd1) hash_valid <= 1'b0;
            if (writes) begin
                case (write_word)
                    CONTROL: if (written[0]) start <= 1'b1;
                    GLOBAL_INTERRUPT: enabled <= written[0];
                    INTERRUPT_ENABLE: interrupts_enabled <= written[1:0];
                    // a one toggles the bit
                    INTERRUPT_STATUS: interrupt_status <= interrupt_status ^ written[1:0];
                    default: if (write_word >= FIRST) arguments[write_word] <= written;
                endcase
            end
            if (start && !busy) begin
                for (int word = 0; word < WORDS; ++word) body_argument(word, arguments[word]);
                body_start();
                busy <= 1'b1;
            end else if (busy && body_done(ended_error, ended_abi, ended_hash) != 0) begin
                busy <= 1'b0;
                start <= 1'b0;
                {done, ready} <= 2'b11;
                interrupt_status <= interrupt_status | interrupts_enabled;
                error <= ended_error;
                abi_version <= ended_abi;
                configuration_hash <= ended_hash;
                {abi_valid, hash_valid} <= 2'b11;
            end
        end
    end
endmodule
