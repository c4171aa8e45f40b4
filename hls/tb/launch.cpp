// SPDX-License-Identifier: Apache-2.0
#include "launch.hpp"

#include "e2train/generated/hardware.hpp"

extern "C" std::uint32_t e2train_csim(std::uint32_t* registers, std::uint64_t* memory);

namespace tb {
namespace {

struct Operation {
    int code;
    const char* name;
};

constexpr Operation OPERATIONS[] = {
    {e2::OPERATIONS_CONVOLVE, "convolve"},
    {e2::OPERATIONS_INPUT_GRADIENT, "input_gradient"},
    {e2::OPERATIONS_WEIGHT_GRADIENT, "weight_gradient"},
    {e2::OPERATIONS_PSG_GRADIENT, "psg_gradient"},
    {e2::OPERATIONS_MAP, "map"},
    {e2::OPERATIONS_CHANNEL_SUMS, "channel_sums"},
    {e2::OPERATIONS_SAMPLE_PRODUCTS, "sample_products"},
    {e2::OPERATIONS_POOL, "pool"},
    {e2::OPERATIONS_RESAMPLE, "resample"},
    {e2::OPERATIONS_MOVE, "move"},
};

#ifdef E2TRAIN_COSIMULATION
constexpr std::uint64_t MOST_MEMORY = std::uint64_t{8} * e2::COSIMULATION_BEATS;
#else
constexpr std::uint64_t MOST_MEMORY = std::uint64_t{1} << 32;
#endif

}  // namespace

void check_launches(const Golden& golden, const std::string& path) {
    const std::uint64_t memory = golden.memory_bytes;
    if (memory > MOST_MEMORY) {
        throw BadFile(path + ": memory of " + std::to_string(memory) +
                      " bytes, co-simulation takes " + std::to_string(MOST_MEMORY));
    }
    for (const Launch& launch : golden.launches) {
        const std::size_t words = launch.registers.size();
        if (words == e2::REGISTERS_WORDS) continue;
        throw BadFile(path + ": register file of " + std::to_string(words) +
                      " words, the accelerator has " + std::to_string(e2::REGISTERS_WORDS));
    }
}

std::string operation_name(const Launch& launch) {
    const std::uint32_t code = launch.registers[e2::REGISTERS_OPERATION / 4];
    for (const Operation& operation : OPERATIONS) {
        if (code == static_cast<std::uint32_t>(operation.code)) return operation.name;
    }
    return "operation " + std::to_string(code);
}

std::uint32_t start(const Launch& launch, std::uint64_t* memory) {
    std::vector<std::uint32_t> registers = launch.registers;
    return e2train_csim(registers.data(), memory);
}

}  // namespace tb
