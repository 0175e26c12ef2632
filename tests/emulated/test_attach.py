"""lvmm attach at the line of an emulated board, which some other tool has started."""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.emulated.gdb_run import DebuggedRun, numbers
from tests.emulated.machine import BOARD, start_cli, tiny, wait_for
from tests.emulated.relay import Relay
from tests.host.gdb_client import Client

from lvmm import cli, session
from lvmm.emulator import Emulator
from lvmm.guest_build import tiny_guest
from lvmm.netpeer import free_port


@pytest.fixture
def line(tmp_path: Path) -> Iterator[str]:
    """The line of a board on which a guest runs that never ends."""
    image = tmp_path / "boot.iso"
    session.monitor_image(BOARD, tiny("forever"), "live", image)
    with Emulator(BOARD, iso=image, run_dir=tmp_path / "run") as emulator:
        relay = Relay(emulator.monitor)
        try:
            console = emulator.console_path
            wait_for(lambda: b"ticks 1" in console.read_bytes(), 120, "the guest's third line")
            yield relay.address
        finally:
            relay.close()
            (tmp_path / "monitor.log").write_bytes(relay.text)


@contextlib.contextmanager
def attached(output: Path, *arguments: object) -> Iterator[subprocess.Popen[bytes]]:
    process = start_cli(["attach", *arguments], output)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def state(line: str, output: Path) -> dict[str, object]:
    with attached(output, "--serial", line, "--json") as process:
        assert process.wait(120) == 0, output.with_suffix(".err").read_text()
    facts: dict[str, object] = json.loads(output.with_suffix(".out").read_text())
    return facts


def test_state_and_console_of_a_running_guest(line: str, tmp_path: Path) -> None:
    facts = state(line, tmp_path / "state")
    assert (facts["board"], facts["mode"]) == (BOARD.name, "live")
    assert (facts["state"], facts["stops"]) == ("running", 0)

    shown, log = tmp_path / "console.out", tmp_path / "copy"
    arguments = ["--serial", line, "--console", "--log", log]
    with attached(tmp_path / "console", *arguments) as process:
        wait_for(lambda: shown.exists() and b"ticks 300" in shown.read_bytes(), 120, "output")
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 0
    text = shown.read_bytes()
    console = (tmp_path / "run" / "console.log").read_bytes()
    assert text and console.startswith(text), "from the first byte on, without a gap"
    assert log.read_bytes() == text
    facts = state(line, tmp_path / "state")
    assert (facts["state"], facts["stops"]) == ("running", 0), "nothing has stopped it"


def test_gdb_and_console_together(line: str, tmp_path: Path) -> None:
    port = free_port()
    output = tmp_path / "attach"
    with attached(output, "--serial", line, "--gdb", port, "--console") as process:
        run = DebuggedRun(process, port, output)
        wait_for(lambda: "gdb: target remote" in run.said, 60, "the gdb server")
        said = run.gdb("forever", "break on_timer", "continue", "stepi", "p *(int *) &ticks")
        assert "Breakpoint 1, " in said
        (ticks,) = numbers(said, r"\$1 = (\d+)\n")
        # gdb has left without a word, and the guest runs on without its breakpoint.
        out = output.with_suffix(".out")

        def last_ticks() -> int:
            return max(numbers(out.read_text(), r"\bticks (\d+) tsc"), default=0)

        wait_for(lambda: last_ticks() > ticks + 200, 120, "the guest's further lines")

        with Client(port, timeout_s=60) as client:
            assert client.ask(b"?").startswith(b"T05")
            for _ in range(10):  # Ctrl-C at any moment
                client.send(b"c")
                client.raw(b"\x03")
                assert client.receive().startswith(b"T02")
            assert client.ask(b"D") == b"OK"
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 0
    assert state(line, tmp_path / "state")["state"] == "running"


def test_an_image_that_waits_for_the_debugger(tmp_path: Path) -> None:
    image, port, output = tmp_path / "boot.iso", free_port(), tmp_path / "attach"
    guest = ["--multiboot", str(tiny_guest("timer")), "--memory", "16", "--mode", "live"]
    assert cli.main(["build", *guest, "--wait", "-o", str(image)]) == 0
    with Emulator(BOARD, iso=image, run_dir=tmp_path / "run") as emulator:
        relay = Relay(emulator.monitor)
        try:
            wait_for(lambda: b'"running"' in relay.text, 120, "the monitor")
            facts = state(relay.address, tmp_path / "state")
            assert (facts["state"], facts["branches"]) == ("stopped", 0)
            with attached(output, "--serial", relay.address, "--gdb", port) as process:
                run = DebuggedRun(process, port, output)
                wait_for(lambda: "gdb: target remote" in run.said, 60, "the gdb server")
                said = run.gdb("timer", "info symbol $pc", "continue")
                assert "start in section" in said
                assert "triple fault" in said
                wait_for(lambda: "the run is over: triple fault" in run.said, 60, "the message")
            facts = state(relay.address, tmp_path / "state")
            assert facts["state"] == "halted"
            assert "triple fault" in str(facts["last_stop"])
        finally:
            relay.close()
            (tmp_path / "monitor.log").write_bytes(relay.text)
