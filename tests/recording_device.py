# SPDX-License-Identifier: Apache-2.0
"""A device that writes down every call: what went in and what came out, as plain arrays.

Tensors that the device hands out are wrapped, so that a host that looks into one fails here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from e2train.device import Convolved, Peaked, PsgResult

TENSOR_RESULTS = {
    "put",
    "take",
    "merge",
    "narrow",
    "shortcut_pad",
    "mask",
    "shortcut_pad_backward",
    "add",
    "spread",
}


@dataclass(frozen=True)
class Handle:
    """An opaque tensor of the recorded device."""

    tensor: Any


@dataclass(frozen=True)
class Call:
    """One operation: its inputs (arguments by position and by name) and its outputs."""

    name: str
    inputs: dict[str, Any]
    outputs: tuple[Any, ...]


class RecordingDevice:
    """Passes every operation on to `inner` and keeps it in `calls`."""

    def __init__(self, inner: Any) -> None:
        self.inner = inner
        self.calls: list[Call] = []

    def named(self, name: str) -> list[Call]:
        """The calls of one operation."""
        return [call for call in self.calls if call.name == name]

    def __getattr__(self, name: str) -> Callable[..., Any]:
        operation = getattr(self.inner, name)

        def call(*positional: Any, **by_name: Any) -> Any:
            found = operation(
                *(_inside(value) for value in positional),
                **{key: _inside(value) for key, value in by_name.items()},
            )
            handed = self._handles(name, found)
            given = {str(index): value for index, value in enumerate(positional)} | by_name
            inputs = {key: self._plain(value) for key, value in given.items()}
            outputs = handed if isinstance(handed, tuple) else (handed,)
            if isinstance(handed, PsgResult):
                outputs = (handed.sign, handed.predicted, handed.max_msb)
            kept = tuple(self._plain(value) for value in outputs)
            self.calls.append(Call(name, inputs, kept))
            return handed

        return call

    def _handles(self, name: str, found: Any) -> Any:
        if name in TENSOR_RESULTS:
            return Handle(found)
        if isinstance(found, Peaked):
            return Peaked(Handle(found.tensor), found.peak)
        if isinstance(found, Convolved):
            return found._replace(y=Handle(found.y))
        return found

    def _plain(self, value: Any) -> Any:
        array = self.inner.get(value.tensor) if isinstance(value, Handle) else value
        return np.array(array) if isinstance(array, np.ndarray) else array


def _inside(value: Any) -> Any:
    return value.tensor if isinstance(value, Handle) else value


def same_calls(found: list[Call], expected: list[Call]) -> None:
    """Assert that two recordings hold the same operations with the same integers."""
    assert [call.name for call in found] == [call.name for call in expected]
    for number, (mine, theirs) in enumerate(zip(found, expected, strict=True)):
        where = f"call {number}, {mine.name}"
        assert mine.inputs.keys() == theirs.inputs.keys(), where
        for key, value in mine.inputs.items():
            same(value, theirs.inputs[key], f"{where}, input {key}")
        assert len(mine.outputs) == len(theirs.outputs), where
        for index, value in enumerate(mine.outputs):
            same(value, theirs.outputs[index], f"{where}, output {index}")


def same(found: Any, expected: Any, where: str) -> None:
    """Assert equality; of arrays in dtype, shape and every element."""
    if not isinstance(found, np.ndarray):
        assert found == expected, f"{where}: {found} instead of {expected}"
        return
    assert found.dtype == expected.dtype, f"{where}: {found.dtype} instead of {expected.dtype}"
    assert found.shape == expected.shape, where
    differ = np.flatnonzero(found.ravel() != expected.ravel())
    assert not len(differ), f"{where}: {len(differ)} of {found.size} elements differ"
