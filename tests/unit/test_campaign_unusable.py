# SPDX-License-Identifier: Apache-2.0
"""A campaign's file that cannot be used: every command says why in one line and ends with 2."""

import errno
import fcntl
import os
import pickle
import sqlite3
import stat
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

import e2train.campaign.live
import e2train.campaign.run  # noqa: F401  (the command imports them late)
from e2train import cli
from e2train.campaign import store as store_module
from e2train.campaign.cell import Job, run_cell
from e2train.campaign.lease import Heartbeat
from e2train.campaign.plan import load_campaign
from e2train.campaign.schema import RESULT_COLUMNS
from e2train.campaign.store import Claim, Store, StoreLocked
from e2train.errors import UserError
from e2train.files import LocksMissing, check_locks, locked

TEXT = 'on = [["resnet-8", "digits"]]\nidle_seconds = 0\n[[methods]]\nname = "p"\n'
COMMANDS = ("run", "status", "pause", "report", "export")
OTHER_USER = 12345
CELL = "p.resnet-8.digits.seed0"


@pytest.fixture
def campaign(monkeypatch):
    """A campaign's folder, planned but not run, in a place that every user can reach."""
    monkeypatch.setattr(store_module, "LOOK_S", 0.2)
    monkeypatch.setattr(Store.__init__, "__defaults__", (0.2, *Store.__init__.__defaults__[1:]))
    monkeypatch.setattr(store_module, "_TURN_S", 0.05)
    with tempfile.TemporaryDirectory(dir="/tmp") as name:
        folder = Path(name)
        folder.chmod(0o777)
        (folder / "c.toml").write_text(TEXT)
        Store.create(folder / "out").enter(load_campaign(folder / "c.toml"), "none")
        yield folder / "out"


def command_of(name, folder):
    if name == "run":
        file = folder.parent / "c.toml"
        return ["campaign", "run", str(file), "--out", str(folder), "--meter", "none", "--quiet"]
    return ["campaign", name, str(folder)]


def refused(capsys, name, folder, *words):
    """The one line with which the command ends."""
    assert cli.run(command_of(name, folder)) == 2
    said = capsys.readouterr()
    (line,) = said.err.splitlines()
    for word in ("e2train: ", str(folder), *words):
        assert word in line, line
    assert "Traceback" not in said.out
    return line


@contextmanager
def held(folder, seconds=None):
    """The file as another program holds it while it writes."""
    with closing(
        sqlite3.connect(folder / "campaign.sqlite", isolation_level=None, check_same_thread=False)
    ) as other:
        other.execute("BEGIN EXCLUSIVE")
        timer = threading.Timer(seconds or 60.0, other.rollback)
        timer.start()
        yield
        timer.cancel()
        timer.join()
        if other.in_transaction:
            other.rollback()


@pytest.mark.parametrize("name", COMMANDS)
def test_locked(name, campaign, capsys):
    with held(campaign):
        refused(capsys, name, campaign, "still locked by another program after 0 s")
    assert cli.run(["campaign", "status", str(campaign)]) == 0


@pytest.mark.parametrize("name", COMMANDS)
def test_damaged(name, campaign, capsys):
    file = campaign / "campaign.sqlite"
    content = bytearray(file.read_bytes())
    content[200:4096] = b"\xa5" * 3896  # the page that lists the tables
    content[4196:] = b"\xa5" * (len(content) - 4196)
    file.write_bytes(content)
    refused(capsys, name, campaign, "campaign.sqlite: is damaged", "--out")


@pytest.mark.parametrize("name", COMMANDS)
@pytest.mark.parametrize("content", [b"some text, longer than a header " * 64, b""])
def test_not_a_campaign(name, content, campaign, capsys):
    (campaign / "campaign.sqlite").write_bytes(content)
    refused(capsys, name, campaign, "campaign.sqlite: not a campaign of this program")


@pytest.mark.parametrize("name", COMMANDS)
def test_of_another_program(name, campaign, capsys):
    (campaign / "campaign.sqlite").unlink()
    with closing(sqlite3.connect(campaign / "campaign.sqlite")) as base:
        base.execute("CREATE TABLE bookmarks (address TEXT)")
    refused(capsys, name, campaign, "not a campaign of this program")


@pytest.mark.parametrize("name", COMMANDS)
def test_of_another_version(name, campaign, capsys):
    Store(campaign).set("version", 99)
    refused(capsys, name, campaign, "version 99, but this program writes 1")


@pytest.mark.parametrize("name", COMMANDS)
def test_a_folder_in_its_place(name, campaign, capsys):
    (campaign / "campaign.sqlite").unlink()
    (campaign / "campaign.sqlite").mkdir()
    refused(capsys, name, campaign, "campaign.sqlite: cannot be opened")


@contextmanager
def read_only(folder):
    """Folder and file without the right to write, seen by one whom rights hold."""
    for name in ("status", "report", "export"):  # imports what root alone may be able to read
        cli.run(command_of(name, folder))
    for path in (folder / "campaign.sqlite", folder):
        path.chmod(path.stat().st_mode & ~(stat.S_IWUSR | stat.S_IWGRP | stat.S_IWOTH))
    before = os.geteuid()
    if before == 0:
        os.seteuid(OTHER_USER)
    try:
        yield
    finally:
        if before == 0:
            os.seteuid(0)
        folder.chmod(0o755)


def finish(store):
    """Put a result into the only cell."""
    row = {name: 1 if "NOT NULL" in kind else None for name, kind in RESULT_COLUMNS.items()}
    row |= {"cell": CELL, "dataset_label": "digits", "worker": "w", "bit_operations": "1"}
    assert store.finish(claim_of(store), row, [])


