# SPDX-License-Identifier: Apache-2.0
"""Being here, this file lets tests in the folders below import the helper modules beside it."""

from hypothesis import settings

# An example's time depends on what else the machine does; no test here is about time.
settings.register_profile("e2train", deadline=None)
settings.load_profile("e2train")
