"""Tests of the DMA engine's lists of commands (hypervisor/dma/slots.c), against a model of AHCI."""

from __future__ import annotations

import random
import struct
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.host.ahci_machine import (
    CI,
    CLB,
    CLBU,
    CMD,
    CMD_RECEIVE,
    CMD_START,
    FB,
    GHC,
    GHC_RESET,
    SHADOW_PHYS,
    AhciDriver,
    AhciMachine,
    build_ahci_machine,
)
from tests.host.dma_world import ERR_NO_SPACE, HOLE, RAM_SIZE
from tests.host.ide_machine import Piece

pytestmark = pytest.mark.host

MESSAGE = 0x40  # in the area of received messages
COMMANDS = 3  # with a shadow at once, in 8 MiB

GENERATED = settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@pytest.fixture(scope="module")
def machine() -> Iterator[AhciMachine]:
    machine = AhciMachine(build_ahci_machine())
    yield machine
    machine.close()


def started(machine: AhciMachine, port: int = 0) -> AhciDriver:
    assert machine.start().status == 0
    driver = AhciDriver(machine, port)
    driver.up()
    return driver


def data_of(length: int, seed: int = 0) -> bytes:
    return random.Random(seed * 65537 + length).randbytes(length)


# --- what a guest sees ------------------------------------------------------------------------


@pytest.mark.parametrize("port", [0, 1])
def test_what_is_read_is_invisible_until_harvest(machine: AhciMachine, port: int) -> None:
    driver = started(machine, port)
    data = data_of(6000)
    machine.give(data)
    driver.prepare(3, [Piece(0x40000, 4096), Piece(0x50002, 1904)], to_memory=True)
    driver.issue(1 << 3)
    assert driver.busy() == 1 << 3
    assert machine.outstanding()
    machine.run(port, 3, 6000)
    assert machine.load(0x40000, 4096) == bytes(4096)
    assert machine.load(driver.area + MESSAGE, 4) == bytes(4)
    assert driver.busy() == 0
    assert machine.load(0x40000, 4096) + machine.load(0x50002, 1904) == data
    assert machine.load(driver.list + 3 * 32 + 4, 4) == struct.pack("<I", 6000)
    assert machine.load(driver.area + MESSAGE, 8) == struct.pack("<II", 0x34, 3)
    assert not machine.outstanding()
    machine.assert_same()
    counters = machine.counters()
    assert (counters.completed, counters.rx_bytes) == (1, 6000)


def test_written_data_is_that_of_the_start(machine: AhciMachine) -> None:
    driver = started(machine)
    machine.store(0x40000, data_of(20000))
    driver.prepare(0, [Piece(0x40000, 20000)], to_memory=False)
    driver.issue(1)
    machine.run(0, 0, 20000)
    assert machine.harvest() == 1
    machine.assert_same()
    assert machine.counters().tx_bytes == 20000


def test_a_short_transfer_leaves_the_rest_to_the_guest(machine: AhciMachine) -> None:
    driver = started(machine)
    machine.give(data_of(8192))
    driver.prepare(0, [Piece(0x40000, 8192)], to_memory=True)
    driver.issue(1)
    machine.store(0x41000, b"the guest's own")
    machine.run(0, 0, 4096)
    machine.harvest()
    machine.assert_same()
    assert machine.load(0x41000, 15) == b"the guest's own"


def test_more_commands_than_shadows_wait_for_their_turn(machine: AhciMachine) -> None:
    """The guest sees all of them as issued."""
    driver = started(machine)
    machine.give(data_of(4096))
    for slot in range(32):
        driver.prepare(slot, [Piece(0x80000 + 0x1000 * slot, 4096)], to_memory=True)
    driver.issue(0xFFFF_FFFF, queued=True)
    assert driver.busy() == 0xFFFF_FFFF
    waiting = set(range(32))
    for _ in range(32):
        for slot in sorted(waiting)[:COMMANDS]:
            # Both machines must have been given it: in the direct one that is always so.
            machine.run(0, slot, 4096)
        recorded = machine.read(driver.register(CI))[1]
        waiting = {slot for slot in range(32) if recorded >> slot & 1}
        machine.assert_replay_matches()
    assert not waiting
    assert driver.busy() == 0
    assert machine.counters().completed == 32
    for slot in range(32):
        where = 0x80000 + 0x1000 * slot
        expected = bytes(4096) if where in HOLE else data_of(4096)
        if where not in HOLE:
            assert machine.load(where, 4096) == expected


