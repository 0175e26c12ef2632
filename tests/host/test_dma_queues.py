"""Tests of the DMA engine's queues of commands (hypervisor/dma/queue*.c) with a model of NVMe."""

from __future__ import annotations

import random
import struct
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.host.dma_world import ERR_NO_SPACE, HOLE, RAM_SIZE
from tests.host.nvme_machine import (
    ACQ,
    AQA,
    ASQ,
    BLOCKS,
    CAP,
    CC,
    CREATE_SQ,
    DATASET,
    DELETE_SQ,
    DOORBELLS,
    ENABLED,
    FLUSH,
    GET_FEATURES,
    GET_LOG,
    IDENTIFIED,
    IDENTIFY,
    PAGE,
    READ,
    SET_FEATURES,
    SHADOW_PHYS,
    WRITE,
    NvmeDriver,
    NvmeMachine,
    build_nvme_machine,
    command,
)

pytestmark = pytest.mark.host

INVALID_OPCODE, INVALID_FIELD, INVALID_PAGE, QUEUE_INVALID = 0x01, 0x02, 0x13, 0x101
TRANSFER_MAX = 0x2_0000  # of the profile
DATA = 0x100000  # where the tests' data is

GENERATED = settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@pytest.fixture(scope="module")
def machine() -> Iterator[NvmeMachine]:
    machine = NvmeMachine(build_nvme_machine())
    yield machine
    machine.close()


def started(machine: NvmeMachine, *queues: int, size: int = 16, stride: int = 0) -> NvmeDriver:
    assert machine.start(stride=stride).status == 0
    driver = NvmeDriver(machine, stride=4 << stride)
    driver.up()
    driver.ready(*queues, size=size)
    return driver


def data_of(length: int, seed: int = 0) -> bytes:
    return random.Random(seed * 65537 + length).randbytes(length)


def pages_from(first: int, length: int) -> list[int]:
    """Addresses of a buffer that is contiguous."""
    return [first, *range((first & ~(PAGE - 1)) + PAGE, first + length, PAGE)]


# --- what a guest sees ------------------------------------------------------------------------


@pytest.mark.parametrize("queue", [1, 7])
@pytest.mark.parametrize("stride", [0, 3])
def test_what_is_read_is_invisible_until_harvest(
    machine: NvmeMachine, queue: int, stride: int
) -> None:
    driver = started(machine, queue, stride=stride)
    data = data_of(4096)
    machine.give(data)
    machine.told()
    number = driver.transfer(queue, READ, [DATA], 8)
    assert machine.run(queue, number) == (True, True)
    assert machine.outstanding()
    assert machine.load(DATA, 4096) == bytes(4096)
    assert driver.take(queue) == []
    assert machine.harvest() == 1
    assert machine.load(DATA, 4096) == data
    assert [told.gpa for told in machine.told()] == [DATA, driver.queues[queue].completions]
    assert not machine.outstanding()
    machine.assert_same()
    (done,) = driver.take(queue)
    assert (done.command, done.status, done.head, done.queue) == (number, 0, 1, queue)
    assert machine.counters().refused_writes == 0


def test_written_data_is_that_of_the_doorbell(machine: NvmeMachine) -> None:
    driver = started(machine, 1)
    machine.store(DATA, data_of(16384))
    number = driver.transfer(1, WRITE, pages_from(DATA, 16384), 4, namespace=2)
    machine.run(1, number)
    assert machine.harvest() == 1
    machine.assert_same()
    assert machine.counters().tx_bytes == 16384


@pytest.mark.parametrize("opcode", [READ, WRITE])
@pytest.mark.parametrize("offset", [0, 4, 0xE00, 0xFFC])
@pytest.mark.parametrize("blocks", [1, 8, 9, 16, 17, 24, 255, 256])
def test_lists_of_pages(machine: NvmeMachine, opcode: int, offset: int, blocks: int) -> None:
    """With none, one, two and more pages; the list goes over several pages of its own."""
    draw = random.Random(blocks)
    length = 512 * blocks
    machine.start()
    driver = NvmeDriver(machine)
    driver.up()
    driver.ready(1)
    machine.give(data_of(length))
    machine.store(DATA, data_of(RAM_SIZE - DATA, 1))
    addresses = pages_from(DATA + offset, length)
    addresses[1:] = draw.sample(addresses[1:], len(addresses) - 1)
    for lists in (0xC0000, 0xC0FE8):
        pages = driver.pages(addresses, lists)
        dwords = (0, 0, blocks - 1)
        number = driver.submit(1, opcode, namespace=1, pages=pages, dwords=dwords)
        assert machine.run(1, number) == (True, True)
        machine.harvest()
        machine.assert_same()
        assert [done.status for done in driver.take(1)] == [0]


