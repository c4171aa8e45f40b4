# SPDX-License-Identifier: Apache-2.0
"""The audit: what it accepts, and that no file can be changed without being noticed."""

import json

import pytest

from meter_cases import CASES, record
from powermeter import open_session
from powermeter.errors import RecordingError
from powermeter.record.audit import audit


@pytest.fixture
def recording(tmp_path):
    with open_session("simulated", folder=tmp_path, seed=2) as meter:
        meter.advance([(1.0, 2.6), (2.0, 5.0)])
    return tmp_path


def edit(path, **changes):
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_a_recording_passes_and_its_digests_are_stated(recording):
    found = audit(recording)
    assert found.passed
    assert set(found.digests) == {"raw.log", "raw.times", "meter.json"}
    assert found.result.joules.provenance == "simulated"


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.driver)
def test_every_meters_recording_passes(case, tmp_path):
    record(case, tmp_path, [(20.0, case.high_w)], 20.0)
    found = audit(tmp_path)
    assert found.passed, found.findings
    assert found.result.samples > 10


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("raw.log", b",9", b",8"),
        ("raw.times", b",1", b",2"),
        ("meter.json", b'"period_s"', b'"period_s" '),
        ("samples.csv", b"2.6", b"2.5"),
    ],
)
def test_a_changed_file_is_noticed(recording, name, old, new):
    path = recording / name
    content = path.read_bytes()
    assert old in content
    path.write_bytes(content.replace(old, new, 1))
    found = audit(recording)
    assert not found.passed
    assert any(finding.startswith(name) for finding in found.findings)


@pytest.mark.parametrize(
    "changes",
    [
        {"joules": 1.0},
        {"uncertainty_joules": 0.001},
        {"samples": 3},
        {"valid": False},
        {"reason": "none"},
        {"provenance": "metered"},
        {"coverage": 0.5},
    ],
)
def test_a_changed_result_is_noticed(recording, changes):
    edit(recording / "result.json", **changes)
    found = audit(recording)
    assert [finding.split(":")[0] for finding in found.findings] == list(changes)


def test_a_result_without_digests_is_no_result(recording):
    edit(recording / "result.json", sha256={})
    found = audit(recording)
    assert len(found.findings) == 3
    edit(recording / "result.json", sha256="none", limits=7)
    with pytest.raises(RecordingError, match=r"result\.json"):
        audit(recording)


def test_what_is_missing_is_said(recording):
    (recording / "samples.csv").unlink()
    assert any("samples.csv" in finding for finding in audit(recording).findings)
    (recording / "result.json").unlink()
    with pytest.raises(RecordingError, match="no stored result"):
        audit(recording)
