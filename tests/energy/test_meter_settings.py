# SPDX-License-Identifier: Apache-2.0
"""Settings of all drivers and simulators: one reader, and one line for whatever is not taken."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from powermeter.cli.commands import app
from powermeter.errors import MeterError
from powermeter.meters import NAMES, find_driver
from powermeter.meters.settings import Setting, parse_pairs, read_settings
from powermeter.meters.spec import parse_spec
from powermeter.record.session import open_session

MAY_BE_ZERO = {"shunt_tolerance", "of_range", "range_w", "counts_w"}
BAD = ["fast", "nan", "NaN", "inf", "-inf", "1e999", "9" * 400, "-1", "0", "1s", "10mOhm", "1%"]
BAD += ["0,01", "1_0", "", " ", "0x", "٣", "1e", "--1", "1 2"]


def numeric(declared):
    return [setting for setting in declared if setting.kind in (int, float)]


CASES = [
    (name, setting.name, value)
    for name in NAMES
    for setting in numeric(find_driver(name).settings)
    for value in BAD
    if not (value == "0" and setting.name in MAY_BE_ZERO)
]


def refusal(arguments):
    """What a command that must fail with one line and code 2 says."""
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 2, result.output
    assert result.stderr.count("\n") == 1, result.stderr
    assert result.stderr.startswith("powermeter: ")
    return result.stderr


@pytest.mark.parametrize(("driver", "name", "value"), CASES)
def test_what_is_no_value_is_one_line_before_the_port_is_touched(driver, name, value):
    said = refusal(
        ["read", "--driver", driver, "--port", "/dev/no-such-port", "--set", f"{name}={value}"]
    )
    assert f"{driver}: {name} takes " in said
    assert f"got {value!r}"[:40] in said
    if len(value) < 10:  # Python's own numbers are refused alike
        with pytest.raises(MeterError):
            read_settings(driver, find_driver(driver).settings, {name: math.nan})


@pytest.mark.parametrize("driver", [name for name in NAMES if name != "rapl"])
def test_the_simulators_take_no_other_values_either(driver):
    for name, value in (("baud", "fast"), ("volts", "nan"), ("bus_v", "-1"), ("colour", "red")):
        said = refusal(["simulate", "--driver", driver, "--set", f"{name}={value}"])
        assert f"the simulated {driver}" in said


@pytest.mark.parametrize("name", NAMES)
def test_every_setting_is_bounded_and_explained_and_its_default_is_taken(name):
    driver = find_driver(name)
    for setting in driver.settings:
        assert setting.help
        assert setting.default_text or setting.default == ""
        if setting.kind in (int, float) and not setting.choices:
            assert setting.most is not None
            assert (setting.least is None) != (setting.above is None)
        if setting.default is not None:
            assert setting.read(setting.default) == setting.read(str(setting.default))
    result = CliRunner().invoke(app, ["list", name])
    assert result.exit_code == 0
    for setting in driver.settings:
        assert setting.name in result.stdout
        assert setting.takes in result.stdout
        assert setting.default_text in result.stdout


def test_all_settings_at_once_and_of_a_driver_that_is_none():
    result = CliRunner().invoke(app, ["list", "--settings"])
    assert result.exit_code == 0
    assert [line.split()[1] for line in result.stdout.splitlines() if line[:6] == "driver"] == [
        *NAMES
    ]
    assert "no driver 'watsup'" in refusal(["list", "watsup"])


@pytest.mark.parametrize(
    ("driver", "given", "values"),
    [
        ("pzem-004t", {"address": "0xF8"}, {"address": 248}),
        ("pzem-004t", {"address": "0x1f", "period_s": "1"}, {"address": 31, "period_s": 1.0}),
        ("pzem-004t", {"address": "AUTO", "range_a": "10"}, {"address": "auto", "range_a": 10}),
        ("pzem-017", {}, {"address": "auto", "period_s": 0.5, "range_a": None}),
        ("wattsup", {"interval_s": " 10 "}, {"interval_s": 10}),
        ("wattsup", {"interval_s": 2.0}, {"interval_s": 2}),
        ("ina226-serial", {"shunt_ohm": "1e-2"}, {"shunt_ohm": 0.01}),
        ("ina226-serial", {"shunt_ohm": ".1", "averages": "16"}, {"shunt_ohm": 0.1}),
        ("wt310", {"mode": "rms", "current_range_a": "0.50"}, {"mode": "RMS"}),
        ("scpi", {"power": "", "line_end": "CR"}, {"power": "", "line_end": "cr"}),
    ],
)
def test_what_is_taken(driver, given, values):
    read = read_settings(driver, find_driver(driver).settings, given)
    assert {name: read[name] for name in values} == values
    assert read.keys() == {setting.name for setting in find_driver(driver).settings}


@given(st.text(max_size=30) | st.integers() | st.floats() | st.booleans() | st.none() | st.binary())
def test_any_value_is_a_bounded_number_or_one_line(value):
    declared = (Setting("x", "", 1.0, least=0.5, most=2), Setting("n", "", 1, int, least=1, most=9))
    for name in ("x", "n"):
        try:
            read = read_settings("a meter", declared, {name: value})[name]
        except MeterError as error:
            assert "\n" not in str(error)
            assert len(str(error)) < 160
        else:
            assert 0.5 <= read <= 9
            assert math.isfinite(read)


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("wattsup:/dev/ttyUSB0", ("wattsup", "/dev/ttyUSB0", {})),
        ("pzem-004t:/dev/ttyUSB0,address=2", ("pzem-004t", "/dev/ttyUSB0", {"address": 2})),
        ("wattsup:/tmp/a,b:c,2", ("wattsup", "/tmp/a,b:c,2", {})),
        ("wattsup:/tmp/a,b,interval_s=5", ("wattsup", "/tmp/a,b", {"interval_s": 5})),
        (
            "scpi:/dev/x,power=MEAS:POW? (@1,2),poll_s=0.5",
            ("scpi", "/dev/x", {"power": "MEAS:POW? (@1,2)", "poll_s": 0.5}),
        ),
        ("scpi:/dev/x,power=,errors=", ("scpi", "/dev/x", {"power": "", "errors": ""})),
    ],
)
def test_a_meter_in_one_word(text, parts):
    assert parse_spec(text) == parts


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("wattsup", "DRIVER:PORT"),
        ("wattsup:", "DRIVER:PORT"),
        (":/dev/x", "DRIVER:PORT"),
        ("simulated,averages=4", "DRIVER:PORT"),
        ("watsup:/dev/x", "no driver 'watsup'"),
        ("wattsup:/dev/x,adress=1", "no setting 'adress'; there is: interval_s"),
        ("wattsup:/dev/x,interval_s=1,interval_s=2", "given twice"),
        ("wattsup:/dev/x,interval_s=1s", "in s; got '1s' (write the number alone, in s)"),
        ("ina226-serial:/dev/x,shunt_ohm=0,01", "got '0,01' (write a decimal point"),
    ],
)
def test_a_word_that_is_no_meter_is_one_line_and_removes_nothing(tmp_path, text, said):
    (tmp_path / "result.json").write_text("{}")
    with pytest.raises(MeterError) as caught:
        open_session(text, tmp_path)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
    assert (tmp_path / "result.json").exists()


def test_pairs():
    assert parse_pairs(["a=1", "b=x=y", "c="]) == {"a": "1", "b": "x=y", "c": ""}
    for pair in ("a", "=1", ""):
        with pytest.raises(MeterError, match="NAME=VALUE"):
            parse_pairs([pair])