def test_queues_wrap(machine: NvmeMachine) -> None:
    driver = started(machine, 1, size=5)
    driver.create(2, size=3)
    machine.give(data_of(512))
    for turn in range(37):
        for queue in (1, 2):
            number = driver.transfer(queue, READ, [DATA + 512 * turn], 1)
            assert machine.run(queue, number) == (True, True)
            machine.harvest()
            (done,) = driver.take(queue)
            assert done.head == (turn + 1) % driver.queues[queue].size
            machine.assert_same()


def test_several_queues_with_one_of_completions(machine: NvmeMachine) -> None:
    driver = started(machine, 1, size=32)
    for queue in (2, 3):
        assert driver.create(queue, completions=1) == [0]
    machine.give(data_of(512))
    numbers = [(q, driver.transfer(q, READ, [DATA + 0x1000 * q], 1)) for q in (3, 1, 2, 3)]
    for queue, number in reversed(numbers):
        machine.run(queue, number)
    machine.harvest()
    machine.assert_same()
    assert [(done.queue, done.command) for done in driver.take(1)] == numbers[::-1]


def test_more_commands_than_shadows_wait_for_their_turn(machine: NvmeMachine) -> None:
    driver = started(machine, 1, size=256)
    machine.give(data_of(4096))
    numbers = list(range(1000, 1200))
    for i, number in enumerate(numbers):
        where = DATA + PAGE * i
        driver.put(1, command(READ, number, namespace=1, pages=(where, 0), dwords=(0, 0, 7)))
    driver.ring(1)
    seen = []
    waiting = list(numbers)
    while waiting:
        had = [number for number in waiting if machine.run(1, number)[1]]
        assert 1 < len(had) < 64
        waiting = waiting[len(had) :]
        machine.harvest()
        seen += [done.command for done in driver.take(1)]
        machine.assert_replay_matches()
    assert seen == numbers
    assert machine.load(DATA, PAGE * 200) == data_of(4096) * 200
    assert not machine.outstanding()


def test_commands_without_data_need_no_shadow(machine: NvmeMachine) -> None:
    """Requests for events stay with the controller for ever."""
    driver = started(machine, 1)
    events = [driver.submit(0, 0x0C) for _ in range(4)]
    machine.give(data_of(512))
    number = driver.transfer(1, READ, [DATA], 1)
    machine.run(1, number)
    machine.harvest()
    assert [done.command for done in driver.take(1)] == [number]
    machine.run(0, events[2])
    machine.harvest()
    (done,) = driver.take(0)
    assert (done.command, done.result) == (events[2], 0x0001_0002)
    assert machine.outstanding()
    machine.assert_same()


def test_a_full_queue_of_completions_waits_for_the_guest(machine: NvmeMachine) -> None:
    driver = started(machine, 1, size=4)
    for queue in (2, 3):
        assert driver.create(queue, completions=1, size=16) == [0]
    numbers = [(queue, driver.submit(queue, FLUSH)) for queue in (1, 2, 3)]
    for queue, number in numbers:
        machine.run(queue, number)
    machine.harvest()
    taken = driver.take(1, acknowledge=False)
    assert [done.command for done in taken] == [number for _, number in numbers]
    more = [driver.submit(queue, FLUSH) for queue in (2, 3)]
    for queue, number in zip((2, 3), more, strict=True):
        machine.run(queue, number)
    machine.harvest()
    assert driver.take(1) == []
    machine.write(DOORBELLS + 3 * driver.stride, driver.queues[1].head)
    for queue, number in zip((2, 3), more, strict=True):
        machine.run(queue, number)
    machine.harvest()
    assert [done.command for done in driver.take(1)] == more
    machine.assert_same()


