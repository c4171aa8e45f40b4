# SPDX-License-Identifier: Apache-2.0
"""What the recorder obtains of the scheduler, and that it goes on without."""

import os
import subprocess
import sys

import pytest

from powermeter.record.priority import go_first

ASK = """
import os
from powermeter.record.priority import go_first
print(go_first(), os.sched_getscheduler(0) == os.SCHED_RR, os.getpriority(os.PRIO_PROCESS, 0))
"""


def test_what_it_says_is_what_the_system_says():
    done = subprocess.run([sys.executable, "-c", ASK], capture_output=True, text=True, check=True)
    *said, round_robin, nice = done.stdout.split()
    assert (said == ["real-time"]) == (round_robin == "True")
    if said == ["nice", "-10"]:
        assert nice == "-10"


def refuse(*_):
    raise PermissionError(1, "Operation not permitted")


@pytest.mark.parametrize(("may_be_nice", "said"), [(True, "nice -10"), (False, "ordinary")])
def test_without_the_right_it_takes_what_there_is(monkeypatch, may_be_nice, said):
    asked = []
    monkeypatch.setattr(os, "sched_setscheduler", refuse)
    monkeypatch.setattr(os, "setpriority", (lambda *a: asked.append(a)) if may_be_nice else refuse)
    assert go_first() == said
    assert asked == ([(os.PRIO_PROCESS, 0, -10)] if may_be_nice else [])
