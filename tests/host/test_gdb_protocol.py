"""The server's packets, asked by a raw client over a socket."""

from __future__ import annotations

import socket
import xml.etree.ElementTree as ET
from collections.abc import Iterator

import pytest
from tests.host.gdb_client import Client, escaped, framed, unescaped
from tests.host.gdb_fake_target import (
    CODE,
    CODE_32,
    END,
    MMIO,
    MMIO_SIZE,
    RAM,
    RAM_SIZE,
    STACK,
    FakeTarget,
    eventually,
    serving,
)

from lvmm.errors import EnvironmentProblem
from lvmm.gdb.registers import I386
from lvmm.gdb.server import GdbServer
from lvmm.gdb.target import Stop, StopReason, TargetError

GDB = b"qSupported:multiprocess+;swbreak+;hwbreak+;qRelocInsn+;vContSupported+"


@pytest.fixture
def target() -> FakeTarget:
    return FakeTarget()


@pytest.fixture
def port(target: FakeTarget) -> Iterator[int]:
    with serving(target) as (server, _):
        yield server.port


@pytest.fixture
def client(port: int) -> Iterator[Client]:
    with Client(port) as connected:
        assert b"PacketSize=" in connected.ask(GDB)
        yield connected


def little(value: int, size: int) -> bytes:
    return value.to_bytes(size, "little").hex().encode()


def test_supported_features(client: Client) -> None:
    features = client.ask(GDB).split(b";")
    size = next(f for f in features if f.startswith(b"PacketSize="))
    assert int(size.split(b"=")[1], 16) >= 0x4000
    for name in (b"QStartNoAckMode+", b"qXfer:features:read+", b"qXfer:memory-map:read+"):
        assert name in features


def test_attaching_stops_the_guest_and_does_nothing_else(
    target: FakeTarget, client: Client
) -> None:
    assert target.stop is None
    reply = client.ask(b"?")
    assert reply.startswith(b"T05thread:1;")
    assert b"10:" + little(CODE, 8) in reply and b"07:" + little(STACK, 8) in reply
    assert target.stop == Stop(StopReason.INTERRUPT)
    assert target.calls == ["registers"]


def test_no_ack_mode(client: Client) -> None:
    client.no_ack()
    assert client.ask(b"qC") == b"QC1"
    client.raw(b"$qC#00")  # a wrong checksum: nobody asks for it again
    assert client.ask(b"qAttached") == b"1"


def test_a_negative_acknowledgement_repeats_the_reply(client: Client) -> None:
    client.raw(framed(b"qC"))
    assert client.receive() == b"QC1"
    client.raw(b"-")
    assert client.receive() == b"QC1"


def test_a_wrong_checksum_is_answered_with_minus(client: Client) -> None:
    client.raw(b"+$qC#00")
    while (byte := client.byte()) == b"+":
        pass
    assert byte == b"-"
    assert client.ask(b"qC") == b"QC1"


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


def registers_of(client: Client) -> dict[str, tuple[int, int]]:
    """Number and bits by name, from target.xml read in small parts."""
    root = ET.fromstring(document(client, b"features:read:target.xml"))
    return {
        reg.attrib["name"]: (int(reg.attrib["regnum"]), int(reg.attrib["bitsize"]))
        for reg in root.iter("reg")
    }


def document(client: Client, what: bytes, step: int = 1000) -> bytes:
    text = b""
    while True:
        reply = client.ask(b"qXfer:%b:%x,%x" % (what, len(text), step))
        assert reply[:1] in (b"l", b"m")
        text += unescaped(reply[1:])
        if reply[:1] == b"l":
            return text


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


def test_errors_are_numbers_for_clients_that_know_no_text(port: int) -> None:
    with Client(port) as client:
        assert client.ask(b"P3=12") == b"E16"
        assert client.ask(b"M0,1:00") == b"E0e"


