# SPDX-License-Identifier: Apache-2.0
"""Made-up results of campaign cells, for the tests of statistics and report."""

from __future__ import annotations

from e2train.campaign.schema import RESULT_COLUMNS
from e2train.campaign.store import Claim, Store


def finish(store: Store, cell: str, joules: float, provenance: str, top1: float) -> None:
    """Claim `cell` and finish it with these joules and this accuracy in percent."""
    claim = Claim(cell, f"token of {cell}", "w", "h", 10.0)
    assert store.claim(claim)
    row = dict.fromkeys(RESULT_COLUMNS, None) | {
        "cell": cell, "dataset_label": "UCI digits 8x8", "top1": top1, "top5": 99.0,
        "energy_j": joules, "energy_uncertainty_j": joules / 100, "energy_provenance": provenance,
        "window_s": joules / 3, "net_energy_j": joules / 10, "net_energy_uncertainty_j": 1.0,
        "modelled_j": 7.0, "macs": 1, "bit_operations": str(10**19), "iterations_offered": 20,
        "iterations_run": 20, "host_seconds": 1.0, "worker": "w", "attempts": 1,
        "raw_sha256": "ab" * 32,
    }  # fmt: skip
    points = [
        {"cell": cell, "iteration": step, "joules": joules * step / 20, "provenance": provenance,
         "modelled_joules": 7.0 * step / 20, "loss": loss, "top1": accuracy}
        for step in (10, 20) for loss, accuracy in ((1.0 / step, None), (None, top1))
    ]  # fmt: skip
    assert store.finish(claim, row, points)
