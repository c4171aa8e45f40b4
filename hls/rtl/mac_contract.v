// SPDX-License-Identifier: Apache-2.0
// For simulation only: stops at the first step that breaks the contract of the streams, or whose
// products would leave the low lane of a DSP. mac_core.v has one where E2_CHECKS is defined.
`ifdef E2_CHECKS
module mac_contract (
    input wire clk,
    input wire rst,
    input wire take,
    input wire [23:0] step,
    input wire [2047:0] rows,
    input wire [511:0] columns,
    // The output port.
    input wire out_valid,
    input wire out_taken,
    input wire enabled,
    input wire [767:0] word
);
    `include "mac_params.vh"
    /* verilator lint_off BLKSEQ */
    /* verilator lint_off WIDTHEXPAND */

    localparam [CORE_STEP_BITS-1:0] CONSTANT =  // flags that a visit keeps
        1 << CORE_ACROSS | 1 << CORE_PACKED | 1 << CORE_OTHER
        | ((1 << ROWS) - 1) << CORE_AHEAD | ((1 << CORE_WORDS_BITS) - 1) << CORE_WORDS;

    wire first = step[CORE_FIRST], last = step[CORE_LAST];
    wire across = step[CORE_ACROSS], pairs = step[CORE_PACKED];
    wire run_first = step[CORE_RUN_FIRST], run_last = step[CORE_RUN_LAST];
    wire [CORE_WORDS_BITS-1:0] words = step[CORE_WORDS+:CORE_WORDS_BITS];
    wire [31:0] most_words = across ? (pairs ? 2 : 1) : pairs ? PACKED_ROWS : ROWS;

    reg in_visit, in_run, waits;
    reg [CORE_STEP_BITS-1:0] kept;
    reg [CHAIN_BITS:0] run;
    reg [767:0] waiting;
    wire [CHAIN_BITS:0] run_now = run_first ? 1 : run + 1'b1;

    // Low sums: of each cell's run along positions, of each row's step across them.
    integer r, c, operand, column, top, sum;
    integer low[0:PACKED_ROWS*COLUMNS-1];

    function integer slice(input [BYTE-1:0] value, input upper);
        slice = upper ? $signed(value) >>> SLICE
            : $signed({value[SLICE-1:0], {32 - SLICE{1'b0}}}) >>> (32 - SLICE);
    endfunction

    task sums_of_row;
        begin
            sum = 0;
            for (c = 0; c < COLUMNS; c = c + 1) begin
                column = $signed(columns[HALF*c+:HALF]);
                operand = across ? slice(rows[BYTE*(COLUMNS*r+c)+:BYTE], 1'b0)
                    : $signed(rows[BYTE*COLUMNS*r+:BYTE]);
                if (across) sum = sum + operand * column;
                else begin
                    low[COLUMNS*r+c] = (run_first ? 0 : low[COLUMNS*r+c]) + operand * column;
                    if (low[COLUMNS*r+c] > LOW_LIMIT || low[COLUMNS*r+c] < -LOW_LIMIT)
                        $fatal(1, "lane overflow: a run's low sum of row %0d, column %0d", r, c);
                end
            end
            if (sum > LOW_LIMIT || sum < -LOW_LIMIT)
                $fatal(1, "lane overflow: a step's low sum of row %0d", r);
        end
    endtask

    task ranges;
        begin
            top = across ? TOP_COLUMN_SLICE : TOP_ACTIVATION - 1;
            for (c = 0; c < COLUMNS; c = c + 1) begin
                column = $signed(columns[HALF*c+:HALF]);
                if (column > top || column < (across ? -top : -top - 1))
                    $fatal(1, "contract: column %0d holds %0d", c, column);
                column = $signed(columns[HALF*(COLUMNS+c)+:HALF]);
                if (across && (column > top || column < -top) && step[CORE_OTHER])
                    $fatal(1, "contract: second word's column %0d holds %0d", c, column);
            end
            for (r = 0; r < PACKED_ROWS; r = r + 1)
                for (c = 0; c < (across ? COLUMNS : 1); c = c + 1) begin
                    operand = $signed(rows[BYTE*(COLUMNS*r+c)+:BYTE]);
                    if (!across && operand < -TOP_WEIGHT)
                        $fatal(1, "contract: row %0d holds %0d", r, operand);
                    if (across && (slice(rows[BYTE*(COLUMNS*r+c)+:BYTE], 1'b0) < -TOP_SLICE
                            || slice(rows[BYTE*(COLUMNS*r+c)+:BYTE], 1'b1) < -TOP_SLICE))
                        $fatal(1, "contract: row %0d, lane %0d has a slice of -8", r, c);
                end
        end
    endtask

    always @(posedge clk)
        if (rst) begin
            in_visit <= 1'b0;
            in_run <= 1'b0;
            run <= 0;
            waits <= 1'b0;
        end else begin
            if (take) begin
                if (first == in_visit) $fatal(1, "contract: first inside a visit, or none");
                if (!first && (step & CONSTANT) != kept) $fatal(1, "contract: flags changed");
                if (step[CORE_END] && !last) $fatal(1, "contract: end without last");
                if (words == 0 || words > most_words) $fatal(1, "contract: %0d words", words);
                if (pairs && !across) begin
                    if (run_first == in_run) $fatal(1, "contract: a run in a run, or none");
                    if (run_now > CHAIN) $fatal(1, "contract: a run of %0d products", run_now);
                    if (last && !run_last) $fatal(1, "contract: a visit ends inside a run");
                end
                if (pairs) begin
                    ranges;
                    for (r = 0; r < PACKED_ROWS; r = r + 1) sums_of_row;
                end
                in_visit <= !last;
                in_run <= pairs && !across && !run_last;
                run <= run_now;
                kept <= step & CONSTANT;
            end
            if (enabled) begin
                if (waits && !(out_valid && word == waiting))
                    $fatal(1, "a word of sums changed while it waited");
                waits <= out_valid && !out_taken;
                waiting <= word;
            end
        end
    /* verilator lint_on WIDTHEXPAND */
    /* verilator lint_on BLKSEQ */
endmodule
`endif
