# SPDX-License-Identifier: Apache-2.0
"""The numeric contract (docs/numerics.md) in code."""
