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


def test_list_names_the_drivers():
    result = run("list")
    assert result.returncode == 0
    names = [line.split()[1] for line in result.stdout.splitlines() if line.startswith("driver")]
    expected = ["ina226-serial", "wattsup", "pzem-004t", "pzem-017", "wt310", "scpi", "rapl"]
    assert names == expected


def test_probe_says_what_is_there(port):
    result = run("probe", "--port", port, "--driver", "ina226-serial")
    assert result.returncode == 0, result.stderr
    assert "EdgePowerMeter firmware 2.0.0" in result.stdout
    assert "(driver ina226-serial)" in result.stdout
    result = run("probe", "--port", port, "--driver", "pzem-017")
    assert (result.returncode, result.stderr.count("\n")) == (2, 1)
    assert "no instrument answered" in result.stderr


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
    assert list(answer)[:9] == [
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
    assert sum(term**2 for term in answer["budget_joules"].values()) ** 0.5 == pytest.approx(
        answer["uncertainty_joules"] / answer["coverage_factor"]
    )
    rows = (out / "samples.csv").read_text().splitlines()[1:]
    begin, end = (float(row.split(",")[4]) for row in (rows[2], rows[-2]))
    result = run("integrate", out, "--begin", begin, "--end", end, "--json")
    window = json.loads(result.stdout)
    assert window["seconds"] == pytest.approx(end - begin)
    assert window["joules"] == pytest.approx(4.2 * (end - begin), rel=0.03)
    result = run("check", out)
    assert (result.returncode, result.stdout.splitlines()[-1]) == (0, "check     passed")
    with open(out / "raw.log", "r+b") as raw:
        raw.seek(500)
        raw.write(b"#")
    result = run("check", out, "--json")
    assert result.returncode == 1
    assert "raw.log: changed" in json.loads(result.stdout)["findings"][0]
    again = run("record", *arguments)
    assert (again.returncode, again.stderr.count("\n")) == (2, 1)
    assert "already holds a recording" in again.stderr


def test_a_trace_and_a_fault_to_order(tmp_path):
    (tmp_path / "trace.csv").write_text("seconds,watts\n1.5,3\n60,9\n")
    arguments = ("--trace", tmp_path / "trace.csv", "--fault", "silence@3+0.5", "--seconds", 20)
    with subprocess.Popen(
        command("simulate", *arguments), stdout=subprocess.PIPE, text=True, env=ENVIRONMENT
    ) as process:
        path = process.stdout.readline().strip()
        result = run(
            *("record", "--driver", "ina226-serial", "--port", path, "--seconds", 4.5),
            *("--out", tmp_path / "log", "--json"),
        )
        process.terminate()
    assert result.returncode == 0, result.stderr
    answer = json.loads(result.stdout)
    assert not answer["valid"]
    assert 0.45 < answer["max_gap_s"] < 0.6
    rows = (tmp_path / "log/samples.csv").read_text().splitlines()[1:]
    powers = [float(row.split(",")[1]) for row in rows]
    assert min(powers) == pytest.approx(3.0, rel=0.02)
    assert max(powers) == pytest.approx(9.0, rel=0.02)


@pytest.mark.parametrize("driver", ["wattsup", "pzem-004t", "wt310", "scpi"])
def test_every_simulated_meter_is_read_through_a_port(driver):
    arguments = ("--driver", driver, "--power", 40, "--seconds", 40)
    with subprocess.Popen(
        command("simulate", *arguments), stdout=subprocess.PIPE, text=True, env=ENVIRONMENT
    ) as process:
        path = process.stdout.readline().strip()
        result = run("read", "--driver", driver, "--port", path, "--samples", 4, "--json")
        process.terminate()
    assert result.returncode == 0, result.stderr
    rows = [json.loads(line) for line in result.stdout.splitlines()]
    # A PZEM that has just been switched on reads zero for its first second.
    assert [row["power_w"] for row in rows[2:]] == pytest.approx([40.0, 40.0], rel=0.03)
    assert rows[3]["host_time_s"] > rows[2]["host_time_s"]


@pytest.mark.parametrize(
    ("driver", "power", "settings", "words"),
    [
        ("wt310", 2000, ["voltage_range_v=15", "current_range_a=0.5"], "choose larger ranges"),
        ("scpi", 80, [], "beyond the meter's range"),
    ],
)
def test_the_wrong_range_is_said(driver, power, settings, words):
    arguments = ("--driver", driver, "--power", power, "--seconds", 60)
    with subprocess.Popen(
        command("simulate", *arguments), stdout=subprocess.PIPE, text=True, env=ENVIRONMENT
    ) as process:
        path = process.stdout.readline().strip()
        ranges = [f"--set={setting}" for setting in settings]
        result = run("read", "--driver", driver, "--port", path, *ranges)
        process.terminate()
    assert (result.returncode, result.stderr.count("\n")) == (2, 1)
    assert words in result.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("read", "--driver", "ina226-serial", "--port", "/dev/no-such-port"), "no such port"),
        (("read", "--driver", "watsup", "--port", "/dev/null"), "no driver 'watsup'"),
        (("read", "--driver", "wattsup", "--port", "/dev/null"), "not a usable serial port"),
        (("probe", "--port", "/dev/no-such-port"), "no such port"),
        (("check", "/nowhere"), "no stored result"),
        (("simulate", "--driver", "rapl"), "there is no simulator"),
        (("simulate", "--fault", "fire@3"), "the kinds are silence"),
        (("simulate", "--driver", "wattsup", "--fault", "clock-jump@3"), "clock-jump"),
        (("simulate", "--set", "colour=red"), "has no setting 'colour'; there is: bus_v"),
        (("simulate", "--set", "colour"), "NAME=VALUE"),
        (("simulate", "--trace", "/no/trace.csv"), "not readable"),
        (("integrate", "/nowhere"), "no recording there"),
        (("simulate", "--set", "averages=3"), "averages takes one of 1, 4, 16"),
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
    assert "not a recording of version 2" in result.stderr
