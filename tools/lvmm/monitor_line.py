"""The monitor's serial line (COM2): text lines, some of which are JSON objects with a key "lvmm".

The monitor's messages, by the value of that key (numbers are JSON numbers):

    start       mode, version             the monitor runs
    running                               the guest was started
    events      kind, count               statistics, one line a kind
    exits       reason, count             statistics, one line a reason
    fence       address, vendor, device, class, lacks, allowed
                                          a device without DMA profile is to become bus master
    cpu, ecam, pci, probe                 what the machine has (lvmm.doctor.probe reads them)
    recording   branches                  a trigger has begun the recording
    divergence  ...                       a replay left its recording (lvmm.divergence explains it)
    error       text                      the monitor cannot go on
    halted      reason, branches, events, rip, log_bytes
                                          the run is over; the monitor idles from here on
    restored                              not from the monitor, but put here when a debugger has
                                          made it go back: the run is not over any more

The line is a debug link (docs/debug-link.md): the texts come as they are until somebody asks the
monitor for something, and in frames after that. Asking it to stop the guest and to seal the log is
such a request.
"""

from __future__ import annotations

import contextlib
import json
import queue
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, Protocol

from lvmm.errors import LvmmError
from lvmm.link import ByteStream, LinkClient, LinkClosed, LinkTimeout, SessionLost, Status

Message = dict[str, Any]

_RESTORED = '{"lvmm": "restored"}'


def parse_line(line: str) -> Message | None:
    """The message in a line; None for a line of text (or for what only looks like a message)."""
    if not line.startswith("{"):
        return None
    try:
        message = json.loads(line)
    except ValueError:
        return None
    return message if isinstance(message, dict) and isinstance(message.get("lvmm"), str) else None


@dataclass
class MonitorReport:
    """What the monitor has said so far."""

    lines: list[str] = field(default_factory=list)
    started: Message | None = None
    running: bool = False
    halted: Message | None = None
    divergence: Message | None = None
    errors: list[str] = field(default_factory=list)
    fenced: list[Message] = field(default_factory=list)
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
                self.running = False  # the machine was reset: nothing of before holds
                self.halted = None
            case "running":
                self.running = True
            case "events":
                _count(self.events, message.get("kind"), message.get("count"))
            case "exits":
                _count(self.exits, message.get("reason"), message.get("count"))
            case "fence":
                self.fenced.append(message)
            case "divergence":
                self.divergence = message
            case "error":
                self.errors.append(str(message.get("text", "")))
            case "halted":
                self.halted = message
            case "restored":
                self.halted = self.divergence = None
                self.events.clear()
                self.exits.clear()


def _count(counts: dict[str, int], name: object, count: object) -> None:
    if isinstance(name, str) and isinstance(count, int):
        counts[name] = counts.get(name, 0) + count


class Audience(Protocol):
    """Who hears what the monitor says unasked, in the thread that reads the line."""

    def line(self, text: str) -> None:
        """A line of text, without its end."""

    def status(self, status: Status) -> None:
        """The status after it changed."""


class MonitorLine:
    """Reads the line of a running machine and keeps a transcript in a file.

    `link` makes requests on the same line; `audience` hears what comes on it as well.
    """

    def __init__(self) -> None:
        self.audience: Audience | None = None
        self._stream: ByteStream | None = None
        self._lines: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._transcript: BinaryIO | None = None
        self._stopper: threading.Thread | None = None
        self.link = LinkClient(
            self._take_stream, self._heard, self._told, on_restore=self._restored
        )
        self.report = MonitorReport()
        self.closed = False
        self.stop_failure = ""  # why the monitor did not do what ask_to_stop() asks

    def open(self, stream: ByteStream, transcript: Path) -> None:
        """Starts to read the line, which is closed by close()."""
        self._transcript = transcript.open("wb")
        self._stream = stream
        self.link.listen()

    def poll(self, seconds: float) -> bool:
        """Waits up to `seconds` for lines and takes them in. False when there was none.

        Raises OSError when the transcript cannot be written.
        """
        ended = self.link.failure is not None  # before the last line is looked for
        try:
            line = self._lines.get(timeout=0 if ended else seconds)
        except queue.Empty:
            if ended:
                self.closed = True
                time.sleep(seconds)
            return False
        self._take(line)
        while True:
            try:
                self._take(self._lines.get_nowait())
            except queue.Empty:
                return True

    def ask_to_stop(self) -> None:
        """Asks the monitor to end the run here. Returns at once; the report will tell."""
        if self._stopper is None:
            self._stopper = threading.Thread(target=self._stop_run, name="lvmm-stop", daemon=True)
            self._stopper.start()

    def close(self) -> None:
        """Gives the line up, takes in what is left of it, and closes the transcript."""
        self.link.close()
        with contextlib.suppress(queue.Empty):
            while True:
                self._take(self._lines.get_nowait())
        if self._transcript is not None:
            self._transcript.close()

    def _heard(self, line: str) -> None:
        self._lines.put(line)
        if self.audience is not None:
            self.audience.line(line)

    def _restored(self) -> None:
        """What the monitor has said of the run's end comes before this."""
        self._lines.put(_RESTORED)

    def _told(self, status: Status) -> None:
        if self.audience is not None:
            self.audience.status(status)

    def _take(self, line: str) -> None:
        assert self._transcript is not None
        self._transcript.write(line.encode() + b"\n")
        self._transcript.flush()
        self.report.take(line)

    def _take_stream(self) -> ByteStream:
        """The line, once: it is gone when it has been closed."""
        stream, self._stream = self._stream, None
        if stream is None:
            raise LinkClosed("the machine is off")
        return stream

    def _stop_run(self) -> None:
        """Asks until there is an answer: the monitor may not have started yet."""
        while True:
            try:
                self.link.stop_run()
                return
            except (LinkTimeout, SessionLost):
                continue
            except LvmmError as error:
                self.stop_failure = str(error)
                return
