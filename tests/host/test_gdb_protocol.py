"""The server's other packets, asked by a raw client over a socket."""

from __future__ import annotations

import threading

import pytest
from tests.host import gdb_fixtures
from tests.host.gdb_client import Client, framed
from tests.host.gdb_fake_target import CODE, END, STACK, FakeTarget
from tests.host.gdb_fixtures import GDB, little

from lvmm.gdb import queries
from lvmm.gdb.target import Stop, StopReason, TargetError

target, port, client = gdb_fixtures.target, gdb_fixtures.port, gdb_fixtures.client


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


def test_errors_are_numbers_for_clients_that_know_no_text(port: int) -> None:
    with Client(port) as client:
        assert client.ask(b"P3=12") == b"E16"
        assert client.ask(b"M0,1:00") == b"E0e"


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
    assert client.console("when") == "live, stopped by: interrupt\nanswer to when\n"
    registers = client.console("regs")
    assert f"{target.values['cr3']:016x}" in registers and "64-bit code" in registers
    target.values["rip"] = END
    assert "beginning" in client.console("reset")
    assert client.ask(b"p10") == little(CODE, 8)
    target.failure = TargetError("the link is down")
    assert client.console("exits") == "exits: the link is down\n"


def test_a_slow_monitor_command_shows_that_it_is_at_work(
    target: FakeTarget, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """gdb would give up after two seconds of silence."""
    monkeypatch.setattr(queries, "SIGN_OF_LIFE_S", 0.05)
    shown = threading.Event()

    def slow(_name: str, _argument: str) -> str:
        assert shown.wait(10)
        return "done"

    monkeypatch.setattr(target, "query", slow)
    client.send(b"qRcmd," + b"exits".hex().encode())
    assert client.receive() == b"O" + b".".hex().encode()
    shown.set()
    text = b""
    while (reply := client.receive()) != b"OK":
        text += bytes.fromhex(reply[1:].decode())
    assert text.lstrip(b".") == b"done\n"
