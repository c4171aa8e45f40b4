# SPDX-License-Identifier: Apache-2.0
"""Campaigns: a table of cells (method x network x data x seeds), run, kept and reported."""
