"""Tests of the DMA engine's channels (hypervisor/dma/channel.c), against a model of IDE."""

from __future__ import annotations

import random
import struct
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.host.dma_world import ERR_NO_SPACE, ERR_UNSUPPORTED, HOLE, RAM_SIZE
from tests.host.ide_machine import (
    ACTIVE,
    INTERRUPT,
    LAST,
    SHADOW_PHYS,
    START,
    TO_MEMORY,
    IdeDriver,
    IdeMachine,
    Piece,
    build_ide_machine,
)

pytestmark = pytest.mark.host

PAYLOAD = (1, 6)
"""Stream numbers of the two channels."""

BUFFERS = 0x10000

GENERATED = settings(
    max_examples=100,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@pytest.fixture(scope="module")
def machine() -> Iterator[IdeMachine]:
    machine = IdeMachine(build_ide_machine())
    yield machine
    machine.close()


def started(machine: IdeMachine, channel: int = 0) -> IdeDriver:
    assert machine.start().status == 0
    return IdeDriver(machine, channel)


def data_of(length: int, seed: int = 0) -> bytes:
    return random.Random(seed * 65537 + length).randbytes(length)


# --- what a guest sees ------------------------------------------------------------------------


@pytest.mark.parametrize("channel", [0, 1])
def test_what_is_read_is_invisible_until_harvest(machine: IdeMachine, channel: int) -> None:
    driver = started(machine, channel)
    data = data_of(8192)
    machine.ask(channel, data)
    driver.begin([Piece(0x20000, 4096), Piece(0x30000, 4096)], to_memory=True)
    assert machine.outstanding()
    machine.run(channel)
    assert machine.load(0x20000, 4096) == bytes(4096)
    machine.records()
    assert driver.status() == INTERRUPT
    assert machine.load(0x20000, 4096) + machine.load(0x30000, 4096) == data
    assert not machine.outstanding()
    records = [(r.stream, r.length, r.gpa) for r in machine.records()]
    assert records == [(PAYLOAD[channel], 4096, 0x20000), (PAYLOAD[channel], 4096, 0x30000)]
    driver.end()
    machine.assert_same()
    counters = machine.counters()
    assert (counters.doorbells, counters.completed, counters.rx_bytes) == (1, 1, 8192)


def test_only_what_differs_is_logged(machine: IdeMachine) -> None:
    driver = started(machine)
    before = data_of(4096)
    machine.store(0x20000, before)
    data = bytearray(before)
    data[1000] ^= 1
    data[3001:3007] = b"change"
    machine.ask(0, bytes(data))
    driver.begin([Piece(0x20000, 4096)], to_memory=True)
    machine.run(0)
    machine.harvest()
    records = [(r.length, r.gpa) for r in machine.records()]
    assert records == [(1, 0x20000 + 1000), (6, 0x20000 + 3001)]
    machine.assert_same()


def test_written_data_is_that_of_the_start(machine: IdeMachine) -> None:
    """The device reads no guest memory, so not the monitor's either."""
    driver = started(machine)
    machine.store(0x20000, data_of(65536))
    machine.ask(0, bytes(65536))
    driver.begin([Piece(0x20000, 65536)], to_memory=False)
    machine.run(0)
    assert driver.status() == INTERRUPT
    driver.end()
    machine.assert_same()
    counters = machine.counters()
    assert counters.tx_bytes == 65536
    assert counters.emitted_bytes == 0


def test_list_longer_than_the_transfer(machine: IdeMachine) -> None:
    """Some drivers give a buffer of 64 KiB once for all; the rest of it stays the guest's."""
    driver = started(machine)
    machine.ask(0, data_of(512))
    driver.begin([Piece(0x20000, 0)], to_memory=True)
    machine.store(0x20400, b"the guest's own")
    machine.run(0)
    assert driver.status() == ACTIVE | INTERRUPT
    assert machine.load(0x20000, 512) == data_of(512)
    assert machine.load(0x20400, 15) == b"the guest's own"
    assert machine.outstanding()
    driver.end()
    assert not machine.outstanding()
    machine.assert_same()


def test_interrupt_left_from_before(machine: IdeMachine) -> None:
    """A stale bit says that it is done; what comes later must not be lost."""
    driver = started(machine)
    machine.ask(0, data_of(512))
    driver.begin([Piece(0x20000, 0)], to_memory=True)
    machine.run(0)
    machine.write(0, TO_MEMORY)  # stopped, not acknowledged
    machine.ask(0, data_of(8192, 1))
    driver.begin([Piece(0x30000, 8192)], to_memory=True)
    for part in (0, 100, 3000, 5092):
        machine.run(0, part)
        machine.harvest()
        machine.assert_same()
    assert driver.status() == INTERRUPT


def test_stopped_in_mid_flight(machine: IdeMachine) -> None:
    driver = started(machine)
    machine.ask(0, data_of(16384))
    driver.begin([Piece(0x20000, 16384)], to_memory=True)
    machine.run(0, 5000)
    machine.harvest()
    assert machine.load(0x20000, 1) == b"\0"
    machine.write(0, TO_MEMORY)
    assert machine.load(0x20000, 5000) == data_of(16384)[:5000]
    assert driver.status() == 0
    machine.run(0)
    machine.assert_same()


def test_both_channels_at_once(machine: IdeMachine) -> None:
    first = started(machine)
    second = IdeDriver(machine, 1, table=0x3000)
    machine.ask(0, data_of(4096, 1))
    machine.ask(1, data_of(4096, 2))
    first.begin([Piece(0x20000, 4096)], to_memory=True)
    second.begin([Piece(0x40000, 4096)], to_memory=True)
    machine.run(1, 1000)
    machine.run(0)
    machine.run(1)
    machine.harvest()
    machine.assert_same()
    assert machine.load(0x40000, 4096) == data_of(4096, 2)


def test_registers_read_as_written(machine: IdeMachine) -> None:
    started(machine)
    machine.write(4, 0x12345, size=2)
    machine.write(6, 0xAB)
    machine.write(0xC, 0x5678_9ABC, size=4)
    machine.write(0, TO_MEMORY | 0x64 << 16, size=4)
    for register, size in ((0, 4), (0, 1), (2, 1), (4, 4), (5, 2), (8, 4), (12, 4), (14, 1)):
        direct, recorded = machine.read(register, size)
        assert direct == recorded, (register, size)
    assert machine.read(4, 4)[1] == 0x00AB_2344


def test_wide_write_starts(machine: IdeMachine) -> None:
    """Command and status with one access, the table by bytes."""
    started(machine)
    machine.store(0x1000, struct.pack("<IHH", 0x20000, 512, LAST))
    for byte in range(4):
        machine.write(4 + byte, 0x1000 >> 8 * byte & 0xFF)
    machine.ask(0, data_of(512))
    machine.write(0, (TO_MEMORY | START) | 0x06 << 16, size=4)
    machine.run(0)
    machine.harvest()
    machine.assert_same()
    assert machine.load(0x20000, 512) == data_of(512)


# --- generated work of a good driver -------------------------------------------------------------

PIECES = st.lists(st.integers(1, 0x4000).map(lambda half: 2 * half), min_size=1, max_size=12)


def spread(lengths: list[int], draw: random.Random) -> list[Piece]:
    """Buffers of these lengths, apart from each other, none over a multiple of 64 KiB."""
    pieces, at = [], BUFFERS
    for length in lengths:
        at += 2 * draw.randrange(2048)
        if at // 0x10000 != (at + length - 1) // 0x10000:
            at = -(-at // 0x10000) * 0x10000
        if at < HOLE.stop and at + length > HOLE.start:
            at = HOLE.stop
        pieces.append(Piece(at, length))
        at += length
    return pieces


@GENERATED
@given(
    commands=st.lists(
        st.tuples(PIECES, st.booleans(), st.integers(0, 1), st.integers(0, 5)), max_size=8
    ),
    seed=st.integers(0, 1 << 32),
)
def test_generated_work_is_the_same_as_direct(
    machine: IdeMachine, commands: list[tuple[list[int], bool, int, int]], seed: int
) -> None:
    draw = random.Random(seed)
    assert machine.start().status == 0
    for lengths, to_memory, channel, harvests in commands:
        pieces = spread(lengths, draw)
        total = sum(lengths)
        driver = IdeDriver(machine, channel, table=0x1000 + 8 * draw.randrange(256))
        if not to_memory:
            for piece in pieces:
                machine.store(piece.address, draw.randbytes(piece.length))
        machine.ask(channel, draw.randbytes(total - draw.choice([0, 0, 0, min(total, 512)])))
        driver.begin(pieces, to_memory=to_memory)
        for _ in range(harvests):
            machine.run(channel, draw.randrange(1, total + 1))
            machine.harvest()
            machine.assert_replay_matches()
        machine.run(channel)
        driver.status()
        machine.assert_same()
        driver.end()
        machine.assert_same()
    assert machine.error() == ""


# --- malformed lists and hostile guests --------------------------------------------------------


def test_shadow_too_small_or_out_of_reach(machine: IdeMachine) -> None:
    minimum = machine.start(shadow=4096).a
    assert machine.start(shadow=4096).status == ERR_NO_SPACE
    assert machine.start(shadow=minimum - 1).status == ERR_NO_SPACE
    assert machine.start(shadow=minimum, shadow_phys=SHADOW_PHYS + 0x7000).status == 0
    assert machine.start(shadow_phys=(1 << 32) - 4096).status == ERR_UNSUPPORTED
    assert machine.start(shadow=minimum).status == 0
    driver = IdeDriver(machine)
    machine.ask(0, data_of(0x10000))
    driver.begin([Piece(0x20000, 0)], to_memory=True)
    machine.run(0)
    machine.harvest()
    machine.assert_same()
    assert machine.error() == ""


def test_length_zero_is_64_kib_and_odd_bits_do_not_count(machine: IdeMachine) -> None:
    driver = started(machine)
    machine.ask(0, data_of(0x10000 + 510))
    driver.begin([Piece(0x20001, 0), Piece(0x40001, 511)], to_memory=True)
    machine.run(0)
    assert driver.status() == INTERRUPT
    machine.assert_same()
    assert machine.load(0x40000, 510) == data_of(0x10000 + 510)[0x10000:]


def test_a_buffer_over_a_boundary(machine: IdeMachine) -> None:
    driver = started(machine)
    machine.ask(0, data_of(0x8000))
    driver.begin([Piece(0x2F000, 0x8000)], to_memory=True)
    machine.run(0)
    machine.harvest()
    machine.assert_same()


@pytest.mark.parametrize("to_memory", [True, False])
def test_buffers_that_are_not_memory(machine: IdeMachine, to_memory: bool) -> None:
    """Those parts that are RAM are transferred, page by page."""
    for address in (HOLE.start - 0x1800, HOLE.stop - 0x1800, RAM_SIZE - 0x1800, 0xFFFF_0000):
        driver = started(machine)
        machine.ask(0, data_of(0x3000))
        driver.begin([Piece(address, 0x3000)], to_memory=to_memory)
        machine.run(0)
        assert driver.status() == INTERRUPT
        driver.end()
        machine.assert_same()
        assert machine.counters().guest_faults > 0


def test_the_shadow_itself_is_not_memory(machine: IdeMachine) -> None:
    for to_memory in (True, False):
        driver = started(machine)
        machine.ask(0, data_of(0x1000))
        driver.begin([Piece(SHADOW_PHYS, 0x1000)], to_memory=to_memory)
        machine.run(0)
        driver.end()
        machine.assert_same()


@pytest.mark.parametrize("table", [RAM_SIZE - 8, RAM_SIZE, HOLE.start, SHADOW_PHYS, 0xFFFF_FFFC])
def test_a_list_that_is_not_memory(machine: IdeMachine, table: int) -> None:
    """Without an end, too: the list ends where memory does."""
    driver = started(machine)
    if table < RAM_SIZE:
        machine.store(table, struct.pack("<IHH", 0x20000, 512, 0)[: RAM_SIZE - table])
    machine.ask(0, data_of(4096))
    machine.write(4, table, size=4)
    machine.write(0, TO_MEMORY | START)
    machine.run(0)
    machine.harvest()
    machine.assert_replay_matches()
    machine.write(driver.register(0), TO_MEMORY)
    machine.assert_replay_matches()
    assert not machine.outstanding()


def test_a_list_without_end(machine: IdeMachine) -> None:
    """It is good as far as the transfer goes."""
    driver = started(machine)
    machine.store(0x1000, struct.pack("<IHH", 0x40000, 0, 0) * 4000)
    machine.ask(0, data_of(1024))
    driver.begin([Piece(0x20000, 512), Piece(0x30000, 512)], to_memory=True, last=False)
    machine.run(0)
    assert driver.status() == ACTIVE | INTERRUPT
    driver.end()
    machine.assert_same()
    assert machine.error() == ""


def test_a_transfer_that_the_shadow_does_not_hold(machine: IdeMachine) -> None:
    """It ends the recording with a text; the guest never gets less than it was told."""
    assert machine.start(shadow=machine.start(shadow=4096).a).status == 0
    driver = IdeDriver(machine)
    machine.ask(0, data_of(0x60000))
    driver.begin([Piece(0x20000 + 0x10000 * i, 0) for i in range(6)], to_memory=True)
    machine.run(0)
    machine.harvest()
    assert "do not fit the DMA shadow area" in machine.error()
    machine.assert_replay_matches()


def test_direction_changed_in_mid_flight(machine: IdeMachine) -> None:
    driver = started(machine)
    machine.ask(0, data_of(4096))
    driver.begin([Piece(0x20000, 4096)], to_memory=True)
    machine.run(0, 1000)
    machine.write(0, START)
    machine.run(0)
    assert driver.status() == INTERRUPT
    assert machine.counters().refused_writes == 1
    machine.assert_same()


HOSTILE = st.one_of(
    st.tuples(
        st.just("write"),
        st.integers(0, 15),
        st.one_of(st.integers(0, 0xFFFF_FFFF), st.sampled_from([0x1000, START, TO_MEMORY | START])),
        st.sampled_from([1, 1, 2, 4]),
    ),
    st.tuples(st.just("start"), st.integers(0, 1), st.booleans(), st.integers(0, 0x1FFF)),
    st.tuples(
        st.just("entry"),
        st.integers(0, 0xFFF),
        st.sampled_from([0, 0x1000, 0x9FFF0, RAM_SIZE - 1, SHADOW_PHYS, 0xFFFF_FFFE]),
        st.integers(0, 0xFFFF_FFFF),
    ),
    st.tuples(st.just("ask"), st.integers(0, 1), st.integers(0, 0x20000)),
    st.tuples(st.just("run"), st.integers(0, 1), st.integers(1, 0x20000)),
    st.tuples(st.just("memory"), st.integers(0, 0xFFFF), st.binary(max_size=64)),
    st.tuples(st.just("read"), st.integers(0, 15), st.sampled_from([1, 2, 4])),
    st.tuples(st.just("harvest")),
)


def run_hostile(machine: IdeMachine, action: tuple[object, ...]) -> None:
    match action:
        case ("write", int(register), int(value), int(size)):
            machine.write(register, value, size=size)
        case ("start", int(channel), bool(to_memory), int(table)):
            machine.write(8 * channel + 4, table, size=4)
            machine.write(8 * channel, 0)
            machine.write(8 * channel, START | (TO_MEMORY if to_memory else 0))
        case ("entry", int(offset), int(address), int(rest)):
            machine.store(0x1000 + offset, struct.pack("<II", address, rest))
        case ("ask", int(channel), int(length)):
            machine.ask(channel, data_of(length))
        case ("run", int(channel), int(count)):
            machine.run(channel, count)
        case ("memory", int(address), bytes(data)):
            machine.store(address, data)
        case ("read", int(register), int(size)):
            machine.read(register, size)
        case _:
            machine.harvest()


@settings(GENERATED, max_examples=200)
@given(actions=st.lists(HOSTILE, max_size=50))
def test_hostile_guest_neither_escapes_nor_diverges(
    machine: IdeMachine, actions: list[tuple[object, ...]]
) -> None:
    assert machine.start().status == 0
    for action in actions:
        run_hostile(machine, action)
        machine.assert_replay_matches()
    machine.harvest()
    machine.assert_replay_matches()
