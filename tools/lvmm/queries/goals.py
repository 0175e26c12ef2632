"""Where a replay is to stop for the queries that ask who runs at an event."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from lvmm.errors import UsageError
from lvmm.logs import Event
from lvmm.logs.layout import NOTES, EventKind
from lvmm.queries.findings import Answer
from lvmm.queries.query import Kind

# Replay passes over notes, and takes in what a recording begins with before the guest runs.
_PASSED_OVER = NOTES | {EventKind.BEGIN, EventKind.RAM_PAGE}


@dataclass(frozen=True)
class Goal:
    """An event, before which the guest is to stop. `events` is the number of the first event at
    its position: there is no boundary between them.
    """

    answer: Answer
    due: Event
    events: int


def find_goals(events: Iterable[Event], count: int, answers: Sequence[Answer]) -> list[Goal]:
    """Those of the answers to RUNNING queries, in order, from a recording of `count` events.

    Raises UsageError for an event that is not there.
    """
    wanted = [answer for answer in answers if answer.query.kind is Kind.RUNNING]
    wanted.sort(key=lambda answer: answer.query.event)
    if not wanted:
        return []
    if wanted[-1].query.event >= count:
        raise UsageError(
            f"--find {wanted[-1].query.text!r}: the recording has events from 0 to {count - 1}"
        )
    goals: list[Goal] = []
    first = 0
    for event in events:
        if event.kind in _PASSED_OVER:
            continue
        if not event.same_position:
            first = event.index
        while len(goals) < len(wanted) and wanted[len(goals)].query.event <= event.index:
            goals.append(Goal(wanted[len(goals)], event, first))
        if len(goals) == len(wanted):
            return goals
    raise UsageError(
        f"--find {wanted[len(goals)].query.text!r}: from there on the recording has only notes, "
        "which are no positions of the guest"
    )
