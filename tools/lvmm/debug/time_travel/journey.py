"""The algorithms: a step back, on back to the last hit, and to any place.

The monitor can only go back to a checkpoint, and forward. So what happened last before a position
is found by going forward to it from the checkpoint before, with the monitor taking notes
(RUN_TO and LAST_HIT), and when nothing happened, from the checkpoint before that to this one.

A journey is a generator: it gives the status of a guest that was let run, wants the status of its
next stop, and returns the stop that ends it. So whoever waits can do something else meanwhile.
"""

from __future__ import annotations

from collections.abc import Generator

from lvmm.debug import stops
from lvmm.debug.breakpoints import Breakpoints
from lvmm.debug.time_travel.place import (
    BeforeEvent,
    Begin,
    End,
    Goal,
    Place,
    after_branches,
    after_events,
    end_goal,
    exactly,
    is_before,
    position_text,
)
from lvmm.debug.time_travel.watched_pages import pages_behind
from lvmm.gdb.target import Stop, StopReason, TargetError
from lvmm.link import (
    Checkpoint,
    LinkClient,
    LookBack,
    NoSpace,
    Position,
    RequestFailed,
    RequestRefused,
    RunState,
    Status,
)
from lvmm.link import StopReason as LinkReason
from lvmm.link.layout import LastHitReply

Journey = Generator[Status, Status, Stop]
_Leg = Generator[Status, Status, Status]  # one run of the guest

# Steps back come in numbers: a checkpoint so many branches before a position makes all of them
# short that end behind it.
NEAR = 1000


class _Interrupted(Exception):
    """The user does not want to wait any longer."""


