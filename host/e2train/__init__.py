# SPDX-License-Identifier: Apache-2.0
"""Energy-efficient CNN training (E2-Train) on a small FPGA, and on an exact emulator of it."""

__version__ = "0.1.0"
