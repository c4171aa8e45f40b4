# SPDX-License-Identifier: Apache-2.0
# Generated from hls/config/hardware.toml by `e2train hardware generate`: do not edit.
"""The hardware configuration, for hosts without the checkout."""

TARGET_TOP = "e2train_accelerator"
TARGET_PART = "xc7z020clg484-1"
TARGET_VENDOR = "xilinx.com"
TARGET_VERSION = "1.0"
TARGET_CLOCK_MHZ = 100
ARRAY_ROWS = 8
ARRAY_COLUMNS = 16
ARRAY_LANE_OFFSET = 17
ARRAY_PACKED_RUN = 4
CORE_FIRST = 0
CORE_LAST = 1
CORE_RUN_FIRST = 2
CORE_RUN_LAST = 3
CORE_ACROSS = 4
CORE_PACKED = 5
CORE_OTHER = 6
CORE_END = 7
CORE_AHEAD = 8
CORE_WORDS = 16
WIDTHS_ACTIVATION = 8
WIDTHS_WEIGHT = 8
WIDTHS_GRADIENT = 16
WIDTHS_CELL_SUM = 32
WIDTHS_SUM = 48
WIDTHS_TILE_SUM = 36
WIDTHS_BEAT = 64
BUFFERS_ROW_BANKS = 16
BUFFERS_ROW_DEPTH = 256
BUFFERS_COLUMN_DEPTH = 2048
BUFFERS_TILE_SUMS = 512
BUFFERS_WEIGHT_SUMS = 8192
BUFFERS_SCHEDULE_DEPTH = 1024
BUFFERS_CHUNK = 512
LIMITS_SAMPLES = 4096
LIMITS_CHANNELS = 2048
LIMITS_SIZE = 4095
LIMITS_KERNEL = 7
LIMITS_ALIGNMENT = 64
LIMITS_WORDS = 16777216
BANDWIDTH_PORTS = 4
BANDWIDTH_BYTES_PER_BEAT = 8
BANDWIDTH_TOTAL_BYTES_PER_CYCLE = 32
OPERATIONS_CONVOLVE = 1
OPERATIONS_INPUT_GRADIENT = 2
OPERATIONS_WEIGHT_GRADIENT = 3
OPERATIONS_PSG_GRADIENT = 4
OPERATIONS_MAP = 5
OPERATIONS_CHANNEL_SUMS = 6
OPERATIONS_SAMPLE_PRODUCTS = 7
OPERATIONS_POOL = 8
OPERATIONS_RESAMPLE = 9
OPERATIONS_MOVE = 10
OPTIONS_RECTIFY = 0
OPTIONS_CEILING = 1
OPTIONS_RESIDUAL = 2
OPTIONS_MASK8 = 3
OPTIONS_MASK16 = 4
OPTIONS_CARRY = 5
OPTIONS_RAW = 6
OPTIONS_NARROW_GRADIENT = 7
OPTIONS_SECOND = 8
OPTIONS_UP = 9
OPTIONS_SPREAD = 10
ERRORS_OK = 0
ERRORS_OPERATION = 1
ERRORS_GEOMETRY = 2
ERRORS_TILE = 3
ERRORS_NULL = 4
ERRORS_ALIGNMENT = 5
ERRORS_OVERLAP = 6
ERRORS_ARGUMENT = 7
REGISTERS_CONTROL = 0
REGISTERS_GLOBAL_INTERRUPT = 4
REGISTERS_INTERRUPT_ENABLE = 8
REGISTERS_INTERRUPT_STATUS = 12
REGISTERS_ERROR = 16
REGISTERS_FIRST = 24
REGISTERS_STEP = 8
RESULT_PEAK = 0
RESULT_MAX_MSB = 1
RESULT_PREDICTED = 2
RESULT_WEIGHTS = 3
RESULT_VISITS = 4
RESULT_TILES = 5
RESULT_CORE_STEPS = 6
RESULT_COLUMN_BEATS = 7
RESULT_ROW_BEATS = 8
RESULT_EXTRA_BEATS = 9
RESULT_OUTPUT_BEATS = 10
RESULT_SATURATIONS = 11
RESULT_SUMS = 16
REGISTERS_COLUMNS_PORT = 24
REGISTERS_ROWS_PORT = 32
REGISTERS_EXTRA_PORT = 40
REGISTERS_SECOND_PORT = 48
REGISTERS_OUTPUT_PORT = 56
REGISTERS_OPERATION = 64
REGISTERS_OPTIONS = 72
REGISTERS_SAMPLES = 80
REGISTERS_CHANNELS = 88
REGISTERS_HEIGHT = 96
REGISTERS_WIDTH = 104
REGISTERS_FILTERS = 112
REGISTERS_OUT_HEIGHT = 120
REGISTERS_OUT_WIDTH = 128
REGISTERS_KERNEL_H = 136
REGISTERS_KERNEL_W = 144
REGISTERS_STRIDE = 152
REGISTERS_PADDING = 160
REGISTERS_DEPTHWISE = 168
REGISTERS_TILE_OUTER = 176
REGISTERS_TILE_INNER = 184
REGISTERS_TILE_H = 192
REGISTERS_TILE_W = 200
REGISTERS_INNER_BEGIN = 208
REGISTERS_COUNT = 216
REGISTERS_SHIFT = 224
REGISTERS_CEILING = 232
REGISTERS_BITS = 240
REGISTERS_BETA_Q = 248
REGISTERS_X_MSB = 256
REGISTERS_G_MSB = 264
REGISTERS_A_ADDRESS = 272
REGISTERS_B_ADDRESS = 280
REGISTERS_ROWS_ADDRESS = 288
REGISTERS_MASK_ADDRESS = 296
REGISTERS_RESIDUAL_ADDRESS = 304
REGISTERS_CARRY_ADDRESS = 312
REGISTERS_OUT_ADDRESS = 320
REGISTERS_SCRATCH_ADDRESS = 328
REGISTERS_RESULT_ADDRESS = 336
REGISTERS_WORDS = 85
COSIMULATION_BEATS = 131072

