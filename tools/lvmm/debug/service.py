"""gdb at the monitor's line of a machine, served by a thread of its own."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from lvmm.debug.guest_symbols import GuestSymbols
from lvmm.debug.target import LinkTarget
from lvmm.gdb.registers import X86_64, Description
from lvmm.gdb.server import GdbServer
from lvmm.link import LinkClient

_TURN_S = 0.2
# How long close() waits for a request that is under way.
_CLOSE_S = 30.0


@dataclass(frozen=True)
class GdbOptions:
    """How gdb is served. `port` 0 is any free one; with `wait` the guest is stopped before its
    first instruction; `say` gets lines for the user; `early` is what gdb is told of the registers
    while the guest is not in long mode; `symbols` recovers a Linux kernel's; `log` is the recording
    that is replayed, or the memory of the machine that records.
    """

    port: int
    wait: bool
    say: Callable[[str], None]
    early: Description = X86_64
    symbols: GuestSymbols | None = None
    log: Path | None = None


class GdbService:
    """Takes the port at once; gdb can connect, and is answered, from start() on.

    Raises EnvironmentProblem when the port cannot be had.
    """

    def __init__(self, link: LinkClient, options: GdbOptions) -> None:
        self._say = options.say
        self._target = LinkTarget(link, options.symbols, options.log)
        self._server = GdbServer(self._target, options.port, options.say, options.early)
        self._closing = threading.Event()
        self._thread: threading.Thread | None = None
        self._seen_out = False

    @property
    def port(self) -> int:
        """The port that gdb connects to."""
        return self._server.port

    @property
    def seen_out(self) -> bool:
        """Whether a debugger has seen the run's end and left."""
        return self._seen_out

    @property
    def detached(self) -> bool:
        """Whether the last debugger has taken its leave, and none has come since."""
        return self._server.detached

    def start(self) -> None:
        """Serves from now on; the first call tells the user so. Raises EnvironmentProblem."""
        if self._thread is None:
            self._server.open()
            self._say(f"gdb: target remote :{self.port}")
            self._thread = threading.Thread(target=self._serve, name="lvmm-gdb", daemon=True)
            self._thread.start()

    def close(self) -> None:
        """Disconnects gdb and clears its breakpoints, where the link is still open. A second call
        does nothing.
        """
        self._closing.set()
        if self._thread is not None:
            self._thread.join(_CLOSE_S)
        else:
            self._server.close()

    def _serve(self) -> None:
        attached = False
        try:
            while not self._closing.is_set():
                self._server.serve_once(_TURN_S)
                if attached and not self._server.attached and self._target.halted:
                    self._seen_out = True
                attached = self._server.attached
            self._server.serve_once(0)  # gdb is told of a stop that has just come
        finally:
            self._server.close()
