"""PCI configuration space by ports and by memory: found in the firmware's tables, guarded the same
way, and without the capabilities that cannot be recorded.
"""

from __future__ import annotations

import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.host.pci_machine import (
    MCFG,
    ROOT,
    Capability,
    firmware,
    function,
    mcfg,
    root_table,
    rsdp,
    run,
)

pytestmark = pytest.mark.host

BASE = 0xE000_0000
ALL_BUSES = (BASE, 0, 0, 255)
NIC = 0x0100  # 01:00.0
NIC_CLASS = 0x020000
DATA = 0xCFC
COMMAND = 0x04
MSI, MSI_X, EXPRESS, POWER, VENDOR = 0x05, 0x11, 0x10, 0x01, 0x09
HIDDEN = {0x02, MSI, 0x08, 0x0E, 0x0F, MSI_X, 0x14}

# As of a real 82574L: power management, MSI with 64 bits, PCI Express, MSI-X.
NIC_CAPABILITIES = (
    Capability(POWER, 0xC8, bytes.fromhex("22c8")),
    Capability(MSI, 0xD0, bytes.fromhex("8000") + bytes(range(1, 11))),
    Capability(EXPRESS, 0xE0, bytes.fromhex("0100c18c0000")),
    Capability(MSI_X, 0xA0, bytes.fromhex("040003000000")),
)


def at(bdf: int, offset: int) -> int:
    return BASE + (bdf << 12) + offset


@pytest.mark.parametrize("revision", [0, 2])
def test_the_windows_are_found(revision: int) -> None:
    windows = [(BASE, 0, 0, 0x3F), (0x10_0000_0000, 1, 0x80, 0xFF)]
    (said,) = run(firmware(windows, revision))
    assert said == "0 e0000000:4000000:0:0 1008000000:8000000:1:80"


def test_a_machine_without_them() -> None:
    pointer = rsdp(revision=2).hex()
    assert run(["init "]) == ["0"]
    assert run([f"init {pointer}"]) == ["0"], "its tables cannot be read"
    assert run([f"mem {ROOT:x} {root_table(2, []).hex()}", f"init {pointer}"]) == ["0"]


def test_windows_that_make_no_sense_are_refused() -> None:
    for wrong in ((BASE, 0, 5, 4), (BASE + 0x1000, 0, 0, 255), (1 << 60, 0, 0, 255)):
        (said,) = run(firmware([ALL_BUSES, wrong]))
        assert said.split()[0] == "-1"
    (said,) = run(firmware([(BASE + (i << 20), 0, 0, 0) for i in range(9)]))
    assert said.split()[0] == "-1"
    assert len(said.split()) == 9, "eight are known all the same"


@given(st.data())
@settings(max_examples=25)
def test_damaged_tables_do_no_harm(data: st.DataObject) -> None:
    """The sanitizers watch what is read; a table with a wrong sum is not believed."""
    pieces = {"root": root_table(2, [MCFG]), "mcfg": mcfg([ALL_BUSES]), "rsdp": rsdp(revision=2)}
    which = data.draw(st.sampled_from(sorted(pieces)))
    damaged = bytearray(pieces[which])
    for _ in range(data.draw(st.integers(1, 3))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] ^= data.draw(st.integers(1, 255))
    pieces[which] = bytes(damaged[: data.draw(st.integers(1, len(damaged)))])
    (said,) = run(
        [
            f"mem {ROOT:x} {pieces['root'].hex()}",
            f"mem {MCFG:x} {pieces['mcfg'].hex()}",
            f"init {pieces['rsdp'].hex()}",
        ]
    )
    assert said.split()[0] in ("0", "-1")


def seen_list(read: list[int]) -> list[tuple[int, int]]:
    """ID and offset of the capabilities, by the dwords of a function."""
    space = struct.pack("<64I", *read)
    found = []
    offset = space[0x34]
    while offset:
        found.append((space[offset], offset))
        offset = space[offset + 1]
    return found


def reads(bdf: int, *, memory: bool) -> list[str]:
    if memory:
        return [f"read {at(bdf, offset):x} 4" for offset in range(0, 256, 4)]
    return [
        command
        for offset in range(0, 256, 4)
        for command in (f"address {1 << 31 | bdf << 8 | offset:x}", f"in {DATA:x} 4")
    ]


def machine(space: bytes, *, recording: bool = True, master: bool = False) -> list[str]:
    return [
        *firmware([ALL_BUSES]),
        f"function {NIC:x} {int(master)} {space.hex()}",
        f"recording {int(recording)}",
    ]


