"""Tests of hypervisor/dma, built for the host under sanitizers, against a model of the NIC."""

from __future__ import annotations

import random
import struct
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.host.dma_machine import (
    CTRL,
    CTRL_RST,
    DD,
    ICR,
    RCTL,
    RCTL_EN,
    RCTL_SIZES,
    RDBAH,
    RDBAL,
    RDH,
    RDLEN,
    RDT,
    TCTL,
    TCTL_EN,
    TDBAL,
    TDH,
    TDLEN,
    TDT,
    TX_EOP,
    TX_RS,
    E1000Driver,
    Machine,
    build_machine,
)
from tests.host.dma_world import ERR_NO_SPACE, ERR_UNSUPPORTED, HOLE, RAM_SIZE

pytestmark = pytest.mark.host

RX_DESCRIPTORS, RX_PAYLOAD, TX_DESCRIPTORS = 0, 3, 5
"""Stream numbers of the e1000 profile, whose rings are rx and tx; frames come with their CRC."""

TOY_CONTROL, TOY_BASE, TOY_LENGTH, TOY_HEAD, TOY_TAIL = 0x10, 0x40, 0x48, 0x50, 0x58

GENERATED = settings(
    max_examples=100,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@pytest.fixture(scope="module")
def machine() -> Iterator[Machine]:
    machine = Machine(build_machine())
    yield machine
    machine.close()


def started(machine: Machine, *, reset_keeps: bool = False, **options: int) -> E1000Driver:
    """Begin anew with a driver that is up."""
    assert machine.start(reset_keeps=reset_keeps).status == 0
    driver = E1000Driver(machine, **options)
    driver.up()
    return driver


def frame_of(length: int, seed: int = 0) -> bytes:
    return random.Random(seed * 65537 + length).randbytes(length)


# --- what a guest sees ------------------------------------------------------------------------


def test_frame_is_invisible_until_harvest(machine: Machine) -> None:
    driver = started(machine)
    machine.frame(frame_of(300))
    assert driver.poll() == 0
    assert machine.harvest() == 1
    assert driver.poll() == 1
    assert driver.received == [frame_of(300)]
    machine.assert_same()
    assert machine.harvest() == 0


def test_reading_a_register_harvests(machine: Machine) -> None:
    driver = started(machine)
    machine.frame(frame_of(64))
    machine.read(ICR)
    assert driver.poll() == 1
    machine.frame(frame_of(65))
    machine.port_write(0, ICR)
    machine.port_read(4)
    assert driver.poll() == 1


def test_payload_is_emitted_before_write_back(machine: Machine) -> None:
    driver = started(machine)
    machine.records()
    machine.frame(frame_of(100))
    machine.frame(frame_of(1514))
    machine.harvest()
    buffers = [driver.rx_buffers + i * driver.rx_spacing for i in range(2)]
    assert machine.records() == [
        (RX_PAYLOAD, 100, buffers[0]),
        (RX_DESCRIPTORS, 8, driver.rx_ring + 8),
        (RX_PAYLOAD, 1514, buffers[1]),
        (RX_DESCRIPTORS, 8, driver.rx_ring + 24),
    ]
    counters = machine.counters()
    assert (counters.rx_packets, counters.rx_bytes) == (2, 1614)


def test_transmit_emits_only_reported_descriptors(machine: Machine) -> None:
    driver = started(machine)
    machine.records()
    assert driver.send([b"a" * 60, b"b" * 700, b"c" * 2], context=True)
    assert machine.outstanding()
    machine.transmit()
    assert machine.harvest() == 4
    assert machine.records() == [(TX_DESCRIPTORS, 4, driver.tx_ring + 3 * 16 + 12)]
    assert driver.clean() == 1
    machine.assert_same()
    assert machine.counters().recorded_frames == 1


def test_ring_registers_read_as_written(machine: Machine) -> None:
    driver = started(machine, rx_ring=0x3000)
    machine.write(RDBAH, 0x0)
    for register in (RDBAL, RDBAH, RDLEN, RDH, RDT, TDBAL, TDLEN, TDH, TDT):
        direct, recorded = machine.read(register)
        assert direct == recorded, hex(register)
    assert machine.read(RDBAL, size=8) == (driver.rx_ring, driver.rx_ring)
    assert machine.read(RDBAL + 1, size=1) == (0x30, 0x30)


def test_wraps_around(machine: Machine) -> None:
    driver = started(machine, rx_count=8, tx_count=8)
    frames = [frame_of(60 + 13 * i, i) for i in range(100)]
    for i, frame in enumerate(frames):
        machine.frame(frame)
        assert driver.send([frame[:30], frame[30:]])
        machine.transmit()
        machine.harvest()
        assert driver.poll() == 1
        assert driver.clean() == 1
        if i % 3 == 0:
            driver.refill(4)
        machine.assert_same()
    assert driver.received == frames


@pytest.mark.parametrize("buffer_size", sorted(RCTL_SIZES))
def test_frame_over_several_descriptors(machine: Machine, buffer_size: int) -> None:
    driver = started(machine, rx_count=8, buffer_size=buffer_size)
    for length in (buffer_size - 1, buffer_size, buffer_size + 1, 5 * buffer_size + 3):
        frame = frame_of(min(length, 16000))
        machine.frame(frame)
        machine.harvest()
        driver.poll()
        assert driver.received.pop() == frame
        driver.refill(8)
        machine.assert_same()


def test_null_descriptor_takes_no_data(machine: Machine) -> None:
    driver = started(machine)
    frame = frame_of(200)
    machine.write(RCTL, 0)
    machine.store(driver.rx_ring, struct.pack("<QQ", 0, 0x00EE_1234_5678_0042))
    machine.write(RDH, 0)
    machine.write(RCTL, RCTL_EN)
    machine.records()
    machine.frame(frame)
    assert machine.harvest() == 2
    machine.assert_same()
    assert [record.stream for record in machine.records()] == [
        RX_DESCRIPTORS,
        RX_PAYLOAD,
        RX_DESCRIPTORS,
    ]


def test_stale_done_bit_in_guest_ring(machine: Machine) -> None:
    driver = started(machine)
    machine.write(RCTL, 0)
    machine.store(driver.rx_ring + 12, bytes([DD]))
    machine.write(RDH, 0)
    machine.write(RCTL, RCTL_EN)
    assert machine.harvest() == 0
    machine.frame(frame_of(80))
    assert machine.harvest() == 1
    machine.assert_same()


def test_reset_in_mid_flight(machine: Machine) -> None:
    for keeps in (False, True):
        driver = started(machine, reset_keeps=keeps)
        for i in range(5):
            machine.frame(frame_of(500, i))
            driver.send([frame_of(90, i)])
        machine.transmit(2, defer=True)
        # What the device finished before the reset still belongs to the guest.
        driver.down()
        machine.assert_same()
        assert not machine.outstanding()
        driver.up()
        machine.frame(frame_of(77))
        machine.harvest()
        driver.poll()
        assert driver.received == [frame_of(77)]
        machine.assert_same()


def test_many_set_ups_use_no_more_memory(machine: Machine) -> None:
    driver = started(machine, rx_count=64)
    for i in range(50):
        driver.down()
        driver.up()
        machine.frame(frame_of(100, i))
        machine.harvest()
        driver.poll()
        machine.assert_same()
    assert len(driver.received) == 50
    assert machine.error() == ""


def test_tail_before_length_and_base(machine: Machine) -> None:
    """Some drivers write RDH, RDT, RDLEN, RDBAL in this order, after a mere reset."""
    driver = started(machine)
    machine.write(CTRL, CTRL_RST)
    for i in range(16):
        machine.store(driver.rx_ring + 16 * i, struct.pack("<QQ", 0x20000 + 2048 * i, 0))
    machine.write(RDH, 0)
    machine.write(RDT, 15)
    assert machine.read(RDT) == (15, 15)
    machine.write(RDLEN, 256)
    machine.write(RDBAH, 0)
    machine.write(RDBAL, driver.rx_ring)
    machine.write(RCTL, RCTL_EN)
    assert machine.read(RDT) == (15, 15)
    for i in range(15):
        machine.frame(frame_of(150 + i))
    assert machine.harvest() == 15
    machine.assert_same()


@pytest.mark.parametrize("aliased", [False, True])
def test_wide_and_aliased_register_writes(machine: Machine, aliased: bool) -> None:
    assert machine.start().status == 0
    base = 0x110 if aliased else RDBAL
    assert machine.write(base, 0x3000, size=8).b >> 32 == 1, "the shadow is above 4 GiB"
    assert machine.read(base, size=8)[1] == 0x3000


def test_head_retires_descriptors_that_report_nothing(machine: Machine) -> None:
    """A driver that sets no RS and looks at TDH only."""
    driver = started(machine, tx_count=8)
    for i in range(40):
        where = driver.tx_ring + 16 * (i % 8)
        machine.store(where, struct.pack("<QII", driver.tx_buffers, TX_EOP | 64, 0))
        machine.write(TDT, (i + 1) % 8)
        machine.transmit()
        assert machine.read(TDH) == ((i + 1) % 8,) * 2
    machine.assert_same()
    counters = machine.counters()
    assert (counters.recorded_frames, counters.completed) == (40, 40)


def fill_tx_ring(machine: Machine, driver: E1000Driver, reporting: set[int]) -> None:
    """Let every descriptor be a packet; those whose indices are in `reporting` have RS set."""
    for i in range(driver.tx_count):
        lower = TX_EOP | 64 | (TX_RS if i in reporting else 0)
        machine.store(driver.tx_ring + 16 * i, struct.pack("<QII", driver.tx_buffers, lower, 0))


@pytest.mark.parametrize("reporting", [set(), {4}, set(range(8))])
def test_descriptors_reused_without_a_harvest(machine: Machine, reporting: set[int]) -> None:
    """A driver that knows by other means that the NIC is done with its descriptors."""
    driver = started(machine, tx_count=8)
    fill_tx_ring(machine, driver, reporting)
    machine.write(TDT, 5)
    machine.transmit(defer=len(reporting) == 1)
    machine.write(TDT, 1)
    machine.transmit()
    machine.harvest()
    machine.assert_same()
    assert machine.counters().recorded_frames == 9


def test_frame_in_flight_while_disabled(machine: Machine) -> None:
    driver = started(machine)
    machine.frame(frame_of(99))
    machine.write(RCTL, 0)
    machine.write(RCTL, RCTL_EN)
    machine.frame(frame_of(98))
    machine.harvest()
    driver.poll()
    assert driver.received == [frame_of(99), frame_of(98)]
    machine.assert_same()


def test_descriptors_filled_between_tail_and_enable(machine: Machine) -> None:
    driver = started(machine)
    machine.write(RCTL, 0)
    for i in range(16):
        machine.store(driver.rx_ring + 16 * i, struct.pack("<Q", 0x40000 + 2048 * i))
    machine.write(RCTL, RCTL_EN)
    machine.frame(frame_of(321))
    machine.harvest()
    machine.assert_same()
    assert machine.load(0x40000, 321) == frame_of(321)


def test_enabled_after_a_reset_that_left_the_registers(machine: Machine) -> None:
    started(machine, reset_keeps=True)
    machine.write(CTRL, CTRL_RST)
    machine.write(RDLEN, 256)
    machine.write(RCTL, RCTL_EN)
    assert [machine.read(register)[1] for register in (RDLEN, RDH, RDT)] == [256, 0, 0]


def test_buffer_size_changes_between_set_ups(machine: Machine) -> None:
    driver = started(machine, rx_count=32)
    for size in (4096, 256, 16384, 2048):
        driver.down()
        driver = E1000Driver(machine, rx_count=16, buffer_size=size)
        driver.up()
        for i in range(4):
            machine.frame(frame_of(1500, i))
            machine.harvest()
            driver.poll()
            driver.refill(16)
            machine.assert_same()
        assert driver.received == [frame_of(1500, i) for i in range(4)]


# --- another device, through its profile alone ------------------------------------------------


@GENERATED
@given(
    count=st.sampled_from([4, 12, 128]),
    large=st.booleans(),
    lengths=st.lists(st.lists(st.integers(1, 1300), max_size=6), max_size=20),
)
def test_toy_device(machine: Machine, count: int, large: bool, lengths: list[list[int]]) -> None:
    assert machine.start(toy=True, shadow=1 << 20).status == 0
    size = 512 if large else 128
    machine.write(TOY_BASE, 0x1000)
    machine.write(TOY_LENGTH, 32 * count)
    machine.write(TOY_CONTROL, 0x100 | large)

    def give(first: int, n: int) -> int:
        for i in range(first, first + n):
            slot = i % count
            descriptor = struct.pack("<III20x", 0x77, 0x10000 + slot * size, 0x55)
            machine.store(0x1000 + 32 * slot, descriptor)
        machine.write(TOY_TAIL, (first + n) % count)
        return first + n

    given_out = give(0, count - 1)
    for burst in lengths:
        for length in burst:
            machine.frame(frame_of(length))
        given_out = give(given_out, machine.harvest())
        machine.assert_same()
    assert machine.read(TOY_HEAD)[0] == machine.read(TOY_HEAD)[1]


# --- generated sequences of a good driver ------------------------------------------------------

STEPS = st.one_of(
    st.tuples(st.just("frame"), st.integers(1, 9000)),
    st.tuples(st.just("harvest"), st.just(0)),
    st.tuples(st.just("poll"), st.just(0)),
    st.tuples(st.just("refill"), st.integers(1, 16)),
    st.tuples(st.just("send"), st.integers(0, 9)),
    st.tuples(st.just("transmit"), st.integers(1, 20)),
    st.tuples(st.just("defer"), st.integers(1, 20)),
    st.tuples(st.just("flush"), st.just(0)),
    st.tuples(st.just("clean"), st.just(0)),
    st.tuples(st.just("icr"), st.just(0)),
    st.tuples(st.just("restart"), st.just(0)),
)


def run_step(machine: Machine, driver: E1000Driver, step: str, number: int) -> None:
    if step == "frame":
        machine.frame(frame_of(number))
    elif step == "refill":
        driver.refill(number)
    elif step == "send":
        sizes = [40 + 7 * i for i in range(1 + number % 5)]
        driver.send([frame_of(size) for size in sizes], context=number > 4)
    elif step == "transmit":
        machine.transmit(number)
    elif step == "defer":
        machine.transmit(number, defer=True)
    elif step == "flush":
        machine.flush()
    elif step == "poll":
        driver.poll()
    elif step == "clean":
        driver.clean()
    elif step == "icr":
        machine.read(ICR)
        machine.assert_same()
    elif step == "harvest":
        machine.harvest()
        machine.assert_same()
    else:
        driver.down()
        machine.assert_same()
        driver.up()


@GENERATED
@given(
    rx_count=st.sampled_from([8, 24, 64]),
    tx_count=st.sampled_from([8, 16, 40]),
    buffer_size=st.sampled_from([256, 2048, 4096]),
    keeps=st.booleans(),
    steps=st.lists(STEPS, max_size=60),
)
def test_generated_work_is_the_same_as_direct(
    machine: Machine,
    rx_count: int,
    tx_count: int,
    buffer_size: int,
    keeps: bool,
    steps: list[tuple[str, int]],
) -> None:
    driver = started(
        machine,
        reset_keeps=keeps,
        rx_count=rx_count,
        tx_count=tx_count,
        buffer_size=buffer_size,
    )
    for step, number in steps:
        run_step(machine, driver, step, number)
    machine.harvest()
    machine.assert_same()
    assert machine.error() == ""


# --- bad set-ups and hostile guests -------------------------------------------------------------


def test_shadow_too_small(machine: Machine) -> None:
    minimum = machine.start(shadow=4096).a
    assert machine.start(shadow=4096).status == ERR_NO_SPACE
    assert machine.start(shadow=minimum - 1).status == ERR_NO_SPACE
    assert machine.start(shadow=minimum).status == 0


def test_shadow_out_of_the_device_s_reach(machine: Machine) -> None:
    assert machine.start(toy=True, shadow_phys=1 << 32).status == ERR_UNSUPPORTED
    assert machine.start(toy=True, shadow_phys=(1 << 32) - (2 << 20)).status == 0


def test_ring_longer_than_the_profile_allows(machine: Machine) -> None:
    driver = started(machine)
    driver.down()
    assert machine.write(RDLEN, 16 * 4104).b == 0
    assert "too large" in machine.error()
    assert machine.error() == ""
    machine.write(RDBAL, driver.rx_ring)
    machine.write(RCTL, RCTL_EN)
    assert machine.write(RDT, 100).a == 0
    machine.frame(frame_of(100))
    assert machine.harvest() == 0
    machine.assert_replay_matches()


def test_transmit_ring_longer_than_the_profile_allows(machine: Machine) -> None:
    assert machine.start().status == 0
    assert machine.write(TDLEN, 16 * 4104).b == 0
    machine.write(TCTL, TCTL_EN)
    assert machine.write(TDT, 4100).a == 0


def test_buffers_larger_than_the_shadow(machine: Machine) -> None:
    started(machine, rx_count=256, buffer_size=16384, rx_spacing=16)
    assert "too large" in machine.error()
    machine.frame(frame_of(100))
    assert machine.harvest() == 0
    assert not machine.outstanding()
    machine.assert_replay_matches()


def test_tail_beyond_the_ring(machine: Machine) -> None:
    driver = started(machine)
    for tail in (16, 17, 0xFFFF, 0xFFFF_FFFF):
        assert machine.write(RDT, tail).a == 0
    assert machine.counters().refused_writes == 4
    machine.frame(frame_of(100))
    machine.harvest()
    assert driver.poll() == 1


@pytest.mark.parametrize("register", [RDH, RDT])
def test_index_beyond_the_ring_when_enabled(machine: Machine, register: int) -> None:
    started(machine)
    machine.write(RCTL, 0)
    machine.write(register, 16)
    machine.write(RCTL, RCTL_EN)
    assert [machine.read(index)[1] for index in (RDH, RDT)] == [0, 0]
    assert not machine.outstanding()


def test_ring_shrunk_below_its_head(machine: Machine) -> None:
    driver = started(machine)
    for _ in range(12):
        driver.send([b"x" * 60])
        machine.transmit()
        machine.harvest()
        driver.clean()
    assert machine.write(TDLEN, 128).a == 0
    assert machine.write(TDLEN, 512).a == 1


def test_tail_moved_back(machine: Machine) -> None:
    driver = started(machine)
    assert machine.write(RDT, 3).a == 0
    for i in range(15):
        machine.frame(frame_of(100, i))
    assert machine.harvest() == 15
    assert driver.poll() == 15


def test_ring_changed_while_the_device_works(machine: Machine) -> None:
    driver = started(machine)
    for register in (RDBAL, RDBAH, RDLEN, RDH):
        assert machine.write(register, 0x80).a == 0
    grown = machine.write(RCTL, RCTL_EN | RCTL_SIZES[16384])
    assert (grown.a, grown.b) == (1, RCTL_EN)
    machine.frame(frame_of(1000))
    machine.harvest()
    driver.poll()
    assert driver.received == [frame_of(1000)]


@pytest.mark.parametrize("size", [1, 2])
def test_partial_access_to_ring_registers(machine: Machine, size: int) -> None:
    started(machine)
    for register in (RDBAL, RDBAL + 2, RDT, TDT + 1, RCTL, CTRL + 3):
        assert machine.write(register, 0xFF, size=size).a == 0
    assert machine.write(RDBAH + 2, 0, size=4).a == 0, "unaligned"
    assert machine.write(0x5400, 0xFF, size=size).a == 1, "no ring register"


def test_buffers_and_ring_outside_memory(machine: Machine) -> None:
    addresses = [HOLE.start, HOLE.start - 10, RAM_SIZE - 10, RAM_SIZE, 1 << 52, 2**64 - 10]
    for address in addresses:
        assert machine.start().status == 0
        machine.store(0x1000, b"".join(struct.pack("<QQ", address, 0) for _ in range(16)))
        machine.write(RDBAL, 0x1000)
        machine.write(RDLEN, 256)
        machine.write(RCTL, RCTL_EN)
        machine.write(RDT, 8)
        machine.frame(frame_of(100))
        assert machine.harvest() == 1
        assert machine.load(0x100C, 1)[0] & DD
        assert machine.counters().guest_faults == 1
        machine.assert_replay_matches()

        assert machine.start().status == 0
        machine.write(RDBAL, address & 0xFFFF_FFF0)
        machine.write(RDBAH, address >> 32)
        machine.write(RDLEN, 256)
        machine.write(RCTL, RCTL_EN)
        machine.write(RDT, 8)
        machine.frame(frame_of(100))
        machine.harvest()
        machine.assert_replay_matches()


def test_transmit_from_outside_memory_sends_nothing(machine: Machine) -> None:
    driver = started(machine)
    secrets = [0x1_C000_0000, RAM_SIZE - 10, HOLE.start - 10, 2**64 - 10]
    for i, address in enumerate(secrets):
        where = driver.tx_ring + 16 * i
        machine.store(where, struct.pack("<QII", address, TX_EOP | TX_RS | 100, 0))
    machine.write(TDT, len(secrets))
    machine.transmit()
    assert machine.harvest() == len(secrets)
    machine.assert_replay_matches()
    counters = machine.counters()
    assert (counters.recorded_frames, counters.recorded_bytes) == (len(secrets), 0)
    assert counters.guest_faults == len(secrets)


def test_device_reports_too_long_a_length(machine: Machine) -> None:
    driver = started(machine)
    machine.corrupt(struct.pack("<HHBBH", 0xFFFF, 0, DD, 0, 0), rx=True)
    machine.harvest()
    counters = machine.counters()
    assert (counters.clamped_lengths, counters.rx_bytes) == (1, driver.buffer_size)
    machine.assert_replay_matches()


def test_odd_ports(machine: Machine) -> None:
    started(machine)
    machine.port_write(0, RDBAL)
    for port, size in ((0, 1), (1, 4), (4, 2), (6, 2), (8, 4)):
        assert machine.port_write(port, 0xFFFF, size=size).a == 0
    # The window's address has more bits than the device decodes.
    assert machine.port_write(0, 0x8_0000 | RDLEN).b == RDLEN


RING_REGISTERS = [base + offset for base in (RDBAL, 0x3800) for offset in (0, 4, 8, 0x10, 0x18)]
HOSTILE_VALUES = st.one_of(
    st.integers(0, 24),
    st.sampled_from([128, 256, 4096, 0x1000, 0x10000, 0xA0000, RAM_SIZE - 64, 0xFFFF_FFFF]),
    st.integers(0, 0xFFFF_FFFF),
)
HOSTILE = st.one_of(
    st.tuples(
        st.just("write"),
        st.sampled_from([*RING_REGISTERS, *RING_REGISTERS, 0x110, 0x128, RCTL, TCTL, CTRL]),
        HOSTILE_VALUES,
        st.sampled_from([4, 4, 4, 4, 8, 2, 1]),
    ),
    st.tuples(st.just("enable"), st.integers(0, 3), st.sampled_from(list(RCTL_SIZES.values()))),
    st.tuples(st.just("tail"), st.booleans(), st.integers(0, 24)),
    st.tuples(st.just("reset")),
    st.tuples(st.just("port"), st.sampled_from([0, 4, 5, 8]), HOSTILE_VALUES),
    st.tuples(st.just("memory"), st.integers(0, 0xFFF), st.binary(max_size=64)),
    st.tuples(
        st.just("descriptor"),
        st.integers(0, 24),
        st.sampled_from([0, 0x20000, 0x9FFF0, RAM_SIZE - 1, 0x1_C000_0000, 2**64 - 1]),
        st.integers(0, 2**64 - 1),
    ),
    st.tuples(st.just("frame"), st.integers(1, 16000)),
    st.tuples(st.just("transmit"), st.integers(1, 50), st.booleans()),
    st.tuples(st.just("corrupt"), st.booleans(), st.binary(min_size=8, max_size=8)),
    st.tuples(st.just("read"), st.integers(0, 0x4000), st.sampled_from([1, 2, 4, 8])),
    st.tuples(st.just("harvest")),
)


def run_hostile(machine: Machine, action: tuple[object, ...]) -> None:
    match action:
        case ("write", int(register), int(value), int(size)):
            machine.write(register, value, size=size)
        case ("enable", int(which), int(size)):
            machine.write(RCTL, size | (RCTL_EN if which & 1 else 0))
            machine.write(TCTL, TCTL_EN if which & 2 else 0)
        case ("tail", bool(rx), int(tail)):
            machine.write(RDT if rx else TDT, tail)
        case ("reset",):
            machine.write(CTRL, CTRL_RST)
        case ("port", int(port), int(value)):
            machine.port_write(port, value)
        case ("memory", int(address), bytes(data)):
            machine.store(0x1000 + address, data)
        case ("descriptor", int(index), int(address), int(rest)):
            machine.store(0x1000 + 16 * index, struct.pack("<QQ", address, rest))
        case ("frame", int(length)):
            machine.frame(frame_of(length))
        case ("transmit", int(n), bool(defer)):
            machine.transmit(n, defer=defer)
        case ("corrupt", bool(rx), bytes(data)):
            machine.corrupt(data, rx=rx)
        case ("read", int(register), int(size)):
            machine.read(register, size=size)
        case _:
            machine.harvest()


@settings(GENERATED, max_examples=200)
@given(
    set_up=st.booleans(),
    keeps=st.booleans(),
    actions=st.lists(HOSTILE, max_size=60),
)
def test_hostile_guest_neither_escapes_nor_diverges(
    machine: Machine, set_up: bool, keeps: bool, actions: list[tuple[object, ...]]
) -> None:
    if set_up:
        started(machine, reset_keeps=keeps)
    else:
        machine.start(reset_keeps=keeps)
    for action in actions:
        run_hostile(machine, action)
        machine.assert_replay_matches()
    machine.harvest()
    machine.assert_replay_matches()
