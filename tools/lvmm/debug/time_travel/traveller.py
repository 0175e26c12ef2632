"""One journey after the other, in turns: what a debugger's target needs of time travel."""

from __future__ import annotations

from tabulate import tabulate

from lvmm.debug.breakpoints import Breakpoints
from lvmm.debug.time_travel.journey import Journey, TimeTravel
from lvmm.debug.time_travel.place import parse_place, position_text
from lvmm.gdb.target import Stop, TargetError
from lvmm.link import GuestRunning, LinkClient, LinkTimeout, RequestFailed, Status


class Traveller:
    """Starts journeys and polls for their end. `stop` is that of the last one, until forget();
    `status` the monitor's then. All methods raise LinkError and TargetError.
    """

    def __init__(self, link: LinkClient, breakpoints: Breakpoints) -> None:
        self._link = link
        self._travel = TimeTravel(link, breakpoints)
        self._journey: Journey | None = None
        self._since: Status | None = None  # of the guest that was let run last
        self.stop: Stop | None = None
        self.status: Status | None = None

    @property
    def under_way(self) -> bool:
        """Whether a journey has not ended."""
        return self._journey is not None

    @property
    def progress(self) -> str:
        """How far it is, in a line."""
        return self._travel.progress if self.under_way else ""

    def possible(self) -> bool:
        """Whether the monitor of this replay makes checkpoints."""
        try:
            return bool(self._link.replay.checkpoints().points)
        except GuestRunning:
            return True
        except RequestFailed:
            return False

    def reverse(self, *, step: bool) -> None:
        """Starts a journey back."""
        self._begin(self._travel.step_back() if step else self._travel.continue_back())

    def seek(self, place: str) -> None:
        """Starts a journey to a place."""
        try:
            goal = parse_place(place)
        except ValueError as error:
            raise TargetError(str(error)) from None
        self._begin(self._travel.seek(goal))

    def forget(self) -> None:
        """The guest goes on from where the last journey ended."""
        self.stop = None

    def cancel(self) -> None:
        """The journey ends soon, on the way."""
        self._travel.cancel()

    def poll_stop(self, timeout_s: float) -> Stop | None:
        """The stop that ended it; None: it goes on after up to `timeout_s` of waiting."""
        if self._journey is not None and self._since is not None:
            try:
                self._go_on(self._link.wait_for_stop(self._since, timeout_s))
            except LinkTimeout:
                return None
        return self.stop

    def when(self) -> str:
        """Lines about the position, which the monitor of a replay tells; empty without one."""
        try:
            reply = self._link.replay.position()
        except RequestFailed:
            return ""
        lines = [f"position {position_text(reply.at)}", f"event    {reply.at.events} is next"]
        if reply.tsc:
            lines.append(f"TSC      {reply.tsc}")
        return "".join(f"{line}\n" for line in lines)

    def checkpoint_table(self, *, make: bool) -> str:
        """All checkpoints; `make`: with a new one here."""
        if make:
            self._link.replay.make_checkpoint()
        known = self._link.replay.checkpoints()
        rows = [(point.id, position_text(point.at), point.pages) for point in known.points]
        table = tabulate(rows, ("checkpoint", "position", "pages written"), tablefmt="plain")
        return f"{table}\n{known.used} of {known.room} bytes for them are used"

    def _begin(self, journey: Journey) -> None:
        self.stop = self.status = None
        self._journey = journey
        self._go_on(None)

    def _go_on(self, status: Status | None) -> None:
        """Lets the journey go its next leg, or end."""
        assert self._journey is not None
        try:
            self._since = next(self._journey) if status is None else self._journey.send(status)
        except StopIteration as end:
            self._journey = None
            self.status = self._travel.status or self._link.status()
            self.stop = end.value
        except BaseException:
            self._journey = None
            raise
