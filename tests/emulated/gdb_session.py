"""A real gdb that somebody sits at: one command after the other, and Ctrl-C."""

from __future__ import annotations

import contextlib
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

from tests.emulated.machine import end_process, wait_for

ANSWER_S = 300.0


class GdbSession:
    """gdb with its input in our hands; all that it says is in the file `log`."""

    def __init__(self, log: Path) -> None:
        self._log = log
        self._seen = 0
        self._commands = 0
        with log.open("wb") as output:
            self._process = subprocess.Popen(
                ["gdb", "-q", "-nx"], stdin=subprocess.PIPE, stdout=output, stderr=output
            )
        self.do(
            "set prompt",
            "set confirm off",
            "set pagination off",
            "set width 0",
            "set remotetimeout 60",
        )

    def do(self, *commands: str) -> str:
        """What gdb says to these."""
        self.begin(*commands)
        return self.finish()

    def begin(self, *commands: str) -> None:
        """Types them and does not wait: for finish(), or interrupt()."""
        self._commands += 1
        assert self._process.stdin is not None
        lines = [*commands, f"echo \\n{self._mark}\\n"]
        self._process.stdin.write("".join(f"{line}\n" for line in lines).encode())
        self._process.stdin.flush()

    def interrupt(self) -> str:
        """Ctrl-C, when the guest is known to run; what gdb has said since begin()."""
        self._process.send_signal(signal.SIGINT)
        return self.finish()

    def finish(self) -> str:
        """Waits until the commands are done."""
        mark = f"{self._mark}\n".encode()
        wait_for(
            lambda: mark in self._new() or self._process.poll() is not None,
            ANSWER_S,
            "gdb's answer",
        )
        new = self._new()
        assert mark in new, new.decode(errors="replace")
        self._seen += new.index(mark) + len(mark)
        return new[: new.index(mark)].decode(errors="replace")

    def close(self) -> None:
        end_process(self._process)

    @property
    def _mark(self) -> str:
        return f"that was command {self._commands}."

    def _new(self) -> bytes:
        return self._log.read_bytes()[self._seen :]


@contextlib.contextmanager
def gdb_at(port: int, log: Path) -> Iterator[GdbSession]:
    """gdb connected to this port."""
    session = GdbSession(log)
    try:
        said = session.do(f"target remote :{port}")
        assert "Remote debugging using" in said, said
        yield session
    finally:
        session.close()
