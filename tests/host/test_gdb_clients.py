"""Clients that come, go, and vanish."""

from __future__ import annotations

import socket

import pytest
from tests.host import gdb_fixtures
from tests.host.gdb_client import Client, framed
from tests.host.gdb_fake_target import CODE, END, RAM, FakeTarget, eventually, serving
from tests.host.gdb_fixtures import GDB, little

from lvmm.errors import EnvironmentProblem
from lvmm.gdb.server import GdbServer
from lvmm.gdb.target import TargetError

target, port, client = gdb_fixtures.target, gdb_fixtures.port, gdb_fixtures.client


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


def test_a_client_without_breakpoints_is_lost_without_a_stop() -> None:
    target = FakeTarget()
    with serving(target) as (server, said):
        with Client(server.port) as client:
            client.send(b"c")
            eventually(lambda: target.values["rip"] == END)
        eventually(lambda: said[-1] == "gdb is gone; the guest runs on")
        assert target.stop is None
        assert target.calls.count("resume") == 1


def test_a_detach_that_fails_leaves_the_server_usable() -> None:
    target = FakeTarget()
    with serving(target) as (server, said):
        with Client(server.port) as client:
            client.ask(b"?")
            client.ask(b"Z0,%x,1" % (CODE + 5))
            target.failure = TargetError("the link is down")
            assert client.ask(b"D") == b"E05"
        eventually(lambda: said[-1] == "cannot clear gdb's breakpoints: the link is down")
        target.failure = None
        target.interrupt()
        with Client(server.port) as client:
            assert client.ask(b"?").startswith(b"T05")
            client.ask(b"Z0,%x,1" % (CODE + 5))
            assert client.ask(b"c").startswith(b"T05")
            assert client.ask(b"D") == b"OK"
        eventually(lambda: said[-1] == "gdb has detached")
        assert not target.breakpoints


def test_a_client_may_take_the_place_of_one_that_is_gone(port: int) -> None:
    for _ in range(30):
        with Client(port) as client:
            assert client.ask(b"?").startswith(b"T05")


def test_a_second_debugger_is_told(target: FakeTarget, port: int, client: Client) -> None:
    with Client(port) as second:
        assert second.ask(GDB).startswith(b"E.another debugger is attached")
        with pytest.raises(EOFError):
            second.receive()
    assert client.ask(b"qC") == b"QC1"
    client.ask(b"D")
    with Client(port) as third:
        assert third.ask(b"?").startswith(b"T05")


def test_many_that_wait(port: int, client: Client) -> None:
    waiting = [Client(port) for _ in range(40)]
    with pytest.raises(EOFError):
        waiting[-1].byte()
    assert client.ask(b"qC") == b"QC1"
    for other in waiting:
        other.stream.close()


def test_a_port_that_is_not_open_yet(target: FakeTarget) -> None:
    """gdb tries again where it is refused, and gives up soon where nobody answers."""
    server = GdbServer(target, 0, print)
    with pytest.raises(ConnectionRefusedError):
        Client(server.port)
    server.open()
    with socket.create_connection(("127.0.0.1", server.port)):
        pass
    server.close()


def test_a_leave_is_told_from_a_loss(target: FakeTarget) -> None:
    with serving(target) as (server, said):
        with Client(server.port) as client:
            client.ask(b"?")
        eventually(lambda: len(said) == 2)
        assert not server.detached, said
        with Client(server.port) as client:
            assert client.ask(b"D") == b"OK"
            eventually(lambda: server.detached)
        with Client(server.port) as client:
            client.ask(b"?")
            assert not server.detached


def test_a_port_in_use(target: FakeTarget) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(EnvironmentProblem, match=f"port {port} for gdb is in use"):
            GdbServer(target, port, print)
    with pytest.raises(EnvironmentProblem, match="cannot listen"):
        GdbServer(target, 70000, print)
