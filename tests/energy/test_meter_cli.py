# SPDX-License-Identifier: Apache-2.0
"""The `powermeter` command, as a process, through a real pseudo-terminal."""

import json
import os
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest

import powermeter

ENVIRONMENT = os.environ | {"PYTHONPATH": str(Path(powermeter.__file__).parents[1])}


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "powermeter", *map(str, arguments)]


def run(*arguments: object) -> subprocess.CompletedProcess:
    return subprocess.run(
        command(*arguments), capture_output=True, text=True, timeout=60, env=ENVIRONMENT
    )


@pytest.fixture(scope="module")
def port():
    """A simulated meter in a process of its own."""
    process = subprocess.Popen(
        command("simulate", "--seconds", 60, "--power", 4.2, "--seed", 3),
        stdout=subprocess.PIPE,
        text=True,
        env=ENVIRONMENT,
    )
    yield process.stdout.readline().strip()
    process.terminate()
    process.wait()
    process.stdout.close()


def test_list_names_the_driver():
    result = run("list")
    assert result.returncode == 0
    assert "ina226-serial" in result.stdout


def test_read_prints_one_json_object_a_line(port):
    result = run("read", "--driver", "ina226-serial", "--port", port, "--samples", 20, "--json")
    assert result.returncode == 0, result.stderr
    rows = [json.loads(line) for line in result.stdout.splitlines()]
    assert len(rows) == 20
    fields = {"host_time_s", "device_time_s", "power_w", "voltage_v", "current_a"}
    for row in rows:
        assert set(row) == fields
        assert row["power_w"] == pytest.approx(4.2, rel=0.03)
        assert row["power_w"] == pytest.approx(row["voltage_v"] * row["current_a"])
    steps = [b["device_time_s"] - a["device_time_s"] for a, b in pairwise(rows)]
    assert all(0.9 * 0.0088 <= step <= 1.1 * 0.0088 + 2e-6 for step in steps)


def test_record_then_integrate(port, tmp_path):
    out = tmp_path / "log"
    arguments = ("--driver", "ina226-serial", "--port", port, "--seconds", 1.0, "--out", out)
    result = run("record", *arguments)
    assert result.returncode == 0, result.stderr
    assert "(simulated)" in result.stdout
    result = run("integrate", out, "--json")
    assert result.returncode == 0, result.stderr
    answer = json.loads(result.stdout)
    assert list(answer) == [
        "joules",
        "uncertainty_joules",
        "mean_power_w",
        "samples",
        "coverage",
        "max_gap_s",
        "valid",
        "reason",
        "provenance",
    ]
    assert answer["valid"], answer["reason"]
    assert answer["provenance"] == "simulated"
    assert answer["mean_power_w"] == pytest.approx(4.2, rel=0.03)
    again = run("record", *arguments)
    assert (again.returncode, again.stderr.count("\n")) == (2, 1)
    assert "already holds a recording" in again.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("read", "--driver", "ina226-serial", "--port", "/dev/no-such-port"), "no such port"),
        (("read", "--driver", "wattsup", "--port", "/dev/null"), "no driver 'wattsup'"),
        (("integrate", "/nowhere"), "no recording there"),
        (("simulate", "--averages", 3), "averages must be one of"),
    ],
)
def test_mistakes_are_one_line_and_exit_code_2(arguments, words):
    result = run(*arguments)
    assert result.returncode == 2
    assert result.stderr.startswith("powermeter: ")
    assert words in result.stderr
    assert result.stderr.count("\n") == 1


def test_a_damaged_recording_is_named(tmp_path):
    (tmp_path / "meter.json").write_text('{"schema": 99}')
    result = run("integrate", tmp_path)
    assert result.returncode == 2
    assert "not a recording of version 1" in result.stderr
