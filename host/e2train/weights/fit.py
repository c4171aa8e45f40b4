# SPDX-License-Identifier: Apache-2.0
"""Another program's weights into a network of ours, or the reasons why they do not fit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ..errors import UserError
from ..network.parameters import Parameters
from ..network.spec import NetworkSpec
from .files import Weights
from .layouts import CLASSIFIER, PROJECTION, Layout, foreign, layouts

SHOWN = 4  # names of each kind in an error's one line


@dataclass(frozen=True)
class Normalisation:
    """What a network's input is: (pixel - mean) / deviation a channel, of pixels 0 to 255."""

    mean: tuple[float, ...]
    deviation: tuple[float, ...]


@dataclass(frozen=True)
class Fitted:
    """How weights were taken over.

    layout: whose names they have; classes: how many the file's own classifier tells apart, where
    it was replaced by a new one (None where it was kept).
    """

    layout: str
    classes: int | None


def fit(weights: Weights, spec: NetworkSpec, parameters: Parameters, renew: bool) -> Fitted:
    """Copy the weights over `parameters`; all of them or, with UserError, none.

    A classifier of other classes stays as `parameters` has it (so does any with `renew`). The
    error lists what is missing, left over or of another shape.
    """
    layout = _layout(weights, spec)
    found = {here: weights.arrays.get(there) for here, there in layout.keys.items()}
    wanted = {name: parameters[name].shape for name in layout.keys}
    classes = _other_classes(found, wanted, renew)
    missing = [layout.keys[name] for name, array in found.items() if array is None]
    left = sorted(weights.arrays.keys() - set(layout.keys.values()))
    kept = [n for n in found if classes is None or n not in CLASSIFIER]
    misshapen = [
        f"{layout.keys[name]} {array.shape} in place of {wanted[name]}"
        for name in kept
        if (array := found[name]) is not None and not _fits(array.shape, wanted[name])
    ]
    _refuse(weights, spec, missing, left, misshapen)
    for name in kept:
        parameters[name][...] = np.reshape(found[name], wanted[name])  # type: ignore[arg-type]
    return Fitted(layout.name, classes)


def _layout(weights: Weights, spec: NetworkSpec) -> Layout:
    names = set(weights.arrays)
    known = layouts(spec)
    best = max(known, key=lambda layout: len(names & set(layout.keys.values())))
    share = len(names & set(best.keys.values()))
    kind = foreign(names)
    if share and (kind is None or not _another(kind, spec)):
        return next((one for one in known if one.marker in names), best)
    first = ", ".join(sorted(names)[:SHOWN])
    if kind is not None:
        raise UserError(f"{weights.path}: is of {kind}, and the network here is {spec.name}")
    examples = " or ".join(layout.marker for layout in known)
    raise UserError(
        f"{weights.path}: its tensors ({first}, ...) have no names known for {spec.name}, such as "
        + examples
    )


def _another(kind: str, spec: NetworkSpec) -> bool:
    return (kind == "a MobileNetV2") != (spec.name == "mobilenet-v2")


def _fits(shape: tuple[int, ...], wanted: tuple[int, ...]) -> bool:
    """A linear layer [K, C] is a 1x1 convolution [K, C, 1, 1] here."""
    return shape == wanted or (len(wanted) == 4 and (*shape, 1, 1) == wanted)


def _other_classes(
    found: Mapping[str, np.ndarray | None], wanted: Mapping[str, tuple[int, ...]], renew: bool
) -> int | None:
    """The file's number of classes, if its classifier is whole but is not to be used."""
    weight, bias = (found[name] for name in CLASSIFIER)
    if weight is None or bias is None or weight.ndim not in (2, 4) or bias.ndim != 1:
        return None
    classes, features = weight.shape[:2]
    whole = len(bias) == classes and features == wanted[CLASSIFIER[0]][1]
    other = classes != wanted[CLASSIFIER[0]][0]
    return classes if whole and (other or renew) else None


def _refuse(
    weights: Weights,
    spec: NetworkSpec,
    missing: Sequence[str],
    left: Sequence[str],
    misshapen: Sequence[str],
) -> None:
    wrong = [
        f"{len(names)} {what}: {_some(names)}"
        for what, names in (("missing", missing), ("left over", left), ("misshapen", misshapen))
        if names
    ]
    if not wrong:
        return
    projections = any(PROJECTION.fullmatch(name) for name in left)
    hint = (
        "; shortcuts with weights of their own (option B) are not in the networks here, whose "
        "shortcuts are option A"
        if projections
        else ""
    )
    raise UserError(f"{weights.path}: is not of {spec.name}: {'; '.join(wrong)}{hint}")


def _some(names: Sequence[str]) -> str:
    more = len(names) - SHOWN
    return ", ".join(names[:SHOWN]) + (f" and {more} more" if more > 0 else "")


def renormalise(
    parameters: Parameters, stem: str, theirs: Normalisation, ours: Normalisation
) -> None:
    """Change the first unit's weights so that our input does to it what theirs did.

    Scales go into the convolution; a difference of means is a constant, which the batch norm's
    running mean takes up (but for the picture's border, which is 0 in either input).
    """
    weight, mean = parameters[f"{stem}.weight"], parameters[f"{stem}.running_mean"]
    their_mean, our_mean = (np.asarray(one.mean, np.float64) for one in (theirs, ours))
    their_deviation, our_deviation = (
        np.asarray(one.deviation, np.float64) for one in (theirs, ours)
    )
    constant = (our_mean - their_mean) / their_deviation
    mean -= (weight.astype(np.float64).sum(axis=(2, 3)) @ constant).astype(np.float32)
    weight *= (our_deviation / their_deviation).astype(np.float32)[None, :, None, None]
