# SPDX-License-Identifier: Apache-2.0
"""How a convolution is cut into tiles and visits, and the cycles that they take."""
