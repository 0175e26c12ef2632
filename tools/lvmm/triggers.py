"""What begins and ends a recording by itself: `record --start-at TRIGGER`, `--stop-at TRIGGER`.

The monitor looks for a text and for bytes in a packet; for a breakpoint a tool waits at its line.
"""

from __future__ import annotations

import enum
import re
import time
from collections.abc import Callable
from dataclasses import dataclass

from lvmm.errors import UsageError
from lvmm.guest import Guest
from lvmm.guest_names import GuestNames
from lvmm.link import BreakpointKind, LinkClient, LinkTimeout, RunState, Status, StopReason
from lvmm.visitor_thread import VisitorThread

PATTERN_MAX = 64  # bytes; as in hypervisor/core/triggers.c

_FORMS = "'console TEXT', 'packet HEXDIGITS' or 'break ADDRESS_OR_SYMBOL'"
_LOOK_S = 0.5


class Kind(enum.Enum):
    """What is waited for."""

    CONSOLE = "console"  # a text of the guest's output
    PACKET = "packet"  # bytes in what a device has received
    BREAK = "break"  # the guest comes to an address


@dataclass(frozen=True)
class Trigger:
    """A trigger: `pattern` of CONSOLE and PACKET, `place` of BREAK."""

    kind: Kind
    pattern: bytes = b""
    place: str = ""


def parse_trigger(text: str) -> Trigger:
    """Raises UsageError."""
    name, _, rest = text.strip().partition(" ")
    try:
        kind = Kind(name)
    except ValueError:
        raise UsageError(f"{text!r} is no trigger: there are {_FORMS}") from None
    if kind is Kind.BREAK:
        if not re.fullmatch(r"0[xX][0-9a-fA-F]{1,16}|[A-Za-z_][\w.$]*", rest.strip()):
            raise UsageError(f"{text!r}: an address (0x...) or a symbol is needed")
        return Trigger(kind, place=rest.strip())
    pattern = rest.encode()
    if kind is Kind.PACKET:
        try:
            pattern = bytes.fromhex(rest)
        except ValueError:
            raise UsageError(f"{text!r}: two hexadecimal digits a byte are needed") from None
    if not 1 <= len(pattern) <= PATTERN_MAX:
        raise UsageError(f"{text!r}: 1 to {PATTERN_MAX} bytes are needed")
    return Trigger(kind, pattern)


@dataclass(frozen=True)
class Triggers:
    """Those of a run; None: the recording begins with the guest, and ends with it."""

    start: Trigger | None = None
    stop: Trigger | None = None

    @property
    def need_line(self) -> bool:
        """Whether somebody must wait at the monitor's line."""
        return any(one is not None and one.kind is Kind.BREAK for one in (self.start, self.stop))

    def words(self) -> dict[str, str]:
        """What of this the monitor's command line says."""
        words = {}
        for name, trigger in (("start", self.start), ("stop", self.stop)):
            if trigger is not None and trigger.kind is not Kind.BREAK:
                words[f"{name}-{trigger.kind.value}"] = trigger.pattern.hex()
        if self.start is not None and self.start.kind is Kind.BREAK:
            words["on-demand"] = "1"
        if self.need_line:
            words["wait"] = "1"
        return words

    def visit(self, guest: Guest, say: Callable[[str], None]) -> BreakVisit | None:
        """Who waits at the line, if that is needed. Raises UsageError for an unknown symbol."""
        if not self.need_line:
            return None
        start, stop = (
            address_of(one.place, guest) if one is not None and one.kind is Kind.BREAK else None
            for one in (self.start, self.stop)
        )
        return BreakVisit(start, stop, say)


NO_TRIGGERS = Triggers()


def address_of(place: str, guest: Guest) -> int:
    """The address of a breakpoint before the guest runs. Raises UsageError."""
    if place[:2] in ("0x", "0X"):
        return int(place, 16)
    if guest.kind == "linux":
        raise UsageError(
            f"break {place}: where a Linux kernel puts its symbols is decided as it boots: "
            "give an address (with nokaslr in --append it is the linked one)"
        )
    if guest.kind != "multiboot" or guest.kernel is None:
        raise UsageError(f"break {place}: this guest has no symbols: give an address")
    names = GuestNames.for_multiboot(guest.kernel)
    address = names.address(place)
    if address is None:
        raise UsageError(f"break {place}: {names.note or f'no such symbol in {guest.kernel.name}'}")
    return address


class BreakVisit(VisitorThread):
    """Implements lvmm.machine_run.Visitor: begins and ends the recording at breakpoints."""

    def __init__(self, start: int | None, stop: int | None, say: Callable[[str], None]) -> None:
        super().__init__("lvmm-triggers")
        self._start = start
        self._stop = stop
        self._say = say
        self._stopping = False

    def stop(self) -> None:
        """See Visitor: the recording up to there is sealed."""
        self._stopping = True

    def visit(self, link: LinkClient) -> None:
        """Until the run is over."""
        status = link.wait_for_stop(link.status())
        numbers = {
            address: link.set_breakpoint(BreakpointKind.HARDWARE, address)
            for address in {self._start, self._stop} - {None}
            if address is not None
        }
        while status.state == RunState.STOPPED and not self._stopping:
            if self._at(link, status, numbers):
                break
            status = self._next_stop(link)
        if status.state != RunState.HALTED:
            link.stop_run()
        while link.status().state != RunState.HALTED:
            time.sleep(_LOOK_S)

    def _at(self, link: LinkClient, status: Status, numbers: dict[int, int]) -> bool:
        """At a stop; whether the recording is to end here."""
        if status.reason != StopReason.HARDWARE_BREAKPOINT:
            return False
        if status.address == self._start:
            self._start = None
            link.start_recording()
            self._say(f"the recording begins after {status.branches} branches")
            if status.address != self._stop:
                link.clear_breakpoint(numbers[status.address])
            return False
        return status.address == self._stop and status.events > 0

    def _next_stop(self, link: LinkClient) -> Status:
        since = link.resume()
        while not self._stopping:
            try:
                return link.wait_for_stop(since, _LOOK_S)
            except LinkTimeout:
                continue
        return since
