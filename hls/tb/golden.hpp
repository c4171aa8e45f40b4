// SPDX-License-Identifier: Apache-2.0
// Golden vectors: launches of the accelerator with the memory they start from and the integers
// that an independent reference expects in it afterwards. Files are little-endian, *.e2gv.
#ifndef E2TRAIN_TB_GOLDEN_HPP
#define E2TRAIN_TB_GOLDEN_HPP

#include <cstdint>
#include <stdexcept>
#include <string>
#include <vector>

namespace tb {

constexpr int MAX_DIMENSIONS = 6;

// A file that cannot be used: not golden vectors, or not whole. The text is one line.
struct BadFile : std::runtime_error {
    using std::runtime_error::runtime_error;
};

// The register file as 32-bit words (index = byte offset / 4) and the error code it must return.
struct Launch {
    std::vector<std::uint32_t> registers;
    std::uint32_t error;
};

struct Span {
    std::uint32_t address;
    std::uint32_t bytes;
};

// Bytes that memory holds before the first launch.
struct Region {
    std::uint32_t address;
    std::vector<std::uint8_t> data;
};

// A tensor of signed integers that memory must hold after the last launch.
struct Expectation {
    std::string name;
    std::uint32_t address;
    std::uint32_t element_bytes;  // 1, 2, 4 or 8
    std::vector<std::uint32_t> dims;
    std::vector<std::uint8_t> data;
};

struct Golden {
    std::vector<Launch> launches;
    std::uint32_t memory_bytes;
    std::vector<Region> regions;
    std::vector<Expectation> expectations;
    std::vector<Span> scratch;  // contents are free afterwards
};

// Reads a whole file; throws BadFile.
Golden load_golden(const std::string& path);

// Little-endian signed integer of 1, 2, 4 or 8 bytes.
std::int64_t signed_integer(const std::uint8_t* bytes, std::uint32_t size);

}  // namespace tb

#endif
