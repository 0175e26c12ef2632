"""Tests of the DMA engine's schedules (hypervisor/dma/schedule*.c), against a model of UHCI."""

from __future__ import annotations

import random
import struct
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.host.dma_world import ERR_INVALID, ERR_NO_SPACE, ERR_UNSUPPORTED, HOLE, RAM_SIZE
from tests.host.uhci_machine import (
    ACTIVE,
    FLBASEADD,
    FRNUM,
    HALTED,
    HCRESET,
    IN,
    IOC,
    NAK,
    OUT,
    QUEUE,
    RUN,
    SETUP,
    SHADOW_PHYS,
    STALL,
    TERMINATE,
    USBCMD,
    USBSTS,
    Packet,
    UhciDriver,
    UhciMachine,
    build_uhci_machine,
)

pytestmark = pytest.mark.host

GENERATED = settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
BUFFERS = 0x100000


@pytest.fixture(scope="module")
def machine() -> Iterator[UhciMachine]:
    machine = UhciMachine(build_uhci_machine())
    yield machine
    machine.close()


def started(machine: UhciMachine, **options: int) -> UhciDriver:
    assert machine.start().status == 0
    driver = UhciDriver(machine, **options)
    driver.up()
    return driver


def packets(pid: int, count: int, at: int = BUFFERS, length: int = 64) -> list[Packet]:
    """Packets of one transfer, whose buffers follow each other."""
    return [Packet(pid, at + length * i, length) for i in range(count)]


# --- what a guest sees ------------------------------------------------------------------------


def test_what_is_read_is_invisible_until_harvest(machine: UhciMachine) -> None:
    driver = started(machine)
    tds = driver.submit(1, packets(IN, 3))
    machine.harvest()
    machine.frame()
    assert machine.load(BUFFERS, 192) == bytes(192)
    assert all(driver.status(td) & ACTIVE for td in tds)
    assert machine.word(driver.queue[1].at + 4) == tds[0]
    assert machine.harvest() == 3
    machine.assert_same()
    assert machine.load(BUFFERS, 192) != bytes(192)
    assert machine.word(driver.queue[1].at + 4) & ~0xF == driver.queue[1].dummy
    counters = machine.counters()
    assert (counters.doorbells, counters.completed, counters.rx_bytes) == (3, 3, 192)


def test_packets_of_one_transfer_are_logged_as_one_range(machine: UhciMachine) -> None:
    driver = started(machine)
    driver.submit(0, packets(IN, 16))
    machine.harvest()
    machine.records()
    machine.frame()
    machine.harvest()
    assert [r.length for r in machine.records() if r.length > 4] == [1024]
    machine.assert_same()


def test_statuses_data_and_queues_have_streams_of_their_own(machine: UhciMachine) -> None:
    """So each is like the last one of its stream, which the log need not say again."""
    driver = started(machine)
    tds = driver.submit(1, packets(IN, 3))
    machine.harvest()
    machine.records()
    machine.frame()
    machine.harvest()
    status, data, elements = 0, 1, 5  # DMA_STREAM_DESCRIPTORS, _PAYLOAD, _ELEMENTS
    assert [tuple(record) for record in machine.records()] == [
        *((status, 4, td + 4) for td in tds),
        (data, 192, BUFFERS),
        (elements, 4, driver.queue[1].at + 4),
    ]


def test_what_is_sent_is_that_of_the_moment_when_it_was_linked(machine: UhciMachine) -> None:
    driver = started(machine)
    machine.store(BUFFERS, random.Random(1).randbytes(1000))
    driver.submit(2, [Packet(SETUP, BUFFERS, 8), Packet(OUT, BUFFERS + 61, 900)])
    machine.harvest()
    machine.frame()
    machine.harvest()
    machine.assert_same()
    assert machine.counters().tx_bytes == 908


def test_nothing_is_found_without_harvest_and_all_with_it(machine: UhciMachine) -> None:
    driver = started(machine)
    td = driver.submit(0, packets(IN, 1))[0]
    machine.recorded_frame()
    machine.harvest()
    assert machine.counters().recorded_transactions == 0
    machine.frame()
    machine.harvest()
    assert not driver.status(td) & ACTIVE
    assert machine.counters().recorded_transactions == 1


@pytest.mark.parametrize("register", [USBSTS, FRNUM, 0x10])
def test_registers_bring_both_sides_together(machine: UhciMachine, register: int) -> None:
    driver = started(machine)
    driver.submit(0, packets(IN, 1))
    direct, recorded = machine.read(register)
    assert direct == recorded
    machine.frame()
    direct, recorded = machine.read(register)
    assert direct == recorded
    machine.assert_same()
    assert machine.counters().completed == 1


