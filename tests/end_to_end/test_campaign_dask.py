# SPDX-License-Identifier: Apache-2.0
"""Metered cells on a Dask cluster go only where a board is; unmetered ones go anywhere."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from test_campaign_kill import Cluster, command, query

FILE = """
name = "boards"
seeds = [0, 1, 2, 3]
on = [["resnet-8", "digits"]]
idle_seconds = 1
settle_seconds = 0
[base]
method = { arithmetic = "fixed" }
train = { iterations = 240, lr = 0.003 }
[[methods]]
name = "fixed8"
"""


@pytest.fixture
def meter():
    """A simulated meter in real time on a pseudo-terminal, as a real one would be addressed."""
    simulator = subprocess.Popen(
        [sys.executable, "-m", "powermeter", "simulate"], stdout=subprocess.PIPE, text=True
    )
    assert simulator.stdout is not None
    yield "ina226-serial:" + simulator.stdout.readline().strip()
    simulator.kill()
    simulator.communicate()


def run(folder: Path, cluster: Cluster, *options: str) -> subprocess.CompletedProcess[str]:
    file = folder / "boards.toml"
    file.write_text(FILE)
    return subprocess.run(
        command("run", file, "--out", folder / "out", "--scheduler", cluster.address, *options),
        env=dict(os.environ, OMP_NUM_THREADS="1"), capture_output=True, text=True, timeout=200,
    )  # fmt: skip


def test_metered_cells_go_to_the_worker_with_the_board(tmp_path: Path, meter: str) -> None:
    with Cluster(tmp_path / "cluster", boards=(0, 1)) as cluster:
        done = run(tmp_path, cluster, "--meter", meter, "--quiet")
    assert done.returncode == 0, done.stderr
    attempts = query(tmp_path / "out", "SELECT worker, outcome FROM attempts")
    assert [outcome for _, outcome in attempts] == ["finished"] * 4  # one at a time: never busy
    assert {worker for worker, _ in attempts} == {cluster.worker(1)}
    rows = query(
        tmp_path / "out", "SELECT energy_provenance, energy_j, net_energy_j, window_s FROM results"
    )
    for provenance, joules, net, seconds in rows:
        # a program answered, not an instrument; its board draws 2.6 W, idle or not
        assert provenance == "simulated"
        assert joules / seconds == pytest.approx(2.6, rel=0.03)
        assert abs(net) < 0.01 * joules


def test_without_a_meter_both_workers_work(tmp_path: Path) -> None:
    with Cluster(tmp_path / "cluster", boards=(0, 1)) as cluster:
        cluster.wait()
        done = run(tmp_path, cluster, "--meter", "none")
    assert done.returncode == 0, done.stderr
    assert "no energy (no meter)" in done.stdout
    attempts = query(tmp_path / "out", "SELECT DISTINCT worker FROM attempts")
    assert {worker for (worker,) in attempts} == {cluster.worker(0), cluster.worker(1)}


def test_no_board_at_all_is_said(tmp_path: Path, meter: str, monkeypatch) -> None:
    from e2train.campaign import pools
    from e2train.errors import UserError

    monkeypatch.setattr(pools, "FIRST_WORKER_S", 3.0)
    with (
        Cluster(tmp_path / "cluster") as cluster,
        pytest.raises(UserError, match="no worker that offers the resource 'board' came: start"),
    ):
        pools.DaskPool(cluster.address, metered=True)
