"""The gdb server's target over the debug link, against the monitor's end of it."""

from __future__ import annotations

import struct
from collections.abc import Iterator

import pytest
from tests.host.link_machine import (
    BREAKPOINTS,
    MEMORY_BASE,
    MEMORY_SIZE,
    TIMING,
    Lines,
    LinkMachine,
)

from lvmm.debug import registers, stops
from lvmm.debug.target import LinkTarget
from lvmm.gdb.target import (
    REGISTER_NAMES,
    BreakpointKind,
    MemoryFault,
    MemoryKind,
    ReadOnly,
    Stop,
    StopReason,
    TargetError,
)
from lvmm.link import (
    ByteStream,
    LinkClient,
    LinkClosed,
    Mode,
    Register,
    Registers,
    RunState,
    Status,
)
from lvmm.link import StopReason as LinkReason
from lvmm.logs.layout import EndReason


@pytest.fixture(scope="module")
def running() -> Iterator[LinkMachine]:
    with LinkMachine() as machine:
        yield machine


@pytest.fixture
def machine(running: LinkMachine) -> LinkMachine:
    running.reset()
    return running


@pytest.fixture
def link(machine: LinkMachine) -> Iterator[LinkClient]:
    with LinkClient(Lines(machine), timing=TIMING) as client:
        yield client


@pytest.fixture
def target(link: LinkClient) -> LinkTarget:
    return LinkTarget(link)


def status(**changes: int) -> Status:
    fields = dict.fromkeys(Status.__dataclass_fields__, 0)
    del fields["STRUCT"]
    return Status(**{**fields, "state": RunState.STOPPED, **changes})


def test_every_register_has_its_place() -> None:
    """In the layout each byte is different, so that a register that is taken for another shows."""
    raw = bytes(at * 7 % 251 for at in range(Registers.STRUCT.size))
    values = registers.by_name(Registers.unpack(raw))
    assert set(values) == set(REGISTER_NAMES)
    assert len(set(values.values())) == len(values)
    assert values["rax"] == struct.unpack_from("<Q", raw, 0)[0]
    assert values["rbx"] == struct.unpack_from("<Q", raw, 8 * Register.RBX)[0]
    assert values["rsp"] == struct.unpack_from("<Q", raw, 8 * Register.RSP)[0]
    assert values["rip"] == struct.unpack_from("<Q", raw, 128)[0]
    # Of CS, the second of the segments: base, limit, access rights, selector.
    base, _, access, selector = struct.unpack_from("<QIIH", raw, 144 + 18)
    assert (values["cs_base"], values["cs_access"], values["cs"]) == (base, access, selector)


def test_what_is_written_is_what_is_read(target: LinkTarget) -> None:
    target.query("force-writes", "on")
    for name in ("rax", "rbx", "rsp", "r15", "rip", "rflags", "dr7"):
        value = int.from_bytes(name.ljust(8, "!").encode(), "little")
        target.write_register(name, value)
        assert target.registers()[name] == value
    with pytest.raises(TargetError, match="cannot be written"):
        target.write_register("cs_access", 0)


def test_the_fpu(target: LinkTarget) -> None:
    image = bytes(range(256)) * 3
    target.query("force-writes", "on")
    target.write_fpu(image)
    assert target.fpu()[: len(image)] == image


def test_a_replay_is_not_written_to(target: LinkTarget, machine: LinkMachine) -> None:
    assert target.mode == "replay"
    with pytest.raises(ReadOnly, match="alter the replay"):
        target.write_register("rax", 1)
    with pytest.raises(ReadOnly):
        target.reset()
    assert machine.counts().resets == 0
    assert "forced" in target.query("force-writes", "on")
    target.write_register("rax", 2)
    assert "refused" in target.query("force-writes", "off")
    with pytest.raises(ReadOnly):
        target.write_register("rax", 3)
    assert target.registers()["rax"] == 2


def test_memory_faults_have_their_address_and_what_came_before(target: LinkTarget) -> None:
    with pytest.raises(MemoryFault) as caught:
        target.read_memory(MEMORY_BASE + MEMORY_SIZE - 5000, 6000)
    assert caught.value.address == MEMORY_BASE + MEMORY_SIZE
    assert len(caught.value.done) == 5000
    with pytest.raises(MemoryFault) as caught:
        target.read_memory(8, 1)
    assert (caught.value.address, caught.value.done) == (8, b"")
    target.query("force-writes", "on")
    with pytest.raises(MemoryFault) as caught:
        target.write_memory(MEMORY_BASE + MEMORY_SIZE - 1, b"xy")
    assert caught.value.address == MEMORY_BASE + MEMORY_SIZE


