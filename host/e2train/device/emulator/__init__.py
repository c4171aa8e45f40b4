# SPDX-License-Identifier: Apache-2.0
"""Exact emulators of the accelerator'\''s arithmetic: C++ kernels, NumPy, torch."""
