# SPDX-License-Identifier: Apache-2.0
"""Device zynq: the accelerator as an overlay of a Zynq-7000 board, through pynq."""
