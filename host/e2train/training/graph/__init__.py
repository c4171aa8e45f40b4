# SPDX-License-Identifier: Apache-2.0
"""Training iterations as tensor operations that never read a value back (one CUDA graph each)."""
