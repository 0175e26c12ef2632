"""The profiles e1000e and igb: extended and advanced descriptors, against models of the cards."""

from __future__ import annotations

import random
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.host.dma_machine import (
    CTRL,
    CTRL_RST,
    E1000E,
    IGB,
    RCTL,
    RCTL_EN,
    RCTL_SIZES,
    RDBAL,
    TCTL,
    TCTL_EN,
    TDBAL,
    TX_DATA,
    TX_DEXT,
    TX_EOP,
    TX_RS,
    Machine,
    build_machine,
)

pytestmark = pytest.mark.host

RFCTL, RFCTL_EXSTEN = 0x5008, 1 << 15
DTYP_SPLIT = 1 << 10
LENGTH, HEAD, SIZE, TAIL, CONTROL, HEAD_WRITE_BACK = 0x8, 0x10, 0xC, 0x18, 0x28, 0x38
ENABLE = 1 << 25
ONE_BUFFER = 1 << 25  # SRRCTL.DESCTYPE
IGB_DATA, IGB_CONTEXT, IGB_TSE = 3 << 20, 2 << 20, 1 << 31
QUEUE = 2  # of the igb's model

GENERATED = settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@pytest.fixture(scope="module")
def machine() -> Iterator[Machine]:
    machine = Machine(build_machine())
    yield machine
    machine.close()