def test_log_pages_and_features(machine: NvmeMachine) -> None:
    driver = started(machine)
    machine.give(data_of(10000))
    # 2,500 dwords, of which the number's high half is in the next dword.
    pages = driver.pages(pages_from(DATA + 8, 10000))
    number = driver.submit(0, GET_LOG, pages=pages, dwords=(2499 << 16 | 2, 0))
    machine.run(0, number)
    machine.harvest()
    assert machine.load(DATA + 8, 10000) == data_of(10000)
    driver.take(0)
    machine.store(0x1F0000, b"a time..")
    driver.admin(SET_FEATURES, pages=(0x1F0000, 0), dwords=(0x0E,))
    driver.admin(GET_FEATURES, pages=(0x1F0FFC, 0x1E0000), dwords=(0x0E,))
    assert machine.load(0x1F0FFC, 4) + machine.load(0x1E0000, 4) == data_of(10000)[:8]
    machine.assert_same()


def test_ranges_of_dataset_management(machine: NvmeMachine) -> None:
    driver = started(machine, 1)
    machine.store(DATA, data_of(4096))
    number = driver.submit(1, DATASET, namespace=1, pages=(DATA, 0), dwords=(255, 4))
    machine.run(1, number)
    machine.harvest()
    machine.assert_same()


# --- what the guest is not shown ------------------------------------------------------------------


def test_identify_says_what_can_be_recorded(machine: NvmeMachine) -> None:
    driver = started(machine)
    for where in (DATA, DATA + 0x800):
        second = 0x180000 if where % PAGE else 0
        done = driver.admin(IDENTIFY, pages=(where, second), dwords=(1,))
        assert done.status == 0
        first = PAGE - where % PAGE
        data = machine.load(where, first) + machine.load(second, PAGE - first)
        assert data[4:9] == b"MODEL"
        assert PAGE << data[77] == TRANSFER_MAX
        assert data[256:258] == b"\xff\xfe"  # no Doorbell Buffer Config
        assert data[272:280] == bytes(8)  # no host memory buffer
        assert data[520:524] == b"\x5f\0\0\0"  # no pairs of commands
        assert data[536:540] == bytes(4)  # no scatter-gather lists
        machine.assert_replay_matches()


def test_as_many_queues_as_the_engine_has(machine: NvmeMachine) -> None:
    driver = started(machine)
    for opcode in (SET_FEATURES, GET_FEATURES):
        assert driver.admin(opcode, dwords=(7, 0x000F_000F)).result == 0x0006_0006
    assert driver.create(8) == [QUEUE_INVALID, 0x100]
    assert driver.create(7) == [0, 0]


def test_registers(machine: NvmeMachine) -> None:
    driver = started(machine)
    for register in (AQA, ASQ, ASQ + 4, ACQ, ACQ + 4, CC):
        direct, recorded = machine.read(register)
        assert direct == recorded, hex(register)
    assert machine.read(CAP)[1] == machine.read(CAP)[0] | 0x1_0000
    assert machine.read(CAP + 4)[1] == 0
    assert machine.read(0x3C) == (0x1001, 0)
    assert not machine.write(0x20, 0x4E56_4D65)
    assert not machine.write(ASQ, 0x9000)
    assert driver.identify(1).status == 0


@pytest.mark.parametrize(
    ("opcode", "dword"), [(SET_FEATURES, 0x0D), (0x7C, 0), (0xC1, 0), (0x7D, 0)]
)
def test_commands_that_are_refused(machine: NvmeMachine, opcode: int, dword: int) -> None:
    """The host memory buffer, Doorbell Buffer Config, and what the profile does not know."""
    driver = started(machine)
    machine.give(data_of(4096))
    done = driver.admin(opcode, pages=(DATA, DATA + PAGE), dwords=(dword, 1))
    assert done.status == INVALID_OPCODE
    assert machine.error() == ""
    machine.assert_replay_matches()


def test_scatter_gather_lists_end_the_recording(machine: NvmeMachine) -> None:
    driver = started(machine, 1)
    entry = command(READ, 9, namespace=1, pages=(DATA, 0), dwords=(0, 0, 0), flags=0x40)
    driver.put(1, entry)
    driver.ring(1)
    assert "scatter-gather list" in machine.error()
    machine.run(1, 9)
    machine.harvest()
    machine.assert_replay_matches()


