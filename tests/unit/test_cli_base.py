# SPDX-License-Identifier: Apache-2.0
"""Exit codes and one-line errors of the command line."""

import os
import signal
import socket
import subprocess
import sys
import time

import pytest
import typer

import e2train
from e2train import cli
from e2train.errors import UserError
from powermeter import MeterError


def command(*arguments):
    return [sys.executable, "-c", "from e2train.cli import main; main()", *arguments]


def run(*arguments, **options):
    return subprocess.run(
        command(*arguments), capture_output=True, text=True, timeout=60, **options
    )


def test_version():
    done = run("--version")
    assert (done.returncode, done.stdout, done.stderr) == (
        0,
        f"e2train {e2train.__version__}\n",
        "",
    )


def test_help_lists_the_subcommands():
    done = run("--help")
    assert done.returncode == 0
    assert "data" in done.stdout


@pytest.mark.parametrize(
    "arguments",
    [["fly"], ["data", "fly"], ["data", "show"], ["--fast"], ["data", "show", "a", "b"]],
)
def test_a_wrong_command_line_is_code_2_and_no_traceback(capsys, arguments):
    assert cli.run(arguments) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "Usage: " in shown.err
    assert "Traceback" not in shown.err


def test_the_process_ends_with_that_code():
    done = run("fly")
    assert (done.returncode, done.stdout) == (2, "")
    assert "Usage: " in done.stderr and "Traceback" not in done.stderr


def test_show_digits():
    done = run("data", "show", "digits")
    assert done.returncode == 0
    lines = dict(line.split(maxsplit=1) for line in done.stdout.splitlines())
    assert lines["label"] == "UCI digits 8x8"
    assert lines["images"] == "1,437 training, 360 test"
    assert lines["classes"] == "10"


def test_a_users_mistake_is_one_line_and_code_2(tmp_path):
    done = run("data", "show", "cifar10", "--data", str(tmp_path))
    assert done.returncode == 2
    assert done.stdout == ""
    path = tmp_path / "cifar-10-batches-bin" / "data_batch_1.bin"
    assert done.stderr.startswith(f"e2train: {path} ") and done.stderr.count("\n") == 1
    assert f"e2train data fetch cifar10 --out {tmp_path}" in done.stderr


def test_a_failed_fetch_is_one_line_and_code_2(tmp_path):
    done = run("data", "fetch", "cifar10", "--out", str(tmp_path), "--url", "http://127.0.0.1:1")
    assert done.returncode == 2
    assert done.stderr.startswith("e2train: http://127.0.0.1:1/cifar-10-binary.tar.gz: ")
    assert done.stderr.count("\n") == 1


@pytest.fixture
def failing(monkeypatch):
    """Make a command line whose only subcommand raises what it is told to."""

    def install(error):
        app = typer.Typer()

        @app.command()
        def fail():
            raise error

        monkeypatch.setattr(cli, "app", app)
        return cli.run([])

    return install


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (UserError("no such key"), 2, "e2train: no such key\n"),
        (MeterError("unplugged"), 2, "e2train: unplugged\n"),
        (
            OSError(28, "No space left on device", "/r/x"),
            2,
            "e2train: /r/x: No space left on device\n",
        ),
        (KeyboardInterrupt(), 130, "e2train: interrupted\n"),
    ],
)
def test_each_kind_of_failure(failing, capsys, error, code, line):
    assert failing(error) == code
    assert capsys.readouterr().err.lstrip("\n") == line


def test_a_programming_error_keeps_its_traceback(failing):
    with pytest.raises(ZeroDivisionError):
        failing(ZeroDivisionError())


def test_ctrl_c_ends_with_130_and_one_line(tmp_path):
    """A real SIGINT while the download waits for a server that never answers."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        arguments = command("data", "fetch", "cifar10", "--out", str(tmp_path), "--url", url)
        with subprocess.Popen(arguments, stderr=subprocess.PIPE, text=True) as process:
            silent.settimeout(30)
            connection, _ = silent.accept()
            time.sleep(0.1)
            os.kill(process.pid, signal.SIGINT)
            _, errors = process.communicate(timeout=30)
        connection.close()
    assert process.returncode == 130
    assert errors.strip() == "e2train: interrupted"