@dataclass
class Driver:
    """A driver of either card, as Linux's; addresses are guest physical, sizes in bytes."""

    machine: Machine
    kind: int
    count: int = 16
    buffer_size: int = 2048
    aliased: bool = False
    rx_ring: int = 0x1000
    tx_ring: int = 0x8000
    rx_buffers: int = 0xC0000
    tx_buffers: int = 0x10000
    received: list[bytes] = field(default_factory=list)
    rx_use: int = 0
    rx_clean: int = 0
    tx_use: int = 0
    partial: bytes = b""

    def rings(self) -> tuple[int, int]:
        """The first registers of the receive and of the transmit ring."""
        if self.kind == E1000E:
            return RDBAL, TDBAL
        if self.aliased:
            return 0x2800 + 0x100 * QUEUE, 0x3800 + 0x100 * QUEUE
        return 0xC000 + 0x40 * QUEUE, 0xE000 + 0x40 * QUEUE

    def up(self) -> None:
        """Set up both rings, and give all receive buffers."""
        m = self.machine
        m.write(CTRL, CTRL_RST)
        for first, memory in zip(self.rings(), (self.rx_ring, self.tx_ring), strict=True):
            m.store(memory, bytes(16 * self.count))
            m.write(first, memory)
            m.write(first + 4, 0)
            m.write(first + LENGTH, 16 * self.count)
            m.write(first + HEAD, 0)
            m.write(first + TAIL, 0)
        if self.kind == E1000E:
            m.write(RFCTL, RFCTL_EXSTEN)
            m.write(TCTL, TCTL_EN)
            m.write(RCTL, RCTL_SIZES[self.buffer_size] | RCTL_EN)
        else:
            rx, tx = self.rings()
            m.write(rx + SIZE, ONE_BUFFER | self.buffer_size // 1024)
            m.write(rx + CONTROL, ENABLE)
            m.write(tx + CONTROL, ENABLE)
            m.write(RCTL, RCTL_EN)
        self.refill(self.count)

    def refill(self, most: int) -> None:
        """Give up to `most` receive buffers."""
        for _ in range(min(most, (self.rx_clean - self.rx_use - 1) % self.count)):
            address = self.rx_buffers + self.rx_use * (self.buffer_size + 2)
            where = self.rx_ring + 16 * self.rx_use
            self.machine.store(where, struct.pack("<QQ", address, 0))
            self.rx_use = (self.rx_use + 1) % self.count
        self.machine.write(self.rings()[0] + TAIL, self.rx_use)

    def poll(self) -> None:
        """Take received frames."""
        while True:
            descriptor = self.machine.load(self.rx_ring + 16 * self.rx_clean, 16)
            status, length = struct.unpack_from("<IH", descriptor, 8)
            if not status & 1:
                return
            buffer = self.rx_buffers + self.rx_clean * (self.buffer_size + 2)
            self.partial += self.machine.load(buffer, length)
            if status & 2:
                self.received.append(self.partial)
                self.partial = b""
            self.machine.store(self.rx_ring + 16 * self.rx_clean, bytes(16))
            self.rx_clean = (self.rx_clean + 1) % self.count

    def send(self, fragments: list[bytes]) -> None:
        """Queue a packet with a context before it, and wait until it is sent."""
        context = TX_DEXT | (IGB_CONTEXT if self.kind == IGB else 0)
        data = TX_DEXT | (IGB_DATA | IGB_TSE if self.kind == IGB else TX_DATA)
        self.describe(0x2A22_0E00_1817_0E00, context)
        for number, fragment in enumerate(fragments, 1):
            address = self.tx_buffers + 0x800 * self.tx_use
            self.machine.store(address, fragment)
            last = TX_EOP | TX_RS if number == len(fragments) else 0
            self.describe(address, data | last | len(fragment))
        self.machine.write(self.rings()[1] + TAIL, self.tx_use)
        self.machine.transmit()
        self.machine.harvest()
        done = self.tx_ring + 16 * ((self.tx_use - 1) % self.count) + 12
        assert self.machine.load(done, 1)[0] & 1

    def describe(self, address: int, lower: int) -> None:
        """Write one transmit descriptor."""
        where = self.tx_ring + 16 * self.tx_use
        self.machine.store(where, struct.pack("<QII", address, lower, 0))
        self.tx_use = (self.tx_use + 1) % self.count


def started(machine: Machine, kind: int, **options: int) -> Driver:
    assert machine.start(kind=kind, shadow=8 << 20).status == 0
    driver = Driver(machine, kind, **options)
    driver.up()
    assert machine.error() == ""
    return driver


def frame_of(length: int, seed: int = 0) -> bytes:
    return random.Random(seed * 65537 + length).randbytes(length)


@pytest.mark.parametrize("kind", [E1000E, IGB])
@pytest.mark.parametrize("aliased", [False, True])
def test_frames_come_and_go(machine: Machine, kind: int, aliased: bool) -> None:
    driver = started(machine, kind, aliased=aliased)
    frames = [frame_of(60 + 37 * i, i) for i in range(80)]
    for number, frame in enumerate(frames):
        machine.frame(frame)
        assert machine.load(driver.rx_ring + 16 * driver.rx_clean + 8, 1) == b"\0"
        driver.send([frame[:40], frame[40:]])
        driver.poll()
        if number % 3 == 0:
            driver.refill(6)
        machine.assert_same()
    assert driver.received == frames
    assert machine.error() == ""


@GENERATED
@given(
    kind=st.sampled_from([E1000E, IGB]),
    count=st.sampled_from([8, 24, 64]),
    buffer_size=st.sampled_from([1024, 2048, 4096]),
    lengths=st.lists(st.integers(1, 9000), max_size=24),
    seed=st.integers(0, 1 << 32),
)
def test_generated_frames_are_the_same_as_direct(
    machine: Machine, kind: int, count: int, buffer_size: int, lengths: list[int], seed: int
) -> None:
    """Frames over several buffers, rings that wrap, and harvests at any time."""
    draw = random.Random(seed)
    driver = started(machine, kind, count=count, buffer_size=buffer_size)
    for number, length in enumerate(lengths):
        machine.frame(frame_of(length, number))
        if draw.random() < 0.5:
            machine.harvest()
            machine.assert_same()
            driver.poll()
            driver.refill(draw.randrange(1, count))
        if draw.random() < 0.3:
            driver.send([frame_of(draw.randrange(1, 900)) for _ in range(draw.randrange(1, 4))])
    machine.harvest()
    machine.assert_same()
    assert machine.error() == ""


def test_legacy_receive_descriptors_of_an_e1000e(machine: Machine) -> None:
    """Another format than the profile's ends the recording, and takes no descriptor."""
    assert machine.start(kind=E1000E, shadow=8 << 20).status == 0
    machine.write(RDBAL, 0x1000)
    machine.write(RDBAL + LENGTH, 256)
    machine.write(RDBAL + TAIL, 8)
    machine.write(RCTL, RCTL_EN)
    assert "does not describe" in machine.error()
    machine.frame(frame_of(100))
    assert machine.harvest() == 0
    machine.assert_replay_matches()


def test_packet_split_of_an_e1000e(machine: Machine) -> None:
    started(machine, E1000E)
    machine.write(RCTL, RCTL_EN | DTYP_SPLIT)
    assert "does not describe" in machine.error()


def test_other_formats_of_an_igb(machine: Machine) -> None:
    driver = started(machine, IGB)
    rx, tx = driver.rings()
    machine.write(rx + SIZE, 5 << 25 | 2)
    assert "does not describe" in machine.error()
    machine.write(tx + HEAD_WRITE_BACK, 0x9001)
    assert "does not describe" in machine.error()


@pytest.mark.parametrize(("kind", "register"), [(E1000E, 0x2900), (IGB, 0xC100), (IGB, 0xE118)])
def test_queues_that_the_profile_does_not_describe(
    machine: Machine, kind: int, register: int
) -> None:
    started(machine, kind)
    assert machine.write(register, 0x1000).a == 0
    assert "more ports or queues" in machine.error()