@pytest.mark.parametrize(("namespace", "identified"), [(1, False), (3, True)])
def test_unknown_blocks_end_the_recording(
    machine: NvmeMachine, namespace: int, identified: bool
) -> None:
    """Namespace 3 has metadata."""
    machine.start()
    driver = NvmeDriver(machine)
    driver.up()
    if identified:
        driver.identify(namespace)
    driver.create(1)
    driver.transfer(1, READ, [DATA], 1, namespace=namespace)
    assert "has not identified" in machine.error()
    machine.assert_replay_matches()


def test_a_transfer_that_the_shadow_does_not_hold(machine: NvmeMachine) -> None:
    driver = started(machine, 1)
    number = driver.transfer(1, READ, pages_from(0xC8000, TRANSFER_MAX + 512), 257)
    assert "transfers more" in machine.error()
    machine.run(1, number)
    machine.harvest()
    machine.assert_replay_matches()


def test_larger_pages_and_other_entries(machine: NvmeMachine) -> None:
    machine.start()
    assert not machine.write(CC, ENABLED | 0x80)
    assert "pages of more than 4096" in machine.error()
    driver = NvmeDriver(machine)
    driver.up()
    machine.write(CC, 0x57_0001)
    driver.admin(CREATE_SQ, pages=(0x8000, 0), dwords=(0xF_0001, 0x1_0001))
    assert "another size" in machine.error()


def test_doorbells_beyond_the_registers(machine: NvmeMachine) -> None:
    machine.start(stride=8)
    assert not machine.write(CC, ENABLED)
    assert "doorbells" in machine.error()


# --- queues end, and begin again ------------------------------------------------------------------


def test_deleted_in_mid_flight_and_created_again(machine: NvmeMachine) -> None:
    driver = started(machine, 1, 2)
    for turn in range(3):
        machine.give(data_of(4096, turn))
        numbers = [driver.transfer(1, READ, [DATA + PAGE * i], 8) for i in range(10)]
        other = driver.transfer(2, READ, [0x60000], 8)
        machine.run(1, numbers[3])
        assert driver.delete(1) == [0, 0]
        assert [done.command for done in driver.take(1)] == [numbers[3]]
        machine.assert_same()
        assert driver.create(1, size=16 + turn) == [0, 0]
        number = driver.transfer(1, WRITE, [DATA], 8)
        machine.run(1, number)
        machine.run(2, other)
        machine.harvest()
        assert [done.command for done in driver.take(1)] == [number]
        assert [done.command for done in driver.take(2)] == [other]
        machine.assert_same()


def test_queues_that_exist_are_not_created_again(machine: NvmeMachine) -> None:
    driver = started(machine, 1)
    queue = driver.queues[1]
    assert driver.create(1) == [QUEUE_INVALID, QUEUE_INVALID]
    driver.queues[1] = queue
    assert driver.admin(DELETE_SQ, dwords=(5,)).status == QUEUE_INVALID
    assert driver.admin(DELETE_SQ, dwords=(0,)).status == QUEUE_INVALID
    machine.give(data_of(512))
    machine.run(1, driver.transfer(1, READ, [DATA], 1))
    machine.harvest()
    assert len(driver.take(1)) == 1
    machine.assert_same()


def test_disabled_in_mid_flight(machine: NvmeMachine) -> None:
    driver = started(machine, 1)
    for turn in range(3):
        machine.give(data_of(4096, turn))
        numbers = [driver.transfer(1, READ, [DATA + PAGE * i], 8) for i in range(10)]
        machine.run(1, numbers[5])
        machine.write(CC, 0)
        assert not machine.outstanding()
        machine.assert_same()
        machine.run(1, numbers[6])
        driver.up()
        driver.ready(1)
        machine.run(1, driver.transfer(1, READ, [DATA], 8))
        machine.harvest()
        assert len(driver.take(1)) == 1
        machine.assert_same()


# --- generated work of a good driver ------------------------------------------------------------


