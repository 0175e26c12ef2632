"""The guest behind a monitor as the gdb server's target, over the debug link."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from lvmm.debug import registers, stops
from lvmm.debug.event_log import MOST, event_lines, last_events
from lvmm.debug.guest_symbols import GuestSymbols
from lvmm.debug.log_in_machine import last_events_of
from lvmm.errors import LvmmError
from lvmm.gdb.target import (
    BreakpointKind,
    MemoryFault,
    MemoryKind,
    MemoryRange,
    Mode,
    ReadOnly,
    Registers,
    Stop,
    TargetError,
)
from lvmm.link import BreakpointKind as LinkKind
from lvmm.link import (
    LinkClient,
    LinkTimeout,
    MemorySpace,
    QueryKind,
    RequestRefused,
    RunState,
    Status,
)
from lvmm.link import MemoryFault as LinkFault
from lvmm.link import MemoryKind as LinkMemory
from lvmm.link import Mode as LinkMode

_MODES: dict[int, Mode] = {
    LinkMode.LIVE: "live",
    LinkMode.RECORD: "record",
    LinkMode.REPLAY: "replay",
}
_KINDS = {
    BreakpointKind.SOFTWARE: LinkKind.SOFTWARE,
    BreakpointKind.HARDWARE: LinkKind.HARDWARE,
    BreakpointKind.WRITE: LinkKind.WATCH_WRITE,
    BreakpointKind.READ: LinkKind.WATCH_READ,
    BreakpointKind.ACCESS: LinkKind.WATCH_ACCESS,
}
_MEMORY: dict[int, MemoryKind] = {
    LinkMemory.RAM: MemoryKind.RAM,
    LinkMemory.ROM: MemoryKind.ROM,
    LinkMemory.MMIO: MemoryKind.MMIO,
}
_QUERIES = {
    "events": QueryKind.EVENTS,
    "exits": QueryKind.EXITS,
    "devices": QueryKind.DEVICES,
    "ept": QueryKind.EPT,
    "translate": QueryKind.TRANSLATE,
    "log": QueryKind.LOG_STATUS,
}

# How long a machine that was reset may take to be back: its firmware and boot loader come first.
RESET_TIMEOUT_S = 180.0


class LinkTarget:
    """Implements lvmm.gdb.target.Target. One thread at a time may use it."""

    def __init__(
        self, client: LinkClient, symbols: GuestSymbols | None = None, log: Path | None = None
    ) -> None:
        self._client = client
        self._symbols = symbols
        self._log = log
        self._status: Status | None = None  # the last one known
        self._ids: dict[tuple[BreakpointKind, int, int], int] = {}
        self._kinds: dict[int, BreakpointKind] = {}
        self._force = False

    @property
    def mode(self) -> Mode:
        """See Target."""
        with _told_as_target_errors():
            hello = self._client.connect()
        return _MODES.get(hello.mode, "live")

    @property
    def halted(self) -> bool:
        """Whether the run was over when the guest was last looked at. Asks nobody."""
        return self._status is not None and self._status.state == RunState.HALTED

    # ---- registers

    def registers(self) -> Registers:
        """See Target."""
        with _told_as_target_errors():
            return registers.by_name(self._client.read_registers())

    def write_register(self, name: str, value: int) -> None:
        """See Target."""
        number = registers.WRITABLE.get(name)
        if number is None:
            raise TargetError(f"{name} cannot be written")
        with self._writing():
            self._client.write_register(number, value, self._force)

    def fpu(self) -> bytes:
        """See Target."""
        with _told_as_target_errors():
            return self._client.read_fpu()[1]

    def write_fpu(self, image: bytes) -> None:
        """See Target."""
        with self._writing():
            self._client.write_fpu(image, self._force)

    # ---- memory

    def read_memory(self, address: int, length: int, *, physical: bool = False) -> bytes:
        """See Target."""
        with _told_as_target_errors():
            return self._client.read_memory(address, length, _space(physical))

    def write_memory(self, address: int, data: bytes, *, physical: bool = False) -> None:
        """See Target."""
        with self._writing():
            self._client.write_memory(address, data, _space(physical), self._force)

    def memory_map(self) -> Sequence[MemoryRange]:
        """See Target."""
        with _told_as_target_errors():
            ranges = self._client.memory_map()
        return [
            MemoryRange(part.start, part.end, _MEMORY.get(part.kind, MemoryKind.MMIO))
            for part in ranges
        ]

    # ---- breakpoints

    def set_breakpoint(self, kind: BreakpointKind, address: int, length: int) -> None:
        """See Target."""
        with _told_as_target_errors():
            number = self._client.set_breakpoint(_KINDS[kind], address, length)
        self._ids[kind, address, length] = number
        self._kinds[number] = kind

    def clear_breakpoint(self, kind: BreakpointKind, address: int, length: int) -> None:
        """See Target."""
        number = self._ids.pop((kind, address, length), None)
        if number is None:
            return
        self._kinds.pop(number, None)
        with _told_as_target_errors():
            self._client.clear_breakpoint(number)

    # ---- run control

    def resume(self) -> None:
        """See Target."""
        with _told_as_target_errors():
            self._status = self._client.resume()

    def step(self) -> None:
        """See Target."""
        with _told_as_target_errors():
            self._status = self._client.step()

    def interrupt(self) -> None:
        """See Target."""
        with _told_as_target_errors():
            status = self._client.interrupt()
        if self._status is None or status.state != RunState.RUNNING:
            self._status = status

    def poll_stop(self, timeout_s: float) -> Stop | None:
        """See Target."""
        with _told_as_target_errors():
            if self._status is None:
                self._status = self._client.status()
            try:
                self._status = self._client.wait_for_stop(self._status, timeout_s)
            except LinkTimeout:
                return None
        return stops.as_stop(self._status, self._kinds)

    # ---- the rest

    def query(self, name: str, argument: str) -> str:
        """See Target."""
        if name == "force-writes":
            self._force = argument == "on"
            return "writes are " + ("forced" if self._force else "refused in replay")
        if name == "symbols":
            if self._symbols is None:
                raise TargetError("for a Linux guest: start attach with --linux and its kernel")
            return self._symbols.write(self)
        with _told_as_target_errors():
            if name == "record":
                return self._record(argument)
            if name == "when":
                return stops.position_text(self._client.status())
            kind = _QUERIES.get(name)
            if kind is None:
                raise TargetError(f"the monitor knows nothing of {name}")
            number = int(argument, 0) if argument[:1].isdigit() else 0
            if name == "events" and number:
                return self._last_events(number)
            return self._client.query(kind, number)

    def _record(self, what: str) -> str:
        if what == "start":
            self._client.start_recording()
            return "the recording begins here"
        self._client.stop_recording()
        return "the recording is complete; the guest runs on when it is let go"

    def _last_events(self, count: int) -> str:
        mode = self.mode
        if mode == "live":
            raise TargetError("a live run has no log")
        if self._log is not None:
            return last_events(self._log, self._client.status().events, count)
        if mode == "replay":
            raise TargetError("what is replayed is not in the machine: ask where it was started")
        return event_lines(last_events_of(self._client.read_log, min(count, MOST)))

    def reset(self) -> None:
        """See Target."""
        if self.mode != "live":
            raise ReadOnly(f"only a live run is reset: start the {self.mode} again instead")
        with _told_as_target_errors():
            self._client.reset()
            self._ids.clear()
            self._kinds.clear()
            self._status = self._stopped_after_reset()

    def _stopped_after_reset(self) -> Status:
        """Breaks in as soon as the monitor is back. Raises LvmmError."""
        end = time.monotonic() + RESET_TIMEOUT_S
        while True:
            try:
                status = self._client.interrupt()
                return self._client.wait_for_stop(status, max(end - time.monotonic(), 0))
            except LvmmError:
                if time.monotonic() >= end:
                    raise

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        """Around what a replay refuses unless it is forced."""
        try:
            with _told_as_target_errors():
                yield
        except TargetError as error:
            if isinstance(error.__cause__, RequestRefused):
                raise ReadOnly(str(error)) from error
            raise


@contextlib.contextmanager
def _told_as_target_errors() -> Iterator[None]:
    """The link's errors, and those of files, become the target's."""
    try:
        yield
    except LinkFault as error:
        raise MemoryFault((error.address + error.done) % (1 << 64), error.data) from error
    except (LvmmError, OSError) as error:
        raise TargetError(str(error)) from error


def _space(physical: bool) -> MemorySpace:
    return MemorySpace.PHYSICAL if physical else MemorySpace.VIRTUAL