def test_registers_read_as_written(machine: AhciMachine) -> None:
    driver = started(machine)
    for offset in (CLB, CLBU, FB, CMD, CI):
        direct, recorded = machine.read(driver.register(offset))
        assert direct == recorded, hex(offset)


def test_stopped_and_reset_in_mid_flight(machine: AhciMachine) -> None:
    for reset in (False, True):
        driver = started(machine)
        machine.give(data_of(4096))
        for slot in range(6):
            driver.prepare(slot, [Piece(0x40000 + 0x1000 * slot, 4096)], to_memory=True)
        driver.issue(0x3F)
        machine.run(0, 0, 4096)
        if reset:
            machine.write(GHC, GHC_RESET)
        else:
            machine.write(driver.register(CMD), CMD_RECEIVE)
        assert not machine.outstanding()
        machine.assert_same()
        driver.up()
        driver.prepare(9, [Piece(0x60000, 4096)], to_memory=True)
        driver.issue(1 << 9)
        machine.run(0, 9, 4096)
        assert driver.busy() == 0
        machine.assert_same()


# --- generated work of a good driver -------------------------------------------------------------

COMMAND = st.tuples(
    st.integers(0, 31),
    st.lists(st.integers(1, 0x3000).map(lambda half: 2 * half), min_size=0, max_size=8),
    st.booleans(),
)


@GENERATED
@given(
    batches=st.lists(st.lists(COMMAND, max_size=COMMANDS), max_size=6),
    queued=st.booleans(),
    seed=st.integers(0, 1 << 32),
)
def test_generated_work_is_the_same_as_direct(
    machine: AhciMachine,
    batches: list[list[tuple[int, list[int], bool]]],
    queued: bool,
    seed: int,
) -> None:
    draw = random.Random(seed)
    driver = started(machine)
    second = AhciDriver(machine, 1, list=0x6000, area=0x7000, tables=0xC0000)
    second.up()
    for batch in batches:
        commands = {(draw.randrange(2), slot): rest for slot, *rest in batch}
        at = 0x100000
        machine.give(draw.randbytes(1 << 20))
        for (port, slot), (lengths, to_memory) in commands.items():
            pieces = []
            for length in lengths:
                at += 2 * draw.randrange(1024)
                pieces.append(Piece(at, length))
                at += length
            (second if port else driver).prepare(slot, pieces, to_memory=bool(to_memory))
        for port, owner in enumerate((driver, second)):
            slots = sum(1 << slot for of, slot in commands if of == port)
            owner.issue(slots, queued=queued)
        order = list(commands)
        draw.shuffle(order)
        for port, slot in order:
            total = sum(commands[port, slot][0])
            machine.run(port, slot, total - draw.choice([0, 0, min(total, 512)]))
            if draw.random() < 0.5:
                machine.harvest()
                machine.assert_same()
        assert driver.busy() == second.busy() == 0
        machine.assert_same()
    assert machine.error() == ""


# --- malformed lists and hostile guests ---------------------------------------------------------


def test_shadow_too_small(machine: AhciMachine) -> None:
    minimum = machine.start(shadow=4096).a
    assert machine.start(shadow=minimum - 1).status == ERR_NO_SPACE
    assert machine.start(shadow=minimum).status == 0


@pytest.mark.parametrize("address", [HOLE.start - 0x800, RAM_SIZE - 0x800, 1 << 40, 2**64 - 0x1000])
@pytest.mark.parametrize("to_memory", [True, False])
def test_buffers_that_are_not_memory(machine: AhciMachine, address: int, to_memory: bool) -> None:
    driver = started(machine)
    machine.give(data_of(0x1000))
    driver.prepare(0, [Piece(address, 0x1000)], to_memory=to_memory)
    driver.issue(1)
    machine.run(0, 0, 0x1000)
    machine.harvest()
    machine.assert_same()
    assert machine.counters().guest_faults > 0


