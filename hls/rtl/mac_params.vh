// SPDX-License-Identifier: Apache-2.0
// Sizes that follow from the hardware configuration, each bound's proof beside it. To be included in
// a module; mac_constraints.v refuses configurations that break a bound.
/* verilator lint_off UNUSEDPARAM */
`include "e2train_hardware.vh"

localparam integer BYTE = WIDTHS_ACTIVATION;
localparam integer HALF = WIDTHS_GRADIENT;
localparam integer SUM = WIDTHS_SUM;
localparam integer CELL = WIDTHS_CELL_SUM;
localparam integer SLICE = CORE_SLICE_BITS;
localparam integer COLUMN_SLICE = CORE_COLUMN_SLICE_BITS;
localparam integer OFFSET = ARRAY_LANE_OFFSET;

// Two rows of operands share a row of DSPs: row r in the low lane, row r + ROWS in the high one.
localparam integer ROWS = ARRAY_ROWS;
localparam integer PACKED_ROWS = 2 * ARRAY_ROWS;
localparam integer COLUMNS = ARRAY_COLUMNS;

// Neighbouring columns work a cycle apart, CHAIN of them in a chain: their DSPs pass sums on through
// the cascade ports, and end runs of CHAIN products in CHAIN successive cycles, so that they share
// one unpacking adder.
localparam integer CHAIN = ARRAY_PACKED_RUN;
localparam integer CHAINS = COLUMNS / CHAIN;
localparam integer CHAIN_BITS = $clog2(CHAIN);

// Ports of a DSP48E1. A packed pair fits the wide one: 127 * 2^17 + 127 < 2^24.
localparam integer WIDE = 25;
localparam integer NARROW = 18;

// Largest magnitudes: weights are [-127, 127] where they are packed, activations [-128, 127].
localparam integer TOP_WEIGHT = (1 << (WIDTHS_WEIGHT - 1)) - 1;
localparam integer TOP_ACTIVATION = 1 << (BYTE - 1);
localparam integer TOP_SLICE = (1 << (SLICE - 1)) - 1;
localparam integer TOP_COLUMN_SLICE = (1 << (COLUMN_SLICE - 1)) - 1;
localparam integer LOW_LIMIT = (1 << (OFFSET - 1)) - 1;

// Along, packed: a run's low sum is at most 4 * 127 * 128 = 65,024 <= 65,535: 17 bits, signed.
localparam integer RUN_SUM = CHAIN * TOP_WEIGHT * TOP_ACTIVATION;
// Across, packed: a step's low sum is at most 16 * 7 * 511 = 57,232 <= 65,535: 17 bits, signed.
localparam integer STEP_SUM = COLUMNS * TOP_SLICE * TOP_COLUMN_SLICE;

// A step's sum over the columns. Packed, it is below 65,536 * 2^17 + 65,536: 34 bits, signed and
// less than 2^33 + 2^16 only if the high sum stays below 2^16 - 1, as 57,232 does. Plain, it is at
// most 16 * 2^7 * 2^15 = 2^26.
localparam integer ACROSS = 2 * OFFSET;
localparam integer SLICE_SUM = OFFSET;  // of the LUT half: the same bound as the low lane's

// Cycles from the one in which a step is taken (see mac_control.v).
localparam integer AT_PRODUCT = 4;   // the product of column 0 is in the DSP's M register
localparam integer AT_SUM = 5;       // and in its P register
localparam integer AT_SEQUENCE = 7;  // a visit's first word is looked up
localparam integer AT_ROW_SUM = 11;  // the step's sum over the columns is added to the visit's
localparam integer AT_LUT_SUM = 12;  // and that of the LUT half, a cycle later: its word is second
localparam integer AT_OUTPUT = 13;   // a visit's first word stands at the output
/* verilator lint_on UNUSEDPARAM */