def test_an_unlinked_queue_is_free_once_the_frame_is_over(machine: UhciMachine) -> None:
    """The guest uses its memory for something else then; the device must not write there."""
    driver = started(machine)
    machine.results([NAK] * 100)
    driver.submit(1, packets(IN, 2))
    machine.harvest()
    machine.frame()
    machine.set_word(driver.queue[0].at, driver.queue[2].at | QUEUE)
    assert machine.read(FRNUM) == (1, 1)
    machine.frame()
    assert machine.read(FRNUM) == (2, 2)
    machine.store(driver.queue[1].at, b"the guest's own!")
    for td in driver.queue[1].tds:
        machine.store(td, bytes(range(32)))
    machine.store(BUFFERS, b"\xee" * 128)
    machine.results([])
    for _ in range(4):
        machine.frame()
        machine.harvest()
        machine.assert_same()
    assert machine.counters().recorded_transactions == 1


def test_a_queue_is_forgotten_with_its_transfers(machine: UhciMachine) -> None:
    """A frame ends while the engine looks what is no longer linked; then the queue is back."""
    driver = started(machine)
    driver.submit(1, packets(IN, 2))
    machine.harvest()
    machine.frame()
    machine.harvest()
    assert driver.clean(1) == 2
    machine.let_frames_pass(True)
    machine.set_word(driver.queue[0].at, driver.queue[2].at | QUEUE)
    machine.harvest()
    machine.let_frames_pass(False)
    machine.frame(0)
    machine.harvest()
    driver.submit(1, packets(IN, 2, BUFFERS + 0x1000))
    machine.set_word(driver.queue[0].at, driver.queue[1].at | QUEUE)
    machine.harvest()
    machine.frame()
    machine.harvest()
    machine.assert_same()
    assert driver.clean(1) == 2


def test_both_change_a_status(machine: UhciMachine) -> None:
    """The guest asks for an interrupt while the device has just done the transfer."""
    driver = started(machine)
    td = driver.submit(0, packets(IN, 1))[0]
    machine.harvest()
    machine.recorded_frame()
    machine.set_word(td + 4, driver.status(td) | IOC)
    assert machine.harvest() == 1
    status = driver.status(td)
    assert status & IOC
    assert not status & ACTIVE
    assert status & 0x7FF == 63
    machine.assert_replay_matches()
    machine.recorded_frame()
    machine.harvest()
    assert machine.counters().recorded_transactions == 1


def test_the_guest_s_element_stays(machine: UhciMachine) -> None:
    driver = started(machine)
    driver.submit(0, packets(IN, 2))
    machine.harvest()
    machine.recorded_frame(1)
    machine.set_word(driver.queue[0].at + 4, TERMINATE)
    machine.harvest()
    assert machine.word(driver.queue[0].at + 4) == TERMINATE
    machine.recorded_frame()
    machine.harvest()
    assert machine.counters().recorded_transactions == 1
    machine.assert_replay_matches()


def test_a_stalled_queue_goes_on_where_the_guest_says(machine: UhciMachine) -> None:
    driver = started(machine)
    machine.results([0, STALL])
    driver.submit(1, packets(IN, 4))
    machine.harvest()
    machine.frame()
    machine.harvest()
    machine.assert_same()
    assert driver.clean(1) == 2
    driver.submit(1, packets(IN, 4, BUFFERS + 0x1000))
    machine.harvest()
    machine.frame()
    machine.harvest()
    machine.assert_same()
    assert driver.clean(1) == 4


def test_registers_read_as_written(machine: UhciMachine) -> None:
    driver = started(machine)
    for register, size in ((FLBASEADD, 4), (FLBASEADD + 1, 1), (FRNUM, 4), (USBCMD, 4)):
        direct, recorded = machine.read(register, size)
        assert direct == recorded, hex(register)
    assert machine.read(FLBASEADD, 4)[1] == driver.list


def test_another_list_of_frames(machine: UhciMachine) -> None:
    driver = started(machine)
    driver.submit(0, packets(IN, 1))
    machine.store(0x8000, struct.pack("<I", TERMINATE) * 1024)
    machine.write(FLBASEADD, 0x8000, 4)
    machine.frame()
    machine.harvest()
    machine.assert_same()
    machine.write(FLBASEADD, driver.list, 4)
    machine.frame()
    machine.harvest()
    machine.assert_same()
    assert machine.counters().completed == 1


@pytest.mark.parametrize("reset", [False, True])
def test_stopped_and_reset_in_mid_flight(machine: UhciMachine, reset: bool) -> None:
    driver = started(machine)
    driver.submit(0, packets(IN, 4))
    machine.harvest()
    machine.frame(2)
    machine.write(USBCMD, HCRESET if reset else 0)
    machine.frame()
    assert machine.finds_work() is not reset
    direct, recorded = machine.read(USBSTS)
    assert direct & recorded & HALTED
    assert not machine.finds_work()
    assert not machine.outstanding()
    machine.assert_same()
    driver.up()
    machine.frame()
    machine.harvest()
    machine.assert_same()
    assert machine.counters().completed == 4


