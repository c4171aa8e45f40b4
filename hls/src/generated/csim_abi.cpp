// SPDX-License-Identifier: Apache-2.0
// Generated from hls/config/hardware.toml by `e2train hardware generate`: do not edit.
// clang-format off
#include <cstdint>

#include "e2train/types.hpp"

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
    std::uint32_t *configuration_hash);

// The accelerator on a register file (32-bit words, index = offset / 4) and memory ports in the
// order of the configuration. Returns the error code.
extern "C" std::uint32_t e2train_launch(const std::uint32_t *registers, e2::Beat *const *ports,
                                        std::uint32_t *abi_version,
                                        std::uint32_t *configuration_hash) {
    return e2train_accelerator(
        ports[0],
        ports[1],
        ports[2],
        ports[3],
        ports[4],
        static_cast<std::int32_t>(registers[24]),
        static_cast<std::int32_t>(registers[26]),
        static_cast<std::int32_t>(registers[28]),
        static_cast<std::int32_t>(registers[30]),
        static_cast<std::int32_t>(registers[32]),
        static_cast<std::int32_t>(registers[34]),
        static_cast<std::int32_t>(registers[36]),
        static_cast<std::int32_t>(registers[38]),
        static_cast<std::int32_t>(registers[40]),
        static_cast<std::int32_t>(registers[42]),
        static_cast<std::int32_t>(registers[44]),
        static_cast<std::int32_t>(registers[46]),
        static_cast<std::int32_t>(registers[48]),
        static_cast<std::int32_t>(registers[50]),
        static_cast<std::int32_t>(registers[52]),
        static_cast<std::int32_t>(registers[54]),
        static_cast<std::int32_t>(registers[56]),
        static_cast<std::int32_t>(registers[58]),
        static_cast<std::int32_t>(registers[60]),
        static_cast<std::int32_t>(registers[62]),
        static_cast<std::int32_t>(registers[64]),
        static_cast<std::int32_t>(registers[66]),
        static_cast<std::int32_t>(registers[68]),
        static_cast<std::int32_t>(registers[70]),
        static_cast<std::int32_t>(registers[72]),
        static_cast<std::int32_t>(registers[74]),
        registers[76],
        registers[78],
        registers[80],
        registers[82],
        registers[84],
        registers[86],
        registers[88],
        registers[90],
        registers[92],
        abi_version,
        configuration_hash);
}

// The same on one memory that all ports see (byte address 0 is memory[0]); what the kernel is goes
// to its registers.
extern "C" std::uint32_t e2train_csim(std::uint32_t *registers, e2::Beat *memory) {
    e2::Beat *const ports[] = {memory, memory, memory, memory, memory};
    return e2train_launch(registers, ports, registers + 6, registers + 10);
}
