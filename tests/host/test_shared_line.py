"""The line of a run's monitor for other tools: `--attach` of record, live and replay."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.host.link_machine import (
    CONSOLE_END,
    CONSOLE_OLDEST,
    MEMORY_BASE,
    TIMING,
    Lines,
    LinkMachine,
    content,
)
from tests.host.monitor_server import serving
from tests.host.test_attach import attached, eventually

from lvmm.debug.shared_line import SharedLine
from lvmm.errors import EnvironmentProblem
from lvmm.link import (
    GuestRunning,
    LinkClient,
    LinkClosed,
    LinkMismatch,
    RequestRefused,
    RunState,
    SessionLost,
    Status,
    open_stream,
    session,
)
from lvmm.link.frame import Frame
from lvmm.link.layout import (
    FIRST_SEQUENCE,
    LAYOUT_DIGEST,
    MAGIC,
    PROTOCOL_VERSION,
    Channel,
    HelloRequest,
    Opcode,
    Result,
)
from lvmm.link.relay import Relay, TypingRefused

HELLO = Frame(
    Channel.CONTROL,
    0,
    bytes((Opcode.HELLO,)) + HelloRequest(MAGIC, PROTOCOL_VERSION, LAYOUT_DIGEST, 5).pack(),
)
CONSOLE = content(CONSOLE_OLDEST, CONSOLE_END - CONSOLE_OLDEST, 1)


@dataclass
class Typewriter:
    """Takes some bytes at a time; `refuses` says why it takes none."""

    at_once: int = 4
    typed: bytearray = field(default_factory=bytearray)
    refuses: str = ""

    def __call__(self, data: bytes) -> int:
        if self.refuses:
            raise TypingRefused(self.refuses)
        part = data[: self.at_once]
        self.typed += part
        return len(part)


@dataclass
class Shared:
    """A machine, the tool that started it, and the line that it shares."""

    machine: LinkMachine
    owner: LinkClient
    line: SharedLine
    typewriter: Typewriter

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.line.port}"

    def tool(self, said: list[str] | None = None) -> LinkClient:
        """Another tool at the line; `said` gets the monitor's lines."""
        hear = said.append if said is not None else print
        return LinkClient(lambda: open_stream(self.address), hear)


@pytest.fixture
def shared() -> Iterator[Shared]:
    said: list[str] = []
    typewriter = Typewriter()
    with (
        LinkMachine() as machine,
        serving(machine) as address,
        LinkClient(lambda: open_stream(address)) as owner,
    ):
        line = SharedLine(owner, 0, typewriter, said.append)
        line.start()
        assert said == [f"attach: ./lvmm attach --serial :{line.port}"]
        yield Shared(machine, owner, line, typewriter)
        line.close()


def test_several_tools_at_once(shared: Shared) -> None:
    with shared.tool() as one, shared.tool() as other:
        hello = one.connect()
        assert hello == other.connect()
        assert hello.board == "host"
        assert one.status().state == RunState.STOPPED
        for _ in range(300):  # sequence numbers go round in each session by itself
            assert one.status().rip == other.status().rip == shared.owner.status().rip
        assert one.read_memory(MEMORY_BASE, 9000) == other.read_memory(MEMORY_BASE, 9000)
        one.step()
        assert shared.machine.counts().steps == 1
        other.resume()
        with pytest.raises(GuestRunning):
            one.read_registers()
        shared.owner.interrupt()
        one.read_registers()
        assert shared.line.attached
    eventually(lambda: not shared.line.attached)


def test_attach_at_it(shared: Shared, tmp_path: Path) -> None:
    """Twice: the state, and the console with something typed."""
    for _ in range(2):
        with attached(tmp_path, "--serial", shared.address, "--json") as process:
            assert process.wait(60) == 0
    keys = subprocess.Popen(
        [sys.executable, "-c", "import time; print('some words', flush=True); time.sleep(600)"],
        stdout=subprocess.PIPE,
    )
    assert keys.stdout
    try:
        arguments = ["--serial", shared.address, "--console"]
        with attached(tmp_path, *arguments, stdin=keys.stdout.fileno()):
            eventually(lambda: (tmp_path / "out").read_bytes() == CONSOLE)
            eventually(lambda: shared.typewriter.typed == b"some words\n")
    finally:
        keys.kill()
        keys.wait()
        keys.stdout.close()


def test_typing_that_is_refused(shared: Shared) -> None:
    shared.typewriter.refuses = "a replay takes no input"
    with shared.tool() as tool:
        with pytest.raises(RequestRefused, match="a replay takes no input"):
            tool.write_console(b"x")
        shared.typewriter.refuses = ""
        assert tool.write_console(b"0123456789") == shared.typewriter.at_once
        assert shared.typewriter.typed == b"0123"


