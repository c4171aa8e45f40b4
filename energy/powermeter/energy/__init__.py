# SPDX-License-Identifier: Apache-2.0
"""Joules of a window: clocks, sums, uncertainty."""
