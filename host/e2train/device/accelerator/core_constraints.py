# SPDX-License-Identifier: Apache-2.0
"""What the MAC core's parameters must fulfil; hls/rtl/mac_constraints.v refuses the same."""

from __future__ import annotations

from typing import Any

WIDE, NARROW, SUM = 25, 18, 48  # a DSP48E1's ports, and its sum


def broken_constraints(config: dict[str, dict[str, Any]]) -> list[str]:
    """Names of the constraints that a configuration breaks."""
    array, core, widths = config["array"], config["core"], config["widths"]
    run, rows, columns, offset = (
        array[key] for key in ("packed_run", "rows", "columns", "lane_offset")
    )
    byte, half, total = widths["activation"], widths["gradient"], widths["sum"]
    piece, column_piece = core["slice_bits"], core["column_slice_bits"]
    low_limit = (1 << (offset - 1)) - 1
    run_sum = run * ((1 << (widths["weight"] - 1)) - 1) * (1 << (byte - 1))
    step_sum = columns * ((1 << (piece - 1)) - 1) * ((1 << (column_piece - 1)) - 1)
    words_end = core["words"] + core["words_bits"]
    holds = {
        "columns_are_a_multiple_of_packed_run": columns % run == 0,
        "packed_run_is_a_power_of_two": run & (run - 1) == 0,
        "columns_are_four_chains": columns // run == 4,
        "a_word_of_sums_holds_all_rows": 2 * rows <= columns,
        "rows_are_a_multiple_of_packed_run": rows % run == 0,
        "a_run_of_packed_products_fits_the_low_lane": run_sum <= low_limit,
        "a_step_of_slices_fits_the_low_lane": step_sum <= low_limit,
        "a_packed_pair_fits_the_wide_port": offset + byte <= WIDE,
        "a_gradient_fits_the_narrow_port": half <= NARROW,
        "two_slices_fill_a_byte": 2 * piece == byte and column_piece <= half,
        "cell_sums_hold_both_halves_of_a_plain_sum": offset <= widths["cell_sum"]
        and offset + widths["cell_sum"] > total,
        "sums_are_as_wide_as_a_dsp": total == SUM,
        "row_bits_hold_a_byte_a_row_and_lane": core["row_bits"] == 2 * rows * columns * byte,
        "column_bits_hold_two_gradients_a_column": core["column_bits"] == 2 * columns * half,
        "sum_bits_hold_a_sum_a_lane": core["sum_bits"] == columns * total,
        "words_fit_the_step_word": 2 * rows < 1 << core["words_bits"]
        and words_end <= core["step_bits"],
        "a_bit_of_ahead_a_row_of_dsps": core["ahead"] + rows <= core["words"],
    }
    return [name for name, kept in holds.items() if not kept]
