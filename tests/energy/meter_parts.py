# SPDX-License-Identifier: Apache-2.0
"""What the tests of the slow serial meters share: a scripted line, and listening to a meter."""


class Scripted:
    """Answers each request with the bytes of `answers`; time passes while it is read."""

    name = "/dev/scripted"

    def __init__(self, answers, waiting=b""):
        self.answers, self.written, self.waiting, self.now = answers, [], waiting, 0.0

    def read(self, timeout_s):
        data, self.waiting = self.waiting, b""
        self.now += 0.0 if data else timeout_s
        return data

    def write(self, data):
        self.written.append((self.now, data))
        self.waiting += self.answers.get(data, b"")

    def close(self):
        self.now = float("inf")

    def clock(self):
        return self.now

    @property
    def sent(self):
        return [data for _, data in self.written]


def listen(meter, line, seconds):
    """(host time, bytes) of each chunk of the next `seconds`."""
    chunks, until = [], line.elapsed_s + seconds
    while line.elapsed_s < until:
        if raw := meter.receive(0.05):
            chunks.append((line.clock(), raw))
    return chunks


def events_of(meter, chunks):
    """What the meter's decoder makes of `listen`'s chunks."""
    return [event for time_s, raw in chunks for event in meter.decode(raw, time_s)]


def with_crc(data):
    """A Modbus frame: CRC-16 from its definition, polynomial 0xA001 (reflected), all ones first."""
    value = 0xFFFF
    for byte in data:
        value ^= byte
        for _ in range(8):
            value = value >> 1 ^ (0xA001 if value & 1 else 0)
    return data + bytes([value & 0xFF, value >> 8])
