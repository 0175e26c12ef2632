"""Going back and forth in a replay, against a model that knows the whole run."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.host.replay_model import CODE, DATA, RAM, RAM_SIZE, Run, random_run
from tests.host.replay_monitor import Habits
from tests.host.travelling import Point, last_hit, travelling

from lvmm.debug.target import LinkTarget
from lvmm.debug.time_travel import journey
from lvmm.debug.time_travel.place import parse_place, position_text
from lvmm.gdb.target import BreakpointKind, Stop, StopReason, TargetError
from lvmm.link.layout import Opcode


def ended(target: LinkTarget) -> Stop:
    while (stop := target.poll_stop(0.1)) is None:
        pass
    return stop


def forward(target: LinkTarget) -> Stop:
    target.resume()
    return ended(target)


def back(target: LinkTarget, *, step: bool = False) -> Stop:
    target.reverse(step=step)
    return ended(target)


def seek(target: LinkTarget, place: str) -> Stop:
    target.seek(place)
    return ended(target)


def check_state(target: LinkTarget, run: Run, index: int) -> None:
    """Position, registers and all of memory are those of the boundary."""
    boundary = run.boundaries[index]
    assert f"position {position_text(boundary.at)}\n" in target.query("when", "")
    values = target.registers()
    assert (values["rip"], values["rax"]) == (boundary.at.rip, boundary.rax)
    assert target.read_memory(RAM, RAM_SIZE) == run.memory(index)


HABITS = st.builds(
    Habits,
    spacing=st.sampled_from((3, 10, 40, 1000)),
    most=st.sampled_from((2, 4, 30)),
    refuses=st.booleans(),
    tells_after=st.booleans(),
)
POINTS = st.lists(
    st.tuples(
        st.sampled_from((BreakpointKind.SOFTWARE, BreakpointKind.HARDWARE)),
        st.integers(CODE, CODE + 41),
        st.just(1),
    )
    | st.tuples(
        st.sampled_from((BreakpointKind.WRITE, BreakpointKind.READ, BreakpointKind.ACCESS)),
        st.sampled_from((0, 1, 4, 8, 0x40, 0x1000, 0x1FFE, 0x2000, 0x3008)).map(
            lambda offset: DATA + offset
        ),
        st.sampled_from((1, 2, 8, 100)),
    ),
    max_size=3,
    unique=True,
)


@settings(max_examples=12, deadline=None)
@given(st.integers(0, 1 << 32), HABITS, POINTS)
def test_continuing_back_finds_what_the_model_finds(
    seed: int, habits: Habits, points: list[Point]
) -> None:
    """From the end to the beginning, hit by hit."""
    run = random_run(seed, length=250)
    with travelling(run, habits) as (target, _):
        assert forward(target).reason is StopReason.END_OF_LOG
        for point in points:
            target.set_breakpoint(*point)
        index = len(run) - 1
        while (found := last_hit(run, index, points)) is not None:
            stop = back(target)
            index = found
            check_state(target, run, index)
            watched = run.boundaries[index].access
            if stop.reason is StopReason.WATCHPOINT:
                assert watched is not None and stop.address is not None
                assert watched.address <= stop.address < watched.address + len(watched.data)
            else:
                assert stop.address == run.boundaries[index].at.rip
        assert back(target) == Stop(StopReason.START_OF_LOG)
        check_state(target, run, 0)
        assert back(target) == back(target, step=True) == Stop(StopReason.START_OF_LOG)


@settings(max_examples=12, deadline=None)
@given(st.integers(0, 1 << 32), HABITS, st.integers(0, 1 << 32))
def test_walks_back_and_forth_land_on_identical_state(seed: int, habits: Habits, walk: int) -> None:
    run = random_run(seed, length=250)
    rng = random.Random(walk)
    index, last = 0, len(run) - 1
    with travelling(run, habits) as (target, _):
        for _ in range(25):
            match rng.randrange(6):
                case 0 if index < last:
                    target.step()
                    assert ended(target).reason is StopReason.STEP
                    index += 1
                case 1 if index:
                    assert back(target, step=True) == Stop(StopReason.STEP)
                    index -= 1
                case 2:
                    index = rng.randrange(last)
                    place = position_text(run.boundaries[index].at)
                    assert seek(target, place) == Stop(StopReason.SOUGHT)
                case 3:
                    wanted = rng.randrange(run.boundaries[last].at.branches + 1)
                    assert seek(target, str(wanted)) == Stop(StopReason.SOUGHT)
                    index = next(i for i, b in enumerate(run.boundaries) if b.at.branches >= wanted)
                case 4:
                    wanted = rng.randrange(run.boundaries[last].at.events)
                    assert seek(target, f"event {wanted}") == Stop(StopReason.SOUGHT)
                    index = max(i for i, b in enumerate(run.boundaries) if b.at.events == wanted)
                case _:
                    place = rng.choice(("begin", "end"))
                    ends = (StopReason.START_OF_LOG, StopReason.END_OF_LOG)
                    assert seek(target, place).reason in ends
                    index = 0 if place == "begin" else last
            check_state(target, run, index)


def test_steps_back_over_the_whole_run() -> None:
    run = random_run(5, length=120)
    for refuses in (False, True):
        with travelling(run, Habits(spacing=20, refuses=refuses)) as (target, _):
            forward(target)
            for index in reversed(range(len(run) - 1)):
                assert back(target, step=True) == Stop(StopReason.STEP)
                check_state(target, run, index)


def test_only_intervals_in_which_a_page_is_written_are_run_again() -> None:
    run = random_run(7, length=4000, every=400)
    writes = [
        index
        for index, boundary in enumerate(run.boundaries)
        if boundary.access and boundary.access.is_write and boundary.access.address == DATA + 0x3008
    ]
    point = (BreakpointKind.WRITE, DATA + 0x3008, 1)
    executed = {}
    for extra in ([], [(BreakpointKind.HARDWARE, CODE + 0x7F0, 1)]):
        with travelling(run, Habits(spacing=25, most=1000)) as (target, monitor):
            forward(target)
            for point_ in (point, *extra):
                target.set_breakpoint(*point_)
            monitor.executed = 0
            for index in reversed(writes):
                assert back(target).reason is StopReason.WATCHPOINT
                check_state(target, run, index)
            back(target)
            executed[bool(extra)] = monitor.executed
    assert executed[False] < executed[True] - len(run) // 3, executed


def test_a_step_back_in_a_long_run_makes_the_next_ones_short(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(journey, "NEAR", 20)
    run = random_run(11, length=10_000)
    with travelling(run, Habits(spacing=1 << 30)) as (target, monitor):
        forward(target)
        monitor.executed = 0
        back(target, step=True)
        assert monitor.executed > len(run) // 2
        monitor.executed = 0
        for _ in range(10):
            back(target, step=True)
        assert monitor.executed < len(run)
        check_state(target, run, len(run) - 12)


def test_an_interrupted_journey_says_where_the_guest_is() -> None:
    run = random_run(3, length=3000)
    with travelling(run, Habits(spacing=200, most=100)) as (target, monitor):
        forward(target)
        target.set_breakpoint(BreakpointKind.HARDWARE, CODE + 0x7F0, 1)
        monitor.habits.speed = 1
        target.reverse(step=False)
        while not target.progress():
            assert target.poll_stop(0.01) is None
        target.interrupt()
        stop = ended(target)
        assert stop.reason is StopReason.INTERRUPT
        assert position_text(monitor.here.at) in stop.text
        assert "searched back to branch" in stop.text
        check_state(target, run, monitor.index)
        monitor.habits.speed = 1 << 30
        assert back(target).reason is StopReason.START_OF_LOG


def test_places_that_are_not_there() -> None:
    run = random_run(9, length=300)
    end = run.boundaries[-1].at
    with travelling(run, Habits()) as (target, _):
        stop = seek(target, str(end.branches + 1))
        assert stop.reason is StopReason.END_OF_LOG
        assert "the recording ends before that position" in stop.text
        stop = seek(target, "event 100000")
        assert "the recording ends before event 100000" in stop.text
        middle = run.boundaries[150].at
        wrong = position_text(middle)[:-8] + f"{middle.check ^ 1:08x}"
        stop = seek(target, wrong)
        assert stop.reason is StopReason.SOUGHT
        assert "is not in this recording" in stop.text
        for text in ("", "event", "event x", "1:2:3", "-1", "1:2:0x3:4", "now", "1 2", "9" * 20):
            with pytest.raises(TargetError, match=r"no place|too large"):
                target.seek(text)


def test_a_position_is_text_and_back() -> None:
    at = random_run(1).boundaries[100].at
    place = parse_place(position_text(at))
    assert getattr(place, "at", None) == at


def test_a_monitor_without_checkpoints() -> None:
    with travelling(random_run(2), Habits(has_checkpoints=False)) as (target, _):
        assert not target.can_reverse
        stop = back(target)
        assert stop.reason is StopReason.INTERRUPT
        assert "cannot do that" in stop.text


def test_a_table_of_checkpoints() -> None:
    run = random_run(2)
    with travelling(run, Habits(spacing=30, most=100)) as (target, monitor):
        forward(target)
        count = len(monitor.checkpoints)
        lines = target.query("checkpoint", "list").splitlines()
        assert len(lines) == count + 2
        assert position_text(run.boundaries[0].at) in lines[1]
        assert position_text(run.boundaries[-1].at) in target.query("checkpoint", "")
        assert len(monitor.checkpoints) == count + 1
        assert Opcode.CHECKPOINT in monitor.requests
