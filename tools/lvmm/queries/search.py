"""Queries over a replay that goes forward: breakpoints and watchpoints over the debug link."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from lvmm.debug.registers import by_name
from lvmm.errors import UsageError
from lvmm.guest_view import Physical
from lvmm.link import BreakpointKind, LinkTimeout, NoSpace, RunState, Status, StopReason
from lvmm.link import MemoryFault as LinkFault
from lvmm.link.layout import Position, PositionFlag, Registers
from lvmm.queries.arguments import arguments, caller
from lvmm.queries.findings import Answer, Call, Running, Where
from lvmm.queries.goals import Goal
from lvmm.queries.guest import MODULE_LOADED, Look, SearchedGuest
from lvmm.queries.moments import Moment, Moments
from lvmm.queries.places import UnknownName, closest, resolve
from lvmm.queries.points import Points, SearchPoints
from lvmm.queries.query import Kind
from lvmm.queries.watching import Watch

_WATCHES = {Kind.WRITE: BreakpointKind.WATCH_STORE, Kind.CHANGE: BreakpointKind.WATCH_WRITE}
_LOOK_S = 1.0  # how often progress is told


class Travel(Protocol):
    """What of lvmm.link.replay_requests.ReplayRequests is used."""

    def run_to(self, at: Position, flags: int = ...) -> Status: ...


class Link(Points, Protocol):
    """What of lvmm.link.LinkClient is used."""

    @property
    def replay(self) -> Travel: ...

    def status(self) -> Status: ...

    def resume(self) -> Status: ...

    def wait_for_stop(self, since: Status, seconds: float | None = None) -> Status: ...

    def read_registers(self) -> Registers: ...


@dataclass
class _Function:
    """A breakpoint at a function, for these queries."""

    number: int
    answers: list[Answer]


class Search:
    """Goes through a replay once, with a guest that waits at its first instruction.

    `goals` are where to stop for those that ask who runs, in order. `anchor` is an address of the
    Linux kernel's code that the guest comes to: its place is found there, if not before. `tell`
    gets how many events were replayed, and how much was found. `ended` says that the replay was
    searched to its end, or that every query has found enough.
    """

    def __init__(
        self,
        guest: SearchedGuest,
        answers: Sequence[Answer],
        moments: Moments,
        goals: Sequence[Goal],
        anchor: int | None,
        tell: Callable[[int, int], None],
    ) -> None:
        self.ended = False
        self.at_end = False
        self._guest = guest
        self.answers = answers
        self._moments = moments
        self._goals = list(goals)
        self._anchor = anchor
        self._tell = tell
        at_goals = [goal.answer for goal in goals]
        # Those that nothing is set for.
        self._waiting = [answer for answer in answers if answer not in at_goals]
        self._points = SearchPoints()
        self._watches: list[Watch] = []
        self._functions: dict[int, _Function] = {}  # by address
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
            if all(answer.full for answer in self.answers):
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
        since = self._go(link)
        while not self._stopping:
            try:
                return link.wait_for_stop(since, _LOOK_S)
            except LinkTimeout:
                now = link.status()
                self._tell(now.events, sum(answer.count for answer in self.answers))
        return since

    def _go(self, link: Link) -> Status:
        if not self._goals:
            return link.resume()
        goal = self._goals[0]
        at = Position(goal.events, goal.due.branches, goal.due.rip, 0)
        return link.replay.run_to(at, PositionFlag.RIP)

    def _at_stop(self, link: Link, memory: Physical, status: Status) -> None:
        look = Look(by_name(link.read_registers()), memory)
        moment = self._moments.at(status.events, status.branches, status.rip)
        if not self._guest.ready:
            self._guest.look(look)
        where = self._where(look, moment)
        if status.reason == StopReason.WATCHPOINT:
            for watch in self._watches:
                watch.look_at(look, where, moment.dma, status.breakpoint, status.address)
        self._called(look, where)
        self._reached(look, where, status)
        self._clear_what_is_full(link)
        if self._waiting or self._helpers or not self._guest.ready:
            self._set_what_waits(link, look, moment.events)

    def _where(self, look: Look, moment: Moment) -> Where:
        names = self._guest.names
        task = self._guest.task(look)
        if task is None and moment.task is not None:
            task = f"{moment.task.name.decode('utf-8', 'replace')}/{moment.task.number}"
        code = names.describe(look.rip)
        return Where(moment.events, moment.branches, look.rip, moment.seconds, code, task)

    # ---- who runs

    def _reached(self, look: Look, where: Where, status: Status) -> None:
        """At any stop: it may be where an event is due."""
        here = (status.events, status.branches, status.rip)
        while self._goals:
            goal = self._goals[0]
            if (goal.events, goal.due.branches, goal.due.rip) == here:
                at = replace(where, event=goal.due.index)
                privilege = look.registers["cs"] & 3
                goal.answer.since = goal.answer.since or 0
                goal.answer.add(Running(at, goal.due.name, privilege))
            elif status.events > goal.events or status.reason == StopReason.PASSED:
                goal.answer.give_up("the replay did not stop there")
            else:
                return
            goal.answer.full = True
            del self._goals[0]

    # ---- calls

    def _called(self, look: Look, where: Where) -> None:
        """At any stop: the monitor passes a breakpoint that the guest is at when it goes on."""
        found = self._functions.get(look.rip)
        here = (where.branches, look.rip, look.registers["rsp"])
        if found is None or here == self._last_call:
            return
        self._last_call = here
        names = self._guest.names
        name = names.symbol(look.rip) or ""
        values = arguments(look, self._guest.types.parameters(name.split("+")[0]))
        back = caller(look)
        code = names.describe(back) if back is not None else None
        for answer in found.answers:
            answer.add(Call(where, back, code, values))

    def _clear_what_is_full(self, link: Link) -> None:
        """What has found enough need not stop the guest any more."""
        for watch in [watch for watch in self._watches if watch.answer.full]:
            self._points.clear(link, watch.numbers)
            self._watches.remove(watch)
        for address, function in list(self._functions.items()):
            if all(answer.full for answer in function.answers):
                self._points.clear(link, (function.number,))
                del self._functions[address]

    # ---- what is not set yet

    def _set_what_waits(self, link: Link, look: Look, events: int) -> None:
        if self._guest.ready:
            self._waiting = [
                answer for answer in self._waiting if not self._set(link, look, events, answer)
            ]
        helper = self._helper_wanted()
        for address, number in list(self._helpers.items()):
            if address != helper:
                self._points.clear(link, (number,))
                del self._helpers[address]
        if helper is not None and helper not in self._helpers:
            ready = self._guest.ready
            set_at = self._points.break_at if ready else self._points.break_before_mapped
            self._helpers[helper] = set_at(link, helper)

    def _helper_wanted(self) -> int | None:
        """Where to stop to look again: the kernel is there, or another module."""
        if not self._guest.ready:
            return self._anchor if self._waiting or self._goals else None
        if not self._waiting:
            return None
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
                self._set_function(link, place.address, answer)
            else:
                numbers = self._points.watch(link, _WATCHES[query.kind], place)
                self._watches.append(Watch.begin(answer, numbers, place, look))
        except LinkFault:
            return False
        except NoSpace:
            answer.give_up(
                "the monitor watches no more: 256 breakpoints and watchpoints, and 1,024 pages"
            )
            return True
        answer.since = events
        return True

    def _set_function(self, link: Link, address: int, answer: Answer) -> None:
        function = self._functions.get(address)
        if function is None:
            function = _Function(self._points.break_at(link, address), [])
            self._functions[address] = function
        function.answers.append(answer)
