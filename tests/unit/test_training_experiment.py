# SPDX-License-Identifier: Apache-2.0
"""Experiment files: what is read, and that every mistake is one line with key, value and file."""

from __future__ import annotations

import sys
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import Any, get_type_hints

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from e2train.errors import UserError
from e2train.training.experiment import Experiment, FinetuneSettings, load_experiment

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

GATED = '[slu]\nskip = 0.2\ngated = "all"\n'  # the default network has no identity block to gate
VALID = """\
name = "case"
network = "resnet-20"

[data]
name = "cifar10"
augment = false
validation = 500
half = "first"
split_seed = 3

[train]
iterations = 4000
batch = 64
lr = 0.05
momentum = 0.8
weight_decay = 5e-4
drops = [0.25, 0.5, 0.9]
drop_factor = 0.2
energy_ratio = 0.67
seed = 7
log_every = 10
evaluate_every = 100
checkpoint_every = 50

[method]
arithmetic = "fixed"
update = "psg"
stream_bits = 12

[psg]
beta = 0.1
x_msb_bits = 5
g_msb_bits = 9

[smd]
drop = 0.5

[slu]
skip = 0.2
gated = "all"
lr = 0.01
warmup = 0.3
explore = 0.25

[swa]
start = 0.75
every = 5
statistics_batches = 4

[finetune]
mode = "last-layer"
checkpoint = "somewhere.npz"
"""


def written(folder: Path, text: str | bytes) -> Path:
    path = folder / "case.toml"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def refused(path: Path, *words: str) -> str:
    """The one line that the file must be refused with; it must hold the path and all `words`."""
    with pytest.raises(UserError) as caught:
        load_experiment(path)
    line = str(caught.value)
    assert len(line.splitlines()) == 1
    for word in (str(path), *words):
        assert word in line, f"{word!r} is missing in: {line}"
    return line


def test_all_keys_are_read(tmp_path: Path) -> None:
    e = load_experiment(written(tmp_path, VALID))
    table = tomllib.loads(VALID)
    found = e.as_dict()
    for key, value in table.items():
        if isinstance(value, dict):
            assert {k: found[key][k] for k in value} == value
        else:
            assert found[key] == value


def test_defaults_are_the_papers() -> None:
    e = Experiment("x")
    t = e.train
    assert (t.batch, t.momentum, t.weight_decay, t.iterations) == (128, 0.9, 1e-4, 64_000)
    assert (t.drops, t.drop_factor, e.lr) == ((0.5, 0.75), 0.1, 0.1)
    psg = replace(e, method=replace(e.method, arithmetic="fixed", update="psg"))
    assert psg.lr == 0.03
    assert (e.psg.beta, e.psg.x_msb_bits, e.psg.g_msb_bits) == (0.05, 4, 10)


