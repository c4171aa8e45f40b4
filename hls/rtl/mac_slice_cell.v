// SPDX-License-Identifier: Apache-2.0
// earlier + x * g, as two digits of x: 0 to 3, and -2 to 1 (of weight 4). A digit chooses among
// multiples in the same LUT that adds, so that a product costs two adders of its sum's width.
module mac_slice_cell (
    input wire [3:0] x,
    input wire [9:0] g,
    input wire [10:0] minus,
    input wire [11:0] three,
    input wire [14:0] earlier,
    output wire [14:0] sum
);
    wire [11:0] once = {{2{g[9]}}, g};
    wire [11:0] twice = {g[9], g, 1'b0};
    wire [11:0] lower = x[1] ? (x[0] ? three : twice) : (x[0] ? once : 12'd0);
    wire [11:0] upper = x[3] ? (x[2] ? {minus[10], minus} : {minus, 1'b0})
        : (x[2] ? once : 12'd0);
    wire [14:0] half = earlier + {{3{lower[11]}}, lower};
    assign sum = {half[14:2] + {upper[11], upper}, half[1:0]};
endmodule
