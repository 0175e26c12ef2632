"""The guest behind a monitor as the gdb server's target, over the debug link."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from lvmm.debug import registers, stops
from lvmm.debug.breakpoints import Breakpoints
from lvmm.debug.event_log import MOST, event_lines, last_events
from lvmm.debug.guest_symbols import GuestSymbols
from lvmm.debug.log_in_machine import last_events_of
from lvmm.debug.time_travel.traveller import Traveller
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
        self._breakpoints = Breakpoints(client)
        self._traveller = Traveller(client, self._breakpoints)
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
            self._breakpoints.set((kind, address, length))

    def clear_breakpoint(self, kind: BreakpointKind, address: int, length: int) -> None:
        """See Target."""
        with _told_as_target_errors():
            self._breakpoints.clear((kind, address, length))

    # ---- run control

    def resume(self) -> None:
        """See Target."""
        with _told_as_target_errors():
            self._traveller.forget()
            self._status = self._client.resume()

    def step(self) -> None:
        """See Target."""
        with _told_as_target_errors():
            self._traveller.forget()
            self._status = self._client.step()

    @property
    def can_reverse(self) -> bool:
        """See Target."""
        with _told_as_target_errors():
            return self.mode == "replay" and self._traveller.possible()

    def reverse(self, *, step: bool) -> None:
        """See Target."""
        with _told_as_target_errors():
            self._traveller.reverse(step=step)

    def seek(self, place: str) -> None:
        """See Target."""
        if self.mode != "replay":
            raise TargetError(f"only a replay goes to a place: this is {self.mode}")
        with _told_as_target_errors():
            self._traveller.seek(place)

    def progress(self) -> str:
        """See Target."""
        return self._traveller.progress

    def interrupt(self) -> None:
        """See Target."""
        with _told_as_target_errors():
            if self._traveller.under_way:
                self._traveller.cancel()
                return
            status = self._client.interrupt()
        if self._status is None or status.state != RunState.RUNNING:
            self._status = status

    def poll_stop(self, timeout_s: float) -> Stop | None:
        """See Target."""
        with _told_as_target_errors():
            if self._traveller.under_way or self._traveller.stop:
                stop = self._traveller.poll_stop(timeout_s)
                self._status = self._traveller.status or self._status
                return stop
            if self._status is None:
                self._status = self._client.status()
            try:
                self._status = self._client.wait_for_stop(self._status, timeout_s)
            except LinkTimeout:
                return None
        return stops.as_stop(self._status, self._breakpoints.kinds)

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
                return self._when()
            if name == "checkpoint":
                return self._traveller.checkpoint_table(make=not argument)
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

    def _when(self) -> str:
        exact = self._traveller.when() if self.mode == "replay" else ""
        return exact + stops.position_text(self._client.status())

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
            self._breakpoints.forget()
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
