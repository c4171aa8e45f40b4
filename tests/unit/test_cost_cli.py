# SPDX-License-Identifier: Apache-2.0
"""`e2train cost`: its table, its JSON, and one line for a mistake."""

import json

import pytest

from e2train.cli import run
from e2train.network.models import network_spec


def found(capsys, *arguments):
    assert run(["cost", *arguments, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_json_adds_up(capsys):
    result = found(capsys, "resnet-20")
    spec = network_spec("resnet-20", (3, 32, 32), 10)
    assert sum(layer["macs"] for layer in result["layers"]) == spec.forward_macs
    assert sum(layer["weights"] for layer in result["layers"]) == result["weights"]
    skipped = sum(layer["macs"] for layer in result["layers"] if layer["skippable"])
    assert result["skippable_share"] == pytest.approx(skipped / spec.forward_macs)
    gates = sum(layer["gate_macs"] for layer in result["layers"])
    assert result["gate_overhead"] == pytest.approx(gates / spec.forward_macs)
    assert result["gate_overhead"] < 0.0004  # the paper's limit (section 3.2)
    for method in result["methods"]:
        passes = method["macs_by_pass"].values()
        assert method["macs"] == sum(n for widths in passes for n in widths.values())
        assert method["energy"]["provenance"] == "modelled"


def test_json_orders_the_methods_as_the_paper_does(capsys):
    methods = {m["name"]: m for m in found(capsys, "resnet-20")["methods"]}
    names = ["sgd-fp32", "psg", "e2train-0", "e2train-20", "e2train-40", "e2train-60"]
    for key in ("computational_saving", "energy_saving"):
        savings = [methods[name][key] for name in names]
        assert savings == sorted(savings)
    assert methods["smd"]["computational_saving"] == pytest.approx(100 / 3)
    assert methods["psg"]["mac_saving"] < 0 < methods["psg"]["computational_saving"]


def test_predictor_share_is_obeyed(capsys):
    sure, unsure = (
        {m["name"]: m for m in found(capsys, "resnet-8", "--predicted", share)["methods"]}["psg"]
        for share in ("1", "0")
    )
    classifier = 3000 * 128 * 64 * 10  # takes no signs, so predicts none
    assert sure["macs_by_pass"]["backward_weight"] == {"8x16": classifier}
    assert (
        unsure["macs_by_pass"]["backward_weight"]["8x16"]
        == unsure["macs_by_pass"]["predictor"]["4x10"] + classifier
    )


@pytest.mark.parametrize(("data", "classes"), [("cifar100", 100), ("digits", 10)])
def test_data_sets_change_the_shapes(capsys, data, classes):
    result = found(capsys, "resnet-8", "--data", data)
    assert result["layers"][-1]["output"] == [classes, 1, 1]
    assert result["layers"][0]["input"] == ([1, 8, 8] if data == "digits" else [3, 32, 32])


def test_table_shows_every_layer_and_provenance(capsys):
    assert run(["cost", "resnet-8"]) == 0
    shown = capsys.readouterr().out
    spec = network_spec("resnet-8", (3, 32, 32), 10)
    for unit in spec.units():
        row = next(line for line in shown.splitlines() if unit.name in line)
        assert f"{unit.geometry.macs:,}" in row
        assert f"{unit.geometry.weights:,}" in row
    assert "modelled" in shown
    assert "Nothing was measured" in shown


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["resnet-9"], "6n+2"),
        (["vgg"], "vgg"),
        (["resnet-8", "--data", "imagenet"], "imagenet"),
        (["resnet-8", "--costs", "absent.toml"], "absent.toml"),
    ],
)
def test_mistakes_are_one_line(capsys, arguments, words):
    assert run(["cost", *arguments]) == 2
    captured = capsys.readouterr()
    assert words in captured.err
    assert captured.err.count("\n") == 1
    assert captured.out == ""
