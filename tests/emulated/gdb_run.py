"""lvmm with --gdb as a process, and real gdb at it in batch mode."""

from __future__ import annotations

import contextlib
import re
import socket
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.emulated.machine import start_cli, wait_for
from tests.gdb_batch import gdb_words

from lvmm.guest_build import tiny_guest

READY_S = 120.0
GDB_S = 300.0
END_S = 240.0


@dataclass(frozen=True)
class DebuggedRun:
    """The process; what it prints is in files named `output`.out and .err."""

    process: subprocess.Popen[bytes]
    port: int
    output: Path

    def gdb(self, guest: str | None, *commands: str, before: Sequence[str] = ()) -> str:
        """What gdb says to these commands with a tiny guest's symbols, stderr included. `before`
        are those that come before it connects.
        """
        words = gdb_words(*before, f"target remote :{self.port}", *commands)
        if guest is not None:
            words.append(str(tiny_guest(guest)))
        done = subprocess.run(words, capture_output=True, text=True, timeout=GDB_S, check=False)
        said = done.stdout + done.stderr
        with self.output.with_suffix(".gdb.log").open("a") as log:
            log.write(said)
        return said

    def ended(self) -> int:
        """The exit code, when the run has ended by itself."""
        return self.process.wait(END_S)

    @property
    def said(self) -> str:
        """What was printed to stderr so far."""
        return self.output.with_suffix(".err").read_text()


def free_tcp_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


@contextlib.contextmanager
def debugged(output: Path, *arguments: object, early: bool = False) -> Iterator[DebuggedRun]:
    """Starts lvmm with these arguments and --gdb; ready when gdb can connect, `early`: at once."""
    port = free_tcp_port()
    process = start_cli([*arguments, "--gdb", port], output)
    run = DebuggedRun(process, port, output)
    try:
        ready = f"gdb: target remote :{port}\n"
        if not early:
            wait_for(lambda: ready in run.said or process.poll() is not None, READY_S, "the port")
            assert process.poll() is None, run.said
        yield run
    finally:
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(30)
        process.kill()


def number(said: str, pattern: str) -> int:
    """The number that the pattern's one group finds."""
    match = re.search(pattern, said)
    assert match, f"{pattern} is not in:\n{said}"
    return int(match[1], 0)


def numbers(said: str, pattern: str) -> list[int]:
    """All numbers that the pattern's one group finds."""
    return [int(text, 0) for text in re.findall(pattern, said)]
