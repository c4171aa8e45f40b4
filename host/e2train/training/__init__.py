# SPDX-License-Identifier: Apache-2.0
"""Experiments, the training loop, checkpoints and the record of a run."""