def test_a_replay_refuses_writes_until_they_are_forced(target: FakeTarget, client: Client) -> None:
    target.mode = "replay"
    memory, values = bytes(target.memory), dict(target.values)
    writes = (b"M%x,1:41" % RAM, b"X%x,1:A" % RAM, b"P0=" + little(1, 8))
    writes += (b"P%x=%b" % (registers_of(client)["xmm0"][0], little(1, 16)), b"c%x" % END)
    for write in writes:
        assert client.ask(write) == b"E.a write would alter the replay", write
    assert "a write would alter" in client.console("reset")
    assert (bytes(target.memory), target.values) == (memory, values)
    client.console("force-writes on")
    for write in writes[:4]:
        assert client.ask(write) == b"OK"


def test_continue_to_breakpoints(target: FakeTarget, client: Client) -> None:
    assert client.ask(b"Z0,%x,1" % (CODE + 5)) == b"OK"
    assert client.ask(b"Z1,%x,1" % (CODE + 9)) == b"OK"
    assert client.ask(b"Z0,%x,1" % (CODE + 5)) == b"OK"
    reply = client.ask(b"vCont;c")
    assert reply.startswith(b"T05thread:1;") and reply.endswith(b"swbreak:;")
    assert b"10:" + little(CODE + 5, 8) in reply
    assert client.ask(b"vCont;s:1;c").startswith(b"T05")
    assert target.values["rip"] == CODE + 6
    assert client.ask(b"c").endswith(b"hwbreak:;")
    assert client.ask(b"z0,%x,1" % (CODE + 5)) == b"OK"
    assert client.ask(b"z0,%x,1" % (CODE + 5)) == b"OK"
    assert client.ask(b"z1,%x,1" % (CODE + 9)) == b"OK"
    assert not target.breakpoints


def test_watchpoints(target: FakeTarget, client: Client) -> None:
    target.writes_at = {CODE + 3: (RAM + 0x4002, b"\x00" * 8), CODE + 6: (RAM + 0x6000, b"\x01")}
    assert client.ask(b"Z2,%x,4" % (RAM + 0x4004)) == b"OK"
    assert client.ask(b"Z4,%x,200" % (RAM + 0x5F00)) == b"OK"
    assert client.ask(b"C05").endswith(b"watch:%x;" % (RAM + 0x4004))
    assert client.ask(b"vCont;C05:-1").endswith(b"awatch:%x;" % (RAM + 0x6000))
    for bad in (b"Z2,0,0", b"Z2,0,1001", b"Z2,ffffffffffffffff,2", b"Z0", b"Z0,1", b"Z,1,1"):
        assert client.ask(bad).startswith(b"E"), bad
    assert client.ask(b"Z5,0,1") == b""
    assert client.ask(b"Z0,%x,1" % MMIO).startswith(b"E")


def test_interrupt(target: FakeTarget, client: Client) -> None:
    client.send(b"vCont;c:-1")
    eventually(lambda: target.values["rip"] == END)
    client.raw(b"\x03")
    assert client.receive().startswith(b"T02")
    client.raw(b"\x03")  # it comes late: the guest is stopped
    assert client.ask(b"qC") == b"QC1"


def test_interrupt_behind_continue_in_one_segment(client: Client) -> None:
    for _ in range(20):
        client.raw(framed(b"c") + b"\x03")
        assert client.receive()[:3] == b"T02"


def test_a_halted_guest_can_be_read_and_stays_halted(target: FakeTarget, client: Client) -> None:
    target.stops_at = {CODE + 2: Stop(StopReason.HALTED, text="triple fault")}
    client.send(b"c")
    text, reply = client.shown()
    assert text == "halted: triple fault\n" and reply.startswith(b"T06")
    assert len(client.ask(b"m%x,4" % CODE)) == 8
    resumed = target.calls.count("resume")
    for again in (b"c", b"s"):
        client.send(again)
        text, reply = client.shown()
        assert "triple fault" in text and reply.startswith(b"T06")
    assert target.calls.count("resume") == resumed
    assert "triple fault" in client.console("when")


