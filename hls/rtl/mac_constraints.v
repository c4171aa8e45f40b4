// SPDX-License-Identifier: Apache-2.0
// Refuses, at elaboration, a configuration that cannot be built: each instance below is of a module
// that does not exist, so that every tool stops with the constraint's name. (Verilog 2001 has no
// elaboration errors of its own.)
module mac_constraints;
    `include "mac_params.vh"

    generate
        if (COLUMNS % CHAIN != 0) begin : columns
            constraint_columns_are_a_multiple_of_packed_run broken ();
        end
        if (CHAIN != 1 << CHAIN_BITS) begin : run
            constraint_packed_run_is_a_power_of_two broken ();
        end
        if (CHAINS != 4) begin : chains
            constraint_columns_are_four_chains broken ();
        end
        if (PACKED_ROWS > COLUMNS) begin : lanes
            constraint_a_word_of_sums_holds_all_rows broken ();
        end
        if (ROWS % CHAIN != 0) begin : rows
            constraint_rows_are_a_multiple_of_packed_run broken ();
        end
        if (RUN_SUM > LOW_LIMIT) begin : along
            constraint_a_run_of_packed_products_fits_the_low_lane broken ();
        end
        if (STEP_SUM > LOW_LIMIT) begin : across
            constraint_a_step_of_slices_fits_the_low_lane broken ();
        end
        if (OFFSET + BYTE > WIDE) begin : wide
            constraint_a_packed_pair_fits_the_wide_port broken ();
        end
        if (HALF > NARROW) begin : narrow
            constraint_a_gradient_fits_the_narrow_port broken ();
        end
        if (2 * SLICE != BYTE || COLUMN_SLICE > HALF) begin : slices
            constraint_two_slices_fill_a_byte broken ();
        end
        if (CELL < OFFSET || OFFSET + CELL <= SUM) begin : cells
            constraint_cell_sums_hold_both_halves_of_a_plain_sum broken ();
        end
        if (SUM != 48) begin : sums
            constraint_sums_are_as_wide_as_a_dsp broken ();
        end
        if (CORE_ROW_BITS != PACKED_ROWS * COLUMNS * BYTE) begin : row_word
            constraint_row_bits_hold_a_byte_a_row_and_lane broken ();
        end
        if (CORE_COLUMN_BITS != 2 * COLUMNS * HALF) begin : column_word
            constraint_column_bits_hold_two_gradients_a_column broken ();
        end
        if (CORE_SUM_BITS != COLUMNS * SUM) begin : sum_word
            constraint_sum_bits_hold_a_sum_a_lane broken ();
        end
        if (PACKED_ROWS >= 1 << CORE_WORDS_BITS || CORE_WORDS + CORE_WORDS_BITS > CORE_STEP_BITS)
        begin : words
            constraint_words_fit_the_step_word broken ();
        end
        if (CORE_AHEAD + ROWS > CORE_WORDS) begin : ahead
            constraint_a_bit_of_ahead_a_row_of_dsps broken ();
        end
    endgenerate
endmodule
