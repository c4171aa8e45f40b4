# SPDX-License-Identifier: Apache-2.0
"""The line of the PZEM modules: bytes to Modbus RTU frames to readings.

CRC and messages are those of pymodbus.

pymodbus's own framer is not used to cut the stream: when a CRC fails it throws away all that it
holds, what follows a frame in its buffer is dropped as well, and what was dropped is not said. From
a log of raw bytes that loses good replies and hides the bad ones. Here the stream is searched for
the next sound frame, byte by byte, and everything skipped is reported.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from pymodbus.framer import FramerRTU
from pymodbus.pdu import DecodePDU, ExceptionResponse, ModbusPDU
from pymodbus.pdu.register_message import ReadHoldingRegistersRequest, ReadInputRegistersRequest

from powermeter.events import Gap, Malformed, OverRange, Sample
from powermeter.meters.pzem.models import Model

READ_HOLDING, READ_INPUT, WRITE, RESET = 0x03, 0x04, 0x06, 0x42
_FUNCTIONS = (READ_HOLDING, READ_INPUT, RESET)  # that a driver asks for
_ERROR = 0x80
_HEAD, _CRC = 3, 2  # bytes that tell a frame's length, and that end it
_LONGEST = _HEAD + 2 * 10 + _CRC  # ten registers: no reply of these modules is longer
_EXCERPT = 40
_KEPT = 256  # bytes between two replies that are looked at as a whole: the longest RTU frame
_EARLY, _LATE = 0.25, 1.5  # periods
_FULL_SCALE = 1 / 1.1  # of the range; a mean above may hide a peak beyond its end
_STATE = ("seq", "malformed", "lost", "_last_s", "_energy", "_seen_s", "_turn")


class ResetEnergy(ModbusPDU):
    """Function 0x42: set the energy counter to zero; request and reply are alike."""

    function_code = RESET
    rtu_frame_size = 4


class Reply(NamedTuple):
    """A sound reply: `registers` of a read, none for a reset."""

    function: int
    registers: list[int]


class ModbusError(NamedTuple):
    """The module refused a request: 1 function, 2 address, 3 data, 4 fault of its own."""

    function: int
    code: int


class OtherTraffic(NamedTuple):
    """Sound frames that are no reply of the module: an echo of our requests, or other modules'.

    `line` shows the first of them. They harm nothing, and are told once.
    """

    line: str


_REPLIES, _REQUESTS = DecodePDU(False), DecodePDU(True)
_REPLIES.register(ResetEnergy)
_REQUESTS.register(ResetEnergy)
_FRAMER = FramerRTU(_REPLIES)


def read_input(address: int, count: int) -> bytes:
    """The request for input registers 0 to `count` - 1."""
    return frame(ReadInputRegistersRequest(address=0, count=count), address)


def read_holding(address: int, count: int) -> bytes:
    """The request for holding registers 0 to `count` - 1."""
    return frame(ReadHoldingRegistersRequest(address=0, count=count), address)


def reset_energy(address: int) -> bytes:
    """The request that sets the energy counter to zero."""
    return frame(ResetEnergy(), address)


def frame(message: ModbusPDU, address: int) -> bytes:
    """Address, function, content and CRC of a request or a reply."""
    payload = bytes([message.function_code]) + message.encode()
    return bytes(_FRAMER.encode(payload, address, 0))


def parse_request(data: bytes) -> ModbusPDU | None:
    """What a sound frame asks of a module; None if it has no such function."""
    return _REQUESTS.decode(data[1:-_CRC]) if data[1] in (*_FUNCTIONS, WRITE) else None


def request_length(data: bytes) -> int:
    """How long the request is whose address and function `data` begins with."""
    return (
        ResetEnergy.rtu_frame_size if data[1] == RESET else ReadInputRegistersRequest.rtu_frame_size
    )


def sound(data: bytes) -> bool:
    """Whether the CRC at the end of a frame is right."""
    return FramerRTU.check_CRC(data[:-_CRC], int.from_bytes(data[-_CRC:], "big"))


Item = Reply | ModbusError | Malformed | OtherTraffic


class ReplySplitter:
    """The replies of the module at `address`; however the stream is cut, they are the same.

    At most one reply's length and the longest frame are held between calls, and no bytes raise.
    """

    def __init__(self, address: int) -> None:
        self._address = address
        self._held = b""
        self._skipped = b""  # the beginning of what is no reply
        self._skipped_length = 0
        self._reported = 0  # so many of the following bytes were part of a frame with a wrong CRC

    @property
    def pending(self) -> int:
        """Bytes of a reply that is not complete yet."""
        return len(self._held)

    def clear(self) -> None:
        """Forget the reply that is not complete."""
        self._held, self._skipped = b"", b""
        self._skipped_length = self._reported = 0

    def feed(self, data: bytes) -> list[Item]:
        """The replies that `data` completes, and what lay between them."""
        found: list[Item] = []
        text, at = self._held + data, 0
        while len(text) - at >= _HEAD:
            length = self._length(text[at : at + _HEAD])
            if length is None:
                self._skip(text[at : at + 1])
                at += 1
            elif len(text) - at < length:
                break
            elif not sound(text[at : at + length]):
                self._report(found)
                found.append(_malformed(text[at : at + length], "the CRC is wrong"))
                self._reported = length - 1
                at += 1
            else:
                self._report(found)
                found.append(_reply(text[at : at + length]))
                self._reported = 0
                at += length
        self._held = text[at:]
        return found

    def _length(self, head: bytes) -> int | None:
        address, function, third = head
        if address != self._address or function & ~_ERROR not in _FUNCTIONS:
            return None
        if function & _ERROR:
            return ExceptionResponse.rtu_frame_size
        if function == RESET:
            return ResetEnergy.rtu_frame_size
        length = _HEAD + third + _CRC
        return length if third and third % 2 == 0 and length <= _LONGEST else None

    def _skip(self, byte: bytes) -> None:
        if self._reported:
            self._reported -= 1
            return
        self._skipped_length += 1
        if self._skipped_length <= _KEPT:
            self._skipped += byte

    def _report(self, found: list[Item]) -> None:
        if 0 < self._skipped_length <= _KEPT and _whole_frames(self._skipped):
            found.append(OtherTraffic(self._skipped[:_EXCERPT].hex(" ")))
        elif self._skipped_length:
            reason = f"{self._skipped_length} bytes that are no reply"
            found.append(_malformed(self._skipped, reason))
        self._skipped, self._skipped_length = b"", 0


def _whole_frames(data: bytes) -> bool:
    """Whether `data` is nothing but sound requests and replies, of whichever address."""
    at = 0
    while at < len(data):
        rest = data[at:]
        lengths = [ReadInputRegistersRequest.rtu_frame_size, ResetEnergy.rtu_frame_size]
        lengths += [ExceptionResponse.rtu_frame_size, _HEAD + rest[2] + _CRC if rest[2:] else 0]
        fitting = [n for n in lengths if _HEAD < n <= len(rest) and sound(rest[:n])]
        if not fitting:
            return False
        at += fitting[0]
    return True


def _reply(data: bytes) -> Reply | ModbusError | Malformed:
    message = _REPLIES.decode(data[1:-_CRC])
    if message is None:
        return _malformed(data, "the CRC is right and the content is not")
    if isinstance(message, ExceptionResponse):
        return ModbusError(message.function_code & ~_ERROR, message.exception_code)
    return Reply(message.function_code, list(message.registers))


def _malformed(data: bytes, reason: str) -> Malformed:
    return Malformed(data[:_EXCERPT].hex(" "), reason)


class PzemDecoder:
    """A pure decoder: the same bytes with the same arrival times give the same events.

    A reading is dated by the arrival of its reply, and requests go out each `period_s`. So a reply
    that is missing or late is a gap before the next reading. One that comes sooner than a quarter
    of a period after another, or is not as long as the request of its turn asked (`Model`), answers
    no request of its own: it is left out as `stale`. An energy counter that decreases has been
    reset. No bytes raise, memory is bounded.
    """

    def __init__(self, model: Model, address: int, period_s: float, range_a: float) -> None:
        self._model, self._period_s, self._range_a = model, period_s, range_a
        self._splitter = ReplySplitter(address)
        self._last_s: float | None = None
        self._energy: int | None = None
        self._seen_s = 0.0  # when the last reply came that was no early one, reading or not,
        self._turn = 0  # and its turn
        self._told = False  # that there is other traffic
        self.seq = 0
        self.malformed = 0
        self.lost = 0

    @property
    def pending(self) -> int:
        """Bytes of a reply that is not complete yet."""
        return self._splitter.pending

    def feed(self, data: bytes, host_time_s: float) -> list[NamedTuple]:
        """Events of the replies that `data`, which was there at `host_time_s`, completes."""
        events: list[NamedTuple] = []
        for item in self._splitter.feed(data):
            self.malformed += isinstance(item, Malformed)
            if isinstance(item, OtherTraffic):
                if not self._told:
                    events.append(item)
                self._told = True
            elif not isinstance(item, Reply):
                events.append(item)
            elif item.function == READ_INPUT:
                self._reading(item.registers, host_time_s, events)
        return events

    def state(self) -> dict[str, Any]:
        """JSON-able: all that decoding of the following whole replies depends upon."""
        return {name: getattr(self, name) for name in _STATE}

    def restore(self, state: dict[str, Any]) -> None:
        """Take up at a reply's end where `state()` was taken."""
        self._splitter.clear()
        for name in _STATE:
            setattr(self, name, state[name])

    def _reading(self, registers: list[int], time_s: float, events: list[NamedTuple]) -> None:
        model = self._model
        if len(registers) not in model.lengths:
            self.malformed += 1
            reason = f"{len(registers)} registers are no reading of a {model.name}"
            events.append(Malformed(str(registers), reason))
            return
        energy, turn = model.energy.count(registers), model.lengths.index(len(registers))
        if not self._follows(energy, turn, time_s, events):
            return
        self._last_s, self._energy = time_s, energy
        self._seen_s, self._turn = time_s, turn
        volts, amperes = model.voltage.value(registers), model.current.value(registers)
        if amperes > self._range_a * _FULL_SCALE:
            events.append(OverRange(self.seq, time_s, "current"))
        elif volts > model.volts_max:
            events.append(OverRange(self.seq, time_s, "voltage"))
        watts, hours = model.power.value(registers), model.energy.value(registers)
        events.append(Sample(self.seq, time_s, volts, amperes, watts, hours))
        self.seq += 1

    def _follows(self, energy: int, turn: int, time_s: float, events: list[NamedTuple]) -> bool:
        """Report what lies between the last reading and this one; False if this is none."""
        if self._last_s is None or self._energy is None:
            return True
        elapsed = (time_s - self._last_s) / self._period_s
        if energy < self._energy or elapsed < 0:
            events.append(Gap("restart", time_s, 0))
            return True
        if elapsed < _EARLY or not self._next_turn(turn, time_s):
            self.lost += 1
            events.append(Gap("stale", time_s, 1))
            return False
        if elapsed > _LATE:
            lost = max(1, round(elapsed) - 1)
            self.lost += lost
            events.append(Gap("time", time_s, lost))
        return True

    def _next_turn(self, turn: int, time_s: float) -> bool:
        """Whether `turn` follows the last reply's after as many periods as have passed since.

        Compared with the last reply, not the last reading: so the first two sound replies after a
        disturbance agree with each other, whatever was before.
        """
        turns = round((time_s - self._seen_s) / self._period_s)
        expected = (self._turn + turns) % len(self._model.lengths)
        self._seen_s, self._turn = time_s, turn
        return turn == expected
