# SPDX-License-Identifier: Apache-2.0
"""Coverage-guided fuzzing of the meters' decoders and of what reads recordings (atheris).

    python tests/fuzz/fuzz_meters.py -max_total_time=60 -max_len=600

An exception that is not a `MeterError`, a hang (libFuzzer's -timeout) or a buffer that grows ends
the run with an error and the input that did it.
"""

import sys
import tempfile
from pathlib import Path

import atheris

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "energy"))

with atheris.instrument_imports(include=["powermeter"]):
    from meter_cases import CASES, held_bytes, identity_and_stream
    from powermeter.errors import MeterError
    from powermeter.meters import find_driver
    from powermeter.record.rawlog import read_raw
    from powermeter.simulation.faults import Fault

STREAMS = [(case.driver, *identity_and_stream(case)) for case in CASES]
_HELD = 20_000


def one_input(data: bytes) -> None:
    """The first byte picks what is tried, the rest is its input."""
    provider = atheris.FuzzedDataProvider(data)
    choice = provider.ConsumeIntInRange(0, len(STREAMS) + 1)
    if choice < len(STREAMS):
        decode(provider, *STREAMS[choice])
    elif choice == len(STREAMS):
        read_times(provider.ConsumeBytes(600))
    else:
        order_fault(provider.ConsumeUnicodeNoSurrogates(60))


def decode(provider: atheris.FuzzedDataProvider, name: str, identity: dict, stream: bytes) -> None:
    """A damaged piece of the real stream, in chunks with any times between."""
    decoder = find_driver(name).decoder(identity)
    time_s = 0.0
    while provider.remaining_bytes():
        time_s += provider.ConsumeProbability() * 3
        begin = provider.ConsumeIntInRange(0, len(stream))
        decoder.feed(stream[begin : begin + provider.ConsumeIntInRange(0, 120)], time_s)
        decoder.feed(provider.ConsumeBytes(provider.ConsumeIntInRange(1, 60)), time_s)
    if held_bytes(decoder) > _HELD:
        raise MemoryError(f"{name}: the decoder holds {held_bytes(decoder)} bytes")


def read_times(table: bytes) -> None:
    """Any `raw.times` beside a raw log."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "raw.log").write_bytes(b"D,1,2,3,4\n" * 20)
        (Path(folder) / "raw.times").write_bytes(b"offset,host_time_s,mark\n" + table)
        try:
            size = sum(len(chunk.data) for chunk in read_raw(Path(folder)))
        except MeterError:
            return
        if size > 200:
            raise AssertionError("bytes that no log holds")


def order_fault(text: str) -> None:
    """Any text as a fault to order."""
    try:
        Fault.parse(text)
    except MeterError:
        return


if __name__ == "__main__":
    atheris.Setup(sys.argv, one_input)
    atheris.Fuzz()