def test_name_is_that_of_the_file_unless_given(tmp_path: Path) -> None:
    assert load_experiment(written(tmp_path, "")).name == "case"
    assert load_experiment(written(tmp_path, 'name = "other"')).name == "other"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("nonsense = 1", ["nonsense", "unknown key"]),
        ("[train]\niteration = 5", ["train.iteration", "unknown key"]),
        ("[trian]\niterations = 5", ["trian", "unknown key"]),
        ("[train]\niterations = 5.5", ["train.iterations", "5.5", "int"]),
        ("[train]\niterations = true", ["train.iterations", "True", "int"]),
        ('[train]\nlr = "fast"', ["train.lr", "fast", "float"]),
        ("[train]\ndrops = 0.5", ["train.drops", "0.5", "list"]),
        ('[train]\ndrops = ["a"]', ["train.drops", "a"]),
        ("train = 3", ["train", "3", "table"]),
        ("network = 8", ["network", "8", "str"]),
        ("name = [1]", ["name", "[1]"]),
        ("[data]\naugment = 1", ["data.augment", "1", "bool"]),
        ("[train]\niterations = 0", ["train.iterations", "0", "1 or more"]),
        ("[train]\nbatch = -3", ["train.batch", "-3"]),
        ("[train]\nlr = 0.0", ["train.lr", "0.0"]),
        ("[train]\nlr = nan", ["train.lr", "nan"]),
        ("[train]\nlr = inf", ["train.lr", "inf"]),
        ("[train]\nlr = 1e-38", ["train.lr", "1e-38", "1.18e-38"]),
        (GATED + "lr = 1e-39", ["slu.lr", "1e-39", "1.18e-38"]),
        ("[train]\ndrop_factor = 5e-274", ["train.drop_factor", "5e-274", "1.18e-38"]),
        ("[train]\ndrop_factor = 1e-19", ["train.drop_factor", "1e-19", "(1e-39)"]),
        ("[train]\nmomentum = 1.0", ["train.momentum", "1.0"]),
        ("[train]\nweight_decay = -1e-4", ["train.weight_decay", "-0.0001"]),
        ("[train]\ndrops = [0.7, 0.5]", ["train.drops", "0.7"]),
        ("[train]\ndrops = [0.0]", ["train.drops", "0.0"]),
        ("[train]\nenergy_ratio = 0", ["train.energy_ratio", "0"]),
        ("[train]\nseed = -1", ["train.seed", "-1"]),
        ("[train]\nseed = 18446744073709551616", ["train.seed", "18446744073709551616"]),
        ("[train]\nlog_every = 0", ["train.log_every", "0"]),
        (
            f"[train]\niterations = {10**400}\nenergy_ratio = 0.5",
            ["iterations", "1 or more, up to"],
        ),
        ('[data]\nname = "mnist"', ["data.name", "mnist", "cifar10"]),
        ('[data]\nhalf = "third"', ["data.half", "third", "first"]),
        ("[data]\nvalidation = -1", ["data.validation", "-1"]),
        ("[data]\nsplit_seed = -1", ["data.split_seed", "-1"]),
        ('[method]\nupdate = "adam"', ["method.update", "adam"]),
        ('[method]\nupdate = "psg"', ["method.update", "psg", "fixed"]),
        ("[method]\nstream_bits = 20", ["method.stream_bits", "20"]),
        ("[psg]\nbeta = 1.5", ["psg.beta", "1.5"]),
        ("[psg]\nx_msb_bits = 8", ["psg.x_msb_bits", "8"]),
        ("[psg]\ng_msb_bits = 1", ["psg.g_msb_bits", "1"]),
        ("[smd]\ndrop = 1.0", ["smd.drop", "1.0"]),
        ("[train]\nenergy_ratio = 0.5\n[smd]\ndrop = 1", ["smd.drop", "1.0"]),
        ("[slu]\nskip = 1", ["slu.skip", "1.0"]),
        ("[slu]\nskip = -0.1", ["slu.skip", "-0.1"]),
        ("[slu]\nskip = nan", ["slu.skip", "nan"]),
        ("[slu]\nskip = 0.2", ["slu.skip", "0.2", "resnet-8", "0%", "slu.gated = 'all'"]),
        (
            'network = "resnet-20"\n[slu]\nskip = 0.8',
            ["slu.skip", "0.8", "resnet-20", "'identity'", "deeper"],
        ),
        (GATED.replace("0.2", "0.99"), ["slu.skip", "0.99", "98%", "take less"]),
        ('[slu]\ngated = "some"', ["slu.gated", "some", "identity or all"]),
        ("[slu]\ngated = 1", ["slu.gated", "1", "str"]),
        ("[slu]\nexplore = 0", ["slu.explore", "0.0", "above 0 to 1"]),
        ("[slu]\nexplore = 1.5", ["slu.explore", "1.5", "above 0 to 1"]),
        ("[slu]\nexplore = nan", ["slu.explore", "nan"]),
        (GATED + "lr = inf", ["slu.lr", "inf"]),
        (GATED + "[stochastic_depth]\nskip = 0.2", ["stochastic_depth.skip", "0.2"]),
        ("[swa]\nstart = -0.1", ["swa.start", "-0.1"]),
        ("[swa]\nevery = 0", ["swa.every", "0"]),
        ("[swa]\nrate = 0.1", ["swa.rate", "0.1"]),
        ('[stochastic_depth]\nper = "picture"', ["stochastic_depth.per", "picture"]),
        ('[train]\nschedule = "exponential"', ["train.schedule", "exponential"]),
        ("[train]\nsign_weight_decay = 0.1", ["train.sign_weight_decay", "0.1"]),
        ("[train]\nsign_lr = 0.1", ["train.sign_lr", "0.1", "method.update"]),
        ("[method]\ninput_gradient_bits = 12", ["method.input_gradient_bits", "12"]),
        ("[slu]\nexplore = 0.0", ["slu.explore", "0.0"]),
        ('[slu]\ngated = "some"', ["slu.gated", "some"]),
        ('[finetune]\nmode = "all"', ["finetune.mode", "all", "last-layer"]),
        ("[train]\niterations = 1\nenergy_ratio = 0.2", ["train.energy_ratio", "0.2"]),
        ('network = "resnet-21"', ["network", "resnet-21"]),
        ('network = "vgg"', ["network", "vgg"]),
        ('network = "resnet-99999998"', ["network", "resnet-99999998"]),
        ('[finetune]\nmode = "last-layer"', ["finetune.mode", "last-layer", "finetune.checkpoint"]),
        ("[slu]\nskip = 1e-17", ["slu.skip", "1e-17"]),
        ('"two\\nlines" = 1', ["two\\nlines", "unknown key"]),
        ('name = ""', ["name", "''"]),
        ('name = "../../etc/run"', ["name", "../../etc/run"]),
        ('name = "two\\nlines"', ["name", "two\\nlines"]),
    ],
)
def test_mistakes_name_key_value_and_file(tmp_path: Path, text: str, words: list[str]) -> None:
    refused(written(tmp_path, text), *words)


def test_missing_file(tmp_path: Path) -> None:
    refused(tmp_path / "none.toml", "No such file")


