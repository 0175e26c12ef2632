"""Parsing of the monitor's serial line."""

import socket
from pathlib import Path

from lvmm.monitor_line import MonitorLine, MonitorReport, parse_line, split_lines


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


def test_lines_are_split_across_reads() -> None:
    buffer = bytearray(b"one\r\ntwo\nthr")
    assert list(split_lines(buffer)) == ["one", "two"]
    buffer += b"ee\n"
    assert list(split_lines(buffer)) == ["three"]


def test_garbage_without_end_is_dropped() -> None:
    buffer = bytearray(b"x" * (2 << 20))
    assert list(split_lines(buffer)) == []
    assert not buffer


def test_line_over_a_socket(tmp_path: Path) -> None:
    ours, monitors = socket.socketpair()
    line = MonitorLine(ours, tmp_path / "monitor.log")
    assert not line.poll(0.01)
    monitors.sendall(b'{"lvmm":"running"}\n\xff\xfe text\n{"lvmm":"hal')
    assert line.poll(1)
    assert line.report.running
    line.ask_to_stop()
    assert monitors.recv(1) == b"\x03"
    monitors.sendall(b'ted","reason":"halt"}')
    monitors.close()
    while line.poll(0.1):
        pass
    assert line.closed
    line.close()
    assert line.report.reason == "halt"
    assert (tmp_path / "monitor.log").read_bytes().endswith(b'"halt"}')