def test_the_memory_map(target: LinkTarget, link: LinkClient) -> None:
    ranges = target.memory_map()
    assert [(part.start, part.end) for part in ranges] == [
        (part.start, part.end) for part in link.memory_map()
    ]
    assert {part.kind for part in ranges} <= set(MemoryKind)


def test_breakpoints_come_and_go(target: LinkTarget) -> None:
    for _ in range(2 * BREAKPOINTS):
        target.set_breakpoint(BreakpointKind.SOFTWARE, MEMORY_BASE, 1)
        target.clear_breakpoint(BreakpointKind.SOFTWARE, MEMORY_BASE, 1)
    for offset in range(BREAKPOINTS):
        target.set_breakpoint(BreakpointKind.HARDWARE, MEMORY_BASE + offset, 1)
    with pytest.raises(TargetError, match="no room"):
        target.set_breakpoint(BreakpointKind.SOFTWARE, MEMORY_BASE + 1, 1)


def test_a_long_watchpoint_is_one(target: LinkTarget, machine: LinkMachine) -> None:
    target.set_breakpoint(BreakpointKind.WRITE, MEMORY_BASE, 1 << 20)
    assert machine.counts().watched == 1 << 20
    for offset in range(1, BREAKPOINTS):
        target.set_breakpoint(BreakpointKind.WRITE, MEMORY_BASE + offset, 1)
    with pytest.raises(TargetError, match="no room"):
        target.set_breakpoint(BreakpointKind.WRITE, MEMORY_BASE, 4096)
    target.clear_breakpoint(BreakpointKind.WRITE, MEMORY_BASE, 1 << 20)
    target.set_breakpoint(BreakpointKind.WRITE, MEMORY_BASE, 4096)
    assert machine.counts().watched == 4096 + BREAKPOINTS - 1


def test_run_control(target: LinkTarget, machine: LinkMachine) -> None:
    first = target.poll_stop(0)
    assert first is not None and first == target.poll_stop(0)
    target.step()
    assert target.poll_stop(1) == Stop(StopReason.STEP)
    target.resume()
    assert target.poll_stop(0.01) is None
    target.interrupt()
    assert target.poll_stop(1) == Stop(StopReason.INTERRUPT)
    target.interrupt()
    assert target.poll_stop(1) == Stop(StopReason.INTERRUPT)
    assert (machine.counts().steps, machine.counts().resumes) == (1, 1)


def test_a_stop_that_comes_unasked(machine: LinkMachine) -> None:
    lines = Lines(machine)
    with LinkClient(lines, timing=TIMING) as link:
        target = LinkTarget(link)
        target.resume()
        lines.say(machine.stop)
        stop = None
        while stop is None:
            stop = target.poll_stop(0.05)
        assert stop.reason is StopReason.BREAKPOINT


def test_why_it_stops() -> None:
    kinds = {3: BreakpointKind.ACCESS}
    seen = status(reason=LinkReason.WATCHPOINT, address=0x1234, breakpoint=3)
    assert stops.as_stop(seen, kinds) == Stop(StopReason.WATCHPOINT, 0x1234, BreakpointKind.ACCESS)
    crash = status(
        state=RunState.HALTED,
        reason=LinkReason.TRIPLE_FAULT,
        end_reason=EndReason.TRIPLE_FAULT,
        mode=Mode.REPLAY,
    )
    assert stops.as_stop(crash, {}).reason is StopReason.HALTED
    assert "triple fault" in stops.as_stop(crash, {}).text
    end = status(state=RunState.HALTED, reason=LinkReason.LOG_END, mode=Mode.REPLAY)
    assert stops.as_stop(end, {}).reason is StopReason.END_OF_LOG
    diverged = status(state=RunState.HALTED, reason=LinkReason.DIVERGENCE, mode=Mode.REPLAY)
    assert "left its recording" in stops.as_stop(diverged, {}).text
    for reason in LinkReason:  # whatever it is, it is a stop with an explanation
        assert stops.as_stop(status(reason=reason), {})
        assert stops.reason_text(status(reason=reason))
    assert "99" in stops.reason_text(status(reason=99))


def test_queries(target: LinkTarget) -> None:
    for name in ("exits", "devices", "ept", "translate", "log"):
        assert target.query(name, "0x1000")
    assert target.query("events", "")
    with pytest.raises(TargetError, match="is not in the machine"):
        target.query("events", "5")
    assert "RIP" in target.query("when", "")
    with pytest.raises(TargetError, match="knows nothing"):
        target.query("weather", "")


def test_a_line_that_is_gone() -> None:
    def no_line() -> ByteStream:
        raise LinkClosed("the machine is off")

    target = LinkTarget(LinkClient(no_line))
    with pytest.raises(TargetError, match="the machine is off"):
        target.poll_stop(0)
    with pytest.raises(TargetError, match="the machine is off"):
        target.read_memory(0, 1)