@GENERATED
@given(
    sizes=st.lists(st.integers(2, 80), min_size=1, max_size=4),
    shared=st.booleans(),
    seed=st.integers(0, 1 << 32),
)
def test_generated_work_is_the_same_as_direct(
    machine: NvmeMachine, sizes: list[int], shared: bool, seed: int
) -> None:
    draw = random.Random(seed)
    driver = started(machine)
    for queue, size in enumerate(sizes, 1):
        # One queue of completions must hold those of all.
        first = 160 if shared and queue == 1 else size
        assert set(driver.create(queue, first, 1 if shared and queue > 1 else None)) == {0}
    machine.give(draw.randbytes(TRANSFER_MAX))
    for _ in range(12):
        issued: list[tuple[int, int]] = []
        free = [DATA + PAGE * i for i in range(0x100)]
        draw.shuffle(free)
        for queue in range(1, len(sizes) + 1):
            most = min(driver.queues[queue].size - 1, 5)
            for _ in range(draw.randrange(most + 1)):
                number = next(driver.numbers)
                namespace = draw.choice([1, 2])
                blocks = draw.randrange(1, 17 if namespace == 1 else 9)
                length = blocks * BLOCKS[namespace]
                offset = 4 * draw.randrange(1024) if draw.random() < 0.5 else 0
                count = (offset + length + PAGE - 1) // PAGE
                addresses = [free.pop() for _ in range(count)]
                addresses[0] += offset
                lists = 0xC0000 + 0x100 * (number % 256) + 8 * draw.randrange(16)
                entry = command(
                    draw.choice([READ, READ, WRITE, FLUSH, DATASET]),
                    number,
                    namespace=namespace,
                    pages=driver.pages(addresses, lists),
                    dwords=(0, 0, blocks - 1),
                )
                driver.put(queue, entry)
                issued.append((queue, number))
            driver.ring(queue)
        draw.shuffle(issued)
        for queue, number in issued:
            had = machine.run(queue, number)
            assert had == (True, True)
            if draw.random() < 0.3:
                machine.harvest()
                machine.assert_same()
        machine.harvest()
        machine.assert_same()
        for queue in range(1, 2 if shared else len(sizes) + 1):
            driver.take(queue)
    assert machine.error() == ""
    assert machine.counters().refused_writes == 0


# --- malformed lists and hostile guests ---------------------------------------------------------


def test_shadow_too_small(machine: NvmeMachine) -> None:
    minimum = machine.start(shadow=4096).a
    assert machine.start(shadow=minimum - 1).status == ERR_NO_SPACE
    assert machine.start(shadow=minimum).status == 0
    driver = NvmeDriver(machine)
    driver.up()
    driver.ready(1, 2)
    machine.give(data_of(512))
    numbers = [(queue, driver.transfer(queue, READ, [DATA], 1)) for queue in (1, 1, 2, 2)]
    for queue, number in numbers:
        machine.run(queue, number)
        machine.harvest()
    for _ in numbers:
        for queue, number in numbers:
            machine.run(queue, number)
        machine.harvest()
    assert sum(len(driver.take(queue)) for queue in (1, 2)) == len(numbers)


@pytest.mark.parametrize("address", [HOLE.start, RAM_SIZE, SHADOW_PHYS, 2**64 - PAGE])
@pytest.mark.parametrize("opcode", [READ, WRITE])
@pytest.mark.parametrize("place", range(4))
def test_pages_that_are_not_memory(
    machine: NvmeMachine, address: int, opcode: int, place: int
) -> None:
    driver = started(machine, 1)
    machine.give(data_of(0x4000))
    addresses = pages_from(DATA, 0x4000)
    addresses[place] = address
    machine.run(1, driver.transfer(1, opcode, addresses, 32))
    machine.harvest()
    machine.assert_same()
    assert machine.counters().guest_faults > 0


@pytest.mark.parametrize("addresses", [[DATA + 2], [DATA, DATA + 0x1004], [DATA, DATA + 8, DATA]])
def test_pages_with_wrong_offsets_are_the_device_s_to_refuse(
    machine: NvmeMachine, addresses: list[int]
) -> None:
    driver = started(machine, 1)
    machine.give(data_of(0x4000))
    machine.run(1, driver.transfer(1, READ, addresses, 8 * len(addresses)))
    machine.harvest()
    (done,) = driver.take(1)
    assert done.status == INVALID_PAGE
    machine.assert_same()


