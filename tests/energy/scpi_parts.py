# SPDX-License-Identifier: Apache-2.0
"""A scripted instrument on a transport, for the conversations of SCPI drivers in exact bytes."""


class Clock:
    """A host clock that moves only when something waits."""

    def __init__(self, now=1000.0):
        self.now = now

    def __call__(self):
        return self.now


class ScriptedTransport:
    """Answers each command with the bytes of `answers`: the next of a list, the last one again.

    Reading passes time on `clock`: all of the time-out where nothing has come.
    """

    name = "/dev/scripted"

    def __init__(self, answers, clock, waiting=b""):
        self.answers = {command: list(replies) for command, replies in answers.items()}
        self.clock, self.written, self.waiting, self.closed = clock, [], waiting, False

    def read(self, timeout_s):
        if not self.waiting:
            self.clock.now += timeout_s
        data, self.waiting = self.waiting, b""
        return data

    def write(self, data):
        self.written.append(data)
        replies = self.answers.get(data)
        if replies:
            self.waiting += replies.pop(0) if len(replies) > 1 else replies[0]

    def close(self):
        self.closed = True


def joules_between(trace, begin, end):
    """The energy of a trace of (seconds, watts) between two times, from its definition."""
    total, now = 0.0, 0.0
    for seconds, watts in trace:
        total += watts * max(0.0, min(end, now + seconds) - max(begin, now))
        now += seconds
    return total
