"""Queries over a replay that goes forward: breakpoints and watchpoints over the debug link."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from lvmm.debug.registers import by_name
from lvmm.errors import UsageError
from lvmm.guest_view import PAGE, Physical
from lvmm.link import BreakpointKind, LinkTimeout, NoSpace, RunState, Status, StopReason
from lvmm.link import MemoryFault as LinkFault
from lvmm.link.layout import Opcode, Registers
from lvmm.logs.layout import Dma
from lvmm.queries.arguments import arguments, caller
from lvmm.queries.findings import Answer, Call, Where, Write, Writer
from lvmm.queries.guest import MODULE_LOADED, Look, SearchedGuest
from lvmm.queries.moments import Moment, Moments
from lvmm.queries.places import Range, UnknownName, closest, resolve
from lvmm.queries.query import Kind

Pages = tuple[int | None, ...]  # physical addresses

_LOOK_S = 1.0  # how often progress is told


class Link(Protocol):
    """What of lvmm.link.LinkClient is used."""

    def status(self) -> Status: ...

    def resume(self) -> Status: ...

    def wait_for_stop(self, since: Status, seconds: float | None = None) -> Status: ...

    def read_registers(self) -> Registers: ...

    def set_breakpoint(self, kind: BreakpointKind, address: int, length: int = 1) -> int: ...

    def clear_breakpoint(self, number: int) -> None: ...


@dataclass
class _Watch:
    """A range that is watched: what was in it, and where that is in physical memory.

    One write may meet two watchpoints, and stop the guest twice at one boundary.
    """

    answer: Answer
    number: int
    range: Range
    before: bytes
    pages: Pages
    last: tuple[int, ...] = ()  # the boundary at which a write was found


class Search:
    """Goes through a replay once, with a guest that waits at its first instruction.

    `anchor` is an address of the Linux kernel's code that the guest comes to: its place is found
    there, if not before. `tell` gets how many events were replayed, and how much was found. `ended`
    says that the replay was searched to its end, or that every query has found enough.
    """

    def __init__(
        self,
        guest: SearchedGuest,
        answers: Sequence[Answer],
        moments: Moments,
        anchor: int | None,
        tell: Callable[[int, int], None],
    ) -> None:
        self.ended = False
        self.at_end = False
        self._guest = guest
        self._answers = answers
        self._moments = moments
        self._anchor = anchor
        self._tell = tell
        self._waiting = list(answers)  # those that nothing is set for
        self._watches: list[_Watch] = []
        self._calls: dict[int, list[Answer]] = {}  # by address
        self._helpers: dict[int, int] = {}  # breakpoints for our own use, by address
        self._last_call: tuple[int, int, int] | None = None
        self._stopping = False

    def stop(self) -> None:
        """Ends run() soon; what was found stays."""
        self._stopping = True

    def run(self, link: Link, memory: Physical) -> None:
        """Searches. Raises LvmmError where link or guest fail."""
        status = link.status()
        status = link.wait_for_stop(status)
        while status.state == RunState.STOPPED and not self._stopping:
            self._at_stop(link, memory, status)
            if all(answer.full for answer in self._answers):
                self.ended = True
                return
            status = self._next_stop(link)
        self.at_end = status.state == RunState.HALTED
        self.ended = self.at_end

    def explain_what_waits(self) -> None:
        """Notes, at the end, why nothing was looked for."""
        for answer in self._waiting:
            place = answer.query.place
            if not self._guest.ready or self._guest.names.note:
                answer.note = self._guest.names.note
            elif answer.range is None:
                hint = closest(place, self._guest.known_names())
                answer.note = f"there is no symbol {place} in the guest{hint}"
            else:
                answer.note = f"nothing was mapped at {answer.range.address:#x}"

    def _next_stop(self, link: Link) -> Status:
        since = link.resume()
        while not self._stopping:
            try:
                return link.wait_for_stop(since, _LOOK_S)
            except LinkTimeout:
                now = link.status()
                self._tell(now.events, sum(answer.count for answer in self._answers))
        return since

    def _at_stop(self, link: Link, memory: Physical, status: Status) -> None:
        look = Look(by_name(link.read_registers()), memory)
        moment = self._moments.at(status.events, status.branches, status.rip)
        where = self._where(look, moment)
        if self._waiting:
            self._guest.look(look)
        if status.reason == StopReason.WATCHPOINT:
            self._written(look, where, moment, status)
        self._called(look, where)
        if self._waiting:
            self._set_what_waits(link, look, moment.events)

    def _where(self, look: Look, moment: Moment) -> Where:
        names = self._guest.names
        task = self._guest.task(look)
        if task is None and moment.task is not None:
            task = f"{moment.task.name.decode('utf-8', 'replace')}/{moment.task.number}"
        code = names.describe(look.rip)
        return Where(moment.events, moment.branches, look.rip, moment.seconds, code, task)

    # ---- calls

    def _called(self, look: Look, where: Where) -> None:
        """At any stop: the monitor passes a breakpoint that the guest is at when it goes on."""
        found = self._calls.get(look.rip)
        here = (where.branches, look.rip, look.registers["rsp"])
        if not found or here == self._last_call:
            return
        self._last_call = here
        names = self._guest.names
        name = names.symbol(look.rip) or ""
        values = arguments(look, self._guest.types.parameters(name.split("+")[0]))
        back = caller(look)
        code = names.describe(back) if back is not None else None
        for answer in found:
            answer.add(Call(where, back, code, values))

    # ---- writes

    def _written(self, look: Look, where: Where, moment: Moment, status: Status) -> None:
        here = (where.event, where.branches, *look.registers.values())
        for watch in self._watches:
            now, pages = _content(look, watch)
            ours = watch.number == status.breakpoint
            ours = ours or watch.range.has(status.address)
            device = _by_device(moment.dma, watch.range, pages)
            old = watch.before if pages == watch.pages else None
            changed = old is not None and old != now
            watch.before, watch.pages = now, pages
            again = not changed and watch.last == here
            if again or not (changed or (ours and watch.answer.query.kind is Kind.WRITE)):
                continue
            watch.last = here
            writer = Writer.DEVICE if device else Writer.CODE if ours else Writer.UNSEEN
            watch.answer.add(_write(where, watch.range, status.address, old, now, writer))

    # ---- what is not set yet

    def _set_what_waits(self, link: Link, look: Look, events: int) -> None:
        if self._guest.ready:
            self._waiting = [
                answer for answer in self._waiting if not self._set(link, look, events, answer)
            ]
        helper = self._helper_wanted()
        for address, number in list(self._helpers.items()):
            if address != helper:
                link.clear_breakpoint(number)
                del self._helpers[address]
        if helper is not None and helper not in self._helpers:
            kind = BreakpointKind.SOFTWARE if self._guest.ready else BreakpointKind.HARDWARE
            self._helpers[helper] = link.set_breakpoint(kind, helper)

    def _helper_wanted(self) -> int | None:
        """Where to stop to look again: the kernel is there, or another module."""
        if not self._waiting:
            return None
        if not self._guest.ready:
            return self._anchor
        return self._guest.names.address(MODULE_LOADED) if self._guest.is_linux else None

    def _set(self, link: Link, look: Look, events: int, answer: Answer) -> bool:
        """Sets a breakpoint or watchpoint; False where the place is not there yet."""
        query = answer.query
        try:
            place = resolve(query.place, query.length, self._guest.names.address, self._guest.types)
        except UnknownName:
            return False
        except UsageError as error:
            answer.give_up(str(error))
            return True
        answer.range = place
        try:
            if query.kind is Kind.CALL:
                _break_at(link, place.address)
                self._calls.setdefault(place.address, []).append(answer)
            else:
                kind = (
                    BreakpointKind.WATCH_STORE
                    if query.kind is Kind.WRITE
                    else BreakpointKind.WATCH_WRITE
                )
                number = link.set_breakpoint(kind, place.address, place.length)
                before, pages = _mapped(look, place)
                self._watches.append(_Watch(answer, number, place, before, pages))
        except LinkFault:
            return False
        except NoSpace:
            answer.give_up(
                "the monitor watches no more: 256 breakpoints and watchpoints, and 1,024 pages"
            )
            return True
        answer.since = events
        return True


def _break_at(link: Link, address: int) -> None:
    """Raises MemoryFault where nothing is mapped, and there is no debug register left."""
    try:
        link.set_breakpoint(BreakpointKind.SOFTWARE, address)
    except LinkFault:
        try:
            link.set_breakpoint(BreakpointKind.HARDWARE, address)
        except NoSpace:
            raise LinkFault(Opcode.SET_BREAKPOINT, address, 0) from None


def _mapped(look: Look, place: Range) -> tuple[bytes, Pages]:
    """What is in a range, and the physical addresses of its pages; without what is not mapped."""
    space = look.space
    first = place.address - place.address % PAGE
    pages = range(first, place.address + place.length, PAGE)
    return space.read(place.address, place.length), tuple(space.translate(at) for at in pages)


def _content(look: Look, watch: _Watch) -> tuple[bytes, Pages]:
    """The same of what is watched, also where the address space of the moment does not have it."""
    now, pages = _mapped(look, watch.range)
    if None not in pages or None in watch.pages:
        return now, pages
    parts = _parts(watch.range, watch.pages)
    return b"".join(look.memory.read(at, length) for length, at in parts), watch.pages


def _by_device(dma: Sequence[Dma], place: Range, pages: Pages) -> bool:
    """Whether a device has written to the range."""
    for part, physical in _parts(place, pages):
        for write in dma:
            if write.gpa < physical + part and physical < write.gpa + len(write.data):
                return True
    return False


def _parts(place: Range, pages: Pages) -> Iterator[tuple[int, int]]:
    """Length and physical address of what each page has of a range."""
    at = place.address
    end = place.address + place.length
    for page in pages:
        length = min(PAGE - at % PAGE, end - at)
        if page is not None:
            yield length, page + at % PAGE
        at += length


def _write(
    where: Where, place: Range, address: int, old: bytes | None, new: bytes, writer: Writer
) -> Write:
    """The bytes that differ, or the word at `address` where none does; a short range is whole."""
    if place.length <= 8:
        return Write(where, place.address, old, new, writer)
    if old is not None and old != new and len(old) == len(new):
        differing = [
            at for at, (one, other) in enumerate(zip(old, new, strict=True)) if one != other
        ]
        first, last = differing[0], differing[-1] + 1
    else:
        first = address - place.address if place.has(address) else 0
        last = min(first + 8, len(new))
    part = None if old is None else old[first:last]
    return Write(where, place.address + first, part, new[first:last], writer)
