"""What a request on the debug link takes, from its first byte to the last one of the answer.

Both are times at which the machine's software accesses its UART, so the figures have no part of
this computer's speed in them: they are emulated time, at the line's speed.
"""

from __future__ import annotations

import queue
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from lvmm import session
from lvmm.bench.results import Metric, Row, Section
from lvmm.board import Board
from lvmm.emulator import Emulator
from lvmm.errors import MachineTimeout
from lvmm.guest import Guest
from lvmm.guest_build import tiny_guest
from lvmm.link import LinkClient, MemorySpace, RunState, SocketStream, Status, Timing
from lvmm.link.stream import BAUD_RATE
from lvmm.messages import say

MEMORY_MIB = 16
PAGE = 4096
IMAGE = 0x100000  # where the guest is in memory

REPETITIONS = 100
QUICK_REPETITIONS = 5

BITS_PER_BYTE = 10  # on the line: start bit, 8 data bits, stop bit

_START_S = 120.0
_STOP_S = 120.0
_POLL_S = 0.05
# Nothing is sent twice: a repeated request would be another measurement.
_TIMING = Timing(retry=_STOP_S, give_up=_STOP_S)

METRICS = (
    Metric("emulated_us", "us"),
    Metric("bytes_to_monitor", "bytes in"),
    Metric("bytes_from_monitor", "bytes out"),
    Metric("line_us", f"us at {BAUD_RATE:,} baud"),
    Metric("exits", "VM exits"),
    Metric("guest_instructions", "guest instructions"),
    Metric("monitor_instructions", "monitor instructions"),
)

NOTES = (
    "us: emulated time, from when the monitor reads the request's first byte until it hands the "
    "answer's last\nbyte to the UART. Bytes in go to the monitor, bytes out come from it; a step's "
    "answer is two frames.",
    f"us at {BAUD_RATE:,} baud: arithmetic, all bytes times {BITS_PER_BYTE} bits; with the first "
    "byte's way in, and what the\nUART still holds at the end.",
    "The monitor's instructions are mostly those that wait for the UART.",
)


@dataclass
class _Machine:
    """A guest that never ends, under the monitor in live mode."""

    board: Board
    emulator: Emulator
    client: LinkClient
    lines: list[str] = field(default_factory=list)
    told: queue.SimpleQueue[Status] = field(default_factory=queue.SimpleQueue)

    def wait(self, condition: Callable[[], bool], what: str) -> None:
        """Raises MachineTimeout where it does not come true, and what ended the machine."""
        end = time.monotonic() + _START_S
        while not condition():
            if self.emulator.poll() is not None:
                raise self.emulator.failure()
            if time.monotonic() > end:
                raise MachineTimeout(f"{what}: not within {_START_S:.0f} s")
            time.sleep(_POLL_S)

    def stopped(self, since: Status) -> None:
        """Waits until the monitor says, unasked, that the guest has stopped, which ran then."""
        try:
            while True:
                status = self.told.get(timeout=_STOP_S)
                if status.state != RunState.RUNNING and status.stop_count != since.stop_count:
                    return
        except queue.Empty:
            raise MachineTimeout(f"the guest did not stop within {_STOP_S:.0f} s") from None

    def step(self) -> None:
        self.stopped(self.client.step())

    def sample(self, request: Callable[[], object]) -> Mapping[str, float]:
        """One round trip of a request of which the last byte was seen when it returns."""
        before = self.emulator.stats()
        request()
        after = self.emulator.stats()
        ticks = after.line.reply_ticks - after.line.request_ticks
        bytes_in = after.line.bytes_in - before.line.bytes_in
        bytes_out = after.line.bytes_out - before.line.bytes_out
        guest = after.guest_instructions - before.guest_instructions
        return {
            "emulated_us": ticks * 1e6 / self.board.emulator.ips,
            "bytes_to_monitor": bytes_in,
            "bytes_from_monitor": bytes_out,
            "line_us": (bytes_in + bytes_out) * BITS_PER_BYTE * 1e6 / BAUD_RATE,
            "exits": sum(after.exits.values()) - sum(before.exits.values()),
            "guest_instructions": guest,
            "monitor_instructions": ticks - guest,
        }


@contextmanager
def _machine(board: Board) -> Iterator[_Machine]:
    guest = Guest("multiboot", tiny_guest("forever"), "", MEMORY_MIB)
    with tempfile.TemporaryDirectory(prefix="lvmm-bench-") as scratch:
        session.check_space(Path(scratch), guest, board)
        image = Path(scratch) / "boot.iso"
        session.monitor_image(board, guest, "live", image)
        with Emulator(board, iso=image, run_dir=Path(scratch) / "run") as emulator:
            stream = SocketStream(emulator.monitor)
            lines: list[str] = []
            told: queue.SimpleQueue[Status] = queue.SimpleQueue()
            with LinkClient(lambda: stream, lines.append, told.put, _TIMING) as client:
                client.listen()
                yield _Machine(board, emulator, client, lines, told)


def measure(board: Board, quick: bool) -> Section:
    """A single step, and reading a page and the registers of a stopped guest."""
    repetitions = QUICK_REPETITIONS if quick else REPETITIONS
    with _machine(board) as machine:
        say("debug link: starting a guest")
        machine.wait(lambda: any('"running"' in line for line in machine.lines), "the guest")
        console = machine.emulator.console_path
        machine.wait(lambda: b"ticks" in console.read_bytes(), "the guest's first line")
        client = machine.client
        status = client.interrupt()
        if status.state == RunState.RUNNING:
            machine.stopped(status)
        requests: dict[str, Callable[[], object]] = {
            "single step": machine.step,
            "read 4 KiB of memory": lambda: client.read_memory(IMAGE, PAGE, MemorySpace.PHYSICAL),
            "read all registers": client.read_registers,
        }
        rows = []
        for what, request in requests.items():
            say(f"debug link: {what}, {repetitions} times")
            rows.append(Row(what, [machine.sample(request) for _ in range(repetitions)]))
    return Section("debug-link", "The debug link: one request", METRICS, rows, NOTES)