@pytest.mark.parametrize("memory", [False, True])
def test_message_signalled_interrupts_are_hidden(memory: bool) -> None:
    space = function(NIC_CLASS, NIC_CAPABILITIES)
    dwords = [int(line, 16) for line in run([*machine(space), *reads(NIC, memory=memory)])[1:]]
    assert seen_list(dwords) == [(POWER, 0xC8), (EXPRESS, 0xE0)]
    assert dwords[0xD0 // 4 : 0xE0 // 4] == [0] * 4
    assert dwords[0xA0 // 4 : 0xAC // 4] == [0] * 3
    live = run([*machine(space, recording=False), *reads(NIC, memory=memory)])[1:]
    assert struct.pack("<64I", *(int(line, 16) for line in live)) == space


a_list = st.lists(
    st.tuples(st.sampled_from([*sorted(HIDDEN), EXPRESS, POWER, VENDOR]), st.binary(max_size=10)),
    max_size=8,
    unique_by=lambda pair: pair[0],
).flatmap(
    lambda pairs: st.permutations(range(len(pairs))).map(
        lambda order: [
            Capability(kind, 0x40 + 24 * place, body.ljust(10, b"\0"))
            for (kind, body), place in zip(pairs, order, strict=True)
        ]
    )
)


@given(a_list)
@settings(max_examples=25)
def test_the_guest_sees_the_others_in_their_order(capabilities: list[Capability]) -> None:
    space = function(NIC_CLASS, capabilities)
    commands = [*machine(space), *reads(NIC, memory=False), *reads(NIC, memory=True)]
    dwords = [int(line, 16) for line in run(commands)[1:]]
    assert dwords[:64] == dwords[64:], "by ports and by memory"
    expected = [(c.id, c.offset) for c in capabilities if c.id not in HIDDEN]
    assert seen_list(dwords[:64]) == expected
    for c in capabilities:
        body = struct.pack("<64I", *dwords[:64])[c.offset + 2 : c.offset + 12]
        assert body == (bytes(10) if c.id in HIDDEN else c.body)


def test_a_list_without_an_end_is_walked_once() -> None:
    space = function(NIC_CLASS, NIC_CAPABILITIES)
    space[0xA1] = 0xC8
    assert len(run([*machine(bytes(space)), *reads(NIC, memory=True)])) == 65


def test_a_hidden_capability_cannot_be_written() -> None:
    space = function(NIC_CLASS, NIC_CAPABILITIES)
    writes = [
        f"write {at(NIC, 0xD4):x} 4 12345678",
        f"write {at(NIC, 0xD2):x} 2 81",
        f"address {1 << 31 | NIC << 8 | 0xA0:x}",
        f"out {DATA + 2:x} 2 8000",
        f"write {at(NIC, 0xE8):x} 4 99",
    ]
    (said,) = run([*machine(space), *writes, f"dump {NIC:x}"])[1:]
    space[0xE8:0xEC] = (0x99).to_bytes(4, "little")
    assert bytes.fromhex(said) == space, "only the last, which is PCI Express's"


@pytest.mark.parametrize("master", [False, True])
def test_the_fence_holds_in_memory_too(master: bool) -> None:
    space = function(NIC_CLASS)
    for size in (1, 2, 4):
        writes = [f"write {at(NIC, COMMAND):x} {size} 7", f"read {at(NIC, COMMAND):x} 2"]
        assert run([*machine(space, master=master), *writes])[1:] == ["7" if master else "3"]


def test_the_guard_holds_in_memory_too() -> None:
    """No device over the monitor's memory, and no chipset registers."""
    space = function(NIC_CLASS)
    bar = at(NIC, 0x10)
    writes = [f"write {bar:x} 4 1000000", f"read {bar:x} 4", f"write {bar:x} 4 f0000000"]
    assert run([*machine(space), *writes, f"read {bar:x} 4"])[1:] == ["0", "f0000000"]
    bridge = function(0x060000)
    register = at(NIC, 0x60)
    writes = [f"write {register:x} 4 1", f"read {register:x} 4"]
    for recording in (False, True):
        assert run([*machine(bridge, recording=recording), *writes])[1:] == ["0"]


def test_what_only_memory_reaches() -> None:
    """Extended capabilities, such as virtual functions, are not there while recording."""
    extended, other_segment = at(NIC, 0x100), 0x2_0000_0000
    space = function(NIC_CLASS)
    setup = machine(space)
    setup[:3] = firmware([ALL_BUSES, (other_segment, 1, 0, 255)])
    assert run([*setup, f"read {extended:x} 4", f"write {extended:x} 4 1"])[1:] == ["ffffffff"]
    assert run([*setup, f"read {other_segment:x} 8"])[1:] == ["f" * 16]
    assert run([*setup, f"read {at(NIC, 2):x} 4"])[1:] == ["ffffffff"], "no aligned access"
    setup[-1] = "recording 0"
    live = run([*setup, f"write {extended:x} 4 1", f"read {extended:x} 4"])[1:]
    assert live == [f"raw write {extended:x} 4 1", f"raw read {extended:x} 4", "0"]
    assert run([*setup, f"write {at(NIC, 0xFE):x} 4 1"])[1:] == [], "the guard cannot see to it"


def test_other_memory_is_not_touched() -> None:
    for gpa in (BASE - 4, BASE + (1 << 28), 0xFEE0_0000):
        assert run([*machine(function(NIC_CLASS)), f"read {gpa:x} 4"])[1:] == ["other"]


an_access = st.tuples(
    st.sampled_from([0x04, 0x06, 0x10, 0x34, 0x3C, 0xA0, 0xC8, 0xD0, 0xE0]),
    st.sampled_from([(1, 0), (1, 1), (1, 3), (2, 0), (2, 2), (4, 0)]),
    st.none() | st.integers(0, 0xFFFF_FFFF),
)


@given(st.lists(an_access, max_size=12), st.booleans())
@settings(max_examples=25)
def test_both_ways_are_the_same(
    accesses: list[tuple[int, tuple[int, int], int | None]], recording: bool
) -> None:
    setup = machine(function(NIC_CLASS, NIC_CAPABILITIES), recording=recording)
    ports, memory = list(setup), list(setup)
    for offset, (size, within), value in accesses:
        ports.append(f"address {1 << 31 | NIC << 8 | offset & 0xFC:x}")
        port, gpa = DATA + offset % 4, at(NIC, offset)
        if offset % 4 == 0:
            port, gpa = port + within, gpa + within
        elif size == 4:
            size = 2
        if value is None:
            ports.append(f"in {port:x} {size}")
            memory.append(f"read {gpa:x} {size}")
        else:
            ports.append(f"out {port:x} {size} {value & (1 << 8 * size) - 1:x}")
            memory.append(f"write {gpa:x} {size} {value & (1 << 8 * size) - 1:x}")
    dump = f"dump {NIC:x}"
    assert run([*ports, dump]) == run([*memory, dump])
