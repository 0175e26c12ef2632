"""Memory over the wire, and the map that keeps gdb off devices."""

from __future__ import annotations

import xml.etree.ElementTree as ET

from tests.host import gdb_fixtures
from tests.host.gdb_client import Client, escaped, unescaped
from tests.host.gdb_fake_target import MMIO, MMIO_SIZE, RAM, RAM_SIZE, FakeTarget
from tests.host.gdb_fixtures import document, little

target, port, client = gdb_fixtures.target, gdb_fixtures.port, gdb_fixtures.client


def test_memory(target: FakeTarget, client: Client) -> None:
    content = bytes(range(256))
    at = RAM + 0x4000
    assert client.ask(b"M%x,100:%b" % (at, content.hex().encode())) == b"OK"
    assert client.ask(b"m%x,100" % at) == content.hex().encode()
    assert client.ask(b"X%x,100:%b" % (at + 256, escaped(content))) == b"OK"
    assert target.memory[0x4000:0x4200] == content * 2
    reply = client.ask(b"x%x,200" % at)
    assert reply[:1] == b"b" and unescaped(reply[1:]) == content * 2
    assert client.ask(b"X0,0:") == b"OK"  # gdb asks so whether there is such a packet
    assert client.ask(b"m%x,0" % at) == b""


def test_big_packets(target: FakeTarget, client: Client) -> None:
    content = b"}#$*" * 0x7C0
    assert client.ask(b"X%x,%x:%b" % (RAM, len(content), escaped(content))) == b"OK"
    assert target.memory[: len(content)] == content
    assert unescaped(client.ask(b"x%x,%x" % (RAM, len(content)))[1:]) == content
    reply = client.ask(b"m%x,2000" % RAM)
    assert bytes.fromhex(reply.decode()) == target.memory[:0x2000]
    assert client.ask(b"m%x,ffffffff" % RAM) == reply  # as much as fits


def test_memory_that_is_not_there(target: FakeTarget, client: Client) -> None:
    last = RAM + RAM_SIZE
    assert bytes.fromhex(client.ask(b"m%x,10" % (last - 4)).decode()) == target.memory[-4:]
    assert client.ask(b"m%x,10" % last) == b"E0e"
    assert client.ask(b"x%x,10" % last) == b"E0e"
    assert client.ask(b"mfffffffffffffff0,100") == b"E0e"
    assert client.ask(b"M%x,1:00" % last) == b"E.cannot access memory at %#x" % last
    assert client.ask(b"Xffffffffffffffff,2:ab").startswith(b"E")


def test_memory_by_physical_address(target: FakeTarget, client: Client) -> None:
    client.console("physical on")
    client.ask(b"m%x,1" % RAM)
    client.ask(b"M%x,1:00" % RAM)
    assert target.calls[-2:] == [f"read physical {RAM:#x}", f"write physical {RAM:#x}"]
    client.console("physical off")
    client.ask(b"m%x,1" % RAM)
    assert target.calls[-1] == f"read {RAM:#x}"


def test_memory_map(target: FakeTarget, client: Client) -> None:
    root = ET.fromstring(document(client, b"memory-map:read:", 64))
    ranges = [
        (m.attrib["type"], int(m.attrib["start"], 16), int(m.attrib["length"], 16)) for m in root
    ]
    assert ("rom", 0xF0000, 0x10000) in ranges
    covered = [(start, start + length) for _, start, length in ranges]
    assert not any(start <= MMIO < end for start, end in covered)
    for address in (0, RAM, MMIO - 1, MMIO + MMIO_SIZE, 0xFFFFFFFF81000000, (1 << 64) - 1):
        assert any(start <= address < end for start, end in covered), hex(address)
    assert all(length < 1 << 64 for _, _, length in ranges)


def test_memory_map_with_paging(target: FakeTarget, client: Client) -> None:
    """MMIO is left out where it is mapped at its own address, and only there."""
    target.values |= {"cr0": 0x80000011, "cr4": 0x20, "cr3": RAM, "efer": 0x500}
    table = RAM + 0x1000
    target.memory[:0x2000] = bytes(0x2000)
    put(client, RAM, table | 1)
    assert covers(client, MMIO)
    put(client, table + 3 * 8, 0xC0000000 | 0x81)  # 1 GiB at its own address
    assert not covers(client, MMIO)
    put(client, table + 3 * 8, 0x80000000 | 0x81)
    assert covers(client, MMIO)


def put(client: Client, at: int, value: int) -> None:
    assert client.ask(b"M%x,8:%b" % (at, little(value, 8))) == b"OK"


def covers(client: Client, address: int) -> bool:
    root = ET.fromstring(document(client, b"memory-map:read:"))
    starts = [(int(m.attrib["start"], 16), int(m.attrib["length"], 16)) for m in root]
    return any(start <= address < start + length for start, length in starts)


def test_regions(client: Client) -> None:
    """LLDB's way to the memory map."""
    assert client.ask(b"qMemoryRegionInfo:f0010") == b"start:f0000;size:10000;permissions:rx;"
    assert client.ask(b"qMemoryRegionInfo:%x" % MMIO) == b"start:%x;size:1000;" % MMIO
    assert client.ask(b"qMemoryRegionInfo:0") == b"start:0;size:f0000;permissions:rwx;"
    top = b"start:ff00000000000000;size:100000000000000;permissions:rwx;"
    assert client.ask(b"qMemoryRegionInfo:ffffffffffffffff") == top
