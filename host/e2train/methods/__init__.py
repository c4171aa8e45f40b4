# SPDX-License-Identifier: Apache-2.0
"""The training methods that the paper proposes and compares, one module each with its source."""
