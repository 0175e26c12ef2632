"""`lvmm attach`: at the monitor's line of a machine that is running somewhere."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import math
import queue
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

from lvmm.debug import stops
from lvmm.debug.console_view import ConsoleView
from lvmm.debug.guest_symbols import GuestSymbols
from lvmm.debug.keyboard import Keyboard
from lvmm.debug.service import GdbOptions, GdbService
from lvmm.debug.terminal import LEAVE, Keys, Screen, single_keys
from lvmm.errors import EnvironmentProblem
from lvmm.gdb.registers import I386, X86_64
from lvmm.link import ByteStream, Hello, LinkClient, Mode, RunState, Status
from lvmm.log_receiver import LogReceiver
from lvmm.machine_run import StopRequest

# While the guest runs, each question costs it some time: the monitor listens for a while after it.
# Its echo of what was typed is looked for sooner.
_CONSOLE_S = 0.5
_KEYS_S = 0.1
_ECHO_S = 2.0


@dataclasses.dataclass(frozen=True)
class AttachOptions:
    """What to do at the line; none of it: show the state once. `log` gets the console as well, and
    `save_log` the log of the recording that the machine makes; `symbols` recovers those of the
    Linux kernel that gdb looks at.
    """

    gdb_port: int | None = None
    console: bool = False
    log: Path | None = None
    as_json: bool = False
    save_log: Path | None = None
    symbols: GuestSymbols | None = None


def attach(open_line: Callable[[], ByteStream], options: AttachOptions) -> None:
    """Returns when the user leaves. Raises LvmmError: without the line, an answer, or the port."""
    said: queue.SimpleQueue[str] = queue.SimpleQueue()
    with contextlib.ExitStack() as stack:
        screen = Screen(stack.enter_context(_log(options.log)) if options.log else None)
        link = stack.enter_context(
            LinkClient(open_line, on_line=said.put, on_status=_tell_end(said.put))
        )
        hello = link.connect()
        if options.gdb_port is None and not options.console and options.save_log is None:
            _show_state(hello, link.status(), options.as_json)
            return
        if options.gdb_port is not None:
            # A guest that is not in long mode when somebody attaches will hardly ever be.
            early = I386 if options.symbols is None else X86_64
            say = _prefixed(said.put)
            gdb = GdbOptions(options.gdb_port, False, say, early, options.symbols)
            service = GdbService(link, gdb)
            stack.callback(service.close)
            service.start()
        receiver = None
        if options.save_log is not None:
            receiver = LogReceiver(link, options.save_log)
            stack.callback(receiver.close)
            receiver.resume()
            receiver.start()
        stop = StopRequest()
        with stop.from_ctrl_c():
            _stay(link, screen, said, options.console, stop, receiver)
        if receiver is not None:
            receiver.stop()
            print(f"lvmm: {receiver.stored} bytes of log are in {options.save_log}")


def _log(path: Path) -> BinaryIO:
    try:
        return path.open("wb")
    except OSError as error:
        raise EnvironmentProblem(f"cannot write {path}: {error.strerror}") from None


def _prefixed(say: Callable[[str], None]) -> Callable[[str], None]:
    return lambda line: say(f"lvmm: {line}")


def _tell_end(say: Callable[[str], None]) -> Callable[[Status], None]:
    def tell(status: Status) -> None:
        if status.state == RunState.HALTED:
            say(f"lvmm: the run is over: {stops.reason_text(status)}")

    return tell


def _stay(
    link: LinkClient,
    screen: Screen,
    said: queue.SimpleQueue[str],
    console: bool,
    stop: StopRequest,
    receiver: LogReceiver | None,
) -> None:
    leave = "Ctrl-]" if console and sys.stdin.isatty() else "Ctrl-C"
    screen.say(f"lvmm: attached; {leave} leaves, and the guest goes on as it is")
    visit = _ConsoleVisit(link, screen)
    with single_keys() if console else contextlib.nullcontext():
        while not stop.requested:
            with contextlib.suppress(queue.Empty):
                while True:
                    screen.say(said.get_nowait())
            if link.failure is not None:
                raise link.failure
            if receiver is not None and receiver.failure is not None:
                raise receiver.failure
            if not console:
                stop.wait(_KEYS_S)
            elif not visit.turn():
                return


class _ConsoleVisit:
    """Shows the console and types to it, in turns."""

    def __init__(self, link: LinkClient, screen: Screen) -> None:
        self._view = ConsoleView(link, screen.show, screen.say)
        self._keyboard = Keyboard(link, screen.say)
        self._keys = Keys()
        self._next_look = self._typed = -math.inf

    def turn(self) -> bool:
        """Lasts as long as nothing is typed, but not long. False: the user wants to leave."""
        now = time.monotonic()
        if now >= self._next_look or now < self._typed + _ECHO_S:
            self._view.update()
            self._next_look = time.monotonic() + _CONSOLE_S
        typed, leave, _ = self._keys.read(_KEYS_S).partition(LEAVE)
        if self._keyboard.type(typed):
            self._typed = time.monotonic()
        return not leave


def _show_state(hello: Hello, status: Status, as_json: bool) -> None:
    facts = _facts(hello, status)
    if as_json:
        print(json.dumps(facts, indent=2))
        return
    rows = {**facts, "rip": f"{status.rip:#x}"}
    for name, value in rows.items():
        print(f"{name.replace('_', ' '):<15} {value}")


def _facts(hello: Hello, status: Status) -> dict[str, Any]:
    mode = Mode(status.mode).name.lower() if status.mode in set(Mode) else f"mode {status.mode}"
    return {
        "board": hello.board,
        "monitor": hello.monitor,
        "mode": mode,
        "state": stops.state_text(status),
        "last_stop": stops.reason_text(status),
        "stops": status.stop_count,
        "branches": status.branches,
        "rip": status.rip,
        "events": status.events,
        "log_bytes": status.log_bytes,
        "console_bytes": status.console_end,
        "altered": stops.altered(status),
    }
