# SPDX-License-Identifier: Apache-2.0
"""What the emulator costs in time and memory, next to plain float32 torch and by itself."""
