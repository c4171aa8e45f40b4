# SPDX-License-Identifier: Apache-2.0
"""From a recording's bytes and their times to events: the same live and when read again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from powermeter.events import End, Gap, Pause, Sample
from powermeter.meters import find_driver
from powermeter.record.rawlog import DIED, ENDED, OPENED, PAUSED, Chunk


class EventStream:
    """The events of a recording described by `meta` (its `meter.json`)."""

    def __init__(self, meta: dict[str, Any]) -> None:
        self._driver, self._identity = find_driver(meta["driver"]), meta["identity"]
        self._decoder = self._driver.decoder(self._identity)
        self._last_device_s = 0.0

    def feed(self, chunk: Chunk) -> Sequence[NamedTuple]:
        """Events that `chunk` completes. A mark drops what was not complete before it."""
        if chunk.mark:
            self._decoder = self._driver.decoder(self._identity)
        if chunk.mark == OPENED:
            return [Gap("unplugged", self._last_device_s, 0)]
        if chunk.mark == PAUSED:
            return [Pause(chunk.host_time_s)]
        if chunk.mark.startswith((ENDED, DIED)):
            return [End(chunk.host_time_s, chunk.mark.partition(DIED)[2])]
        events = self._decoder.feed(chunk.data, chunk.host_time_s)
        for event in reversed(events):
            if isinstance(event, Sample):
                self._last_device_s = event.device_time_s
                break
        return events

    def state(self) -> dict[str, Any]:
        """JSON-able: all that the following whole lines or packets depend upon."""
        return {"decoder": self._decoder.state(), "last_device_s": self._last_device_s}

    def restore(self, state: dict[str, Any]) -> None:
        """Take up at a line or packet boundary where `state()` was taken."""
        self._decoder.restore(state["decoder"])
        self._last_device_s = state["last_device_s"]
