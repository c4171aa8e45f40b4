# SPDX-License-Identifier: Apache-2.0
"""What training costs: exact counts of operations and bytes, and the energy modelled from them."""
