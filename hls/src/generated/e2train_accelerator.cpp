// SPDX-License-Identifier: Apache-2.0
// Generated from hls/config/hardware.toml by `e2train hardware generate`: do not edit.
// clang-format off
#include "e2train/accelerator.hpp"

// The register file, the memory ports and nothing else: e2::run does the work.
extern "C" std::uint32_t e2train_accelerator(
    const e2::Beat *columns_port,
    const e2::Beat *rows_port,
    const e2::Beat *extra_port,
    const e2::Beat *second_port,
    e2::Beat *output_port,
    std::int32_t operation,
    std::int32_t options,
    std::int32_t samples,
    std::int32_t channels,
    std::int32_t height,
    std::int32_t width,
    std::int32_t filters,
    std::int32_t out_height,
    std::int32_t out_width,
    std::int32_t kernel_h,
    std::int32_t kernel_w,
    std::int32_t stride,
    std::int32_t padding,
    std::int32_t depthwise,
    std::int32_t tile_outer,
    std::int32_t tile_inner,
    std::int32_t tile_h,
    std::int32_t tile_w,
    std::int32_t inner_begin,
    std::int32_t count,
    std::int32_t shift,
    std::int32_t ceiling,
    std::int32_t bits,
    std::int32_t beta_q,
    std::int32_t x_msb,
    std::int32_t g_msb,
    std::uint32_t a_address,
    std::uint32_t b_address,
    std::uint32_t rows_address,
    std::uint32_t mask_address,
    std::uint32_t residual_address,
    std::uint32_t carry_address,
    std::uint32_t out_address,
    std::uint32_t scratch_address,
    std::uint32_t result_address,
    std::uint32_t *abi_version,
    std::uint32_t *configuration_hash) {
// 64-bit ports to the HP interfaces, whose AXI3 takes bursts of 16 beats.
#pragma HLS INTERFACE m_axi port=columns_port offset=slave bundle=gmem0 depth=131072 max_read_burst_length=16 max_write_burst_length=16
#pragma HLS INTERFACE m_axi port=rows_port offset=slave bundle=gmem1 depth=131072 max_read_burst_length=16 max_write_burst_length=16
#pragma HLS INTERFACE m_axi port=extra_port offset=slave bundle=gmem2 depth=131072 max_read_burst_length=16 max_write_burst_length=16
#pragma HLS INTERFACE m_axi port=second_port offset=slave bundle=gmem3 depth=131072 max_read_burst_length=16 max_write_burst_length=16
#pragma HLS INTERFACE m_axi port=output_port offset=slave bundle=gmem4 depth=131072 max_read_burst_length=16 max_write_burst_length=16
// Every base address and scalar, what the kernel is and the error code, in one register file.
#pragma HLS INTERFACE s_axilite port=columns_port bundle=control offset=0x38
#pragma HLS INTERFACE s_axilite port=rows_port bundle=control offset=0x40
#pragma HLS INTERFACE s_axilite port=extra_port bundle=control offset=0x48
#pragma HLS INTERFACE s_axilite port=second_port bundle=control offset=0x50
#pragma HLS INTERFACE s_axilite port=output_port bundle=control offset=0x58
#pragma HLS INTERFACE s_axilite port=operation bundle=control offset=0x60
#pragma HLS INTERFACE s_axilite port=options bundle=control offset=0x68
#pragma HLS INTERFACE s_axilite port=samples bundle=control offset=0x70
#pragma HLS INTERFACE s_axilite port=channels bundle=control offset=0x78
#pragma HLS INTERFACE s_axilite port=height bundle=control offset=0x80
#pragma HLS INTERFACE s_axilite port=width bundle=control offset=0x88
#pragma HLS INTERFACE s_axilite port=filters bundle=control offset=0x90
#pragma HLS INTERFACE s_axilite port=out_height bundle=control offset=0x98
#pragma HLS INTERFACE s_axilite port=out_width bundle=control offset=0xa0
#pragma HLS INTERFACE s_axilite port=kernel_h bundle=control offset=0xa8
#pragma HLS INTERFACE s_axilite port=kernel_w bundle=control offset=0xb0
#pragma HLS INTERFACE s_axilite port=stride bundle=control offset=0xb8
#pragma HLS INTERFACE s_axilite port=padding bundle=control offset=0xc0
#pragma HLS INTERFACE s_axilite port=depthwise bundle=control offset=0xc8
#pragma HLS INTERFACE s_axilite port=tile_outer bundle=control offset=0xd0
#pragma HLS INTERFACE s_axilite port=tile_inner bundle=control offset=0xd8
#pragma HLS INTERFACE s_axilite port=tile_h bundle=control offset=0xe0
#pragma HLS INTERFACE s_axilite port=tile_w bundle=control offset=0xe8
#pragma HLS INTERFACE s_axilite port=inner_begin bundle=control offset=0xf0
#pragma HLS INTERFACE s_axilite port=count bundle=control offset=0xf8
#pragma HLS INTERFACE s_axilite port=shift bundle=control offset=0x100
#pragma HLS INTERFACE s_axilite port=ceiling bundle=control offset=0x108
#pragma HLS INTERFACE s_axilite port=bits bundle=control offset=0x110
#pragma HLS INTERFACE s_axilite port=beta_q bundle=control offset=0x118
#pragma HLS INTERFACE s_axilite port=x_msb bundle=control offset=0x120
#pragma HLS INTERFACE s_axilite port=g_msb bundle=control offset=0x128
#pragma HLS INTERFACE s_axilite port=a_address bundle=control offset=0x130
#pragma HLS INTERFACE s_axilite port=b_address bundle=control offset=0x138
#pragma HLS INTERFACE s_axilite port=rows_address bundle=control offset=0x140
#pragma HLS INTERFACE s_axilite port=mask_address bundle=control offset=0x148
#pragma HLS INTERFACE s_axilite port=residual_address bundle=control offset=0x150
#pragma HLS INTERFACE s_axilite port=carry_address bundle=control offset=0x158
#pragma HLS INTERFACE s_axilite port=out_address bundle=control offset=0x160
#pragma HLS INTERFACE s_axilite port=scratch_address bundle=control offset=0x168
#pragma HLS INTERFACE s_axilite port=result_address bundle=control offset=0x170
#pragma HLS INTERFACE s_axilite port=abi_version bundle=control offset=0x18
#pragma HLS INTERFACE s_axilite port=configuration_hash bundle=control offset=0x28
#pragma HLS INTERFACE s_axilite port=return bundle=control
    *abi_version = e2::ABI_VERSION;
    *configuration_hash = e2::CONFIGURATION_HASH;
    e2::Arguments arguments;
    arguments.operation = operation;
    arguments.options = options;
    arguments.samples = samples;
    arguments.channels = channels;
    arguments.height = height;
    arguments.width = width;
    arguments.filters = filters;
    arguments.out_height = out_height;
    arguments.out_width = out_width;
    arguments.kernel_h = kernel_h;
    arguments.kernel_w = kernel_w;
    arguments.stride = stride;
    arguments.padding = padding;
    arguments.depthwise = depthwise;
    arguments.tile_outer = tile_outer;
    arguments.tile_inner = tile_inner;
    arguments.tile_h = tile_h;
    arguments.tile_w = tile_w;
    arguments.inner_begin = inner_begin;
    arguments.count = count;
    arguments.shift = shift;
    arguments.ceiling = ceiling;
    arguments.bits = bits;
    arguments.beta_q = beta_q;
    arguments.x_msb = x_msb;
    arguments.g_msb = g_msb;
    arguments.a_address = a_address;
    arguments.b_address = b_address;
    arguments.rows_address = rows_address;
    arguments.mask_address = mask_address;
    arguments.residual_address = residual_address;
    arguments.carry_address = carry_address;
    arguments.out_address = out_address;
    arguments.scratch_address = scratch_address;
    arguments.result_address = result_address;
    return e2::run(arguments, columns_port, rows_port, extra_port, second_port, output_port);
}
