# SPDX-License-Identifier: Apache-2.0
"""C++ sources of the emulator's kernels, built by device/native_library.py."""
