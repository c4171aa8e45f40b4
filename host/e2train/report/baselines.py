# SPDX-License-Identifier: Apache-2.0
"""The two baselines that every report opens with, and what a saving against them means.

32-bit float SGD is what the paper saves against, but this board has no float32 kernel. 8-bit
fixed-point training runs on the same accelerator as E2-Train, so it is the fairer comparison.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from e2train.report.style import decimals_for
from e2train.runs.load import ACCELERATOR, FLOAT_ARRAY

# What an experiment file leaves out; these settings tell the plain baselines from all else.
_DEFAULTS: dict[str, object] = {
    "method.arithmetic": "float32",
    "method.update": "sgd",
    "smd.drop": 0.0,
    "slu.skip": 0.0,
    "stochastic_depth.skip": 0.0,
    "swa.start": 1.0,
    "train.energy_ratio": None,
    "finetune.checkpoint": None,
    "finetune.weights": None,
    "data.half": None,
}
# Provenances of joules that no instrument took.
OF_A_MODEL = ("modelled", "simulated")
# Stands wherever the energy of a float32 run is a model's.
HYPOTHETICAL = "hypothetical: no float32 kernel exists for this board"


@dataclass(frozen=True)
class Baseline:
    """A way of training that others are compared with. `key` is also its usual name."""

    key: str
    title: str
    arithmetic: str

    def is_trained_by(self, settings: Mapping[str, object]) -> bool:
        """Whether a run with these settings ("method.update": "sgd", ...) is this baseline.

        Missing settings have the experiment file's defaults.
        """
        wanted = _DEFAULTS | {"method.arithmetic": self.arithmetic}
        found = {key: settings.get(key, _DEFAULTS[key]) for key in wanted}
        if found["train.energy_ratio"] == 1.0:  # without SMD, as many iterations as without a ratio
            found["train.energy_ratio"] = None
        return found == wanted


FLOAT32 = Baseline("sgd-fp32", "32-bit float SGD", "float32")
FIXED8 = Baseline("fixed8", "8-bit fixed-point training on the same accelerator", "fixed")
BASELINES = (FLOAT32, FIXED8)


def is_e2train(settings: Mapping[str, object]) -> bool:
    """Whether these settings combine the paper's three methods: SMD, SLU and PSG."""
    parts = (settings.get("smd.drop"), settings.get("slu.skip"))
    return settings.get("method.update") == "psg" and all(parts)


@dataclass(frozen=True)
class Comparison:
    """The energy of one cell or method against one baseline.

    `saving` in percent of the baseline's joules is below zero where more was taken; None where
    there is nothing to compare, and `reason` says why. `half` is half of its 95 % confidence
    interval in percent, where there are repeats. `provenance` is that of both sides' joules,
    `board_model` is FLOAT_ARRAY where one of the two computed in float32, and `caveat` says what
    else differs.
    """

    baseline: Baseline
    name: str
    against: str | None
    saving: float | None
    half: float | None = None
    provenance: str | None = None
    board_model: str = ACCELERATOR
    reason: str = ""
    caveat: str = ""

    @property
    def size(self) -> str:
        """'43 % more', or '88.1 ± 0.2 % less' of several repeats; empty without a saving."""
        if self.saving is None:
            return ""
        size = f"{abs(self.saving):.0f}"
        if self.half is not None:
            places = decimals_for(self.half, self.saving)
            size = f"{abs(self.saving):.{places}f} ± {self.half:.{places}f}"
        return f"{size} % {'less' if self.saving >= 0 else 'more'}"

    @property
    def amount(self) -> str:
        """'43 % more than fixed8'."""
        if self.saving is None:
            why = "" if self.against else " (no such run in this set)"
            return f"no comparison with {self.baseline.key}{why}"
        return f"{self.size} than {self.against}"

    @property
    def hypothetical(self) -> bool:
        """Whether the joules of one side are those of hardware that does not exist."""
        return (
            self.saving is not None
            and self.board_model == FLOAT_ARRAY
            and self.provenance in OF_A_MODEL
        )

    @property
    def note(self) -> str:
        """What the number rests on, or why there is none, as a full sentence."""
        if self.saving is None:
            return self.reason
        said = f"Provenance of both energies: {self.provenance}. {self.caveat}".strip()
        if self.hypothetical:
            return (
                "Hypothetical on this board: no float32 kernel exists for it, and what one would "
                f"take is modelled. {said}"
            )
        if self.board_model == FLOAT_ARRAY:
            where = "at the supply of" if self.provenance == "metered" else "by a counter inside"
            return (
                f"The 32-bit joules were taken {where} the machine that computed in float32; "
                f"that was not the accelerator, which has no float32 kernel. {said}"
            )
        return said

    def as_dict(self) -> dict[str, Any]:
        """The comparison as summary.json holds it."""
        return {
            "baseline": self.baseline.key,
            "run": self.against,
            "energy_saving": self.saving,
            "energy_saving_half": self.half,
            "energy_provenance": self.provenance,
            "hypothetical": self.hypothetical,
            "sentence": f"{self.name}: {self.amount}. {self.note}",
        }


def caveat_of(ours: Mapping[str, object], theirs: Mapping[str, object]) -> str:
    """A sentence where two runs were planned for unlike lengths; empty where they were not."""
    key = "train.iterations"
    if ours.get(key) == theirs.get(key):
        return ""
    return (
        "The two were planned for unlike lengths of standard training: "
        f"{ours.get(key, 'unknown')} and {theirs.get(key, 'unknown')} iterations."
    )


def missing(baseline: Baseline, name: str) -> Comparison:
    """The comparison that cannot be made because nobody trained the baseline."""
    reason = (
        f"No finished run of {baseline.title} is in this set, so the saving against it is unknown."
    )
    return Comparison(baseline, name, None, None, reason=reason)


def not_comparable(
    baseline: Baseline, name: str, against: str, ours: str | None, theirs: str | None
) -> Comparison:
    """The comparison that cannot be made because the joules have nothing in common.

    `ours` and `theirs` say of which provenance they are; None where there are no joules.
    """
    reason = (
        f"The energies do not compare: those of {name} are {ours or 'missing'}, those of {against} "
        f"are {theirs or 'missing'}."
    )
    return Comparison(baseline, name, against, None, reason=reason)


def comparison_words(comparisons: Sequence[Comparison]) -> str:
    """'72 % less energy (simulated) than sgd-fp32 (hypothetical on this board), 43 % more than
    fixed8': all comparisons in one line; energy and provenance are named where they change."""
    parts, named = [], None
    for one in comparisons:
        words = one.amount
        if one.saving is not None:
            energy = "" if one.provenance == named else f" energy ({one.provenance})"
            mark = " (hypothetical on this board)" if one.hypothetical else ""
            words, named = f"{one.size}{energy} than {one.against}{mark}", one.provenance
        parts.append(words)
    return ", ".join(parts)
