# SPDX-License-Identifier: Apache-2.0
"""SCPI instruments on a line: their line ends, their modes, answers that nobody asked for."""

import pytest

from powermeter.errors import MeterError, NoPacketError, RefusedError
from powermeter.events import Malformed, Sample
from powermeter.meters.scpi.conversation import Conversation
from powermeter.meters.scpi.meter import DRIVER, Scpi
from powermeter.meters.scpi.protocol import (
    ENDINGS,
    PAUSE_S,
    ScpiDecoder,
    ending_of,
    parse_number,
    resolution,
)
from powermeter.simulation.device import Trace
from powermeter.simulation.faults import FaultyDevice
from scpi_parts import Clock, ScriptedTransport
from simulated_line import SimulatedLine

QUESTIONS = {
    "*IDN?": b"GW INSTEK,GPD-3303S,SN:EX000000,V2.11",
    "MEAS:VOLT?": b"12.034V",
    "MEAS:CURR?": b"0.217A",
    "MEAS:POW?": b"2.611W",
    "SYST:ERR?": b'+0,"No error"',
}


class Instrument(ScriptedTransport):
    """Answers questions as `answers` says, all else with `otherwise`; it has a remote mode or not.

    An answer takes 20 ms; its bytes come one by one, 1 ms apart.
    """

    def __init__(self, answers, end, clock, otherwise=None, remote=None):
        super().__init__({}, clock)
        self.lines = {question: answer + end for question, answer in answers.items()}
        self.end, self.otherwise, self.remote, self.due = end, otherwise, remote, []
        self.errors = []

    def write(self, data):
        self.written.append(data)
        question = data.decode().strip()
        if question == "SYST:REM" and self.remote is not None:
            self.remote, answer = True, b""
        elif self.remote is False and question.startswith("MEAS"):
            self.errors.append(b'+550,"Command not allowed in local"' + self.end)
            answer = b""
        elif question == "SYST:ERR?" and self.errors:
            answer = self.errors.pop(0)
        else:
            answer = self.lines.get(question, (self.otherwise or b"") + self.end)
            answer = b"" if answer == self.end else answer
        begun = max([self.clock.now, *(time for time, _ in self.due)]) + 0.02
        self.due += [(begun + 0.001 * n, bytes([byte])) for n, byte in enumerate(answer)]

    def read(self, timeout_s):
        until = self.clock.now + timeout_s
        if self.due and self.due[0][0] <= until:
            self.clock.now = max(self.clock.now, self.due[0][0])
        else:
            self.clock.now = until
        ready = [byte for time, byte in self.due if time <= self.clock.now]
        self.due = self.due[len(ready) :]
        return b"".join(ready)


def meter_on(settings=None, **instrument):
    clock = Clock()
    line = Instrument(
        instrument.pop("answers", QUESTIONS), instrument.pop("end", b"\r\n"), clock, **instrument
    )
    return Scpi(line, settings=settings, clock=clock), line


def chunks_of(meter, line, seconds):
    """(time, bytes) of the next `seconds`."""
    found, until = [], line.clock() + seconds
    while line.clock() < until:
        if raw := meter.receive(0.05):
            found.append((line.clock(), raw))
    return found


@pytest.mark.parametrize("known", [True, False], ids=["set", "found"])
@pytest.mark.parametrize("question", QUESTIONS)
@pytest.mark.parametrize("ending", ENDINGS)
def test_every_question_with_every_line_end(ending, question, known):
    clock = Clock()
    line = Instrument(QUESTIONS, ENDINGS[ending], clock)
    talk = Conversation(line, 1.0, clock, ending if known else None)
    began = clock.now
    assert talk.ask(question) == QUESTIONS[question]
    assert talk.ending == ending
    assert clock.now - began < 0.5
    assert talk.ask(question) == QUESTIONS[question]
    assert talk.unasked == 0


@pytest.mark.parametrize("settings", [{}, {"power": "", "errors": ""}], ids=["all", "two"])
@pytest.mark.parametrize("known", [True, False], ids=["set", "found"])
@pytest.mark.parametrize("ending", ENDINGS)
def test_readings_with_every_line_end(ending, known, settings):
    forced = {"line_end": ending} if known else {}
    meter, line = meter_on(settings | forced, end=ENDINGS[ending])
    meter.open()
    assert meter.identity()["line_end"] == ending
    assert bool(meter.notes) == (ending == "none")  # a cut answer cannot be told from a whole one
    chunks = chunks_of(meter, line, 10.0)
    decoder = DRIVER.decoder(meter.identity())
    events = [event for time, raw in chunks for event in decoder.feed(raw, time)]
    assert {type(event) for event in events} == {Sample}
    assert len(events) == pytest.approx(10.0 / meter.period_s, abs=1)
    for sample in events:
        assert (sample.voltage_v, sample.current_a) == (12.034, 0.217)
        assert sample.power_w == pytest.approx(2.611, abs=0.001)
    assert events == [event for time, raw in chunks for event in meter.decode(raw, time)]


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_simulated_supply_with_every_line_end(ending):
    device = DRIVER.simulator(3, ending=ending, needs_remote=True)
    line = SimulatedLine(FaultyDevice(device, [], seed=1), Trace([(100, 2.6)]))
    meter = DRIVER.meter(line, provenance="simulated", clock=line.clock)
    meter.open()
    assert device.remote
    chunks = chunks_of(meter, line, 20)
    events = [event for time, raw in chunks for event in meter.decode(raw, time)]
    assert {type(event) for event in events} == {Sample}
    assert all(event.power_w == pytest.approx(2.6, rel=0.011) for event in events)
    meter.close()
    assert not device.remote


