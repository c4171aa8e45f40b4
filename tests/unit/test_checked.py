# SPDX-License-Identifier: Apache-2.0
"""Text as editors on Windows save it: a byte order mark is taken, UTF-16 is named."""

import codecs
import json
import shutil
from pathlib import Path

import pytest

from e2train.campaign.plan import load_campaign
from e2train.checked import parse_object, parse_toml
from e2train.cost.table import DEFAULT_PATH, load_table
from e2train.device.accelerator.config import CHECKOUT, CONFIG, load_config
from e2train.errors import UserError
from e2train.runs.load import load_run
from e2train.training.experiment import load_experiment
from report_folders import Made, make_run

EXPERIMENT = 'name = "größer"\n[train]\niterations = 7\n'
CAMPAIGN = 'on = [["resnet-8", "digits"]]\n[[methods]]\nname = "a"\n'


def experiment(folder: Path, save):
    return load_experiment(save(folder / "e.toml", EXPERIMENT))


def campaign(folder: Path, save):
    found = load_campaign(save(folder / "c.toml", CAMPAIGN))
    assert found.text == CAMPAIGN
    return found


def costs(folder: Path, save):
    return load_table(save(folder / "costs.toml", DEFAULT_PATH.read_text(encoding="utf-8")))


def hardware(folder: Path, save):
    (folder / CONFIG).parent.mkdir(parents=True, exist_ok=True)
    save(folder / CONFIG, (CHECKOUT / CONFIG).read_text(encoding="utf-8"))
    return load_config(folder)


def run_settings(folder: Path, save):
    return run_file(folder, save, "experiment.toml")


def run_result(folder: Path, save):
    return run_file(folder, save, "result.json")


def run_file(folder: Path, save, name):
    shutil.rmtree(folder / "psg", ignore_errors=True)
    run = make_run(folder / "psg", Made("psg", 91.5, 0.4))
    save(run / name, (run / name).read_text(encoding="utf-8"))
    return load_run(run)


READERS = [experiment, campaign, costs, hardware, run_settings, run_result]


def saved_as(encoding, mark=b""):
    def save(path: Path, text: str) -> Path:
        path.write_bytes(mark + text.encode(encoding))
        return path

    return save


@pytest.mark.parametrize("read", READERS)
def test_a_byte_order_mark_changes_nothing(read, tmp_path):
    plain = read(tmp_path, saved_as("utf-8"))
    assert read(tmp_path, saved_as("utf-8", codecs.BOM_UTF8)) == plain


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-be", "utf-16-le"])
@pytest.mark.parametrize("read", READERS)
def test_utf_16_is_named(read, encoding, tmp_path):
    with pytest.raises(UserError) as caught:
        read(tmp_path, saved_as(encoding))
    line = str(caught.value)
    assert "UTF-16" in line and "save it as UTF-8" in line and str(tmp_path) in line
    assert "\n" not in line


def test_an_error_behind_the_mark_has_its_place():
    with pytest.raises(ValueError, match="line 2, column"):
        parse_toml(codecs.BOM_UTF8 + b"a = 1\nb = = 2\n")


@pytest.mark.parametrize("content", [b"\xff", b"[1]", b"{", b"", b"\xef\xbb\xbf", b'{"a":' * 99999])
def test_what_is_no_json_object_is_a_value_error(content):
    with pytest.raises(ValueError):
        parse_object(content)


def test_json_without_nan():
    assert parse_object(codecs.BOM_UTF8 + json.dumps({"a": float("nan")}).encode()) == {"a": None}


@pytest.mark.parametrize("number", ["9" * 400, "nan", "-1", "true", "86401"])
def test_seconds_beyond_all_measure(number, tmp_path):
    path = saved_as("utf-8")(tmp_path / "c.toml", f"idle_seconds = {number}\n{CAMPAIGN}")
    with pytest.raises(UserError, match=r"c\.toml: idle_seconds = .*: expected 0 to 86400 seconds"):
        load_campaign(path)
