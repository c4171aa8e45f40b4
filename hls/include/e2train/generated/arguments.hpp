// SPDX-License-Identifier: Apache-2.0
// Generated from hls/config/hardware.toml by `e2train hardware generate`: do not edit.
#ifndef E2TRAIN_GENERATED_ARGUMENTS_HPP
#define E2TRAIN_GENERATED_ARGUMENTS_HPP

#include <cstdint>

namespace e2 {

// clang-format off
struct Arguments {
    std::int32_t operation;  // 0x60
    std::int32_t options;  // 0x68
    std::int32_t samples;  // 0x70
    std::int32_t channels;  // 0x78
    std::int32_t height;  // 0x80
    std::int32_t width;  // 0x88
    std::int32_t filters;  // 0x90
    std::int32_t out_height;  // 0x98
    std::int32_t out_width;  // 0xa0
    std::int32_t kernel_h;  // 0xa8
    std::int32_t kernel_w;  // 0xb0
    std::int32_t stride;  // 0xb8
    std::int32_t padding;  // 0xc0
    std::int32_t depthwise;  // 0xc8
    std::int32_t tile_outer;  // 0xd0
    std::int32_t tile_inner;  // 0xd8
    std::int32_t tile_h;  // 0xe0
    std::int32_t tile_w;  // 0xe8
    std::int32_t inner_begin;  // 0xf0
    std::int32_t count;  // 0xf8
    std::int32_t shift;  // 0x100
    std::int32_t ceiling;  // 0x108
    std::int32_t bits;  // 0x110
    std::int32_t beta_q;  // 0x118
    std::int32_t x_msb;  // 0x120
    std::int32_t g_msb;  // 0x128
    std::uint32_t a_address;  // 0x130
    std::uint32_t b_address;  // 0x138
    std::uint32_t rows_address;  // 0x140
    std::uint32_t mask_address;  // 0x148
    std::uint32_t residual_address;  // 0x150
    std::uint32_t carry_address;  // 0x158
    std::uint32_t out_address;  // 0x160
    std::uint32_t scratch_address;  // 0x168
    std::uint32_t result_address;  // 0x170

    std::int32_t mask_ceiling() const { return count; }
    std::int32_t row_step() const { return kernel_h; }
    std::int32_t column_step() const { return kernel_w; }
    std::int32_t channel_offset() const { return inner_begin; }
    std::int32_t table_entries() const { return count; }
    std::int32_t first_samples() const { return tile_outer; }
    std::int32_t second_samples() const { return tile_inner; }
};
// clang-format on

}  // namespace e2

#endif
