"""The monitor's serial line (COM2): text lines, some of which are JSON objects with a key "lvmm".

The monitor's messages, by the value of that key (numbers are JSON numbers):

    start       mode, version             the monitor runs
    running                               the guest was started
    events      kind, count               statistics, one line a kind
    exits       reason, count             statistics, one line a reason
    divergence  ...                       a replay left its recording (lvmm.divergence renders it)
    error       text                      the monitor cannot go on
    halted      reason, branches, events, rip, log_bytes
                                          the run is over; the monitor idles from here on

Sending the byte 0x03 asks the monitor to stop the guest and to seal the log.
"""

from __future__ import annotations

import contextlib
import json
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

Message = dict[str, Any]

_STOP = b"\x03"
_LONGEST_LINE = 1 << 20


def parse_line(line: str) -> Message | None:
    """The message in a line; None for a line of text (or for what only looks like a message)."""
    if not line.startswith("{"):
        return None
    try:
        message = json.loads(line)
    except ValueError:
        return None
    return message if isinstance(message, dict) and isinstance(message.get("lvmm"), str) else None


def split_lines(buffer: bytearray) -> Iterator[str]:
    """Takes all whole lines out of the buffer."""
    while True:
        end = buffer.find(b"\n")
        if end < 0:
            if len(buffer) > _LONGEST_LINE:
                buffer.clear()  # garbage: a line never gets this long
            return
        line = bytes(buffer[:end]).decode("utf-8", "replace").rstrip("\r")
        del buffer[: end + 1]
        yield line


@dataclass
class MonitorReport:
    """What the monitor has said so far."""

    lines: list[str] = field(default_factory=list)
    started: Message | None = None
    running: bool = False
    halted: Message | None = None
    divergence: Message | None = None
    errors: list[str] = field(default_factory=list)
    events: dict[str, int] = field(default_factory=dict)
    exits: dict[str, int] = field(default_factory=dict)

    @property
    def reason(self) -> str | None:
        """Why the guest ended, or None while it has not."""
        return str(self.halted.get("reason")) if self.halted else None

    def last_text(self) -> str:
        """The last line that is no message: where a message fails to come, this tells why."""
        for line in reversed(self.lines):
            if line.strip() and parse_line(line) is None:
                return line.strip()
        return ""

    def take(self, line: str) -> None:
        """Accounts for one line."""
        self.lines.append(line)
        message = parse_line(line)
        if message is None:
            return
        match message["lvmm"]:
            case "start":
                self.started = message
            case "running":
                self.running = True
            case "events":
                _count(self.events, message.get("kind"), message.get("count"))
            case "exits":
                _count(self.exits, message.get("reason"), message.get("count"))
            case "divergence":
                self.divergence = message
            case "error":
                self.errors.append(str(message.get("text", "")))
            case "halted":
                self.halted = message


def _count(counts: dict[str, int], name: object, count: object) -> None:
    if isinstance(name, str) and isinstance(count, int):
        counts[name] = counts.get(name, 0) + count


class MonitorLine:
    """Reads the line of a running machine and keeps a transcript in a file."""

    def __init__(self, stream: socket.socket, transcript: Path) -> None:
        self._stream = stream
        self._buffer = bytearray()
        self._transcript = transcript.open("wb")
        self.report = MonitorReport()
        self.closed = False

    def poll(self, seconds: float) -> bool:
        """Waits up to `seconds` for input and takes it in. False when there was none."""
        if self.closed:
            time.sleep(seconds)
            return False
        try:
            self._stream.settimeout(max(seconds, 0.001))
            data = self._stream.recv(1 << 16)
        except TimeoutError:
            return False
        except OSError:
            data = b""
        if not data:
            self.closed = True
            return False
        self._transcript.write(data)
        self._transcript.flush()
        self._buffer += data
        for line in split_lines(self._buffer):
            self.report.take(line)
        return True

    def ask_to_stop(self) -> None:
        """Asks the monitor to end the run here."""
        with contextlib.suppress(OSError):
            self._stream.sendall(_STOP)

    def close(self) -> None:
        """Closes the transcript; takes in a last line without an end."""
        if self._buffer:
            self.report.take(self._buffer.decode("utf-8", "replace"))
        self._transcript.close()