def test_tables_and_lists_that_are_not_memory(machine: AhciMachine) -> None:
    driver = started(machine)
    header = struct.pack("<HHIQ16x", 5, 0xFFFF, 0, SHADOW_PHYS)
    machine.store(driver.list, header)
    driver.issue(1)
    machine.run(0, 0, 0x1000)
    machine.harvest()
    machine.assert_replay_matches()
    for where in (RAM_SIZE, HOLE.start, SHADOW_PHYS & 0xFFFF_F000):
        assert machine.start().status == 0
        other = AhciDriver(machine, list=where, area=where)
        other.up()
        other.issue(0xFF)
        machine.run(0, 0, 0x1000)
        machine.harvest()
        machine.assert_replay_matches()


def test_a_command_that_the_shadow_does_not_hold(machine: AhciMachine) -> None:
    driver = started(machine)
    driver.prepare(0, [Piece(0, 1 << 22)], to_memory=True)
    driver.issue(1)
    assert "do not fit the DMA shadow area" in machine.error()
    machine.run(0, 0)
    machine.harvest()
    machine.assert_replay_matches()


def test_ports_that_the_profile_does_not_describe(machine: AhciMachine) -> None:
    started(machine)
    assert not machine.write(0x500, 0x1000)
    assert "more ports" in machine.error()


def test_the_list_moved_in_mid_flight(machine: AhciMachine) -> None:
    driver = started(machine)
    assert not machine.write(driver.register(CLB), 0x8000)
    assert machine.counters().refused_writes == 1


HOSTILE = st.one_of(
    st.tuples(
        st.just("write"),
        st.sampled_from([0x100, 0x104, 0x108, 0x10C, 0x118, 0x134, 0x138, 0x180, 0x198, 0x1B8, 4]),
        st.one_of(
            st.integers(0, 0xFFFF_FFFF),
            st.sampled_from([0x4000, 0x5000, CMD_START | CMD_RECEIVE, 1, 0]),
        ),
        st.sampled_from([4, 4, 4, 8]),
    ),
    st.tuples(
        st.just("header"),
        st.integers(0, 31),
        st.integers(0, 0xFFFF_FFFF),
        st.sampled_from([0, 0x10000, 0x9FFC0, RAM_SIZE - 64, SHADOW_PHYS, 2**64 - 128]),
    ),
    st.tuples(
        st.just("entry"),
        st.integers(0, 40),
        st.sampled_from([0, 0x4000, 0x5000, 0x9FFF0, RAM_SIZE - 1, SHADOW_PHYS, 2**64 - 2]),
        st.integers(0, 0xFFFF_FFFF),
    ),
    st.tuples(st.just("run"), st.integers(0, 1), st.integers(0, 31), st.integers(0, 0x8000)),
    st.tuples(st.just("up"), st.integers(0, 1)),
    st.tuples(st.just("read"), st.sampled_from([0x100, 0x108, 0x118, 0x138])),
    st.tuples(st.just("harvest")),
)


def run_hostile(machine: AhciMachine, action: tuple[object, ...]) -> None:
    match action:
        case ("write", int(register), int(value), int(size)):
            machine.write(register, value, size)
        case ("header", int(slot), int(flags), int(table)):
            machine.store(0x4000 + 32 * slot, struct.pack("<IIQ", flags, 0, table))
        case ("entry", int(number), int(address), int(length)):
            machine.store(0x10080 + 16 * number, struct.pack("<QII", address, 0, length))
        case ("run", int(port), int(slot), int(length)):
            machine.run(port, slot, length)
        case ("up", int(port)):
            AhciDriver(machine, port).up()
        case ("read", int(register)):
            machine.read(register)
        case _:
            machine.harvest()


@settings(GENERATED, max_examples=120)
@given(actions=st.lists(HOSTILE, max_size=40))
def test_hostile_guest_neither_escapes_nor_diverges(
    machine: AhciMachine, actions: list[tuple[object, ...]]
) -> None:
    started(machine)
    for action in actions:
        run_hostile(machine, action)
        machine.assert_replay_matches()
    machine.harvest()
    machine.assert_replay_matches()