def test_a_folder_is_no_experiment(tmp_path: Path) -> None:
    refused(tmp_path, "directory")


@pytest.mark.parametrize(
    "text",
    [
        b"name = ",
        b"[train",
        b"\xff\xfe",
        b"a = 1\na = 2",
        b'x = "\x00"',
        b"= 3",
        b"x = " + b"[" * 9999,
    ],
)
def test_not_toml(tmp_path: Path, text: bytes) -> None:
    refused(written(tmp_path, text), "not TOML")


@pytest.mark.parametrize("digits", [400, 5000])
def test_numbers_beyond_all_measure(tmp_path: Path, digits: int) -> None:
    number = "9" * digits
    refused(written(tmp_path, f"[train]\nlr = {number}"))


VALUES = st.one_of(
    st.integers(-(2**70), 2**70),
    st.floats(),
    st.booleans(),
    st.text(max_size=8),
    st.lists(st.floats(), max_size=3),
    st.builds(dict),
    st.sampled_from([0, 1, -1, 10**400, 1e308, "psg", "fixed", "first"]),
)


def toml(value: Any) -> str:
    """A value as TOML, by rules of its own (not those of the package)."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (int, float)):
        return repr(value)
    if isinstance(value, str):
        return (
            '"' + "".join(f"\\U{ord(c):08X}" for c in value if not 0xD800 <= ord(c) < 0xE000) + '"'
        )
    if isinstance(value, list):
        return "[" + ", ".join(map(toml, value)) + "]"
    return "{" + ", ".join(f"{k} = {toml(v)}" for k, v in value.items()) + "}"


def keys_of(kind: Any = Experiment, prefix: str = "") -> list[str]:
    found = []
    for entry in fields(kind):
        hint = get_type_hints(kind)[entry.name]
        found.append(prefix + entry.name)
        if is_dataclass(hint):
            found += keys_of(hint, f"{prefix}{entry.name}.")
    return found


@settings(max_examples=300, deadline=None)
@given(st.dictionaries(st.sampled_from(keys_of()), VALUES, min_size=1, max_size=3))
@example({"train.drop_factor": 5e-274})
@example({"train.lr": 5e-324})
def test_any_value_at_any_key_is_taken_or_refused_in_one_line(
    tmp_path_factory: pytest.TempPathFactory, changes: dict[str, Any]
) -> None:
    table = tomllib.loads(VALID)
    for key, value in changes.items():
        place, *rest = key.split(".")
        if rest and isinstance(table.get(place, {}), dict):
            table.setdefault(place, {})[rest[0]] = value
        else:
            table[place] = value
    lines = [f"{key} = {toml(value)}" for key, value in table.items()]
    path = written(tmp_path_factory.getbasetemp(), "\n".join(lines))
    try:
        experiment = load_experiment(path)
    except UserError as error:
        assert len(str(error).splitlines()) == 1 and str(path) in str(error)
        return
    assert experiment.offered >= 1
    assert all(0 < experiment.schedule.rate(i) < 1e3 for i in (0, experiment.offered - 1))
    assert experiment.method_name
    path.write_text(experiment.as_toml(), encoding="utf-8")
    assert load_experiment(path) == experiment


@settings(max_examples=150, deadline=None)
@given(st.integers(0, len(VALID) - 1), st.binary(max_size=3), st.integers(0, 3))
def test_damaged_text_is_read_or_refused_in_one_line(
    tmp_path_factory: pytest.TempPathFactory, at: int, put: bytes, cut: int
) -> None:
    text = VALID.encode()
    path = written(tmp_path_factory.getbasetemp(), text[:at] + put + text[at + cut :])
    try:
        load_experiment(path)
    except UserError as error:
        assert len(str(error).splitlines()) == 1 and str(path) in str(error)


def test_round_trip_of_the_defaults(tmp_path: Path) -> None:
    for experiment in (Experiment("x"), load_experiment(written(tmp_path, VALID))):
        path = written(tmp_path, experiment.as_toml())
        assert load_experiment(path) == experiment


@pytest.mark.parametrize("name", ["naïve", "größer", "実験", "emoji 😀", 'quote " and \\'])
def test_round_trip_of_names(tmp_path: Path, name: str) -> None:
    experiment = Experiment(name)
    assert load_experiment(written(tmp_path, experiment.as_toml())).name == name


def test_round_trip_of_paths(tmp_path: Path) -> None:
    """What a file name may hold and a run's name may not."""
    settings_ = FinetuneSettings("runs/a\tb \x7f 😀.npz", "last-layer")
    experiment = Experiment("x", finetune=settings_)
    assert load_experiment(written(tmp_path, experiment.as_toml())) == experiment


def test_shipped_experiments_are_valid() -> None:
    folder = Path(__file__).parents[2] / "experiments"
    files = sorted(p for p in folder.rglob("*.toml") if "campaigns" not in p.parts)
    assert files
    for path in files:
        experiment = load_experiment(path)
        assert experiment.schedule.rate(0) == experiment.lr