def test_the_end_of_the_recording(target: FakeTarget, client: Client) -> None:
    target.stops_at = {CODE + 2: Stop(StopReason.END_OF_LOG)}
    assert client.ask(b"c").endswith(b"replaylog:end;")
    assert client.ask(b"?").startswith(b"T05thread:1;")
    assert b"replaylog" not in client.ask(b"?")
    assert client.ask(b"bc") == client.ask(b"bs") == b""


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


def test_threads(client: Client) -> None:
    assert client.ask(b"qfThreadInfo") == b"m1"
    assert client.ask(b"qsThreadInfo") == b"l"
    assert client.ask(b"qThreadExtraInfo,1") == b"CPU 0".hex().encode()
    for good in (b"Hg0", b"Hg1", b"Hc-1", b"T1"):
        assert client.ask(good) == b"OK", good
    for bad in (b"Hg2", b"Hz1", b"H", b"Hg", b"T2", b"T", b"Tx", b"qThreadExtraInfo,7"):
        assert client.ask(bad).startswith(b"E"), bad


def test_packets_that_do_not_exist(client: Client) -> None:
    for packet in (b"", b"!", b"vMustReplyEmpty", b"qOffsets", b"vRun;", b"QNonStop:1", b"R00"):
        assert client.ask(packet) == b"", packet
    for packet in (b"vAttach;1", b"qXfer:auxv:read::0,10", b"jThreadsInfo", b"\xff\xfe", b"q"):
        assert client.ask(packet) == b"", packet
    assert client.ask(b"qSymbol::") == b"OK"
    assert client.ask(b"vCont?").startswith(b"vCont;c")


def test_malformed_packets(client: Client) -> None:
    bad = b"m m1 m1, m,1 mx,1 m-1,1 m1,-1 m0x10,1 m1_0,1 m11111111111111111,1 M1,1 M1,1:0 M1,2:00"
    bad += b" X1,1: X1,1:} p px P= P0= vCont;x vCont; vCont vCont;c:2 vCont;C vCont;c; vCont;t cz"
    bad += b" C Czz C05; S z0 z0,1 qRcmd,f qRcmd,xx qXfer:memory-map:read:x:0,1"
    bad += b" qXfer:features:read:target.xml:0"
    for packet in bad.split():
        assert client.ask(packet).startswith(b"E"), packet


def test_monitor_commands(target: FakeTarget, client: Client) -> None:
    assert all(word in client.console("help") for word in ("when", "translate ADDR", "reset"))
    assert client.console("") == client.console("help")
    assert client.console("devices") == "answer to devices\n"
    assert client.console("events 010").startswith("Usage: monitor events [COUNT]")
    assert client.console("events 16") == "answer to events 0x10\n"
    assert client.console("events") == "answer to events\n"
    assert client.console(" ept 0xfee00000 ") == "answer to ept 0xfee00000\n"
    assert client.console("translate") == "Usage: monitor translate ADDR\n"
    assert client.console("log status") == "answer to log status\n"
    assert client.console("log").startswith("Usage")
    assert client.console("devices x").startswith("Usage")
    assert "no command 'kill'" in client.console("kill")
    assert "interrupt" in client.console("when") and "answer to when" in client.console("when")
    registers = client.console("regs")
    assert f"{target.values['cr3']:016x}" in registers and "64-bit code" in registers
    target.values["rip"] = END
    assert "beginning" in client.console("reset")
    assert client.ask(b"p10") == little(CODE, 8)
    target.failure = TargetError("the link is down")
    assert client.console("exits") == "exits: the link is down\n"


def test_memory_by_physical_address(target: FakeTarget, client: Client) -> None:
    client.console("physical on")
    client.ask(b"m%x,1" % RAM)
    client.ask(b"M%x,1:00" % RAM)
    assert target.calls[-2:] == [f"read physical {RAM:#x}", f"write physical {RAM:#x}"]
    client.console("physical off")
    client.ask(b"m%x,1" % RAM)
    assert target.calls[-1] == f"read {RAM:#x}"


