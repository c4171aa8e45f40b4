# SPDX-License-Identifier: Apache-2.0
"""Modelled time, area and energy of the accelerator."""
