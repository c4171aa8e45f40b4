# SPDX-License-Identifier: Apache-2.0
"""A board that is simulated: pynq drives Verilog in a process of its own."""