def test_a_failing_target_is_an_error_and_no_end(target: FakeTarget, client: Client) -> None:
    client.ask(b"?")
    target.failure = TargetError("the link is down")
    for packet in (b"M0,1:00", b"P0=" + little(0, 8), b"Z0,1,1", b"c"):
        assert client.ask(packet) == b"E.the link is down"
    assert client.ask(b"m0,1") == b"E05"
    target.failure = None
    assert client.ask(b"?").startswith(b"T05")


def test_a_target_that_fails_while_it_runs(target: FakeTarget) -> None:
    with serving(target) as (server, said):
        with Client(server.port) as client:
            client.send(b"c")
            eventually(lambda: target.values["rip"] == END)
            target.failure = TargetError("the link is down")
            while True:
                try:
                    assert client.shown()[0] == "lost the guest: the link is down\n"
                except EOFError:
                    break
        assert any("the link is down" in line for line in said)
        target.failure = None
        with Client(server.port) as client:
            assert client.ask(b"?").startswith(b"T05")


def test_what_comes_behind_a_detach_does_not_count() -> None:
    target = FakeTarget()
    with serving(target) as (server, said):
        with Client(server.port) as client:
            client.no_ack()
            client.raw(framed(b"D") + framed(b"qC") + b"\x03" + framed(b"P0=" + little(1, 8)))
            assert client.receive() == b"OK"
            with pytest.raises(EOFError):
                client.receive()
        eventually(lambda: said[-1] == "gdb has detached")
        assert target.stop is None and target.values["rax"] != 1


def test_many_that_wait(port: int, client: Client) -> None:
    waiting = [Client(port) for _ in range(40)]
    with pytest.raises(EOFError):
        waiting[-1].byte()
    assert client.ask(b"qC") == b"QC1"
    for other in waiting:
        other.stream.close()


@pytest.mark.parametrize("goodbye", [b"D", b"vKill;1", b"k"])
def test_detaching_lets_the_guest_run(goodbye: bytes) -> None:
    target = FakeTarget()
    with serving(target) as (server, said):
        for _ in range(3):
            with Client(server.port) as client:
                client.ask(b"?")
                client.ask(b"Z0,%x,1" % (CODE + 5))
                client.ask(b"Z2,%x,8" % RAM)
                client.send(goodbye)
                if goodbye != b"k":
                    assert client.receive() == b"OK"
                with pytest.raises(EOFError):
                    client.receive()
            eventually(lambda: said[-1] == "gdb has detached")
            assert not target.breakpoints
            assert target.stop is None
        assert said == ["gdb is connected", "gdb has detached"] * 3


def test_a_lost_connection_leaves_a_stopped_guest_stopped() -> None:
    target = FakeTarget()
    with serving(target) as (server, said):
        with Client(server.port) as client:
            client.ask(b"Z0,%x,1" % (CODE + 5))
        eventually(lambda: said[-1].startswith("gdb is gone"))
        assert target.stop and not target.breakpoints and target.values["rip"] == CODE
        with Client(server.port) as client:
            assert client.ask(b"?").startswith(b"T05")


def test_a_lost_connection_leaves_a_running_guest_running() -> None:
    target = FakeTarget()
    with serving(target) as (server, said):
        with Client(server.port) as client:
            client.ask(b"Z1,%x,1" % (END + 5))
            client.send(b"c")
            eventually(lambda: target.values["rip"] == END)
        eventually(lambda: said[-1].startswith("gdb is gone"))
        assert target.stop is None and not target.breakpoints


def test_a_second_debugger_is_told(target: FakeTarget, port: int, client: Client) -> None:
    with Client(port) as second:
        assert second.ask(GDB).startswith(b"E.another debugger is attached")
        with pytest.raises(EOFError):
            second.receive()
    assert client.ask(b"qC") == b"QC1"
    client.ask(b"D")
    with Client(port) as third:
        assert third.ask(b"?").startswith(b"T05")


def test_a_port_in_use(target: FakeTarget) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(EnvironmentProblem, match=f"port {port} for gdb is in use"):
            GdbServer(target, port, print)
    with pytest.raises(EnvironmentProblem, match="cannot listen"):
        GdbServer(target, 70000, print)