@pytest.mark.parametrize("name", ["run", "pause", "report", "export"])
def test_read_only(name, campaign, capsys):
    finish(Store(campaign))
    with read_only(campaign):
        capsys.readouterr()
        line = refused(capsys, name, campaign)
    assert "cannot be written to" in line or "denied" in line


def test_status_of_a_campaign_that_can_only_be_read(campaign, capsys):
    with read_only(campaign):
        capsys.readouterr()
        assert cli.run(["campaign", "status", str(campaign)]) == 0
    said = capsys.readouterr()
    assert "0 of 1 cells finished" in said.out and said.err == ""


# ---- short locks lose nothing ----


def claim_of(store):
    claim = Claim(CELL, "token", "here:1", "here", 0.2)
    assert store.claim(claim)
    return claim


def test_a_short_lock_is_waited_for(campaign):
    said = []
    store = Store(campaign, 30.0, said.append)
    claim = claim_of(store)
    with held(campaign, 0.6):
        assert store.release(claim, "failed", "failed", "why")
    assert store.rows("SELECT error FROM cells") == [{"error": "why"}]
    assert len(said) == 1 and "locked by another program; waiting" in said[0]


def test_a_commit_waits_for_those_who_read(campaign):
    with closing(
        sqlite3.connect(campaign / "campaign.sqlite", isolation_level=None, check_same_thread=False)
    ) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT * FROM cells").fetchall()
        timer = threading.Timer(0.5, reader.rollback)
        timer.start()
        start = time.monotonic()
        Store(campaign, 30.0).set("paused", 1)
        assert time.monotonic() - start >= 0.3
        timer.join()
    assert Store(campaign).paused


def test_a_cell_goes_on_while_its_lease_cannot_be_renewed(campaign):
    store = Store(campaign)
    with held(campaign, 1.0), Heartbeat(store, Claim("c", "t", "w", "h", 0.1)) as heart:
        until = time.monotonic() + 0.7  # much longer than the lease
        while time.monotonic() < until:
            heart.note(iteration=1)
            time.sleep(0.05)


def test_after_the_patience_it_is_locked(campaign):
    with held(campaign), pytest.raises(StoreLocked):
        Store(campaign, 0.3).set("paused", 1)


# ---- file systems without locks ----


def lacking(name, code, monkeypatch):
    def missing(*_):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(fcntl, name, missing)


@pytest.mark.parametrize("kind", ["flock", "lockf"])
@pytest.mark.parametrize("code", [errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOLCK])
def test_a_campaign_is_not_begun_without_locks(kind, code, campaign, monkeypatch, capsys):
    lacking(kind, code, monkeypatch)
    refused(capsys, "run", campaign, "no file locks", os.strerror(code), "-o flock")
    assert not (campaign / "cells").exists()


def test_a_worker_without_locks_ends_the_campaign_at_once(campaign, monkeypatch):
    lacking("flock", errno.ENOSYS, monkeypatch)
    job = Job(str(campaign), CELL, "emulator", "none", None, 0, 0, "", 30)
    with pytest.raises(LocksMissing) as caught:
        run_cell(job)
    assert Store(campaign).rows("SELECT * FROM attempts") == []
    again = pickle.loads(pickle.dumps(caught.value))  # as it comes from another process
    assert isinstance(again, UserError) and str(again) == str(caught.value)


def test_other_faults_of_a_lock_name_its_file(tmp_path, monkeypatch):
    says = pytest.raises(UserError, match=r"none/lock: cannot be locked: No such file")
    with says, locked(tmp_path / "none/lock"):
        pass
    lacking("flock", errno.EIO, monkeypatch)
    says = pytest.raises(UserError, match=r"lock: cannot be locked: Input/output error")
    with says, locked(tmp_path / "lock"):
        pass


def test_this_folder_has_locks(tmp_path):
    check_locks(tmp_path)
    assert list(tmp_path.iterdir()) == []


SHIM = """\
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <sys/stat.h>
int flock(int fd, int operation)
{
    errno = ENOSYS;
    return -1;
}
static int control(const char *name, int fd, int command, void *argument)
{
    struct stat found;
    if ((command == F_SETLK || command == F_SETLKW || command == F_GETLK) && !fstat(fd, &found)
        && S_ISREG(found.st_mode)) {
        errno = ENOSYS;
        return -1;
    }
    int (*real)(int, int, void *) = (int (*)(int, int, void *))dlsym(RTLD_NEXT, name);
    return real(fd, command, argument);
}
#define CONTROL(name) \\
    int name(int fd, int command, ...) \\
    { \\
        va_list rest; \\
        va_start(rest, command); \\
        void *argument = va_arg(rest, void *); \\
        va_end(rest); \\
        return control(#name, fd, command, argument); \\
    }
CONTROL(fcntl)
CONTROL(fcntl64)
"""


def test_the_commands_on_a_file_system_without_locks(campaign, tmp_path):
    """The C library's calls answer as on such a file system, below Python and SQLite."""
    (tmp_path / "shim.c").write_text(SHIM)
    build = ["gcc", "-shared", "-fPIC", "-o", "shim.so", "shim.c", "-ldl"]
    subprocess.run(build, cwd=tmp_path, check=True)
    given = {**os.environ, "LD_PRELOAD": str(tmp_path / "shim.so")}
    commands = [command_of(name, campaign) for name in COMMANDS]
    code = "import sys; from e2train.cli import run; sys.exit(sum(map(run, eval(sys.argv[1]))))"
    done = subprocess.run(
        [sys.executable, "-c", code, repr(commands)], env=given, capture_output=True, text=True
    )
    lines = done.stderr.splitlines()
    assert done.returncode == 2 * len(COMMANDS) and len(lines) == len(COMMANDS), done.stderr
    assert all(f"{campaign}: its file system has no file locks" in line for line in lines)
