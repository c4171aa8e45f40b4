// SPDX-License-Identifier: Apache-2.0
// The accelerator behind its register file: check, run one operation, report.
#ifndef E2TRAIN_ACCELERATOR_HPP
#define E2TRAIN_ACCELERATOR_HPP

#include "e2train/types.hpp"

namespace e2 {

// One launch; returns a code of the configuration's [errors]. Other than ERRORS_OK means that
// nothing was written. Ports may be the same memory: each reads or writes its own tensors.
std::uint32_t run(const Arguments& arguments, const Beat* columns, const Beat* rows,
                  const Beat* extra, const Beat* second, Beat* output);

}  // namespace e2

#endif