class TimeTravel:
    """One debugger's travels in a replay. `progress` says in a line how far the one under way is.

    A journey ends with a stop also where the monitor refuses something, or where the replay does
    not come to a position again: the stop's text says so. It raises LinkError without an answer.
    """

    def __init__(self, link: LinkClient, breakpoints: Breakpoints) -> None:
        self._link = link
        self._breakpoints = breakpoints
        self._cancelled = False
        self.progress = ""
        self.status: Status | None = None  # the last one known

    def cancel(self) -> None:
        """The guest is to stay where it is by then; the monitor is asked to stop it."""
        self._cancelled = True
        self._link.interrupt()

    def step_back(self) -> Journey:
        """To the boundary before this one."""
        return self._journey(self._step_back())

    def continue_back(self) -> Journey:
        """To the last breakpoint before this boundary, or to before the last watched access."""
        return self._journey(self._continue_back())

    def seek(self, place: Place) -> Journey:
        """To a place, whatever breakpoints there are on the way."""
        return self._journey(self._seek(place))

    # ---- what every journey has

    def _journey(self, journey: Journey) -> Journey:
        self._cancelled = False
        self.progress = ""
        self.status = None
        try:
            return (yield from journey)
        except _Interrupted:
            text = f"on the way, at {position_text(self._here())}"
            if self.progress:
                text += f"; {self.progress}"
            return Stop(StopReason.INTERRUPT, text=text)
        except (TargetError, RequestFailed) as error:
            return Stop(StopReason.INTERRUPT, text=str(error))

    def _here(self) -> Position:
        return self._link.replay.position().at

    def _checkpoints_before(self, here: Position) -> list[Checkpoint]:
        """All before the guest's own position, which is this one."""
        points = list(self._link.replay.checkpoints().points)
        while points and points[-1].at == here:
            points.pop()
        return points

    def _run_to(self, goal: Goal, look_back: LookBack = LookBack.HITS, steps_from: int = 0) -> _Leg:
        """Forward to a goal; breakpoints do not count."""
        if self._cancelled:
            raise _Interrupted
        status = self._link.replay.run_to(goal.at, goal.flags, look_back, steps_from)
        status = self.status = yield status
        if self._cancelled or status.reason == LinkReason.INTERRUPT:
            raise _Interrupted
        return status

    def _arrive(self, at: Position, look_back: LookBack, steps_from: int = 0) -> _Leg:
        """Forward to a position where the guest has been before."""
        status = yield from self._run_to(exactly(at), look_back, steps_from)
        over = status.state == RunState.HALTED and at == self._here()
        if status.reason != LinkReason.POSITION and not over:
            raise TargetError(
                f"the replay did not come to {position_text(at)} again: "
                f"{stops.reason_text(status)}, at {position_text(self._here())}"
            )
        return status

    def _checkpoint_before(self, at: Position) -> Checkpoint:
        """The last that is surely before a position where the guest has been, or the first."""
        points = self._points()
        return next((point for point in reversed(points) if is_before(point.at, at)), points[0])

    def _go_back_to(self, at: Position) -> Generator[Status, Status, None]:
        """To a position where the guest has been."""
        same = (point for point in self._points() if point.at == at)
        start = next(same, None) or self._checkpoint_before(at)
        self._restore(start)
        if start.at != at:
            yield from self._arrive(at, LookBack.HITS)

    def _to_begin(self) -> Stop:
        self._restore(self._points()[0])
        return Stop(StopReason.START_OF_LOG)

    def _restore(self, point: Checkpoint) -> None:
        self.status = self._link.replay.restore(point.id)

    def _points(self) -> tuple[Checkpoint, ...]:
        """All checkpoints, oldest first; there is one at least."""
        points = self._link.replay.checkpoints().points
        if not points:
            raise TargetError("this replay has no checkpoint to go back to")
        return points

    # ---- a step back

    def _step_back(self) -> Journey:
        before = yield from self._boundary_before(self._here())
        if before is None:
            return Stop(StopReason.START_OF_LOG)
        yield from self._go_back_to(before)
        return Stop(StopReason.STEP)

    def _boundary_before(self, at: Position) -> Generator[Status, Status, Position | None]:
        """The last one before a position where the guest has been; None where there is none. The
        guest is at the position then.
        """
        start = self._checkpoint_before(at)
        if start.at == at:
            return None
        self._restore(start)
        if at.branches - start.at.branches > 2 * NEAR:
            yield from self._run_to(after_branches(at.branches - NEAR))
            start = self._checkpoint_here(start)
        yield from self._arrive(at, LookBack.STEPS, max(at.branches - 1, 0))
        hit = self._link.replay.last_hit()
        return hit.at if hit.hits else start.at

    def _checkpoint_here(self, otherwise: Checkpoint) -> Checkpoint:
        """A new one, where that can be."""
        try:
            return self._link.replay.make_checkpoint()
        except (RequestRefused, NoSpace):
            return otherwise

    # ---- back to the last hit

    def _continue_back(self) -> Journey:
        here = end = self._here()
        points = self._checkpoints_before(here)
        if not points:
            return Stop(StopReason.START_OF_LOG)
        if not self._breakpoints:
            return self._to_begin()
        pages = self._watched_pages()
        while points:
            candidates = self._written_after(points, pages)
            if candidates is not None:
                while points and points[-1].id not in candidates:
                    end = points.pop().at
                if not points:
                    break
            start = points[-1]
            self._restore(start)
            pages = self._watched_pages()
            yield from self._arrive(end, LookBack.HITS)
            hit = self._link.replay.last_hit()
            if hit.hits:
                return (yield from self._to_hit(hit))
            end = start.at
            self._tell_progress(end, here)
            points = self._checkpoints_older_than(start)
        return self._to_begin()

    def _watched_pages(self) -> frozenset[int] | None:
        ranges = self._breakpoints.written
        return None if ranges is None else pages_behind(self._link, ranges)

    def _written_after(
        self, points: list[Checkpoint], pages: frozenset[int] | None
    ) -> frozenset[int] | None:
        """The checkpoints after which, and before the next, one of the pages is written; None where
        nothing is known of that. What is not among them holds no hit.
        """
        if pages is None:
            return None
        return frozenset[int]().union(*map(self._link.replay.page_changes, pages))

    def _checkpoints_older_than(self, point: Checkpoint) -> list[Checkpoint]:
        """Which there are by now: going forward makes some, and may merge old ones."""
        points = self._link.replay.checkpoints().points
        ids = [other.id for other in points]
        if point.id in ids:
            return list(points[: ids.index(point.id)])
        return [other for other in points if is_before(other.at, point.at)]

    def _to_hit(self, hit: LastHitReply) -> Journey:
        """To a breakpoint, or to before the access that a watchpoint saw."""
        at: Position | None = hit.at
        if hit.after:
            at = yield from self._boundary_before(hit.at)
        if at is not None:
            yield from self._go_back_to(at)
        return stops.hit_as_stop(hit, self._breakpoints.kinds)

    def _tell_progress(self, done_to: Position, here: Position) -> None:
        part = 100 * (here.branches - done_to.branches) // max(here.branches, 1)
        self.progress = f"searched back to branch {done_to.branches} of {here.branches}, {part}%"

    # ---- to a place

    def _seek(self, place: Place) -> Journey:
        if isinstance(place, Begin):
            return self._to_begin()
        if isinstance(place, End):
            return (yield from self._seek_goal(end_goal(), "the end"))
        if isinstance(place, Goal):
            return (yield from self._seek_goal(place, "that position"))
        return (yield from self._seek_event(place))

    def _seek_event(self, place: BeforeEvent) -> Journey:
        stop = yield from self._seek_goal(after_events(place.number + 1), f"event {place.number}")
        if stop.reason is not StopReason.SOUGHT:
            return stop
        stop = yield from self._step_back()
        return Stop(StopReason.SOUGHT) if stop.reason is StopReason.STEP else stop

    def _seek_goal(self, goal: Goal, name: str) -> Journey:
        here = self._here()
        if goal.flags and goal.at == here:
            return Stop(StopReason.SOUGHT)
        if not goal.is_after(here):
            points = self._points()
            usable = [p for p in points if goal.is_after(p.at) or (goal.flags and goal.at == p.at)]
            start = usable[-1] if usable else points[0]
            self._restore(start)
            if goal.flags and start.at == goal.at:
                return Stop(StopReason.SOUGHT)
        elif (status := self._link.status()).state == RunState.HALTED:
            return self._end(status, goal, name)
        status = yield from self._run_to(goal)
        if status.reason == LinkReason.POSITION:
            return Stop(StopReason.SOUGHT)
        if status.reason == LinkReason.PASSED:
            text = f"{name} is not in this recording: the guest is behind it"
            return Stop(StopReason.SOUGHT, text=text)
        return self._end(status, goal, name)

    def _end(self, status: Status, goal: Goal, name: str) -> Stop:
        stop = stops.as_stop(status, self._breakpoints.kinds)
        if goal == end_goal():
            return stop
        text = f"the recording ends before {name}: {stop.text or stop.reason.value}"
        return Stop(stop.reason, stop.address, stop.kind, text)
