# SPDX-License-Identifier: Apache-2.0
"""What the emulator costs in processor time, next to plain float32 torch."""