def test_parts_of_the_described_registers(machine: UhciMachine) -> None:
    started(machine)
    assert not machine.write(FLBASEADD, 0x50, 1)
    assert not machine.write(FRNUM, 0x5000_0000, 4)
    assert not machine.write(USBCMD, 0, 1)
    assert machine.counters().refused_writes == 3
    assert machine.finds_work()


# --- generated work of a good driver -------------------------------------------------------------

TRANSFER = st.tuples(
    st.integers(0, 2),
    st.sampled_from([IN, IN, OUT, SETUP]),
    st.sampled_from([0, 1, 8, 64, 64, 64, 65, 1023, 1280]),
    st.integers(1, 12),
)


@GENERATED
@given(
    batches=st.lists(st.lists(TRANSFER, max_size=3), max_size=8),
    results=st.lists(st.sampled_from([0, 0, 0, 0, 0, 1, 2, 3, 4, 5]), max_size=80),
    reclaim=st.booleans(),
    depth=st.sampled_from([0, 4]),
    seed=st.integers(0, 1 << 32),
)
def test_generated_work_is_the_same_as_direct(
    machine: UhciMachine,
    batches: list[list[tuple[int, int, int, int]]],
    results: list[int],
    reclaim: bool,
    depth: int,
    seed: int,
) -> None:
    draw = random.Random(seed)
    assert machine.start().status == 0
    driver = UhciDriver(machine, reclaim=reclaim, td_count=160)
    driver.up()
    machine.results(results)
    machine.store(BUFFERS, draw.randbytes(0x80000))
    at = BUFFERS
    for batch in batches:
        for number, pid, length, count in batch:
            driver.submit(number, packets(pid, count, at, length), flags=depth)
            at = BUFFERS + (at - BUFFERS + length * count + draw.randrange(70)) % 0x60000
        for _ in range(draw.randrange(1, 6)):
            if draw.random() < 0.3:
                direct, recorded = machine.read(draw.choice([USBSTS, FRNUM]))
                assert direct == recorded
            machine.harvest()
            machine.assert_same()
            machine.frame(draw.randrange(1, 30))
        machine.harvest()
        machine.assert_same()
        for number in range(3):
            driver.clean(number)
    assert machine.error() == ""


# --- malformed schedules and hostile guests -------------------------------------------------------


def test_shadow_too_small(machine: UhciMachine) -> None:
    minimum = machine.start(shadow=4096).a
    assert machine.start(shadow=minimum - 1).status == ERR_NO_SPACE
    assert machine.start(shadow=minimum).status == 0
    assert machine.start(shadow_phys=0x1_4030_0000).status == ERR_UNSUPPORTED


def test_the_list_of_frames_needs_a_page_of_its_own(machine: UhciMachine) -> None:
    """The device ignores the lower bits of its address."""
    assert machine.start(shadow_phys=SHADOW_PHYS + 0x800).status == ERR_INVALID


def test_more_data_than_the_shadow_holds_waits_for_its_turn(machine: UhciMachine) -> None:
    minimum = machine.start(shadow=4096).a
    assert machine.start(shadow=minimum).status == 0
    driver = UhciDriver(machine, td_count=4096)
    driver.up()
    machine.store(BUFFERS, random.Random(3).randbytes(0x80000))
    driver.submit(0, packets(IN, 200, BUFFERS, 1280))
    driver.submit(1, packets(OUT, 200, BUFFERS + 0x40000, 1280))
    for _ in range(400):
        machine.harvest()
        machine.recorded_frame()
    machine.harvest()
    assert machine.counters().completed == 400
    assert driver.clean(0) == driver.clean(1) == 200
    machine.assert_replay_matches()
    assert machine.error() == ""


def test_more_transfers_than_the_shadow_holds(machine: UhciMachine) -> None:
    assert machine.start().status == 0
    driver = UhciDriver(machine, td_count=9000)
    driver.up()
    driver.submit(0, packets(IN, 8300, BUFFERS, 1))
    machine.harvest()
    assert "linked more transfers" in machine.error()
    machine.frame()
    machine.harvest()
    machine.assert_replay_matches()


@pytest.mark.parametrize("pid", [IN, OUT])
@pytest.mark.parametrize("at", [HOLE.start - 32, RAM_SIZE - 32, 0xFFFF_FFE0, 0x8000_0000])
def test_data_that_is_not_memory(machine: UhciMachine, pid: int, at: int) -> None:
    driver = started(machine)
    driver.submit(0, [*packets(pid, 4, at & ~0xFFF, 1024), Packet(pid, at, 1280)])
    machine.harvest()
    machine.frame()
    machine.harvest()
    machine.assert_replay_matches()
    counters = machine.counters()
    assert counters.completed == 5
    assert counters.guest_faults > 0


