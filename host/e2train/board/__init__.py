# SPDX-License-Identifier: Apache-2.0
"""Boards with a Zynq-7020: what they are (a TOML file each), and what fits into their memory."""
