# SPDX-License-Identifier: Apache-2.0
# Generated from hls/config/hardware.toml by `e2train hardware generate`: do not edit.
"""The hardware configuration, for hosts without the checkout."""

TARGET_TOP = "e2train_accelerator"
TARGET_PART = "xc7z020clg484-1"
TARGET_VENDOR = "xilinx.com"
TARGET_VERSION = "1.0"
TARGET_CLOCK_MHZ = 100
ABI_VERSION = 1
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
CORE_STEP_BITS = 24
CORE_ROW_BITS = 2048
CORE_COLUMN_BITS = 512
CORE_SUM_BITS = 768
CORE_WORDS_BITS = 5
CORE_SLICE_BITS = 4
CORE_COLUMN_SLICE_BITS = 10
CORE_LUT_HALF = 1
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
REGISTERS_ABI_VERSION = 24
REGISTERS_CONFIGURATION_HASH = 40
REGISTERS_FIRST = 56
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
REGISTERS_COLUMNS_PORT = 56
REGISTERS_ROWS_PORT = 64
REGISTERS_EXTRA_PORT = 72
REGISTERS_SECOND_PORT = 80
REGISTERS_OUTPUT_PORT = 88
REGISTERS_OPERATION = 96
REGISTERS_OPTIONS = 104
REGISTERS_SAMPLES = 112
REGISTERS_CHANNELS = 120
REGISTERS_HEIGHT = 128
REGISTERS_WIDTH = 136
REGISTERS_FILTERS = 144
REGISTERS_OUT_HEIGHT = 152
REGISTERS_OUT_WIDTH = 160
REGISTERS_KERNEL_H = 168
REGISTERS_KERNEL_W = 176
REGISTERS_STRIDE = 184
REGISTERS_PADDING = 192
REGISTERS_DEPTHWISE = 200
REGISTERS_TILE_OUTER = 208
REGISTERS_TILE_INNER = 216
REGISTERS_TILE_H = 224
REGISTERS_TILE_W = 232
REGISTERS_INNER_BEGIN = 240
REGISTERS_COUNT = 248
REGISTERS_SHIFT = 256
REGISTERS_CEILING = 264
REGISTERS_BITS = 272
REGISTERS_BETA_Q = 280
REGISTERS_X_MSB = 288
REGISTERS_G_MSB = 296
REGISTERS_A_ADDRESS = 304
REGISTERS_B_ADDRESS = 312
REGISTERS_ROWS_ADDRESS = 320
REGISTERS_MASK_ADDRESS = 328
REGISTERS_RESIDUAL_ADDRESS = 336
REGISTERS_CARRY_ADDRESS = 344
REGISTERS_OUT_ADDRESS = 352
REGISTERS_SCRATCH_ADDRESS = 360
REGISTERS_RESULT_ADDRESS = 368
REGISTERS_WORDS = 93
CONFIGURATION_HASH = 816617610
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
    "columns_port": 0x38,
    "rows_port": 0x40,
    "extra_port": 0x48,
    "second_port": 0x50,
    "output_port": 0x58,
    "operation": 0x60,
    "options": 0x68,
    "samples": 0x70,
    "channels": 0x78,
    "height": 0x80,
    "width": 0x88,
    "filters": 0x90,
    "out_height": 0x98,
    "out_width": 0xA0,
    "kernel_h": 0xA8,
    "kernel_w": 0xB0,
    "stride": 0xB8,
    "padding": 0xC0,
    "depthwise": 0xC8,
    "tile_outer": 0xD0,
    "tile_inner": 0xD8,
    "tile_h": 0xE0,
    "tile_w": 0xE8,
    "inner_begin": 0xF0,
    "count": 0xF8,
    "shift": 0x100,
    "ceiling": 0x108,
    "bits": 0x110,
    "beta_q": 0x118,
    "x_msb": 0x120,
    "g_msb": 0x128,
    "a_address": 0x130,
    "b_address": 0x138,
    "rows_address": 0x140,
    "mask_address": 0x148,
    "residual_address": 0x150,
    "carry_address": 0x158,
    "out_address": 0x160,
    "scratch_address": 0x168,
    "result_address": 0x170,
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
