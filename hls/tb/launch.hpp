// SPDX-License-Identifier: Apache-2.0
// Starting the accelerator on a register file, as the host does on the board.
#ifndef E2TRAIN_TB_LAUNCH_HPP
#define E2TRAIN_TB_LAUNCH_HPP

#include <cstdint>
#include <string>

#include "golden.hpp"

namespace tb {

// Throws BadFile if a launch's register file is not one of this configuration, or if its memory is
// more than co-simulation (compiled with E2TRAIN_COSIMULATION) copies for a port.
void check_launches(const Golden& golden, const std::string& path);

// "convolve", or "operation 99".
std::string operation_name(const Launch& launch);

// Calls the top function; returns its error code.
std::uint32_t start(const Launch& launch, std::uint64_t* memory);

}  // namespace tb

#endif