@pytest.mark.parametrize("lists", [0xC0FF8, HOLE.start, RAM_SIZE - 8, SHADOW_PHYS + 4, 2**64 - 8])
def test_lists_that_are_no_lists(machine: NvmeMachine, lists: int) -> None:
    """One leads to itself, the others out of memory."""
    driver = started(machine, 1)
    machine.store(0xC0FF8, struct.pack("<Q", 0xC0FF8))
    machine.give(data_of(0x8000))
    number = driver.submit(1, READ, namespace=1, pages=(DATA, lists), dwords=(0, 0, 63))
    machine.run(1, number)
    machine.harvest()
    machine.assert_replay_matches()
    assert len(driver.take(1)) == 1


def test_queues_that_are_not_memory(machine: NvmeMachine) -> None:
    for where in (RAM_SIZE, HOLE.start, SHADOW_PHYS & ~(PAGE - 1), 2**64 - PAGE):
        machine.start()
        machine.write(AQA, 0xF_000F)
        machine.write(ASQ, where, size=8)
        machine.write(ACQ, where, size=8)
        machine.write(CC, ENABLED)
        machine.write(DOORBELLS, 5)
        for _ in range(5):
            machine.run(0, 0)
        machine.harvest()
        machine.assert_replay_matches()
        assert machine.counters().guest_faults > 0


ADDRESSES = st.sampled_from(
    [0, 0x10000, 0x9FFF8, HOLE.start, DATA + 4, RAM_SIZE - 8, SHADOW_PHYS, 2**64 - 8, IDENTIFIED]
)
HOSTILE = st.one_of(
    st.tuples(
        st.just("write"),
        st.sampled_from([CC, AQA, ASQ, ASQ + 4, ACQ, 0x20, 0x38, 0x1000, 0x1004, 0x1008, 0x100C]),
        st.one_of(
            st.integers(0, 0xFFFF_FFFF), st.integers(0, 16), st.sampled_from([ENABLED, 0x5000])
        ),
        st.sampled_from([1, 4, 4, 4, 8]),
    ),
    st.tuples(
        st.just("command"),
        st.integers(0, 2),
        st.tuples(st.sampled_from([*range(0x10), 0x19, 0x7C, 0x81, 0x82]), st.integers(0, 3)),
        st.tuples(ADDRESSES, ADDRESSES),
        st.lists(
            st.one_of(st.integers(0, 3), st.integers(0, 0xFFFF_FFFF), st.just(0xF_0001)),
            max_size=4,
        ),
    ),
    st.tuples(st.just("entry"), st.integers(0, 40), ADDRESSES),
    st.tuples(st.just("run"), st.integers(0, 2), st.integers(0, 3)),
    st.tuples(st.just("ring"), st.integers(0, 2)),
    st.tuples(st.just("up")),
    st.tuples(st.just("read"), st.sampled_from([CAP, CC, ASQ, 0x1000])),
    st.tuples(st.just("harvest")),
)


def run_hostile(driver: NvmeDriver, action: tuple[object, ...]) -> None:
    machine = driver.machine
    match action:
        case ("write", int(register), int(value), int(size)):
            machine.write(register, value, size)
        case ("command", int(queue), (int(opcode), int(number)), (int(a), int(b)), list(dwords)):
            entry = command(
                opcode, number, namespace=number, pages=(a, b), dwords=tuple(map(int, dwords))
            )
            if queue in driver.queues:
                driver.put(queue, entry)
        case ("entry", int(number), int(address)):
            machine.store(0x10000 + 8 * number, struct.pack("<Q", address))
        case ("run", int(queue), int(number)):
            machine.run(queue, number)
        case ("ring", int(queue)):
            if queue in driver.queues:
                driver.ring(queue)
        case ("up",):
            driver.up()
        case ("read", int(register)):
            machine.read(register)
        case _:
            machine.harvest()


@settings(GENERATED, max_examples=150)
@given(actions=st.lists(HOSTILE, max_size=50))
def test_hostile_guest_neither_escapes_nor_diverges(
    machine: NvmeMachine, actions: list[tuple[object, ...]]
) -> None:
    driver = started(machine, 1, 2)
    for action in actions:
        run_hostile(driver, action)
        machine.assert_replay_matches()
    machine.harvest()
    machine.assert_replay_matches()
