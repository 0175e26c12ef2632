"""lvmm attach, at a line with the monitor's end of the link behind it."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import random
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.gdb_batch import gdb_words
from tests.host.link_machine import (
    CONSOLE_END,
    CONSOLE_OLDEST,
    MEMORY_BASE,
    LinkMachine,
    content,
)
from tests.host.monitor_server import serving

from lvmm import cli
from lvmm.guest_build import ROOT
from lvmm.link import session

Capture = pytest.CaptureFixture[str]
CONSOLE = content(CONSOLE_OLDEST, CONSOLE_END - CONSOLE_OLDEST, 1)


@pytest.fixture
def machine() -> Iterator[LinkMachine]:
    with LinkMachine() as running:
        yield running


@pytest.fixture
def line(machine: LinkMachine) -> Iterator[str]:
    with serving(machine) as address:
        yield address


def free_port() -> int:
    """One that no other process is given meanwhile, as it would be from the range of port 0."""
    for port in random.SystemRandom().sample(range(20000, 32000), 100):
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port
    raise AssertionError("no free port")


@contextlib.contextmanager
def attached(
    tmp_path: Path, *arguments: object, stdin: int | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """lvmm attach as a process; stdout and stderr go to files."""
    with (tmp_path / "out").open("wb") as out, (tmp_path / "err").open("wb") as err:
        process = subprocess.Popen(
            [sys.executable, "-m", "lvmm", "attach", *map(str, arguments)],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT / "tools")},
            stdin=subprocess.DEVNULL if stdin is None else stdin,
            stdout=out,
            stderr=err,
        )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def eventually(condition: Callable[[], bool]) -> None:
    """The test's deadline ends it otherwise."""
    while not condition():
        time.sleep(0.02)