def test_the_decoder_finds_the_pauses_between_the_stamps_again():
    decoder = ScpiDecoder(("voltage", "current"), 0.5, "OK", "none")
    assert decoder.feed(b"12.0", 1.0) == []
    assert decoder.feed(b"34", 1.001) == []
    assert decoder.feed(b"0.217", 1.001 + PAUSE_S) == []
    assert decoder.pending == 11
    (sample,) = decoder.feed(b"OK", 1.2)
    assert sample == Sample(1, 1.001 + PAUSE_S, 12.034, 0.217, pytest.approx(2.611, abs=0.001))
    assert decoder.pending == 0
    decoder.feed(b"12.0", 2.0)
    decoder.feed(b"34", 2.0 + PAUSE_S)  # it paused within the number
    decoder.feed(b"0.217", 2.0 + 2 * PAUSE_S)
    (event,) = decoder.feed(b"OK", 2.3)
    assert isinstance(event, Malformed)


@pytest.mark.parametrize(
    ("answer", "ending"),
    [(b"1\r\n", "crlf"), (b"1\n", "lf"), (b"\r\n1\r", "cr"), (b"1", "none"), (b"1\n2\r\n", "lf")],
)
def test_the_end_of_an_answer(answer, ending):
    assert ending_of(answer) == ending


def test_an_instrument_that_answers_every_command_shifts_no_answer():
    answers = {q: a for q, a in QUESTIONS.items() if q != "SYST:ERR?"}
    meter, line = meter_on(answers=answers, otherwise=b"ERR")
    meter.open()
    assert b"*CLS\r\n" not in line.written
    assert meter.notes == ["what came without a question was left out (1 times, first 'ERR')"]
    assert meter.identity()["ending"] == QUESTIONS["*IDN?"].decode()
    events = [e for time, raw in chunks_of(meter, line, 3) for e in meter.decode(raw, time)]
    assert {(e.voltage_v, e.current_a, e.power_w) for e in events} == {(12.034, 0.217, 2.611)}
    meter.close()
    assert b"SYST:LOC\r\n" not in line.written  # it did not go remote


def test_what_is_left_over_is_no_answer_and_is_counted():
    clock = Clock()
    answers = {b"*IDN?\r\n": [b"A,B,C,D\r\nOK\r\n"], b"MEAS:VOLT?\r\n": [b"12\r\n"]}
    line = ScriptedTransport(answers, clock)
    talk = Conversation(line, 1.0, clock)
    assert talk.ask("*IDN?") == b"A,B,C,D"
    line.waiting = b"late\r\n"
    assert talk.ask("MEAS:VOLT?") == b"12"
    assert (talk.unasked, talk.first_unasked) == (2, b"OK")


@pytest.mark.parametrize("wish", ["auto", "yes"])
def test_remote_mode_is_entered_and_left(wish):
    meter, line = meter_on({"remote": wish}, remote=False)
    meter.open()
    assert meter.identity()["remote"] is True
    assert any(
        isinstance(e, Sample) for t, r in chunks_of(meter, line, 1) for e in meter.decode(r, t)
    )
    meter.close()
    meter.close()
    assert line.written.count(b"SYST:LOC\r\n") == 1


def test_remote_mode_that_is_not_wanted_or_not_known():
    meter, line = meter_on({"remote": "no"}, remote=False)
    with pytest.raises(RefusedError, match=r"550,\"Command not allowed in local\""):
        meter.open()
    meter.close()
    assert not [command for command in line.written if command.startswith(b"SYST:REM")]
    assert b"SYST:LOC\r\n" not in line.written
    meter, _ = meter_on({"remote": "yes"}, otherwise=b"ERR")
    with pytest.raises(RefusedError, match="refused 'SYST:REM': ERR"):
        meter.open()


def test_what_came_is_shown_where_it_is_no_answer():
    clock = Clock()
    line = ScriptedTransport({b"*IDN?\r\n": [b"\xfe\x80\xfe\r"]}, clock)
    with pytest.raises(NoPacketError, match=r"4 bytes came and no answer to \*IDN\?, but .*xfe"):
        Scpi(line, clock=clock).open()
    line = ScriptedTransport({b"*IDN?\r\n": [b"A,B,C,D"]}, clock)
    with pytest.raises(MeterError, match=r"no answer to \*IDN\?, but 'A,B,C,D'"):
        Scpi(line, settings={"line_end": "lf"}, clock=clock).open()


@pytest.mark.parametrize(
    ("field", "unit", "value", "digit"),
    [
        (b"12.034V", b"V", 12.034, 1e-3),
        (b"217mA", b"A", 0.217, 1e-3),
        (b"217.50 mA", b"A", 0.2175, 1e-5),
        (b"0.25KW", b"W", 250.0, 10.0),
        (b"350uA", b"A", 350e-6, 1e-6),
        (b"2.611 W", b"W", 2.611, 1e-3),
    ],
)
def test_numbers_with_units(field, unit, value, digit):
    assert parse_number(field, unit) == pytest.approx(value, rel=1e-12)
    assert resolution(field, unit) == pytest.approx(digit)
