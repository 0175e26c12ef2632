"""The DMA engine with areas that a driver declares: what is recorded is what happened."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.host.areas_machine import (
    BOTH,
    ERR_FAULT,
    FROM_DEVICE,
    SHADOW_PHYS,
    SHADOW_SIZE,
    SHARED,
    TO_DEVICE,
    Area,
    AreasMachine,
    build_areas_machine,
)
from tests.host.dma_world import ERR_INVALID, ERR_NO_SPACE, ERR_UNSUPPORTED, HOLE, RAM_SIZE

pytestmark = pytest.mark.host

PAGE = 4096
KINDS = (TO_DEVICE, FROM_DEVICE, BOTH, SHARED)


@pytest.fixture(scope="module")
def program() -> Path:
    return build_areas_machine()


@pytest.fixture(scope="module")
def busy(program: Path) -> Iterator[AreasMachine]:
    """For many runs, each of which starts it anew."""
    machine = AreasMachine(program)
    yield machine
    machine.close()


@pytest.fixture
def machine(program: Path) -> Iterator[AreasMachine]:
    machine = AreasMachine(program)
    yield machine
    machine.close()


def mapped(machine: AreasMachine, gpa: int, length: int, kind: int) -> Area:
    area = machine.map(gpa, length, kind)
    assert isinstance(area, Area)
    return area


def test_what_the_device_wrote_is_seen_at_the_hand_over(machine: AreasMachine) -> None:
    machine.store(0x1100, b"before")
    area = mapped(machine, 0x1100, 3000, FROM_DEVICE)
    assert area.address % PAGE == 0x100
    machine.device_writes(area, 2, b"DEVICE")
    machine.harvest()
    assert machine.load(0x1100, 8) == b"before\0\0"
    assert machine.records() == []
    assert machine.sync_for_cpu(area.address, 4) == 0
    assert machine.load(0x1100, 8) == b"beDEre\0\0"
    assert machine.unmap(area.address) == 0
    assert machine.load(0x1100, 8) == b"beDEVICE"
    assert machine.differences() == (None, None)
    assert [(r.gpa, r.length) for r in machine.records()] == [(0x1102, 2), (0x1104, 4)]


def test_the_device_reads_what_it_was_given(machine: AreasMachine) -> None:
    machine.store(0x3000, b"first")
    area = mapped(machine, 0x3000, 100, TO_DEVICE)
    machine.store(0x3000, b"other")
    assert machine.device_reads(area, 0, 5) == (b"first", b"other")
    assert machine.sync_for_device(area.address, 100) == 0
    assert machine.device_reads(area, 0, 5)[0] == b"other"
    assert machine.unmap(area.address) == 0
    assert machine.records() == []


def test_shared_memory_goes_both_ways_at_a_harvest(machine: AreasMachine) -> None:
    area = mapped(machine, 0x1FF0, 2 * PAGE, SHARED)
    assert machine.outstanding()
    machine.store(0x1FF0, b"guest ring")
    machine.device_writes(area, 16, b"done")
    machine.device_writes(area, 16 + 32, b"done")
    assert machine.load(0x2000, 4) == bytes(4)
    assert machine.device_reads(area, 0, 10)[0] == bytes(10)
    machine.harvest()
    assert machine.load(0x2000, 4) == b"done"
    assert machine.device_reads(area, 0, 10) == (b"guest ring",) * 2
    assert machine.differences() == (None, None)
    assert machine.unmap(area.address) == 0
    assert not machine.outstanding()


@pytest.mark.parametrize("looks", range(4))
def test_a_status_is_not_seen_before_what_it_is_about(machine: AreasMachine, looks: int) -> None:
    """The device writes while the engine is between two pages: data, then a status behind it."""
    area = mapped(machine, 0x8000, 2 * PAGE, SHARED)
    written = b"data".ljust(PAGE, b"\1") + b"done"
    machine.device_writes_late(area, written, looks)
    seen = b""
    for _ in range(3):
        machine.harvest()
        seen = machine.load(0x8000, len(written))
        if seen.endswith(b"done"):
            break
    assert seen == written


def test_a_byte_that_both_changed_is_the_device_s(machine: AreasMachine) -> None:
    area = mapped(machine, 0x5000, 16, SHARED)
    machine.store(0x5000, b"ggggg")
    machine.device_writes(area, 2, b"d")
    machine.harvest()
    assert machine.load(0x5000, 5) == b"ggdgg"
    assert machine.device_reads(area, 0, 5)[0] == b"ggdgg"
    assert machine.differences()[1] is None


def test_what_is_refused(machine: AreasMachine) -> None:
    assert machine.map(0x1000, 0, SHARED) == ERR_INVALID
    assert machine.map(RAM_SIZE - 8, 16, SHARED) == ERR_FAULT
    assert machine.map(HOLE.start - 1, 2, FROM_DEVICE) == ERR_FAULT
    assert machine.map(SHADOW_PHYS, 64, FROM_DEVICE) == ERR_FAULT
    assert machine.map(2**64 - 8, 16, FROM_DEVICE) == ERR_FAULT
    assert machine.map(0x1000, SHADOW_SIZE, FROM_DEVICE) == ERR_NO_SPACE
    assert machine.map(0x1000, 2**64 - 1, FROM_DEVICE) == ERR_NO_SPACE
    area = mapped(machine, 0x1010, 100, BOTH)
    for wrong in (area.address - 1, area.address + 1, area.address + 100, 0, 2**64 - 1):
        assert machine.unmap(wrong) == ERR_INVALID
    assert machine.unmap(area.address, owner=2) == ERR_INVALID
    assert machine.sync_for_cpu(area.address + 1, 100) == ERR_INVALID
    assert machine.sync_for_device(area.address, 2**64 - 1) == ERR_INVALID
    assert machine.sync_for_cpu(area.address + 100, 0) == ERR_INVALID
    assert machine.unmap(area.address) == 0
    assert machine.unmap(area.address) == ERR_INVALID
    assert machine.sync_for_cpu(area.address, 1) == ERR_INVALID


def test_a_device_s_areas_end_with_it(machine: AreasMachine) -> None:
    areas = [machine.map(PAGE * (1 + i), 100, SHARED, owner=i % 2) for i in range(6)]
    machine.release(0)
    for area in areas:
        assert isinstance(area, Area)
        assert machine.unmap(area.address, area.owner) == (0 if area.owner else ERR_INVALID)
    assert not machine.outstanding()


def test_all_shadow_memory_can_be_used_and_comes_back(machine: AreasMachine) -> None:
    for _ in range(3):
        areas = []
        while isinstance(area := machine.map(0x1000, 2 * PAGE, TO_DEVICE), Area):
            areas.append(area)
        assert area == ERR_NO_SPACE
        pages = {area.address // PAGE + i for area in areas for i in range(2)}
        assert len(pages) == 2 * len(areas) >= SHADOW_SIZE // PAGE // 2 - 4
        random.Random(1).shuffle(areas)
        for area in areas:
            assert machine.unmap(area.address) == 0


def test_shadow_memory_that_is_too_small_or_too_far_up(machine: AreasMachine) -> None:
    assert machine.start(SHADOW_PHYS, 4 * PAGE) == ERR_NO_SPACE
    assert machine.start(2**32 - PAGE, SHADOW_SIZE) == ERR_UNSUPPORTED
    assert machine.start(SHADOW_PHYS, 5 * PAGE) == 0
    assert isinstance(machine.map(0x1000, PAGE, SHARED), Area)


class _Driver:
    """A driver and a device that keep the rules, each area with memory of its own."""

    def __init__(self, machine: AreasMachine, seed: int) -> None:
        self.machine = machine
        self.random = random.Random(seed)
        self.areas: dict[int, Area] = {}  # by the number of its 16 KiB of guest memory
        self.of_device: set[int] = set()
        self.touched: dict[int, dict[int, bool]] = {}  # shared: by whom a byte was, since harvest

    def step(self) -> None:
        number = self.random.randrange(8)
        if number not in self.areas:
            self._map(number)
            return
        area = self.areas[number]
        action = self.random.choice((self._device, self._guest, self._hand_over, self._unmap))
        action(number, area)
        if self.random.random() < 0.2:
            self.harvest()

    def harvest(self) -> None:
        self.machine.harvest()
        for touched in self.touched.values():
            touched.clear()

    def _map(self, number: int) -> None:
        gpa = 0x100000 + number * 4 * PAGE + self.random.randrange(PAGE)
        length = self.random.choice((1, 7, 64, 1514, PAGE, self.random.randrange(1, 3 * PAGE)))
        area = self.machine.map(gpa, length, self.random.choice(KINDS))
        if isinstance(area, Area):
            self.areas[number] = area
            self.of_device.add(number)
            self.touched[number] = {}
        else:
            assert area == ERR_NO_SPACE

    def _range(self, area: Area) -> tuple[int, int]:
        at = self.random.randrange(area.length)
        return at, self.random.randint(1, min(area.length - at, 300))

    def _may_touch(self, number: int, area: Area, device: bool, at: int, length: int) -> bool:
        if area.kind != SHARED:
            return (number in self.of_device) == device
        touched = self.touched[number]
        if any(touched.get(i, device) != device for i in range(at, at + length)):
            return False
        touched.update(dict.fromkeys(range(at, at + length), device))
        return True

    def _device(self, number: int, area: Area) -> None:
        at, length = self._range(area)
        if area.kind == TO_DEVICE:
            if number in self.of_device:
                recorded, direct = self.machine.device_reads(area, at, length)
                assert recorded == direct
        elif self._may_touch(number, area, True, at, length):
            self.machine.device_writes(area, at, self.random.randbytes(length))

    def _guest(self, number: int, area: Area) -> None:
        at, length = self._range(area)
        if self._may_touch(number, area, False, at, length):
            self.machine.store(area.gpa + at, self.random.randbytes(length))

    def _hand_over(self, number: int, area: Area) -> None:
        if number in self.of_device:
            assert self.machine.sync_for_cpu(area.address, area.length) == 0
        else:
            assert self.machine.sync_for_device(area.address, area.length) == 0
        self.of_device ^= {number}
        self.touched[number].clear()

    def _unmap(self, number: int, area: Area) -> None:
        assert self.machine.unmap(area.address) == 0
        del self.areas[number]
        self.of_device.discard(number)

    def finish(self) -> None:
        for area in self.areas.values():
            assert self.machine.sync_for_cpu(area.address, area.length) == 0


@settings(max_examples=25)
@given(st.integers(0, 2**32))
def test_the_guest_sees_what_the_device_did(busy: AreasMachine, seed: int) -> None:
    """As with a device that reaches its memory; and the log alone says the same."""
    assert busy.start(SHADOW_PHYS, SHADOW_SIZE) == 0
    driver = _Driver(busy, seed)
    for _ in range(10):
        for _ in range(6):
            driver.step()
        assert busy.differences()[1] is None
    driver.finish()
    assert busy.differences() == (None, None)
    counters = busy.counters()
    assert (counters.ram_writes, counters.ram_reads) == (0, 0)
    assert (counters.stray_writes, counters.stray_reads) == (0, 0)


ADDRESSES = st.one_of(
    st.integers(0, RAM_SIZE + PAGE),
    st.sampled_from([HOLE.start - 1, HOLE.stop - 1, RAM_SIZE - 1, 2**32 - 1, 2**64 - 1]),
    st.integers(SHADOW_PHYS - PAGE, SHADOW_PHYS + SHADOW_SIZE + PAGE),
)
LENGTHS = st.one_of(
    st.integers(0, 3 * PAGE), st.sampled_from([SHADOW_SIZE, 2**32, 2**63, 2**64 - 1])
)
CALLS = st.lists(
    st.tuples(
        st.sampled_from(("map", "unmap", "cpu", "device", "release", "write", "harvest")),
        ADDRESSES,
        LENGTHS,
        st.sampled_from(KINDS),
        st.integers(0, 2),
        st.integers(0, 2**16),
    ),
    max_size=60,
)


@settings(max_examples=60)
@given(CALLS)
def test_nonsense_does_no_harm(
    busy: AreasMachine, calls: list[tuple[str, int, int, int, int, int]]
) -> None:
    """Areas that overlap, of nothing, of another's: errors, and the log stays true."""
    machine = busy
    assert machine.start(SHADOW_PHYS, SHADOW_SIZE) == 0
    addresses = [0]
    areas: list[Area] = []
    for what, address, length, kind, owner, number in calls:
        known = addresses[number % len(addresses)] if number % 3 else address
        match what:
            case "map":
                area = machine.map(address, length, kind, owner)
                if isinstance(area, Area):
                    areas.append(area)
                    addresses.append(area.address)
                else:
                    assert area in (ERR_INVALID, ERR_FAULT, ERR_NO_SPACE)
            case "unmap":
                assert machine.unmap(known, owner) in (0, ERR_INVALID)
            case "cpu":
                assert machine.sync_for_cpu(known, length, owner) in (0, ERR_INVALID)
            case "device":
                assert machine.sync_for_device(known, length, owner) in (0, ERR_INVALID)
            case "release":
                machine.release(owner)
            case "write" if areas:
                area = areas[number % len(areas)]  # which may be unmapped meanwhile
                machine.device_writes(area, number % area.length, b"\xa5")
            case _:
                machine.harvest()
        assert machine.differences()[1] is None
    machine.harvest()
    assert machine.differences()[1] is None
