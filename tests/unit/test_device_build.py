# SPDX-License-Identifier: Apache-2.0
"""Where compiled code is kept: the user's cache, else a temporary folder of the user's own."""

import ctypes
import errno
import fcntl
import os
import shutil
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from e2train.device import build

SOURCE = "int e2_answer(void) { return 42; }\n"


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A small shared library; copying it stands for compiling."""
    folder = tmp_path_factory.mktemp("made")
    (folder / "answer.c").write_text(SOURCE)
    command = [build.compiler(), "-x", "c", "-shared", "-fPIC", "answer.c", "-o", "answer.so"]
    subprocess.run(command, cwd=folder, check=True)
    return folder / "answer.so"


@pytest.fixture
def compiled(made, tmp_path, monkeypatch):
    """Calls `built_library` with temporary files in `tmp_path/tmp`; counts what is compiled."""
    (tmp_path / "tmp").mkdir(mode=0o777)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    counted = []

    def compile_(folder, target):
        counted.append(target)
        shutil.copy(made, target)

    def get():
        library = build.built_library("answer", "0123", compile_, lambda p: ctypes.CDLL(str(p)))
        assert library.e2_answer() == 42
        return len(counted)

    return get


def own_folder(tmp_path):
    return tmp_path / "tmp" / f"e2train-{os.getuid()}"


def lines(capsys):
    return capsys.readouterr().err.splitlines()


def test_it_is_kept_in_the_home_folder(compiled, tmp_path, capsys):
    assert (compiled(), compiled()) == (1, 1)
    names = {path.name for path in (tmp_path / "home/.cache/e2train").iterdir()}
    assert names == {"answer-0123.so", "answer.lock"}
    assert lines(capsys) == [] and not own_folder(tmp_path).exists()


def without_user(monkeypatch):
    monkeypatch.delenv("HOME")
    monkeypatch.setattr("pwd.getpwuid", lambda uid: {}[uid])


def home_is_a_file(monkeypatch):
    Path(os.environ["HOME"]).write_text("not a folder")


def cache_is_a_file(monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(Path(os.environ["HOME"]).parent / "file"))
    Path(os.environ["XDG_CACHE_HOME"]).write_text("not a folder")


def home_is_relative(monkeypatch):
    monkeypatch.setenv("HOME", "somewhere")


def home_cannot_be_entered(monkeypatch):
    Path(os.environ["HOME"]).mkdir()
    real = os.mkdir

    def mkdir(path, *args, **kwargs):
        if str(path).startswith(os.environ["HOME"]):
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return real(path, *args, **kwargs)

    monkeypatch.setattr(os, "mkdir", mkdir)


@pytest.mark.parametrize(
    "broken",
    [without_user, home_is_a_file, cache_is_a_file, home_is_relative, home_cannot_be_entered],
)
def test_without_a_usable_home_it_is_kept_in_a_folder_of_the_users_own(
    broken, compiled, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    broken(monkeypatch)
    assert compiled() == 1
    (line,) = lines(capsys)
    assert line.startswith("warning: ") and str(own_folder(tmp_path)) in line
    assert stat.S_IMODE(own_folder(tmp_path).stat().st_mode) == 0o700
    assert compiled() == 1 and lines(capsys) == [], "built once, said once"
    assert not (tmp_path / "somewhere").exists()


def test_a_relative_cache_folder_does_not_count(compiled, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    monkeypatch.chdir(tmp_path)
    assert compiled() == 1
    assert (tmp_path / "home/.cache/e2train/answer-0123.so").exists()
    assert not (tmp_path / "relative").exists() and lines(capsys) == []


def others_can_write(folder):
    folder.mkdir()
    folder.chmod(0o777)


def a_link(folder):
    (folder.parent / "elsewhere").mkdir(mode=0o700)
    folder.symlink_to(folder.parent / "elsewhere")


def a_file(folder):
    folder.write_text("not a folder")


@pytest.mark.parametrize("taken", [others_can_write, a_link, a_file])
def test_a_temporary_folder_that_others_could_have_made_is_not_used(
    taken, compiled, tmp_path, monkeypatch, capsys
):
    monkeypatch.delenv("HOME")
    monkeypatch.setattr("pwd.getpwuid", lambda uid: {}[uid])
    taken(own_folder(tmp_path))
    assert (compiled(), compiled()) == (1, 2)
    assert [line.partition(": ")[0] for line in lines(capsys)] == ["warning"] * 2
    assert not list(tmp_path.rglob("*.so"))


@pytest.mark.skipif(os.getuid() != 0, reason="only root can make files of another user")
def test_a_temporary_folder_of_another_user_is_not_used(compiled, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("HOME", "relative")
    own_folder(tmp_path).mkdir(mode=0o700)
    os.chown(own_folder(tmp_path), 12345, 12345)
    assert compiled() == 1
    assert not list(tmp_path.rglob("*.so")) and len(lines(capsys)) == 1


def test_a_cache_that_can_only_be_read_still_serves(compiled, tmp_path, monkeypatch, capsys):
    assert compiled() == 1
    monkeypatch.setattr(build, "_can_hold", lambda folder: False)
    assert compiled() == 1 and lines(capsys) == []


@pytest.mark.parametrize("code", [errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP])
def test_a_cache_on_a_file_system_without_locks_serves(code, compiled, monkeypatch, capsys):
    def missing(*_):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(fcntl, "flock", missing)
    assert (compiled(), compiled()) == (1, 1) and lines(capsys) == []


def test_a_lock_file_of_another_user_does_not_keep_it_from_being_built(compiled, tmp_path, capsys):
    (tmp_path / "home/.cache/e2train/answer.lock").mkdir(parents=True)  # cannot be opened either
    assert (compiled(), compiled()) == (1, 1) and lines(capsys) == []


def test_the_command_without_a_home():
    """As another user where that is possible: no HOME, and no entry in the list of users."""
    command = [sys.executable, "-m", "e2train.cli", "device", "list"]
    given = {key: value for key, value in os.environ.items() if not key.startswith("XDG")}
    given["CXX"] = shutil.which("false")  # what is built does not matter here, and takes long
    if os.getuid() == 0 and shutil.which("setpriv"):
        given.pop("HOME", None)
        command = ["setpriv", "--reuid=12345", "--regid=12345", "--clear-groups", *command]
    else:
        given["HOME"] = "/proc/none"
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        os.chmod(folder, 0o777)
        given["TMPDIR"] = folder
        done = subprocess.run(command, env=given, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0 and "csim" in done.stdout
    assert done.stderr == ""
