// SPDX-License-Identifier: Apache-2.0
// One row: four chains of four columns, a cycle apart, then a tree, then the visit's sum.
module mac_slice_row (
    input wire clk,
    input wire rst,
    input wire advance,
    input wire step,
    input wire fresh,
    input wire emit,
    input wire [63:0] x,
    input wire [159:0] g,
    input wire [175:0] minus,
    input wire [191:0] three,
    output reg [47:0] sum
);
    reg [239:0] partial;
    wire [239:0] next;
    genvar c;
    generate
        for (c = 0; c < 16; c = c + 1) begin : columns
            wire [14:0] earlier;
            if (c % 4 == 0) begin : begins
                assign earlier = 15'd0;
            end else begin : goes_on
                assign earlier = partial[15*(c-1)+:15];
            end
            mac_slice_cell one (
                .x(x[4*c+:4]), .g(g[10*c+:10]), .minus(minus[11*c+:11]), .three(three[12*c+:12]),
                .earlier(earlier), .sum(next[15*c+:15])
            );
        end
    endgenerate
    reg [15:0] left, right;
    reg [16:0] whole;
    wire [14:0] p0 = partial[59:45], p1 = partial[119:105];
    wire [14:0] p2 = partial[179:165], p3 = partial[239:225];
    always @(posedge clk)
        if (advance) begin
            partial <= next;
            left <= {p0[14], p0} + {p1[14], p1};
            right <= {p2[14], p2} + {p3[14], p3};
            whole <= {left[15], left} + {right[15], right};
        end

    // The DSPs take longer, and their word leaves first.
    wire [16:0] later;
    mac_delay #(.WIDTH(17), .CYCLES(4)) wait_for_dsps (
        .clk(clk), .rst(rst), .advance(advance), .d(whole), .q(later)
    );
    reg [47:0] visit;
    wire [47:0] total = visit + {{31{later[16]}}, later};
    always @(posedge clk)
        if (advance) begin
            if (fresh) visit <= 48'd0;
            else if (step) visit <= total;
            sum <= emit ? total : 48'd0;
        end
endmodule
