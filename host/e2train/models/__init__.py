# SPDX-License-Identifier: Apache-2.0
"""Trained networks for use elsewhere: exported, and asked about pictures."""
