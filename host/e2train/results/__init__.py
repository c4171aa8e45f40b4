# SPDX-License-Identifier: Apache-2.0
"""docs/results: packed records of finished runs, judged beside the paper's claims."""
