# SPDX-License-Identifier: Apache-2.0
"""C++ sources of the emulator's kernels; device/native_library.py builds them. Nothing to import."""
