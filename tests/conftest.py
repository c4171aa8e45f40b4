# SPDX-License-Identifier: Apache-2.0
"""Being here, this file lets tests in the folders below import the helper modules beside it."""