OPERATIONS = {
    "convolve": 1,
    "input_gradient": 2,
    "weight_gradient": 3,
    "psg_gradient": 4,
    "map": 5,
    "channel_sums": 6,
    "sample_products": 7,
    "pool": 8,
    "resample": 9,
    "move": 10,
}

OPTIONS = {
    "rectify": 0,
    "ceiling": 1,
    "residual": 2,
    "mask8": 3,
    "mask16": 4,
    "carry": 5,
    "raw": 6,
    "narrow_gradient": 7,
    "second": 8,
    "up": 9,
    "spread": 10,
}

ERRORS = {
    "ok": 0,
    "operation": 1,
    "geometry": 2,
    "tile": 3,
    "null": 4,
    "alignment": 5,
    "overlap": 6,
    "argument": 7,
}

RESULT = {
    "peak": 0,
    "max_msb": 1,
    "predicted": 2,
    "weights": 3,
    "visits": 4,
    "tiles": 5,
    "core_steps": 6,
    "column_beats": 7,
    "row_beats": 8,
    "extra_beats": 9,
    "output_beats": 10,
    "saturations": 11,
    "sums": 16,
}

OFFSETS = {
    "columns_port": 0x18,
    "rows_port": 0x20,
    "extra_port": 0x28,
    "second_port": 0x30,
    "output_port": 0x38,
    "operation": 0x40,
    "options": 0x48,
    "samples": 0x50,
    "channels": 0x58,
    "height": 0x60,
    "width": 0x68,
    "filters": 0x70,
    "out_height": 0x78,
    "out_width": 0x80,
    "kernel_h": 0x88,
    "kernel_w": 0x90,
    "stride": 0x98,
    "padding": 0xA0,
    "depthwise": 0xA8,
    "tile_outer": 0xB0,
    "tile_inner": 0xB8,
    "tile_h": 0xC0,
    "tile_w": 0xC8,
    "inner_begin": 0xD0,
    "count": 0xD8,
    "shift": 0xE0,
    "ceiling": 0xE8,
    "bits": 0xF0,
    "beta_q": 0xF8,
    "x_msb": 0x100,
    "g_msb": 0x108,
    "a_address": 0x110,
    "b_address": 0x118,
    "rows_address": 0x120,
    "mask_address": 0x128,
    "residual_address": 0x130,
    "carry_address": 0x138,
    "out_address": 0x140,
    "scratch_address": 0x148,
    "result_address": 0x150,
}

NAMES = {
    "mask_ceiling": "count",
    "row_step": "kernel_h",
    "column_step": "kernel_w",
    "channel_offset": "inner_begin",
    "table_entries": "count",
    "first_samples": "tile_outer",
    "second_samples": "tile_inner",
}

PORTS = (
    "columns_port",
    "rows_port",
    "extra_port",
    "second_port",
    "output_port",
)
