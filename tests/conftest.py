# SPDX-License-Identifier: Apache-2.0
"""Being here, this file lets tests in the folders below import the helper modules beside it."""

import pytest
from hypothesis import settings

# An example's time depends on what else the machine does; no test here is about time.
settings.register_profile("e2train", deadline=None)
settings.load_profile("e2train")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests that share a fixture of their module run in one process, which makes it once."""
    for item in items:
        fixtures = getattr(item, "_fixtureinfo").name2fixturedefs.values()  # noqa: B009
        if any(found[-1].scope == "module" for found in fixtures):
            item.add_marker(pytest.mark.xdist_group(item.nodeid.partition("::")[0]))
