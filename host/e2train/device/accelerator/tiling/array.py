# SPDX-License-Identifier: Apache-2.0
"""The array, buffers and limits that tiles are planned against, from the hardware configuration."""

from __future__ import annotations

from dataclasses import dataclass

from .. import generated


@dataclass(frozen=True)
class Hardware:
    """What planning and the performance model need of hls/config/hardware.toml.

    `burst_wait` is no configuration but an assumption: cycles that the start of every burst keeps
    its loop waiting. 0: requests run ahead, and only a step's first one waits.
    """

    rows: int = generated.ARRAY_ROWS
    columns: int = generated.ARRAY_COLUMNS
    row_banks: int = generated.BUFFERS_ROW_BANKS
    row_depth: int = generated.BUFFERS_ROW_DEPTH
    column_depth: int = generated.BUFFERS_COLUMN_DEPTH
    tile_sums: int = generated.BUFFERS_TILE_SUMS
    weight_sums: int = generated.BUFFERS_WEIGHT_SUMS
    samples: int = generated.LIMITS_SAMPLES
    channels: int = generated.LIMITS_CHANNELS
    size: int = generated.LIMITS_SIZE
    schedule_depth: int = generated.BUFFERS_SCHEDULE_DEPTH
    clock_mhz: int = generated.TARGET_CLOCK_MHZ
    bytes_per_beat: int = generated.BANDWIDTH_BYTES_PER_BEAT
    total_bytes_per_cycle: int = generated.BANDWIDTH_TOTAL_BYTES_PER_CYCLE
    burst_wait: int = 40


HARDWARE = Hardware()
