"""The search through a replay, with a machine that follows a script (searched_machine.py)."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest
from tests.host.searched_machine import SearchedMachine, Step

from lvmm.errors import UsageError
from lvmm.logs.codec import Event
from lvmm.logs.guest_time import TimedEvent
from lvmm.logs.layout import ConsoleLine, Dma, Payload, Rdtsc, Task, Time
from lvmm.queries.command import Limits
from lvmm.queries.findings import Answer, Call, Running, Where, Write, Writer
from lvmm.queries.goals import find_goals
from lvmm.queries.guest import SearchedGuest
from lvmm.queries.moments import Moments
from lvmm.queries.query import parse_query
from lvmm.queries.search import Search

# At addresses that the machine has: count at 0x4000, add at 0x1000, its caller at 0x1100.
SOURCE = """
    .intel_syntax noprefix
    .text
    .globl add, main
add: .skip 0x100, 0x90
main: .skip 0x100, 0x90
    .section .counts, "aw", @nobits
    .globl count
count: .skip 16
"""
RSP, RSI, RDI = 4, 6, 7
ALL = Limits()


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("program")
    (folder / "program.s").write_text(SOURCE)
    output = folder / "program.elf"
    words = ["gcc", "-nostdlib", "-static", "-Wl,--build-id=none,-Ttext=0x1000,-e,main"]
    words += ["-Wl,--section-start=.counts=0x4000", "-o", str(output), str(folder / "program.s")]
    subprocess.run(words, check=True)
    return output


def event(index: int, branches: int, rip: int, payload: Payload, *, same: bool = False) -> Event:
    return Event(payload, branches, rip, same_position=same, index=index)


def search(
    program: Path,
    machine: SearchedMachine,
    *texts: str,
    limits: Limits = ALL,
    timed: Sequence[TimedEvent] = (),
) -> list[Answer]:
    answers = [limits.answer(parse_query(text)) for text in texts]
    guest = SearchedGuest("multiboot", program)
    goals = find_goals([each.event for each in timed], len(timed), answers)
    searched = Search(guest, answers, Moments(timed), goals, None, lambda _events, _found: None)
    searched.run(machine, machine)
    assert searched.ended
    searched.explain_what_waits()
    return answers


def writes(answer: Answer) -> list[tuple[int, bytes | None, bytes]]:
    found = [finding for finding in answer.kept if isinstance(finding, Write)]
    assert len(found) == len(answer.kept)
    return [(finding.address, finding.old, finding.new) for finding in found]


SCRIPT = [
    Step(0x1100),
    Step(0x1104, writes=[(0x4000, b"\1\0\0\0")]),
    Step(0x1108, writes=[(0x4000, b"\1\0\0\0")]),
    Step(0x110C, writes=[(0x4008, b"\7")]),
    Step(0x1110, writes=[(0x4000, b"\2\0\0\0")]),
]


def test_writes_and_changes(program: Path) -> None:
    every, changes, other = search(
        program, SearchedMachine(SCRIPT), "write count 4", "change count 4", "write count+8 1"
    )
    one, two = b"\1\0\0\0", b"\2\0\0\0"
    assert writes(every) == [(0x4000, bytes(4), one), (0x4000, one, one), (0x4000, one, two)]
    assert writes(changes) == [(0x4000, bytes(4), one), (0x4000, one, two)]
    assert writes(other) == [(0x4008, b"\0", b"\7")]
    assert [finding.where.rip for finding in every.kept] == [0x1104, 0x1108, 0x1110]
    assert every.kept[0].where.code == "main+0x4"
    assert every.since == 0


def test_what_a_long_write_has_changed(program: Path) -> None:
    script = [Step(0x1100), Step(0x1104, writes=[(0x4100, b"\0\0abc\0\0")])]
    script.append(Step(0x1108, writes=[(0x4102, b"abc")]))
    (every,) = search(program, SearchedMachine(script), "write 0x4000 4096")
    assert writes(every) == [
        (0x4102, bytes(3), b"abc"),
        (0x4102, b"abc\0\0\0\0\0", b"abc\0\0\0\0\0"),
    ]


def test_one_write_that_stops_twice(program: Path) -> None:
    """By a debug register and by EPT: the second stop is at the same boundary."""
    again = [(0x4000, b"\1")]
    script = [Step(0x1100), Step(0x1104, writes=again), Step(0x1104, writes=again)]
    script.append(Step(0x1104, gpr={RDI: 1}, writes=again))
    (every,) = search(program, SearchedMachine(script), "write count 1")
    assert writes(every) == [(0x4000, b"\0", b"\1"), (0x4000, b"\1", b"\1")]


def test_calls(program: Path) -> None:
    script = [
        Step(0x1100),
        Step(0x1000, branches=3, gpr={RDI: 5, RSI: 9, RSP: 0x8000}, writes=[(0x8000, b"\5\x11")]),
        Step(0x1004, branches=3),
        Step(0x1000, branches=3, gpr={RDI: 6, RSP: 0x7FF8}, writes=[(0x7FF8, b"\7\x11")]),
    ]
    # The second call also meets a watchpoint, and so no breakpoint.
    calls, pushed = search(program, SearchedMachine(script), "call add", "write 0x7ff8 8")
    found = [finding for finding in calls.kept if isinstance(finding, Call)]
    assert [[argument.value for argument in call.arguments][:2] for call in found] == [
        [5, 9],
        [6, 0],
    ]
    assert [call.caller_code for call in found] == ["main+0x5", "main+0x7"]
    assert pushed.count == 1


def test_the_last_ones_and_the_first_ones(program: Path) -> None:
    (last,) = search(program, SearchedMachine(SCRIPT), "write count 4", limits=Limits(last=True))
    assert (last.count, len(last.kept)) == (3, 1)
    assert writes(last)[0][2] == b"\2\0\0\0"
    two = Limits(last=True, limit=2)
    (last,) = search(program, SearchedMachine(SCRIPT), "write count 4", limits=two)
    assert (last.count, len(last.kept)) == (3, 2)
    machine = SearchedMachine(SCRIPT)
    (first,) = search(program, machine, "write count 4", limits=Limits(limit=1))
    assert (first.count, len(first.kept)) == (1, 1)
    assert machine.status().rip == 0x1104, "the rest is not replayed"


def test_guest_time_devices_and_tasks(program: Path) -> None:
    """Time goes by branches between events; a write at a device's event is the device's."""
    timed = [
        TimedEvent(event(0, 100, 0x1100, Rdtsc(1)), 1.0),
        TimedEvent(event(1, 100, 0x1100, Task(7, b"writer"), same=True), 1.0),
        TimedEvent(event(2, 300, 0x110C, Dma(1, 0x4000, b"\3")), 2.0),
        TimedEvent(event(3, 500, 0x1200, Rdtsc(2)), 4.0),
    ]
    script = [
        Step(0x1100),
        Step(0x1104, events=2, branches=150, writes=[(0x4000, b"\1")]),
        Step(0x110C, events=3, branches=300, writes=[(0x4000, b"\3")]),
        Step(0x1110, events=3, branches=400, writes=[(0x4000, b"\4")]),
    ]
    (every,) = search(program, SearchedMachine(script), "write count 1", timed=timed)
    assert [finding.where.seconds for finding in every.kept] == [1.25, 2.0, 3.0]
    assert [finding.where.task for finding in every.kept] == ["writer/7"] * 3
    by = [finding.writer for finding in every.kept if isinstance(finding, Write)]
    assert by == [Writer.CODE, Writer.DEVICE, Writer.CODE]


TIMED = [
    TimedEvent(event(0, 100, 0x1100, Rdtsc(1)), 1.0),
    TimedEvent(event(1, 100, 0x1100, Time(1), same=True), 1.0),
    TimedEvent(event(2, 300, 0x110C, Dma(1, 0x4000, b"\3")), 2.0),
    TimedEvent(event(3, 300, 0x110C, Dma(1, 0x4001, b"\3"), same=True), 2.0),
    TimedEvent(event(4, 500, 0x1000, Rdtsc(2)), 4.0),
    TimedEvent(event(5, 500, 0x1000, ConsoleLine(3), same=True), 4.0),
]


def test_who_runs_at_events(program: Path) -> None:
    """In order of the queries; of a note, at the event behind it; of DMA, at its position."""
    script = [
        Step(0x1100),
        Step(0x1100, branches=100),
        Step(0x1104, events=2, branches=150, writes=[(0x4000, b"\1")]),
        Step(0x110C, events=2, branches=300),
        Step(0x1000, events=4, branches=500),
        Step(0x1004, events=6, branches=500),
    ]
    texts = ("running 4", "running 3", "running 1", "running 0", "write count 1", "call add")
    *running, every, calls = search(program, SearchedMachine(script), *texts, timed=TIMED)
    found = [finding for answer in running for finding in answer.kept]
    assert [(one.where.event, one.where.branches) for one in found] == [
        (4, 500),
        (3, 300),
        (2, 300),
        (0, 100),
    ]
    assert isinstance(found[0], Running)
    assert (found[0].kind, found[0].where.code, found[1].where.code) == (
        *("RDTSC", "add+0x0", "main+0xc"),
    )
    assert (every.count, calls.count) == (1, 1), "a call right where an event is due counts"


def test_events_that_are_not_there(program: Path) -> None:
    for text, said in (("running 6", "events from 0 to 5"), ("running 5", "only notes")):
        with pytest.raises(UsageError, match=said):
            search(program, SearchedMachine(SCRIPT), text, timed=TIMED)
    script = [Step(0x1100), Step(0x1104, events=3, branches=400)]
    (missed,) = search(program, SearchedMachine(script), "running 2", timed=TIMED)
    assert missed.note == "the replay did not stop there"


def test_memory_that_is_mapped_later(program: Path) -> None:
    script = [
        Step(0x1100, mapped=False),
        Step(0x1104, events=1, writes=[(0x4000, b"\1")], mapped=False),
        Step(0x1000, events=2),
        Step(0x1108, events=3, writes=[(0x4000, b"\2")]),
    ]
    calls, every = search(program, SearchedMachine(script), "call add", "write count 1")
    assert (calls.count, calls.since) == (1, 0), "a debug register needs no memory"
    assert writes(every) == [(0x4000, b"\1", b"\2")]
    assert every.since == 2
    script = [Step(0x1100, mapped=False), Step(0x1104, writes=[(0x4000, b"\1")], mapped=False)]
    (never,) = search(program, SearchedMachine(script), "write count 1")
    assert (never.count, never.since) == (0, None)
    assert never.note == "nothing was mapped at 0x4000"


def test_debug_registers_first(program: Path) -> None:
    """A short range is watched in aligned parts while there are registers for all of them."""
    machine = SearchedMachine(SCRIPT)
    search(program, machine, "change 0x4001 7", "change 0x4010 16", "change 0x4020", "call add")
    watched = [place[1:] for place in machine.set.values()]
    assert watched == [
        *((0x4001, 1), (0x4002, 2), (0x4004, 4)),
        *((0x4010, 16), (0x4020, 8), (0x1000, 1)),
    ]


def test_what_has_found_enough_stops_no_more(program: Path) -> None:
    machine = SearchedMachine([*SCRIPT, Step(0x1000)])
    few = Limits(limit=1)
    first, second = search(program, machine, "write count 4", "call add", limits=few)
    assert (first.count, second.count) == (1, 1)
    assert not machine.set
    assert machine.stops == 2


def test_too_many(program: Path) -> None:
    machine = SearchedMachine(SCRIPT, room=1)
    first, second = search(program, machine, "write count 4", "call add")
    assert (first.count, first.note) == (3, "")
    assert "the monitor watches no more" in second.note


def test_fields_without_types(program: Path) -> None:
    """What cannot be found ends the search only when there is nothing else."""
    machine = SearchedMachine(SCRIPT)
    wrong, right = search(program, machine, "change count.field", "change count")
    assert "the type is not known" in wrong.note
    assert right.count == 2
    machine = SearchedMachine(SCRIPT)
    search(program, machine, "change count.field")
    assert machine.status().rip == SCRIPT[0].rip, "nothing is replayed"


def test_ctrl_c_keeps_what_was_found(program: Path) -> None:
    machine = SearchedMachine(SCRIPT)
    answers = [Limits().answer(parse_query("write count 4"))]
    told: list[tuple[int, int]] = []

    def tell(events: int, found: int) -> None:
        told.append((events, found))
        searched.stop()

    guest = SearchedGuest("multiboot", program)
    searched = Search(guest, answers, Moments(()), (), None, tell)
    resume = machine.resume

    def slow_after_one() -> object:
        machine.timeouts = 1 if answers[0].count else 0
        return resume()

    machine.resume = slow_after_one  # type: ignore[assignment,method-assign]
    searched.run(machine, machine)
    assert told == [(0, 1)]
    assert not searched.ended
    assert answers[0].count == 1


def test_what_is_printed() -> None:
    where = Where(7, 1200, 0x1004, 0.5, "main+0x4", None)
    answer = Limits(last=True).answer(parse_query("write count 4"))
    answer.add(Write(where, 0x4000, None, b"\1\0\0\0", Writer.DEVICE))
    answer.add(Write(where, 0x4000, b"\1\0\0\0", b"\2\0\0\0", Writer.CODE))
    lines = list(answer.lines())
    assert lines[0] == "write count 4: 2 found, the last 1 of them:"
    assert lines[1].split() == [
        *("event", "branches", "guest", "time", "code", "task", "address", "old", "->", "new"),
    ]
    assert lines[2].split() == [
        "7",
        "1200",
        "0.500000",
        "s",
        "main+0x4",
        "0x4000",
        "0x1",
        "->",
        "0x2",
    ]
    facts = json.loads(json.dumps(answer.facts()))
    assert facts["count"] == 2
    assert facts["findings"] == [
        {
            "event": 7,
            "branches": 1200,
            "rip": "0x1004",
            "seconds": 0.5,
            "code": "main+0x4",
            "task": None,
            "address": "0x4000",
            "old": "0x1",
            "new": "0x2",
            "by": "code",
        }
    ]
    running = Running(where, "INTERRUPT", 3)
    assert running.row()[-1] == "CPL 3, before INTERRUPT"
