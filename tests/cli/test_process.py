"""What only a process of its own shows: streams, signals, pipes, encodings."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.cli.conftest import ROOT, Run, read_terminal

COMMAND = [sys.executable, "-m", "archc"]


def test_python_m_archc(process: Run) -> None:
    result = process("report", "mnv3_small", "--json")
    assert (result.code, result.err) == (0, "")
    assert result.json["name"] == "mobilenet_v3_small"
    assert process("--version").out.startswith("archc ")


def test_exit_codes(process: Run, broken: Path) -> None:
    assert process("check", "mnv3_small").code == 0
    assert process("check", str(broken)).code == 1
    assert process("report").code == 2
    assert "Traceback" not in process("check", str(broken)).err


def test_a_closed_pipe_ends_quietly() -> None:
    for arguments in (["report", "mnv3_small"], ["report", "mnv3_large", "--json"], ["explain"], ["--help"]):
        reader, writer = os.pipe()
        os.close(reader)
        result = subprocess.run(
            [*COMMAND, *arguments], stdout=writer, stderr=subprocess.PIPE, text=True, cwd=ROOT, check=False
        )
        os.close(writer)
        assert result.stderr == "", arguments
        assert result.returncode == (1 if arguments == ["--help"] else 141), arguments  # help is click's own


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
@pytest.mark.parametrize("redirection", [">&-", "> /dev/full"])
@pytest.mark.parametrize("command", ["report mnv3_small", "report mnv3_small --json", "schema", "--help"])
def test_output_that_cannot_be_written(command: str, redirection: str) -> None:
    reason = "Bad file descriptor" if redirection == ">&-" else "No space left on device"
    line = f'"$PYTHON" -m archc {command} {redirection}'
    environment = {**os.environ, "PYTHON": sys.executable}
    result = subprocess.run(["sh", "-c", line], env=environment, capture_output=True, text=True, cwd=ROOT, check=False)
    assert (result.returncode, result.stderr) == (2, f"Error: standard output: {reason}\n")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
@pytest.mark.parametrize("redirection", ["2>&-", "2> /dev/full"])
@pytest.mark.parametrize("command", ["check mnv3_smal", "report --nope"])
def test_an_error_that_nobody_can_read(command: str, redirection: str) -> None:
    line = f'"$PYTHON" -m archc {command} {redirection}'
    environment = {**os.environ, "PYTHON": sys.executable}
    result = subprocess.run(["sh", "-c", line], env=environment, capture_output=True, text=True, cwd=ROOT, check=False)
    assert (result.returncode, result.stderr) == (2, "")


def test_a_closed_output_is_no_error_where_nothing_is_printed(tmp_path: Path) -> None:
    line = f'"$PYTHON" -m archc schema -o {tmp_path}/schema.json >&-'
    environment = {**os.environ, "PYTHON": sys.executable}
    result = subprocess.run(["sh", "-c", line], env=environment, capture_output=True, text=True, cwd=ROOT, check=False)
    assert (result.returncode, result.stderr) == (0, "")
    assert '"$schema"' in (tmp_path / "schema.json").read_text()


def test_an_interrupt_ends_quietly(tmp_path: Path) -> None:
    started = tmp_path / "started"
    script = (
        "import sys, time, pathlib, archc.cli.report\n"
        "import archc.cli.loading as loading\n"
        f"loading.load = lambda *_: (pathlib.Path({str(started)!r}).touch(), time.sleep(60))\n"
        "from archc.cli import main\n"
        "main(['report', 'mnv3_small'])\n"
    )
    running = subprocess.Popen([sys.executable, "-c", script], stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 30
    while not started.exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    running.send_signal(signal.SIGINT)
    _, err = running.communicate(timeout=30)
    assert err.strip() == ""
    assert running.returncode == 130


def test_output_that_the_encoding_lacks_is_replaced(process: Run) -> None:
    result = process("report", "mnv3_small", PYTHONIOENCODING="ascii")
    assert result.code == 0
    assert "3?224?224" in result.out


def test_a_pipe_gets_plain_text_of_full_width(process: Run) -> None:
    result = process("report", "mobilevit_s", COLUMNS="20")
    assert "\x1b" not in result.out
    assert "InvertedResidual, MobileVitBlock, ConvNormAct  640×8×8" in result.out
    assert all(line == line.rstrip() for line in result.out.splitlines())


def test_colours_are_for_terminals_and_those_who_force_them(process: Run, broken: Path) -> None:
    assert "\x1b[1;31merror" in process("check", str(broken), FORCE_COLOR="1", TERM="xterm-256color").err
    assert "\x1b[1;31m" not in process("check", str(broken), FORCE_COLOR="1", NO_COLOR="1", TERM="xterm").err
    assert "\x1b" not in process("check", str(broken)).err


@pytest.mark.skipif(sys.platform == "win32", reason="there are no pseudo-terminals")
def test_a_narrow_terminal_cuts_nothing() -> None:
    master, slave = pty.openpty()
    environment = {**os.environ, "COLUMNS": "40", "TERM": "xterm-256color"}
    environment.pop("NO_COLOR", None)
    running = subprocess.Popen([*COMMAND, "report", "mnv3_small"], stdout=slave, env=environment, cwd=ROOT)
    os.close(slave)
    output = read_terminal(master)
    assert running.wait() == 0
    text = output.decode()
    assert "\x1b[1mmobilenet_v3_small" in text
    assert "half of torch's FlopCounterMode" in text
    assert "…" not in text
