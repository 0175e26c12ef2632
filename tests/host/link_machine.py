"""Runs the monitor's end of the debug link (tests/host/c/link_driver.c) behind a faulty line."""

from __future__ import annotations

import queue
import struct
import subprocess
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from hypothesis import strategies as st
from tests.host import cbuild

from lvmm.link import LinkClosed, Timing
from lvmm.link.frame import Frame

SOURCES = (
    "tests/host/c/link_driver.c",
    "hypervisor/link/frame.c",
    "hypervisor/link/link.c",
    "hypervisor/lib/crc32c.c",
)
MEMORY_BASE = 0x10000
MEMORY_SIZE = 0x4000
LOG_SIZE = 10000
CONSOLE_OLDEST, CONSOLE_END = 1500, 2500
QUERY_SIZE = 9000
BREAKPOINTS = 4

# The line answers at once, so silence means that something got lost; the test's deadline is what
# ends a client that hangs.
TIMING = Timing(retry=0.03, give_up=120)

_UART_FIFO = 16  # bytes
_LOOKS = 10

_LINE, _RECEIVE, _ENCODE, _RESET, _MESSAGE, _STOP, _PROBE = range(7)


def content(offset: int, length: int, salt: int) -> bytes:
    """What console (salt 1), log (2) and query texts of the driver hold."""
    return bytes(
        ord("a") + (at * 7 + at // 26 + salt) % 26 for at in range(offset, offset + length)
    )


@dataclass(frozen=True)
class Counts:
    """How often the driver carried something out, and how many bytes its breakpoints have."""

    steps: int
    writes: int
    resumes: int
    resets: int
    watched: int


class LinkMachine:
    """The driver's process."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [str(cbuild.build("link_driver", SOURCES))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        _error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        self._process.communicate()
        if kind is None:
            assert self._process.returncode == 0, "see the sanitizer's report on stderr"

    def _command(self, command: int, data: bytes = b"") -> bytes:
        with self._lock:
            assert self._process.stdin and self._process.stdout
            self._process.stdin.write(struct.pack("<BI", command, len(data)) + data)
            self._process.stdin.flush()
            head = self._process.stdout.read(4)
            assert len(head) == 4, "the driver died: see the sanitizer's report on stderr"
            return self._process.stdout.read(int.from_bytes(head, "little"))

    def line(self, data: bytes) -> bytes:
        """Bytes for the monitor; what it sends back."""
        return self._command(_LINE, data)

    def receive(self, data: bytes) -> list[Frame]:
        """Bytes for a bare receiver; the frames in them."""
        answer = self._command(_RECEIVE, data)
        frames, at = [], 0
        while at < len(answer):
            size, channel, sequence = struct.unpack_from("<IBB", answer, at)
            frames.append(Frame(channel, sequence, answer[at + 6 : at + 6 + size]))
            at += 6 + size
        return frames

    def encode(self, frame: Frame) -> bytes:
        """The frame as the monitor sends it."""
        return self._command(_ENCODE, bytes((frame.channel, frame.sequence)) + frame.payload)

    def reset(self) -> None:
        """Starts monitor and machine again."""
        self._command(_RESET)

    def message(self, text: bytes) -> bytes:
        """The monitor says something; what it sends."""
        return self._command(_MESSAGE, text)

    def stop(self) -> bytes:
        """The guest stops; what the monitor sends."""
        return self._command(_STOP)

    def counts(self) -> Counts:
        """How often things were carried out."""
        return Counts(*struct.unpack("<5Q", self._command(_PROBE)))


@dataclass(frozen=True)
class Fault:
    """What happens to one transmission; `at` and `size` are taken modulo its length."""

    kind: str
    at: int = 0
    size: int = 0
    noise: bytes = b""

    def apply(self, data: bytes) -> bytes:
        """The bytes that arrive."""
        if not data:
            return data
        at = self.at % len(data)
        end = at + 1 + self.size % len(data)
        match self.kind:
            case "flip":
                return data[:at] + bytes((data[at] ^ 1 << self.size % 8,)) + data[at + 1 :]
            case "drop":
                return data[:at] + data[end:]
            case "duplicate":
                return data[:end] + data[at:]
            case "insert":
                return data[:at] + self.noise + data[at:]
            case "truncate":
                return data[:at]
            case "close":  # the line is closed in mid-transmission
                return data[:at]
            case _:
                return data


def faults(*kinds: str) -> st.SearchStrategy[list[Fault]]:
    """Faults of the next transmissions, in the order in which they are made."""
    fault = st.builds(
        Fault,
        st.sampled_from(("none", *kinds)),
        st.integers(0, 5000),
        st.integers(0, 5000),
        st.binary(max_size=40) | st.just(b"plain text\n") | st.just(b"\0"),
    )
    return st.lists(fault, max_size=12)


class FaultyLine:
    """A ByteStream to the machine. Every transmission, in either direction, meets the next of the
    faults; when there are none left, the line is good. A `busy` monitor looks at its UART when
    nothing has come for a while, and then keeps looking for a while.
    """

    def __init__(self, machine: LinkMachine, faults: Iterator[Fault], busy: bool) -> None:
        self._machine = machine
        self._faults = faults
        self._busy = busy
        self._uart = b""  # what came while nobody looked
        self._looks = 0  # so often more
        self._lock = threading.Lock()
        self._arrived: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._late = b""
        self._closed = False

    def write(self, data: bytes) -> None:
        """See ByteStream."""
        if self._closed:
            raise LinkClosed("closed")
        fault = self._next_fault()
        data = fault.apply(data)
        with self._lock:
            if self._busy and not self._looks:
                self._uart = (self._uart + data)[:_UART_FIFO]
            else:
                self.put(self._machine.line(data))

    def _look(self) -> None:
        with self._lock:
            self._looks = max(self._looks - 1, 0)
            if self._uart:
                self._looks = _LOOKS
                self.put(self._machine.line(self._uart))
                self._uart = b""

    def put(self, data: bytes) -> None:
        """Sends something to the tools."""
        if data and not self._closed:
            fault = self._next_fault()
            data, self._late = self._late + fault.apply(data), b""
            if fault.kind == "late":  # it arrives with what is sent after it
                self._late = data
            else:
                self._arrived.put(data)
        if self._closed:
            self._arrived.put(None)

    def _next_fault(self) -> Fault:
        fault = next(self._faults, Fault("none"))
        if fault.kind == "close":
            self._closed = True
        return fault

    def read(self) -> bytes:
        """See ByteStream."""
        try:
            data = self._arrived.get(timeout=0.02)
        except queue.Empty:
            self._look()
            return b""
        if data is None:
            raise LinkClosed("closed")
        return data

    def close(self) -> None:
        """See ByteStream."""
        self._closed = True


class Lines:
    """Opens lines to a machine, one after the other, that share a list of faults."""

    def __init__(
        self, machine: LinkMachine, faults: Iterable[Fault] = (), *, busy: bool = False
    ) -> None:
        self._machine = machine
        self._faults = iter(faults)
        self._busy = busy
        self.opened: list[FaultyLine] = []

    def __call__(self) -> FaultyLine:
        self.opened.append(FaultyLine(self._machine, self._faults, self._busy))
        return self.opened[-1]

    def say(self, speak: Callable[[], bytes]) -> None:
        """Lets the monitor say something unasked on the line that is open."""
        self.opened[-1].put(speak())
