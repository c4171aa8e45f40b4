# SPDX-License-Identifier: Apache-2.0
"""pynq's drivers of the two blocks with registers; importing this module registers them."""

from __future__ import annotations

from pynq import DefaultIP

from .. import generated as hw

WATCH_MODULE = "e2train_bus_watch"
WATCH_KNOWN_BY = 0x45325731
WATCH_SEEN, WATCH_IDENTITY = 0x00, 0x04


class AcceleratorIP(DefaultIP):
    """The kernel's register file."""

    bindto = (f"{hw.TARGET_VENDOR}:hls:{hw.TARGET_TOP}:{hw.TARGET_VERSION}",)


class BusWatchIP(DefaultIP):
    """What remembers responses other than OKAY (hls/rtl/e2train_bus_watch.v)."""

    bindto = (f"xilinx.com:module_ref:{WATCH_MODULE}:1.0",)

    def known(self) -> bool:
        """Whether the block at this address is one."""
        return self.read(WATCH_IDENTITY) == WATCH_KNOWN_BY

    def taken(self) -> int:
        """The bits seen since the last call, four a port; they are cleared."""
        seen = self.read(WATCH_SEEN)
        if seen:
            self.write(WATCH_SEEN, seen)
        return seen
