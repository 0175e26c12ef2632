"""A terminal at the guest's serial port: lvmm attach, at a machine that another command started."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Iterator
from pathlib import Path

from tests.emulated.gdb_run import DebuggedRun, free_tcp_port
from tests.emulated.machine import end_process, start_cli, wait_for

WAIT_S = 120.0


class Attached:
    """lvmm attach --console, with keys that come through a pipe."""

    def __init__(self, port: int, output: Path) -> None:
        self.shown = output.with_suffix(".out")
        self.said = output.with_suffix(".err")
        arguments = ["attach", "--serial", f":{port}", "--console"]
        self._process = start_cli(arguments, output, subprocess.PIPE)

    def type(self, text: bytes) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(text)
        self._process.stdin.flush()

    def waits_for(self, text: bytes, seconds: float = WAIT_S) -> None:
        wait_for(lambda: text in self.shown.read_bytes(), seconds, f"{text!r} on the console")

    def leave(self) -> int:
        """Types Ctrl-]; the exit code."""
        self.type(b"\x1d")
        return self._process.wait(WAIT_S)

    def close(self) -> None:
        end_process(self._process)


@contextlib.contextmanager
def attachable(output: Path, *arguments: object) -> Iterator[DebuggedRun]:
    """Starts lvmm with these arguments and --attach; ready when attach can connect."""
    port = free_tcp_port()
    run = DebuggedRun(start_cli([*arguments, "--attach", port], output), port, output)
    try:
        ready = f"attach: ./lvmm attach --serial :{port}\n"
        wait_for(lambda: ready in run.said or run.process.poll() is not None, WAIT_S, "the port")
        assert run.process.poll() is None, run.said
        yield run
    finally:
        run.process.kill()
        run.process.wait()
