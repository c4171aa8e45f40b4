# SPDX-License-Identifier: Apache-2.0
"""Cells that train on a board over SSH, while this computer follows them and reads the meter."""
