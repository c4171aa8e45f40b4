# SPDX-License-Identifier: Apache-2.0
"""Fixtures on the simulated board, and the folder of these tests' helper modules."""

import pytest
from board_parts import CALM, workbench

from e2train.device.accelerator.zynq import transport


@pytest.fixture
def bench(monkeypatch):
    """The board with a calm memory; a launch that hangs is given up at once when it is closed."""
    found = workbench()
    monkeypatch.setattr(transport, "SETTLE_SECONDS", 0.2)
    found.simulation.configure(**CALM)
    found.board.accesses.clear()
    return found


@pytest.fixture
def board(bench):
    """An overlay opened on it."""
    with bench.open() as opened:
        yield opened
