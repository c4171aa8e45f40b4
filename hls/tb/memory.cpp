// SPDX-License-Identifier: Apache-2.0
#include "memory.hpp"

#include <algorithm>

#include "e2train/generated/hardware.hpp"

namespace tb {
namespace {

#ifdef E2TRAIN_COSIMULATION
constexpr std::uint64_t PORT_BEATS = e2::COSIMULATION_BEATS;
#else
constexpr std::uint64_t PORT_BEATS = 0;
#endif
constexpr std::uint8_t FILL = 0xA5;
constexpr std::uint64_t BEAT_BYTES = 8;

// "[1, 0, 4]": where element `index` of a row-major tensor lies.
std::string coordinates(std::uint64_t index, const std::vector<std::uint32_t>& dims) {
    std::string text = "]";
    for (std::size_t i = dims.size(); i-- > 0;) {
        text = std::to_string(index % dims[i]) + text;
        if (i != 0) text = ", " + text;
        index /= dims[i];
    }
    return "[" + text;
}

}  // namespace

Memory::Memory(const Golden& golden) : before_(golden.memory_bytes, FILL) {
    for (const Region& region : golden.regions) {
        std::copy(region.data.begin(), region.data.end(), before_.begin() + region.address);
    }
    beats_.resize(std::max(golden.memory_bytes / BEAT_BYTES, PORT_BEATS));
    std::copy(before_.begin(), before_.end(), reinterpret_cast<std::uint8_t*>(beats_.data()));
}

const std::uint8_t* Memory::bytes() const {
    return reinterpret_cast<const std::uint8_t*>(beats_.data());
}

std::string Memory::differs(const Expectation& expected) const {
    const std::uint32_t size = expected.element_bytes;
    const std::uint8_t* const found = bytes() + expected.address;
    for (std::uint64_t at = 0; at < expected.data.size(); at += size) {
        const std::int64_t want = signed_integer(&expected.data[at], size);
        const std::int64_t got = signed_integer(found + at, size);
        if (want == got) continue;
        return expected.name + coordinates(at / size, expected.dims) + ": expected " +
               std::to_string(want) + ", found " + std::to_string(got) + " at address " +
               std::to_string(expected.address + at);
    }
    return "";
}

std::string Memory::changed_elsewhere(const Golden& golden) const {
    std::vector<bool> free(before_.size(), false);
    for (const Expectation& expected : golden.expectations) {
        std::fill_n(free.begin() + expected.address, expected.data.size(), true);
    }
    for (const Span& span : golden.scratch) {
        std::fill_n(free.begin() + span.address, span.bytes, true);
    }
    for (std::size_t at = 0; at < before_.size(); ++at) {
        if (free[at] || bytes()[at] == before_[at]) continue;
        return "memory[" + std::to_string(at) + "]: belongs to no output and changed from " +
               std::to_string(before_[at]) + " to " + std::to_string(bytes()[at]);
    }
    return "";
}

}  // namespace tb