def test_state(capsys: Capture, line: str) -> None:
    assert cli.main(["attach", "--serial", line]) == 0
    rows = dict(row.split(maxsplit=1) for row in capsys.readouterr().out.splitlines())
    assert rows["board"] == "host"
    assert rows["mode"] == "replay"
    assert rows["state"] == "stopped"
    assert cli.main(["attach", "--serial", line, "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert (facts["monitor"], facts["state"]) == ("driver", "stopped")


def test_console_until_ctrl_c(tmp_path: Path, line: str) -> None:
    log = tmp_path / "log"
    with attached(tmp_path, "--serial", line, "--console", "--log", log) as process:
        eventually(lambda: (tmp_path / "out").read_bytes() == CONSOLE)
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 0
    assert log.read_bytes() == CONSOLE
    said = (tmp_path / "err").read_text()
    assert f"{CONSOLE_OLDEST} bytes of the console are lost" in said
    assert "Ctrl-C leaves" in said


def test_console_until_its_key(tmp_path: Path, line: str) -> None:
    """Ctrl-C is for the guest. The monitor's own line takes nothing for the guest."""
    ours, terminal = pty.openpty()
    with attached(tmp_path, "--serial", line, "--console", stdin=terminal) as process:
        eventually(lambda: (tmp_path / "out").read_bytes() == CONSOLE)
        os.write(ours, b"typed\x03")
        eventually(lambda: "another line" in (tmp_path / "err").read_text())
        assert process.poll() is None
        os.write(ours, b"more\x1d")
        assert process.wait(60) == 0
    said = (tmp_path / "err").read_text()
    assert "Ctrl-] leaves" in said
    assert said.count("another line") == 1
    os.close(ours)
    os.close(terminal)


def test_messages_are_apart_from_the_console(tmp_path: Path, machine: LinkMachine) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        line = f"127.0.0.1:{server.getsockname()[1]}"

        def serve() -> None:
            client, _ = server.accept()
            with client:
                client.sendall(b"text before the session\n")
                client.sendall(machine.line(client.recv(1000)))
                client.sendall(machine.line(client.recv(1000)))
                client.sendall(machine.message(b"text in the session\n"))
                with contextlib.suppress(ConnectionError):
                    while data := client.recv(1000):
                        client.sendall(machine.line(data))

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        with attached(tmp_path, "--serial", line, "--console") as process:
            error = tmp_path / "err"
            eventually(lambda: b"text in the session\n" in error.read_bytes())
            eventually(lambda: (tmp_path / "out").read_bytes() == CONSOLE)
            assert b"text before the session\n" in error.read_bytes()
            process.send_signal(signal.SIGINT)
            assert process.wait(60) == 0
        thread.join(30)


@pytest.mark.skipif(shutil.which("gdb") is None, reason="there is no gdb")
def test_gdb(tmp_path: Path, machine: LinkMachine, line: str) -> None:
    port = free_port()
    with attached(tmp_path, "--serial", line, "--gdb", port) as process:
        ready = f"gdb: target remote :{port}\n".encode()
        eventually(lambda: ready in (tmp_path / "err").read_bytes())
        commands = [
            f"target remote :{port}",
            f"x/2bx {MEMORY_BASE:#x}",
            "x/bx 0x10",
            "stepi",
            "monitor when",
            "set var $eax = 5",
            "monitor force-writes on",
            "set var $eax = 5",
            "p $eax",
            "detach",
        ]
        done = subprocess.run(
            gdb_words(*commands), capture_output=True, text=True, timeout=120, check=False
        )
        said = done.stdout + done.stderr
        assert f"{MEMORY_BASE:#x}:\t0x00\t0x00" in said
        assert "Cannot access memory at address 0x10" in said
        assert "stopped by" in said
        assert "Could not write register" in said, "a replay is not written to"
        assert "$1 = 5" in said
        assert machine.counts().steps == 1
        assert machine.counts().resumes == 1, "by the detach"
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 0


def test_a_line_that_goes_away(tmp_path: Path, machine: LinkMachine) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
        with attached(tmp_path, "--serial", address, "--console") as process:
            client, _ = server.accept()
            for _ in range(4):
                client.sendall(machine.line(client.recv(1000)))
            client.close()
            assert process.wait(60) == 6
    assert (tmp_path / "err").read_text().splitlines()[-1].startswith("lvmm: the line to the mon")


def fails(capsys: Capture, arguments: list[object], code: int, *words: str) -> None:
    assert cli.main(["attach", *map(str, arguments)]) == code
    captured = capsys.readouterr()
    assert captured.out == ""
    (error,) = captured.err.splitlines()
    assert error.startswith("lvmm: ")
    for word in words:
        assert word in error


def test_lines_that_are_none(capsys: Capture) -> None:
    fails(capsys, ["--serial", "nonsense"], 2, "is no serial line")
    fails(capsys, ["--serial", "/dev/no-such-line"], 1, "cannot open")
    fails(capsys, ["--serial", f"localhost:{free_port()}"], 1, "cannot connect")


def test_another_version(capsys: Capture, line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "PROTOCOL_VERSION", 99)
    fails(capsys, ["--serial", line], 5, "protocol 1", "from the same version of lvmm")


def test_a_port_in_use(capsys: Capture, line: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        fails(capsys, ["--serial", line, "--gdb", port], 1, f"port {port}", "in use")


def test_a_copy_that_cannot_be_written(capsys: Capture, line: str, tmp_path: Path) -> None:
    arguments = ["--serial", line, "--console", "--log", tmp_path / "no" / "log"]
    fails(capsys, arguments, 1, "cannot write")


def test_options_that_do_not_go_together(capsys: Capture, line: str) -> None:
    fails(capsys, ["--serial", line, "--log", "x"], 2, "--console")
    fails(capsys, ["--serial", line, "--json", "--console"], 2, "--json")
    fails(capsys, ["--serial", line, "--linux", "x"], 2, "--gdb PORT")
    fails(capsys, ["--serial", line, "--linux", "x", "--gdb", 5555], 2, "no such file: x")
