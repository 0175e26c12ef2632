"""Registers over the wire, and the description that gdb gets of them."""

from __future__ import annotations

from tests.host import gdb_fixtures
from tests.host.gdb_client import Client
from tests.host.gdb_fake_target import CODE, CODE_32, FakeTarget, serving
from tests.host.gdb_fixtures import document, little, registers_of

from lvmm.gdb.registers import I386

target, port, client = gdb_fixtures.target, gdb_fixtures.port, gdb_fixtures.client


def test_general_registers(target: FakeTarget, client: Client) -> None:
    data = bytes.fromhex(client.ask(b"g").decode())
    assert len(data) == 17 * 8 + 7 * 4
    assert int.from_bytes(data[:8], "little") == target.values["rax"]
    assert int.from_bytes(data[128:136], "little") == CODE
    assert target.calls.count("registers") == 1
    assert "fpu" not in target.calls


def test_single_registers_by_the_description(target: FakeTarget, client: Client) -> None:
    numbers = registers_of(client)
    assert client.ask(b"p%x" % numbers["cr3"][0]) == little(target.values["cr3"], 8)
    name = "k_gs_base"
    assert client.ask(b"p%x" % numbers[name][0]) == little(target.values["kernel_gs_base"], 8)
    assert client.ask(b"p%x" % numbers["xmm1"][0]) == bytes(range(16, 32)).hex().encode()
    for number, bits in numbers.values():
        assert len(client.ask(b"p%x" % number)) == bits // 4
    assert client.ask(b"p%x" % (max(n for n, _ in numbers.values()) + 1)).startswith(b"E.")
    assert target.calls.count("registers") == target.calls.count("fpu") == 1


def test_the_description_has_what_it_must(client: Client) -> None:
    numbers = registers_of(client)
    assert sorted(number for number, _ in numbers.values()) == list(range(len(numbers)))
    wanted = "rax r15 rip eflags cs fs_base gs_base k_gs_base cr0 cr2 cr3 cr4 cr8 efer dr0 dr3 dr6"
    wanted += " dr7 st0 st7 fctrl ftag xmm0 xmm15 mxcsr ymm0h ymm15h"
    assert set(wanted.split()) <= set(numbers)
    assert client.ask(b"qXfer:features:read:other.xml:0,100").startswith(b"E")
    assert client.ask(b"qXfer:features:read:target.xml:fffff,100") == b"l"


def test_a_guest_before_long_mode_can_be_described_as_32_bit() -> None:
    target = FakeTarget()
    target.values |= {"efer": 0, "cs_access": CODE_32}
    with serving(target, early=I386) as (server, _):
        with Client(server.port) as client:
            assert registers_of(client)["eip"] == (8, 32)
            assert len(client.ask(b"g")) == 16 * 8
            assert client.console("architecture x86").startswith("Usage")
            assert "next time" in client.console("architecture i386:x86-64")
            assert registers_of(client)["eip"] == (8, 32)  # not before the next connection
            client.ask(b"D")
        with Client(server.port) as client:
            assert registers_of(client)["rip"] == (16, 64)


def test_writing_registers(target: FakeTarget, client: Client) -> None:
    numbers = registers_of(client)
    assert client.ask(b"P3=" + little(0x1234, 8)) == b"OK"
    assert target.values["rdx"] == 0x1234
    assert client.ask(b"p3") == little(0x1234, 8)
    assert client.ask(b"P%x=" % numbers["ymm1h"][0] + little(7, 16)) == b"OK"
    assert target.xsave[592:608] == (7).to_bytes(16, "little")
    before = dict(target.values)
    data = bytearray.fromhex(client.ask(b"g").decode())
    data[0] ^= 0xFF
    target.calls.clear()
    assert client.ask(b"G" + bytes(data).hex().encode()) == b"OK"
    assert target.values == before | {"rax": before["rax"] ^ 0xFF}
    assert target.calls.count("write rax") == len([c for c in target.calls if "write" in c]) == 1
    for bad in (b"P3=12", b"P3", b"P999=00", b"G", b"G12", b"Gxx", b"G" + b"00" * 5000):
        assert client.ask(bad).startswith(b"E"), bad


def test_the_program_counter_is_as_wide_as_the_code(target: FakeTarget, client: Client) -> None:
    target.values |= {"rip": 0xFFFFFFFF_00101000, "cs_access": CODE_32}
    assert client.ask(b"p10") == little(CODE, 8)


def test_the_32_bit_registers_are_numbered_as_in_gdb() -> None:
    target = FakeTarget()
    target.values |= {"efer": 0, "cs_access": CODE_32}
    order = [
        "rax",
        "rcx",
        "rdx",
        "rbx",
        "rsp",
        "rbp",
        "rsi",
        "rdi",
        "rip",
        "rflags",
        "cs",
        "ss",
        "ds",
        "es",
        "fs",
        "gs",
    ]
    with serving(target, early=I386) as (server, _), Client(server.port) as client:
        assert client.ask(b"g") == b"".join(little(target.values[name], 4) for name in order)


def test_the_last_part_of_a_document_is_marked(client: Client) -> None:
    length = len(document(client, b"features:read:target.xml"))
    assert client.ask(b"qXfer:features:read:target.xml:%x,a" % (length - 10))[:1] == b"l"
    assert client.ask(b"qXfer:features:read:target.xml:%x,a" % (length - 11))[:1] == b"m"
