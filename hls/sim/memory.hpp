// SPDX-License-Identifier: Apache-2.0
// The board's DDR: a file in shared memory, which the host's side of the simulation maps as well.
#ifndef E2TRAIN_SIM_MEMORY_HPP
#define E2TRAIN_SIM_MEMORY_HPP

#include <cstdint>

namespace e2sim {

// The 64 bits at a byte address without any transfer; a fixed pattern outside the memory.
std::uint64_t memory_peek(std::uint64_t address);

}  // namespace e2sim

#endif
