# SPDX-License-Identifier: Apache-2.0
"""One instrument: driver, wire protocol, simulator."""
