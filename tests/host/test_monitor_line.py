"""Parsing of the monitor's serial line."""

import socket
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from lvmm.link import SocketStream
from lvmm.link.frame import Frame, FrameReceiver
from lvmm.link.layout import (
    REPLY_FLAG,
    Channel,
    HelloReply,
    HelloRequest,
    Opcode,
    Result,
)
from lvmm.monitor_line import MonitorLine, MonitorReport, parse_line


def test_lines_that_are_no_messages_are_text() -> None:
    for line in ("", "lvmm: hello", "{", "{}", "[1]", '{"lvmm":1}', '{"other":"start"}'):
        assert parse_line(line) is None


def test_report_collects_messages() -> None:
    report = MonitorReport()
    for line in (
        '{"lvmm":"start","mode":"record","version":"1"}',
        "lvmm: counter exact",
        '{"lvmm":"running"}',
        '{"lvmm":"events","kind":"IN","count":3}',
        '{"lvmm":"events","kind":"IN","count":2}',
        '{"lvmm":"exits","reason":"HLT","count":7}',
        '{"lvmm":"error","text":"broken"}',
        '{"lvmm":"halted","reason":"reset","branches":5,"events":6,"rip":7}',
    ):
        report.take(line)
    assert report.started and report.started["mode"] == "record"
    assert report.running
    assert report.events == {"IN": 5}
    assert report.exits == {"HLT": 7}
    assert report.errors == ["broken"]
    assert report.reason == "reset"
    assert report.last_text() == "lvmm: counter exact"


def test_a_machine_that_was_reset_starts_anew() -> None:
    report = MonitorReport()
    start = '{"lvmm":"start","mode":"live","version":"1"}'
    for line in (start, '{"lvmm":"running"}', '{"lvmm":"halted","reason":"halt"}', start):
        report.take(line)
    assert report.halted is None
    assert not report.running


def test_a_replay_that_was_brought_back_is_not_over() -> None:
    report = MonitorReport()
    running, halted = '{"lvmm":"running"}', '{"lvmm":"halted","reason":"triple-fault","events":7}'
    statistics = '{"lvmm":"events","kind":"IN","count":3}'
    divergence = '{"lvmm":"divergence","why":"other code"}'
    for line in (running, statistics, divergence, halted, '{"lvmm":"restored"}'):
        report.take(line)
    assert report.running
    assert (report.halted, report.divergence, report.events) == (None, None, {})
    for line in (statistics, halted):
        report.take(line)
    assert report.reason == "triple-fault"
    assert report.events == {"IN": 3}, "not those of both ends"


class Machine:
    """The other end of a line: a monitor without link, or (after answer_requests()) one with it."""

    def __init__(self, tmp_path: Path) -> None:
        ours, self.end = socket.socketpair()
        self.transcript = tmp_path / "monitor.log"
        self.line = MonitorLine()
        self.line.open(SocketStream(ours), self.transcript)
        self.answered: set[int] = set()  # opcodes
        self.asked: set[tuple[int, int]] = set()  # opcode and number; a repetition is no new one

    def say(self, data: bytes) -> None:
        self.end.sendall(data)

    def answer_requests(self, result: Result) -> threading.Thread:
        """From now on HELLO is answered, and STOP_RUN with this; OK ends the run."""

        def serve() -> None:
            receiver = FrameReceiver()
            while data := self.end.recv(1 << 12):
                for frame in receiver.feed(data):
                    if isinstance(frame, Frame):
                        self._answer(frame, result)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        return thread

    def _answer(self, request: Frame, result: Result) -> None:
        opcode = request.payload[0]
        self.asked.add((opcode, request.sequence))
        reply = bytes((result,))
        if opcode == Opcode.HELLO:
            names = bytes(HelloReply.STRUCT.size - HelloRequest.STRUCT.size)
            reply = bytes((Result.OK,)) + request.payload[1:] + names
        elif opcode == Opcode.STATUS:
            reply = bytes((Result.NO_SESSION,))
        elif result == Result.OK:
            text = b'\0{"lvmm":"halted","reason":"stopped"}\n'
            self.say(Frame(Channel.MESSAGE, 0, text).encode())
        self.say(Frame(request.channel | REPLY_FLAG, request.sequence, reply).encode())
        self.answered.add(opcode)

    def poll_until(self, condition: Callable[[], object]) -> None:
        """The test's deadline ends it otherwise."""
        while not condition():
            self.line.poll(0.05)

    def stop(self) -> None:
        """The line goes away."""
        self.end.shutdown(socket.SHUT_RDWR)
        self.poll_until(lambda: self.line.closed)
        self.line.close()


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_plain_lines_before_a_session(machine: Machine) -> None:
    assert not machine.line.poll(0.01)
    machine.say(b'{"lvmm":"running"}\r\n\xff\xfe text\none\ntw')
    machine.poll_until(lambda: machine.line.report.running and "one" in machine.line.report.lines)
    machine.say(b'o\n{"lvmm":"halted","reason":"halt"}')
    machine.stop()
    assert machine.line.report.reason == "halt", "the last line needs no end"
    lines = machine.line.report.lines
    assert lines == ['{"lvmm":"running"}', "one", "two", '{"lvmm":"halted","reason":"halt"}']
    assert machine.transcript.read_text().splitlines() == lines
    assert not machine.line.poll(0.01), "nothing comes any more, and nothing fails"


def test_the_monitor_is_asked_to_stop(machine: Machine) -> None:
    thread = machine.answer_requests(Result.OK)
    machine.say(b'{"lvmm":"running"}\n')
    machine.line.ask_to_stop()
    machine.line.ask_to_stop()
    machine.poll_until(lambda: machine.line.report.halted)
    # What is on its way when the line goes away still arrives.
    machine.poll_until(lambda: Opcode.STOP_RUN in machine.answered)
    machine.stop()
    thread.join()
    assert [opcode for opcode, _ in machine.asked].count(Opcode.STOP_RUN) == 1
    assert machine.line.report.reason == "stopped"
    assert '"halted"' in machine.transcript.read_text().splitlines()[-1]
    assert machine.line.stop_failure == ""


def test_a_monitor_that_cannot_stop_says_why(machine: Machine) -> None:
    thread = machine.answer_requests(Result.UNSUPPORTED)
    machine.line.ask_to_stop()
    machine.poll_until(lambda: machine.line.stop_failure)
    machine.stop()
    thread.join()
    assert "did not stop run" in machine.line.stop_failure


def test_asking_a_dead_monitor_hangs_nothing(machine: Machine) -> None:
    machine.line.ask_to_stop()
    assert not machine.line.poll(0.01)
    machine.line.close()
    assert machine.line.report.halted is None


def test_a_full_disk_is_no_broken_line(machine: Machine) -> None:
    machine.line.close()
    full = Path("/dev/full")
    ours, monitors = socket.socketpair()
    line = MonitorLine()
    line.open(SocketStream(ours), full)
    monitors.sendall(b"text\n")
    with pytest.raises(OSError, match="No space"):
        while not line.poll(1):
            pass
    monitors.close()
