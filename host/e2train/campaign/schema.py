# SPDX-License-Identifier: Apache-2.0
"""Tables of the campaign file. Times are seconds since 1970; joules come with their provenance."""

from __future__ import annotations

VERSION = "1"

# Columns of a result, in the order of the CSV export. Energies in J, powers in W, times in s,
# accuracies, ratios and shares in percent. Bit operations may exceed the 64 bits of an INTEGER. The
# last three depend on the computer and its fate, not on the cell.
RESULT_COLUMNS = {
    "cell": "TEXT PRIMARY KEY REFERENCES cells (id)",
    "dataset_label": "TEXT NOT NULL",
    "top1": "REAL NOT NULL",
    "top5": "REAL NOT NULL",
    "energy_j": "REAL",
    "energy_uncertainty_j": "REAL",
    "energy_provenance": "TEXT",
    "energy_missing": "TEXT",
    "window_s": "REAL",
    "idle_before_w": "REAL",
    "idle_after_w": "REAL",
    "net_energy_j": "REAL",
    "net_energy_uncertainty_j": "REAL",
    "net_energy_missing": "TEXT",
    "modelled_j": "REAL NOT NULL",
    "macs": "INTEGER NOT NULL",
    "bit_operations": "TEXT NOT NULL",
    "iterations_offered": "INTEGER NOT NULL",
    "iterations_run": "INTEGER NOT NULL",
    "skip_ratio": "REAL",
    "predictor_share": "REAL",
    "raw_sha256": "TEXT",
    "host_seconds": "REAL NOT NULL",
    "worker": "TEXT NOT NULL",
    "attempts": "INTEGER NOT NULL",
}
VOLATILE = ("host_seconds", "worker", "attempts")

_RESULTS = ",\n    ".join(f"{name} {kind}" for name, kind in RESULT_COLUMNS.items())

SCHEMA = f"""
CREATE TABLE IF NOT EXISTS campaign (key TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS cells (
    id TEXT PRIMARY KEY,
    position INTEGER,
    method TEXT NOT NULL,
    family TEXT NOT NULL,
    network TEXT NOT NULL,
    dataset TEXT NOT NULL,
    seed INTEGER NOT NULL,
    after TEXT,
    settings TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('waiting', 'running', 'finished', 'failed')),
    token TEXT,
    worker TEXT,
    host TEXT,
    lease_until REAL,
    updated REAL,
    phase TEXT,
    iteration INTEGER,
    total INTEGER,
    loss REAL,
    joules REAL,
    provenance TEXT,
    error TEXT
);
CREATE TABLE IF NOT EXISTS attempts (
    number INTEGER PRIMARY KEY,
    cell TEXT NOT NULL REFERENCES cells (id),
    token TEXT NOT NULL UNIQUE,
    worker TEXT NOT NULL,
    host TEXT NOT NULL,
    started REAL NOT NULL,
    ended REAL,
    outcome TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS results (
    {_RESULTS}
);
CREATE TABLE IF NOT EXISTS points (
    cell TEXT NOT NULL REFERENCES cells (id),
    iteration INTEGER NOT NULL,
    joules REAL,
    provenance TEXT,
    modelled_joules REAL NOT NULL,
    loss REAL,
    top1 REAL
);
CREATE INDEX IF NOT EXISTS points_of_cell ON points (cell, iteration);
"""
