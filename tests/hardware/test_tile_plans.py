# SPDX-License-Identifier: Apache-2.0
"""Tile plans in a file: the driver takes them as they are, and no other configuration's."""

import json

import numpy as np
import pytest

from e2train import cli
from e2train.device import Geometry, open_device
from e2train.device.accelerator import generated as hw
from e2train.device.accelerator import tile_plans
from e2train.device.accelerator.device import KernelDevice
from e2train.device.accelerator.tile_plans import TilePlans, read_tile_plans, write_tile_plans
from e2train.device.accelerator.tiling.plan import TilePlan, plan_convolution
from e2train.errors import UserError
from fake_transport import FakeTransport

GEOMETRY = Geometry(3, 5, 6, 4, (3, 3), 1, 1, 1)
CARRYING = Geometry(960, 4, 4, 160, (1, 1), 1, 0, 1)
KEY = GEOMETRY, 2, "forward"


@pytest.fixture
def file(tmp_path):
    """Plans as they are worked out, but for one that no planner would choose."""
    plans = {(CARRYING, 16, way): plan_convolution(CARRYING, 16, way) for way in ("forward", "psg")}
    path = tmp_path / "tiles.json"
    write_tile_plans(path, {**plans, KEY: TilePlan(16, 3, 1, 2, ((0, 3),))})
    return path


def test_what_is_written_is_read(file):
    found = read_tile_plans(file)
    assert found[KEY] == TilePlan(16, 3, 1, 2, ((0, 3),))
    for way in ("forward", "psg"):
        assert found[CARRYING, 16, way] == plan_convolution(CARRYING, 16, way)
    assert len(found) == 3


def test_the_driver_takes_its_tiles_from_the_file(file):
    transport = FakeTransport()
    device = KernelDevice(transport, tiles=TilePlans(read_tile_plans(file)))
    device.convolve(
        device.put(np.ones((2, 3, 5, 6), np.int8)), np.ones((4, 3, 3, 3), np.int8), GEOMETRY, 5
    )
    tiles = [transport.registers[hw.OFFSETS[f"tile_{n}"]] for n in ("outer", "inner", "h", "w")]
    assert tiles == [16, 3, 1, 2]


def test_what_the_file_lacks_is_worked_out_once(file):
    asked = []

    def planner(*key):
        asked.append(key)
        return plan_convolution(*key)

    tiles = TilePlans(read_tile_plans(file), planner)
    other = GEOMETRY, 2, "backward_input"
    assert tiles.plan(*other) == tiles.plan(*other) == plan_convolution(*other)
    tiles.plan(*KEY)
    assert asked == [other] and set(tiles.used) == {KEY, other}


def spoilt(path, change):
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


@pytest.mark.parametrize(
    "change, says",
    [
        (lambda c: c.update(configuration=1), "accelerator configuration 0x00000001, this package"),
        (lambda c: c.update(abi=99), r"register layout \(ABI\) 0x00000063, this package has"),
        (lambda c: c.pop("configuration"), "accelerator configuration None"),
        (lambda c: c["plans"][0]["plan"].update(tile_h=7), "do not match its checksum"),
        (lambda c: c["plans"].pop(), "do not match its checksum"),
        (lambda c: c.update(plans=3), "do not match its checksum"),
        (lambda c: resealed(c, tile_depth=7), "plan 0: not a tile plan of this package"),
    ],
)
def test_a_file_that_does_not_belong_is_refused(file, change, says):
    spoilt(file, change)
    with pytest.raises(UserError, match=says) as raised:
        read_tile_plans(file)
    assert str(raised.value).startswith(f"{file}: ") and "\n" not in str(raised.value)


def resealed(content, **more):
    content["plans"][0]["plan"].update(more)
    content["checksum"] = tile_plans._checksum(content["plans"])


def test_a_file_that_is_none_is_refused(tmp_path):
    path = tmp_path / "tiles.json"
    with pytest.raises(UserError, match=r"tiles\.json: No such file"):
        read_tile_plans(path)
    path.write_text("{")
    with pytest.raises(UserError, match="not a file of tile plans"):
        read_tile_plans(path)


def test_the_emulator_takes_no_tile_plans(file):
    with pytest.raises(UserError, match="device emulator takes no tile plans"):
        open_device("emulator", tiles=file)


def test_a_training_with_the_planned_file_works_out_no_tiles(tmp_path, monkeypatch, capsys):
    """The command writes them; iterations and evaluations ask for nothing else."""
    from e2train.board import plan as planning
    from e2train.data.shapes import picture_shape
    from e2train.network.models import network_spec

    path = tmp_path / "tiles.json"
    command = ["board", "plan", "resnet-8", "--data", "digits", "--batch", "20"]
    assert cli.run([*command, "--tiles", str(path)]) == 0
    known = read_tile_plans(path)
    spec = network_spec("resnet-8", *picture_shape("digits"))
    question = planning.Question(spec, "digits", "psg", 20, 250)

    def refused(*key):
        raise AssertionError(f"{key} is not in the file")

    assert planning.plan(question, tiles=TilePlans(known, refused)).batch == 20
    assert {samples for _, samples, _ in known} == {20, 250}
