"""Breakpoints, running, stopping."""

from __future__ import annotations

from tests.host import gdb_fixtures
from tests.host.gdb_client import Client, framed
from tests.host.gdb_fake_target import CODE, END, MMIO, RAM, FakeTarget, eventually, serving
from tests.host.gdb_fixtures import little, registers_of

from lvmm.gdb.target import Stop, StopReason, TargetError

target, port, client = gdb_fixtures.target, gdb_fixtures.port, gdb_fixtures.client


def test_continue_to_breakpoints(target: FakeTarget, client: Client) -> None:
    assert client.ask(b"Z0,%x,1" % (CODE + 5)) == b"OK"
    assert client.ask(b"Z1,%x,1" % (CODE + 9)) == b"OK"
    assert client.ask(b"Z0,%x,1" % (CODE + 5)) == b"OK"
    assert client.ask(b"Z0,%x,3" % (CODE + 5)) == b"OK"  # a kind that some clients give
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


def test_stepping_through_a_range(target: FakeTarget, client: Client) -> None:
    assert client.ask(b"vCont;r%x,%x:1;c" % (CODE, CODE + 7)).startswith(b"T05")
    assert target.values["rip"] == CODE + 7
    assert target.calls.count("step") == 7
    assert client.ask(b"vCont;r%x,%x" % (CODE, CODE + 7)).startswith(b"T05")
    assert target.values["rip"] == CODE + 8  # at least one step
    target.stops_at = {CODE + 9: Stop(StopReason.HARDWARE_BREAKPOINT)}
    assert client.ask(b"vCont;r%x,%x" % (CODE, END)).endswith(b"hwbreak:;")
    assert target.values["rip"] == CODE + 10
    client.ask(b"Z0,%x,1" % (CODE + 20))
    assert client.ask(b"vCont;r%x,%x" % (CODE, END)).startswith(b"T05")
    assert target.values["rip"] == CODE + 20
    for bad in (b"vCont;r", b"vCont;r1", b"vCont;r1,", b"vCont;rx,1", b"vCont;r1,2:7"):
        assert client.ask(bad).startswith(b"E"), bad


def test_an_interrupt_while_stepping_through_a_range(target: FakeTarget, client: Client) -> None:
    client.ask(b"?")
    target.values["rip"] = END
    client.send(b"vCont;r%x,%x" % (END, END + 1))  # a loop that does not leave it
    client.raw(b"\x03")
    assert client.receive().startswith(b"T02")


def test_an_interrupt_between_two_steps_ends_the_next(target: FakeTarget, client: Client) -> None:
    assert client.ask(b"s").startswith(b"T05")
    client.raw(b"\x03")
    assert client.ask(b"s").startswith(b"T02")
    assert target.values["rip"] == CODE + 1
    assert client.ask(b"s").startswith(b"T05")
    assert target.values["rip"] == CODE + 2


def test_watchpoints(target: FakeTarget, client: Client) -> None:
    target.writes_at = {CODE + 3: (RAM + 0x4002, b"\x00" * 8), CODE + 6: (RAM + 0x6000, b"\x01")}
    assert client.ask(b"Z2,%x,4" % (RAM + 0x4004)) == b"OK"
    assert client.ask(b"Z4,%x,200" % (RAM + 0x5F00)) == b"OK"
    assert client.ask(b"C05").endswith(b"watch:%x;" % (RAM + 0x4004))
    assert client.ask(b"vCont;C05:-1").endswith(b"awatch:%x;" % (RAM + 0x6000))
    for bad in (b"Z2,0,0", b"Z2,0,100000000", b"Z2,ffffffffffffffff,2", b"Z0", b"Z0,1", b"Z,1,1"):
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


def test_an_interrupt_that_fails_can_be_repeated(target: FakeTarget, client: Client) -> None:
    client.send(b"c")
    eventually(lambda: target.values["rip"] == END and target.stop is None)
    target.interrupt_failure = TargetError("no answer")
    client.raw(b"\x03")
    shown = client.receive()
    assert bytes.fromhex(shown[1:].decode()) == b"cannot interrupt the guest: no answer\n"
    target.interrupt_failure = None
    client.raw(b"\x03")
    assert client.receive().startswith(b"T02")


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
        # The server hangs up before it says why, so the line may come after the end of the stream.
        eventually(lambda: any("the link is down" in line for line in said))
        target.failure = None
        with Client(server.port) as client:
            assert client.ask(b"?").startswith(b"T05")