def test_what_comes_unasked_comes_to_all(shared: Shared) -> None:
    heard: list[list[str]] = [[], []]
    with shared.tool(heard[0]) as one, shared.tool(heard[1]) as other:
        one.connect()
        other.connect()
        running = one.resume()
        shared.line.line("a message")
        shared.line.line("y" * 10_000)
        eventually(lambda: heard == [["a message", "y" * 10_000]] * 2)
        stopped = shared.owner.interrupt()
        shared.line.status(stopped)
        assert other.wait_for_stop(running, 60).stop_count == stopped.stop_count


def test_a_tool_that_takes_nothing_holds_up_nobody(shared: Shared) -> None:
    with socket.create_connection(("127.0.0.1", shared.line.port)) as lazy, shared.tool() as tool:
        lazy.sendall(HELLO.encode())
        tool.connect()
        for _ in range(3000):
            shared.line.line("z" * 4000)
        assert tool.status().state == RunState.STOPPED


def test_the_end_of_the_machine_ends_the_tools(shared: Shared) -> None:
    with shared.tool() as tool:
        tool.connect()
        shared.line.close()
        with pytest.raises((LinkClosed, EnvironmentProblem)):
            while True:
                tool.status()


def test_another_version(shared: Shared, monkeypatch: pytest.MonkeyPatch) -> None:
    shared.owner.connect()
    with shared.tool() as tool:
        monkeypatch.setattr(session, "PROTOCOL_VERSION", 99)
        with pytest.raises(LinkMismatch, match="protocol 1 "):
            tool.connect()


def test_a_port_that_is_taken_at_once_and_opened_later() -> None:
    with LinkMachine() as machine, LinkClient(Lines(machine)) as owner:
        line = SharedLine(owner, 0, Typewriter(), print)
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", line.port))
        line.start()
        with pytest.raises(EnvironmentProblem, match=r"for attach is in use: .*--attach"):
            SharedLine(owner, line.port, Typewriter(), print)
        line.close()


def test_a_restart_of_the_monitor_is_told(shared: Shared) -> None:
    with shared.tool() as tool:
        tool.status()
        shared.machine.reset()
        with pytest.raises(SessionLost):
            tool.status()
        assert tool.status().state == RunState.STOPPED


frames = st.builds(
    Frame,
    st.integers(0, 31),
    st.integers(0, 255),
    st.binary(max_size=30)
    | st.builds(lambda opcode, rest: bytes((opcode,)) + rest, st.integers(0, 24), st.binary()),
)


@settings(deadline=None, max_examples=60)
@given(st.lists(frames, max_size=30))
def test_any_frames_get_an_answer_and_nothing_else(sent: list[Frame]) -> None:
    """Without HELLO nothing is carried out; with one, what is no request is told so."""
    with LinkMachine() as machine, LinkClient(Lines(machine), timing=TIMING) as owner:
        relay = Relay(owner, Typewriter())
        for frame in sent:
            reply = relay.answer(frame)
            if reply is not None:
                assert (reply.channel, reply.sequence) == (frame.channel | 16, frame.sequence)
                assert reply.payload[0] in set(Result)
        assert machine.counts().resumes == 0


def test_a_request_is_carried_out_once() -> None:
    with LinkMachine() as machine, LinkClient(Lines(machine), timing=TIMING) as owner:
        relay = Relay(owner, Typewriter())
        step = Frame(Channel.CONTROL, FIRST_SEQUENCE, bytes((Opcode.STEP,)))
        late = Frame(Channel.CONTROL, FIRST_SEQUENCE + 5, bytes((Opcode.STEP,)))
        assert relay.answer(step) == Frame(17, FIRST_SEQUENCE, bytes((Result.NO_SESSION,)))
        first = relay.answer(HELLO)
        assert first is not None and first.payload[0] == Result.OK
        reply = relay.answer(step)
        assert reply is not None and reply.payload[0] == Result.OK
        assert Status.unpack(reply.payload, 1).state in set(RunState)
        relay.answer(HELLO)  # again: the session goes on
        assert relay.answer(step) == reply
        assert relay.answer(late) == Frame(17, late.sequence, bytes((Result.NO_SESSION,)))
        assert machine.counts().steps == 1


def test_a_tool_that_hangs_up_in_mid_frame(shared: Shared) -> None:
    for _ in range(5):
        with socket.create_connection(("127.0.0.1", shared.line.port)) as stream:
            stream.sendall(b"text\n\0\x05\x01\x01")
    with shared.tool() as tool:
        assert tool.status().state == RunState.STOPPED
    eventually(lambda: not shared.line.attached)
