"""Guest time of events, from the TSC readings in generated logs."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import pytest
from hypothesis import given
from tests.host.log_cases import numbered, written_events
from tests.host.log_driver import Written

from lvmm.logs import guest_time, layout
from lvmm.logs.codec import Event, Registers
from lvmm.logs.guest_time import GuestClock, TimedEvent

pytestmark = pytest.mark.host

HZ = 1_000_000
IDLE = 0xFFFFFFFF81001234
REGISTERS = Registers((0,) * 16, IDLE, 0x246)


def tsc(branches: int, value: int) -> Event:
    return Event(layout.Rdtsc(value), branches, 0x1000)


def port(branches: int) -> Event:
    return Event(layout.In(0x3FD, 1, 0x60), branches, 0x2000)


def interrupt(branches: int, registers: Registers | None = None) -> Event:
    return Event(layout.Interrupt(0x31), branches, IDLE, asynchronous=True, registers=registers)


def timed(*events: Event) -> list[TimedEvent]:
    return list(GuestClock(HZ).timed(events))


def test_a_reading_is_exact() -> None:
    times = [item.seconds for item in timed(tsc(10, 500), tsc(1000, 2500), tsc(1001, 9000))]
    assert times[1] - times[0] == pytest.approx(2000 / HZ)
    assert times[2] - times[1] == pytest.approx(6500 / HZ)


def test_events_between_readings_are_placed_by_their_branches() -> None:
    items = timed(tsc(0, 0), port(10_000), port(20_000), tsc(40_000, 4_000))
    start = items[0].seconds
    quarter, half = (item.seconds - start for item in items[1:3])
    assert quarter == pytest.approx(1_000 / HZ, rel=0.01)
    assert half == pytest.approx(2_000 / HZ, rel=0.01)


def test_a_wait_ends_at_the_interrupt() -> None:
    """Work of 200 branches in 100,000 ticks: the guest has waited, and not when it ran on."""
    items = timed(tsc(0, 0), tsc(1000, 6_000), interrupt(1100), port(1150), tsc(1200, 106_000))
    before, woken, after, last = (item.seconds for item in items[1:])
    assert items[2].waited > 0.09
    assert woken - before == pytest.approx(0.1, rel=0.05)
    assert last - woken < 0.005
    assert woken < after < last
    assert all(item.waited == 0 for item in items if item is not items[2])


def test_what_came_with_the_interrupt_came_after_the_wait() -> None:
    dma = Event(layout.Dma(0, 0x1000, b"frame"), 1100, IDLE, asynchronous=True)
    irq = Event(layout.Interrupt(0x31), 1100, IDLE, asynchronous=True, same_position=True)
    items = timed(tsc(0, 0), tsc(1000, 6_000), dma, irq, tsc(1200, 106_000))
    assert items[2].waited > 0.09
    assert items[3].waited == 0
    assert items[3].seconds - items[2].seconds < 0.001


def test_an_interrupt_in_a_rep_instruction_ends_no_wait() -> None:
    """It comes with registers, unlike the first of HLT's; once seen there, registers are chance."""
    readings = [tsc(0, 0), tsc(1000, 6_000)]
    rep = timed(*readings, interrupt(1100, REGISTERS), tsc(1200, 106_000))
    assert [item.waited for item in rep] == [0, 0, 0, 0]
    halts = [interrupt(1100), tsc(1200, 106_000), interrupt(1300, REGISTERS), tsc(1400, 206_000)]
    assert [item.waited > 0.09 for item in timed(*readings, *halts)][2:] == [True, False] * 2


def test_a_tsc_set_back_stops_time() -> None:
    times = [item.seconds for item in timed(tsc(0, 10_000), tsc(100, 20_000), tsc(200, 5))]
    assert times[2] == times[1] > times[0]


def test_an_msr_and_rdtscp_are_readings_but_not_a_fault_or_another_msr() -> None:
    read = [
        layout.Rdtscp(7),
        layout.Rdmsr(0x10, 0, 8),
        layout.Rdmsr(0x10, 1, 0),
        layout.Rdmsr(0x11, 0, 9),
    ]
    assert [guest_time.tsc_reading(Event(item, 0, 0)) for item in read] == [7, 8, None, None]


def test_without_a_reading_time_is_an_estimate() -> None:
    clock = GuestClock(HZ)
    items = list(clock.timed([port(1000), port(2000), interrupt(3000)]))
    assert clock.readings == 0
    assert 0 < items[0].seconds < items[1].seconds < items[2].seconds


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Events are not held for ever, and a reading that comes at last does not turn time back."""
    monkeypatch.setattr(guest_time, "_HELD_EVENTS", 10)
    asked = 0

    def events() -> Iterator[Event]:
        nonlocal asked
        for index in range(100):
            asked += 1
            yield port(1000 * index)
        yield tsc(100_000, 5)
        yield tsc(200_000, 5 + 10 * HZ)

    items = []
    for item in GuestClock(HZ).timed(events()):
        items.append(item)
        assert asked <= len(items) + 10
    assert len(items) == 102
    assert all(a.seconds <= b.seconds for a, b in pairwise(items))
    assert items[-1].seconds - items[-2].seconds == pytest.approx(10)


@given(written_events())
def test_any_log_keeps_its_events_in_order_and_its_time_going(written: list[Written]) -> None:
    events = numbered(written)
    items = list(GuestClock(HZ).timed(events))
    assert [item.event for item in items] == events
    assert all(a.seconds <= b.seconds for a, b in pairwise(items))
    assert all(item.waited >= 0 for item in items)
