# SPDX-License-Identifier: Apache-2.0
"""Simulated meters: the same bytes as the instruments', from a known power trace."""
