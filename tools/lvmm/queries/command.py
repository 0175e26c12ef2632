"""`./lvmm replay DIR --find QUERY`: from the arguments to the answers."""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
import tempfile
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lvmm import recording_dir, replaying
from lvmm.board import Board
from lvmm.errors import DivergenceError, LvmmError, MachineTimeout, UsageError
from lvmm.logs import Recording
from lvmm.logs.guest_time import GuestClock
from lvmm.machine_run import StopRequest
from lvmm.queries.findings import Answer
from lvmm.queries.goals import find_goals
from lvmm.queries.guest import KERNEL_TEXT, SearchedGuest
from lvmm.queries.moments import Moments
from lvmm.queries.places import UnknownName, check_place, closest, resolve
from lvmm.queries.progress import SearchProgress
from lvmm.queries.query import Query, parse_query
from lvmm.queries.search import Search
from lvmm.queries.visit import SearchVisit
from lvmm.session import RunSettings, raise_run_error

EXIT_INTERRUPTED = 130


@dataclass(frozen=True)
class Found:
    """The answers, and how the search ended: `interrupted` by the user before the end."""

    answers: Sequence[Answer]
    interrupted: bool

    def facts(self, directory: Path) -> dict[str, Any]:
        """As JSON values."""
        return {
            "directory": str(directory),
            "complete": not self.interrupted,
            "queries": [answer.facts() for answer in self.answers],
        }


def check_options(options: argparse.Namespace) -> list[Query]:
    """The queries of the command line; none where it has none. Raises UsageError."""
    if not options.find:
        if options.last or options.limit is not None:
            raise UsageError("--last and --limit go with --find QUERY")
        return []
    others = ("gdb", "attach", "core", "until", "symbols")
    for name in others:
        if getattr(options, name) is not None:
            raise UsageError(f"--find goes without --{name}")
    queries = [parse_query(text) for text in options.find]
    for query in queries:
        if query.place:
            check_place(query.place)
    return queries


def run_queries(
    options: argparse.Namespace, queries: Sequence[Query], board: Board, settings: RunSettings
) -> int:
    """Searches and prints; the exit code. Raises LvmmError, after what was found was printed."""
    stop = StopRequest()
    progress = SearchProgress(
        recording_dir.read_manifest(options.directory).events_total, sys.stderr
    )
    limits = Limits(options.last, options.limit)
    with stop.from_ctrl_c():
        found, failure = search_recording(
            board, options.directory, settings, queries, limits, progress, stop
        )
    progress.close()
    if options.json:
        print(json.dumps(found.facts(options.directory), indent=2))
    else:
        for answer in found.answers:
            print("\n".join(answer.lines()))
    if failure is not None:
        raise failure
    return EXIT_INTERRUPTED if found.interrupted else 0


@dataclass(frozen=True)
class Limits:
    """How many findings of each query are kept: the first `limit`, or with `last` the last ones,
    of which there is one unless `limit` says more.
    """

    last: bool = False
    limit: int | None = None

    def answer(self, query: Query) -> Answer:
        """An answer that keeps these."""
        if self.last:
            return Answer(query, deque(maxlen=self.limit or 1))
        return Answer(query, deque(), limit=self.limit)


@contextlib.contextmanager
def prepared_search(
    directory: Path,
    queries: Sequence[Query],
    limits: Limits,
    tell: Callable[[int, int], None] = lambda _events, _found: None,
) -> Iterator[Search]:
    """A search that a replay of the recording can be visited by. Raises LvmmError."""
    manifest = recording_dir.read_manifest(directory)
    guest = SearchedGuest(manifest.kind, recording_dir.recorded_kernel(directory, manifest))
    _check_names(guest, queries, manifest.kernel_name or "the guest")
    answers = [limits.answer(query) for query in queries]
    with Recording.open(directory) as recording:
        anchor = _anchor(recording) if guest.is_linux else None
        goals = find_goals(recording.events(), recording.event_count, answers)
        yield Search(guest, answers, _moments(recording), goals, anchor, tell)


def search_recording(
    board: Board,
    directory: Path,
    settings: RunSettings,
    queries: Sequence[Query],
    limits: Limits,
    tell: Callable[[int, int], None] = lambda _events, _found: None,
    stop: StopRequest | None = None,
) -> tuple[Found, LvmmError | None]:
    """Replays the recording once for all queries. What was found, and what went wrong then.

    Raises LvmmError for what is wrong before.
    """
    with contextlib.ExitStack() as open_files:
        search = open_files.enter_context(prepared_search(directory, queries, limits, tell))
        scratch = open_files.enter_context(tempfile.TemporaryDirectory(prefix="lvmm-find-"))
        visit = SearchVisit(search, Path(scratch) / "ram.img")
        failure = None
        try:
            with replaying.replayed(
                board,
                directory,
                settings,
                directory / recording_dir.LOG,
                Path(scratch),
                stop,
                visitor=visit,
            ) as run:
                failure = visit.failure or _failure(run, search)
                interrupted = not search.ended
        except LvmmError as error:
            failure, interrupted = error, True
    visit.close()
    if search.at_end:
        search.explain_what_waits()
    unset = [answer for answer in search.answers if answer.since is None and answer.note]
    if failure is None and unset:
        failure = UsageError(f"--find {unset[0].query.text!r}: {unset[0].note}")
    return Found(search.answers, interrupted), failure


def _failure(run: replaying.Replayed, search: Search) -> LvmmError | None:
    """What went wrong with the machine or the replay."""
    if run.result.report.divergence is not None:
        where = run.result.report.divergence.get("event")
        return DivergenceError(
            f"the replay left the recording at event {where}: ./lvmm replay DIR tells more"
        )
    if run.result.timed_out and not search.ended:
        return MachineTimeout("the deadline passed before the search was over")
    if run.result.interrupted or (search.ended and not search.at_end):
        return None
    try:
        raise_run_error(run.result)
    except LvmmError as error:
        return error
    return None


def _check_names(guest: SearchedGuest, queries: Sequence[Query], program: str) -> None:
    """Raises UsageError for a name that the program lacks; of Linux it may be a module's."""
    for query in queries:
        if not guest.ready or not query.place:
            continue
        try:
            resolve(query.place, query.length, guest.names.address, guest.types)
        except UnknownName as name:
            why = guest.names.note or f"{program} has no symbol {name}"
            hint = closest(str(name), guest.known_names())
            raise UsageError(f"--find {query.text!r}: {why}{hint}") from None


def _anchor(recording: Recording) -> int | None:
    """Where the Linux kernel's own code first causes an event."""
    return next((event.rip for event in recording.events() if event.rip >= KERNEL_TEXT), None)


def _moments(recording: Recording) -> Moments:
    machine = recording.header.machine if recording.header is not None else None
    clock = GuestClock(machine.tsc_hz, machine.start_tsc) if machine else GuestClock(0)
    return Moments(clock.timed(recording.events()))
