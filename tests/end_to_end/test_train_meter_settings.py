# SPDX-License-Identifier: Apache-2.0
"""A meter's settings from `e2train train` and from a campaign file: checked first, and recorded."""

import json
from contextlib import closing

import pytest
from typer.testing import CliRunner

from e2train.campaign.plan import load_campaign
from e2train.cli import app
from e2train.errors import UserError
from powermeter import MeterError
from powermeter.meters import find_driver
from powermeter.simulation.pty import RealtimePty

EXPERIMENT = """
name = "tiny"
network = "resnet-8"
[data]
name = "digits"
[train]
iterations = 2
batch = 8
"""
CAMPAIGN = """
name = "tiny"
on = [["resnet-8", "digits"]]
meter = {meter}
[base.train]
iterations = 2
[[methods]]
name = "smb"
"""
WRONG = [
    ("pzem-004t:/dev/x,address=fast", "address takes auto or a whole number from 1 to 248"),
    ("pzem-004t:/dev/x,adress=1", "no setting 'adress'; there is: address, period_s, range_a"),
    ("pzem-004t", "DRIVER:PORT"),
    ("pzem:/dev/x", "no driver 'pzem'"),
]


@pytest.mark.parametrize(("meter", "said"), WRONG)
def test_a_wrong_meter_is_refused_before_anything_is_made(tmp_path, monkeypatch, meter, said):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tiny.toml").write_text(EXPERIMENT)
    result = CliRunner().invoke(app, ["train", "tiny.toml", "--meter", meter])
    assert isinstance(result.exception, MeterError)  # one line and code 2, by `main`
    assert said in str(result.exception)
    (tmp_path / "campaign.toml").write_text(CAMPAIGN.format(meter=json.dumps(meter)))
    result = CliRunner().invoke(app, ["campaign", "run", "campaign.toml"])
    assert isinstance(result.exception, UserError)
    assert str(result.exception).startswith("campaign.toml: meter: ")
    assert said in str(result.exception)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["campaign.toml", "tiny.toml"]


def test_the_meter_of_a_campaign_s_file(tmp_path):
    path = tmp_path / "tiny.toml"
    path.write_text(CAMPAIGN.format(meter='"pzem-004t:/dev/x,address=2"'))
    assert load_campaign(path).meter == "pzem-004t:/dev/x,address=2"
    path.write_text(CAMPAIGN.replace("meter = {meter}\n", ""))
    assert load_campaign(path).meter == "simulated"
    path.write_text(CAMPAIGN.format(meter="3"))
    with pytest.raises(UserError, match="meter = 3: expected a string"):
        load_campaign(path)


def test_settings_reach_the_driver_and_stand_in_the_record(tmp_path):
    (tmp_path / "tiny.toml").write_text(EXPERIMENT)
    device = find_driver("pzem-004t").simulator(1, address=2)
    with closing(RealtimePty(device, idle_w=60.0)) as port:
        meter = f"pzem-004t:{port.path},address=2,period_s=0.25"
        arguments = ["train", str(tmp_path / "tiny.toml"), "--out", str(tmp_path / "run")]
        result = CliRunner().invoke(app, [*arguments, "--quiet", "--meter", meter])
    assert result.exception is None
    meta = json.loads((tmp_path / "run/meter/meter.json").read_text())
    assert meta["settings"] == {"address": 2, "period_s": 0.25}
    assert (meta["identity"]["address"], meta["period_s"]) == (2, 0.25)
    assert json.loads((tmp_path / "run/result.json").read_text())["meter"] == meter
