// SPDX-License-Identifier: Apache-2.0
// The memory that a launch sees, and what must be in it afterwards.
#ifndef E2TRAIN_TB_MEMORY_HPP
#define E2TRAIN_TB_MEMORY_HPP

#include <cstdint>
#include <string>
#include <vector>

#include "golden.hpp"

namespace tb {

// Memory filled with 0xA5, then with the regions. Exactly as large as the file says, so that the
// address sanitizer sees a read or write past it; with E2TRAIN_COSIMULATION at least as large as
// what co-simulation copies for a port.
class Memory {
  public:
    explicit Memory(const Golden& golden);

    std::uint64_t* beats() { return beats_.data(); }

    // Empty, or the first integer that differs from the expectation, with its coordinates.
    std::string differs(const Expectation& expected) const;

    // Empty, or the first byte changed that no expectation and no scratch range covers.
    std::string changed_elsewhere(const Golden& golden) const;

  private:
    const std::uint8_t* bytes() const;

    std::vector<std::uint64_t> beats_;
    std::vector<std::uint8_t> before_;
};

}  // namespace tb

#endif
