"""Reverse execution under gdb: the protocol, and real gdb, over a replay that is known."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator

import pytest
from tests.host.gdb_client import Client
from tests.host.gdb_fake_target import FakeTarget, eventually, serving
from tests.host.gdb_fixtures import GDB, little
from tests.host.replay_model import CODE, DATA, HANDLER, RAM, Run, random_run
from tests.host.replay_monitor import Habits, ReplayMonitor
from tests.host.test_gdb_real import gdb
from tests.host.travelling import last_hit, travelling

from lvmm.debug.time_travel.place import position_text
from lvmm.gdb.target import BreakpointKind

WATCHED = DATA + 0x3008  # the handler alone writes it
RIP = b"10:"

Served = tuple[int, ReplayMonitor, Run]


@pytest.fixture
def served() -> Iterator[Served]:
    """Port, monitor, run."""
    run = random_run(21, length=600)
    with travelling(run, Habits(spacing=25)) as (target, monitor), serving(target) as (server, _):
        yield server.port, monitor, run


def changes(run: Run) -> list[int]:
    """The boundaries before the writes that change WATCHED."""
    found = []
    for index in range(len(run) - 1):
        before, after = (run.memory(at)[WATCHED - RAM] for at in (index, index + 1))
        if before != after:
            found.append(index)
    return found


def rip(run: Run, index: int) -> bytes:
    return RIP + little(run.boundaries[index].at.rip, 8)


def test_only_a_replay_with_checkpoints_goes_back(served: Served) -> None:
    with Client(served[0]) as client:
        assert b"ReverseStep+;ReverseContinue+" in client.ask(GDB)
    for target in (FakeTarget(), FakeTarget(mode="replay")):
        with serving(target) as (server, _), Client(server.port) as client:
            assert b"Reverse" not in client.ask(GDB)
            assert client.ask(b"bs") == client.ask(b"bc") == b""
            assert "goes forward only" in client.console("seek begin")
    with (
        travelling(random_run(1), Habits(has_checkpoints=False)) as (replay, _),
        serving(replay) as (server, _),
        Client(server.port) as client,
    ):
        assert b"Reverse" not in client.ask(GDB)
        assert client.ask(b"bc") == b""


def test_packets(served: Served) -> None:
    port, monitor, run = served
    last = len(run) - 1
    with Client(port) as client:
        client.ask(GDB)
        assert client.ask(b"bs").endswith(b"replaylog:begin;")
        assert client.ask(b"bc").endswith(b"replaylog:begin;")
        client.send(b"c")
        assert client.shown()[1].endswith(b"replaylog:end;")
        reply = client.ask(b"bs")
        assert reply.startswith(b"T05") and rip(run, last - 1) in reply
        assert b"replaylog" not in reply
        client.ask(b"Z2,%x,1" % WATCHED)
        client.ask(b"Z0,%x,1" % HANDLER)
        points = [(BreakpointKind.WRITE, WATCHED, 1), (BreakpointKind.SOFTWARE, HANDLER, 1)]
        index = last - 1
        while (found := last_hit(run, index, points)) is not None:
            index = found
            at_handler = run.boundaries[index].at.rip == HANDLER
            reply = client.ask(b"bc")
            assert reply.endswith(b"swbreak:;" if at_handler else b"watch:%x;" % WATCHED)
            assert rip(run, index) in reply
        assert client.ask(b"bc").endswith(b"replaylog:begin;")
        assert monitor.index == 0
        assert client.ask(b"b") == client.ask(b"bx") == b""
        client.send(b"c")
        assert client.shown()[1].endswith(b"swbreak:;"), "and forward again"


def test_ctrl_c_while_it_goes_back(served: Served) -> None:
    port, monitor, run = served
    with Client(port) as client:
        client.ask(GDB)
        client.send(b"c")
        client.shown()
        client.ask(b"Z1,%x,1" % (CODE + 0x7F0))
        monitor.habits.speed = 1
        client.send(b"bc")
        eventually(lambda: monitor.executed > len(run))
        client.raw(b"\x03")
        text, reply = client.shown()
        assert reply.startswith(b"T02")
        assert position_text(monitor.here.at) in text
        assert rip(run, monitor.index) in reply


def test_seeking(served: Served) -> None:
    port, monitor, run = served
    with Client(port) as client:
        client.ask(GDB)
        middle = run.boundaries[300].at
        said = client.console(f"seek {position_text(middle)}")
        assert f"position {position_text(middle)}\n" in said
        assert "maintenance flush register-cache" in said
        assert monitor.index == 300
        assert RIP[:0] + little(middle.rip, 8) in client.ask(b"p10")
        assert "the recording ends before event 9999" in client.console("seek event 9999")
        assert client.console("seek begin").startswith("beginning of the recording\n")
        assert monitor.index == 0
        assert client.console("seek").startswith("Usage: monitor seek")
        assert client.console("seek nowhere").startswith("seek: 'nowhere' is no place")
        said = client.console("checkpoint")
        assert position_text(run.boundaries[0].at) in said
        assert client.console("checkpoint list") == said
        assert client.console("checkpoint x").startswith("Usage:")
        assert "event    0 is next" in client.console("when")


@pytest.mark.skipif(shutil.which("gdb") is None, reason="there is no gdb")
def test_real_gdb_goes_back(served: Served) -> None:
    port, _, run = served
    last = len(run) - 1
    words = [
        *("continue", "p $pc", "reverse-stepi", "p $pc", "reverse-stepi", "p $pc"),
        *(f"watch *(char *) {WATCHED:#x}", "reverse-continue", "p $pc", "p $rax"),
        *("reverse-continue", "p $pc", "delete", f"break *{HANDLER:#x}", "reverse-continue"),
        *("p $pc", "delete", "reverse-continue", "reverse-stepi", "stepi", "p $pc"),
    ]
    said = gdb(port, *words)
    pcs = [int(text, 16) for text in re.findall(r"\$\d+ = \(void \(\*\)\(\)\) (0x\w+)", said)]
    *_, earlier, later = changes(run)
    handler = last_hit(run, earlier, [(BreakpointKind.SOFTWARE, HANDLER, 1)])
    assert handler is not None
    indices = [last, last - 1, last - 2, later, earlier, handler, 1]
    assert pcs == [run.boundaries[index].at.rip for index in indices], said
    assert "Hardware watchpoint 1: " in said
    assert "Old value = " in said and "New value = " in said
    assert f"= {run.boundaries[later].rax}\n" in said
    assert "Breakpoint 2, " in said
    assert said.count("No more reverse-execution history") == 3
