# SPDX-License-Identifier: Apache-2.0
"""C++ sources of the emulator's kernels, built by library.py beside this folder."""
