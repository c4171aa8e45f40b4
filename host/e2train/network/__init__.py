# SPDX-License-Identifier: Apache-2.0
"""Networks as plain lists of blocks of convolution units, with explicit forward and backward."""
