# SPDX-License-Identifier: Apache-2.0
"""Weights of networks in other programs' files, and what their tensors are called there."""