@pytest.mark.parametrize("at", [HOLE.start, RAM_SIZE, RAM_SIZE - 8, SHADOW_PHYS, 0xFFFF_FFF0])
def test_links_that_are_not_memory(machine: UhciMachine, at: int) -> None:
    for kind in (0, QUEUE):
        driver = started(machine)
        td = driver.submit(0, packets(IN, 2))[1]
        machine.set_word(td, at | kind)
        machine.set_word(driver.queue[1].at + 4, at | kind)
        machine.set_word(driver.queue[2].at, at | kind)
        machine.set_word(driver.list + 4, at | kind)
        for _ in range(3):
            machine.harvest()
            machine.frame()
        machine.harvest()
        machine.assert_replay_matches()
    machine.write(FLBASEADD, at & ~0xFFF, 4)
    machine.frame()
    machine.harvest()
    machine.assert_replay_matches()


def test_loops_end(machine: UhciMachine) -> None:
    driver = started(machine)
    first, second = driver.submit(0, packets(IN, 2))
    machine.set_word(second, first)
    machine.set_word(driver.queue[1].at, driver.queue[1].at | QUEUE)
    machine.set_word(driver.queue[2].at + 4, driver.queue[2].at | QUEUE)
    for _ in range(3):
        machine.harvest()
        machine.frame()
    machine.harvest()
    machine.assert_replay_matches()


PLACES = [0x4000, 0x5000, 0x5010, 0x5020, 0x5040, 0x6000, 0x6010, 0x9FFF0, RAM_SIZE - 16]
LINKS = st.one_of(
    st.builds(lambda at, flags: at | flags, st.sampled_from(PLACES), st.integers(0, 15)),
    st.integers(0, 0xFFFF_FFFF),
    st.sampled_from([SHADOW_PHYS, SHADOW_PHYS + 0x3000 | QUEUE, HOLE.start]),
)
HOSTILE = st.one_of(
    st.tuples(st.just("link"), st.sampled_from(PLACES), st.integers(0, 3), LINKS),
    st.tuples(
        st.just("transfer"),
        st.sampled_from(PLACES),
        st.integers(0, 0xFFFF_FFFF),
        st.sampled_from([IN, OUT, SETUP, IN | 63 << 21, OUT | 1279 << 21, IN | 0x7FE << 21]),
        st.sampled_from([0, 0x4000, 0x5000, 0x9FFF0, RAM_SIZE - 1, SHADOW_PHYS, 0xFFFF_FFFF]),
    ),
    st.tuples(
        st.just("write"),
        st.sampled_from([USBCMD, USBSTS, FRNUM, FLBASEADD, 0x10, 0x9, 0x1]),
        st.one_of(st.integers(0, 0xFFFF_FFFF), st.sampled_from([RUN, HCRESET, 0, 0x4000, 0x5000])),
        st.sampled_from([1, 2, 4]),
    ),
    st.tuples(st.just("frame"), st.integers(0, 40)),
    st.tuples(st.just("results"), st.binary(max_size=20)),
    st.tuples(st.just("run")),
    st.tuples(st.just("read"), st.sampled_from([USBCMD, FRNUM, FLBASEADD])),
    st.tuples(st.just("harvest")),
)


def run_hostile(machine: UhciMachine, action: tuple[object, ...]) -> None:
    match action:
        case ("link", int(place), int(word), int(link)):
            machine.set_word(place + 4 * word, link)
        case ("transfer", int(place), int(link), int(token), int(buffer)):
            machine.store(place, struct.pack("<4I", link, ACTIVE, token, buffer))
        case ("write", int(register), int(value), int(size)):
            machine.write(register, value & ((1 << 8 * size) - 1), size)
        case ("frame", int(transactions)):
            machine.recorded_frame(transactions)
        case ("results", bytes(results)):
            machine.results(results)
        case ("run",):
            machine.write(FLBASEADD, 0x4000, 4)
            machine.write(USBCMD, RUN)
        case ("read", int(register)):
            machine.read(register)
        case _:
            machine.harvest()


@settings(GENERATED, max_examples=80)
@given(actions=st.lists(HOSTILE, max_size=60))
def test_hostile_guest_neither_escapes_nor_diverges(
    machine: UhciMachine, actions: list[tuple[object, ...]]
) -> None:
    started(machine)
    for action in actions:
        run_hostile(machine, action)
        machine.assert_replay_matches()
    machine.harvest()
    machine.assert_replay_matches()
