# SPDX-License-Identifier: Apache-2.0
"""What a synthesis tool would find in the kernels, read from their LLVM IR: `make hls-report`."""
