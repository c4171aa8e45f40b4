# SPDX-License-Identifier: Apache-2.0
"""The accelerator seen from the host: configuration, registers, memory layout, driver."""
