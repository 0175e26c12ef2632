"""One run of an emulated machine with the monitor: start, watch both serial lines, end.

The guest's console is passed through while the machine runs; the run ends when the monitor says
that the guest has ended, when the emulator ends, at the deadline, or at Ctrl-C (the monitor is
then asked to stop the guest, so that a recording is sealed). With a debugger, a guest that has
ended stays there to be looked at until the debugger leaves, or Ctrl-C; one that has detached before
does not want to see it.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any, Protocol

from lvmm.board import Board
from lvmm.console_ring import ConsoleRing, log_bytes
from lvmm.debug.of_a_run import AttachPort, RunDebugger
from lvmm.debug.service import GdbOptions
from lvmm.emulator import Emulator, Ending
from lvmm.emulator_stats import Stats
from lvmm.errors import LvmmError, MachineError
from lvmm.fence import describe
from lvmm.link import LinkClient, SocketStream
from lvmm.link.relay import Typewriter, TypingRefused
from lvmm.log_receiver import LogReceiver
from lvmm.messages import say
from lvmm.monitor_line import MonitorLine, MonitorReport

POLL_S = 0.05
STOP_GRACE_S = 60.0
SETTLE_S = 0.2

ConsoleSink = Callable[[bytes], None]


class Visitor(Protocol):
    """Who looks at a guest that waits for that, in a thread of its own, and lets it run.

    When `done`, the run is over, whether the guest has ended or not; `failure` tells what went
    wrong.
    """

    failure: LvmmError | None

    @property
    def done(self) -> bool: ...

    def start(self, link: LinkClient) -> None:
        """The guest is there. A second call does nothing."""

    def stop(self) -> None:
        """Come to an end soon."""


@dataclass(frozen=True)
class RunOptions:
    """How to run; times are in seconds.

    `as_disk` boots the image as a hard disk, which `keep_disk` lets the machine write to. `warm`
    leaves the memory as the last run in the directory left it: a warm reset.

    `marks` are texts whose first appearance on the guest's console is noted. `ring_console`
    takes the console from the monitor's ring (replay) and not from the serial line. Without
    `monitored` the guest runs on the bare emulator. `ips`, instructions to a second of emulated
    time, is the board's unless given: devices are the faster, the smaller it is; `nic_poll_us`
    is the time between two frames that the NIC takes, in microseconds of emulated time (0:
    1,000). `at_end` may ask the monitor when the guest has ended. `log_sink` is a file into
    which the log is taken over the monitor's line while the machine runs. `guest_disk` is the
    image of the guest's own disk; what it writes there is lost, unless `write_guest_disk`;
    `usb_disk` that of one on a USB port. `visitor` decides when the run is over. `on_end` is
    called when the guest has ended; a debugger is let in only after that.
    """

    net_port: int | None = None
    seed: int = 0
    start_time: int | None = None
    as_disk: bool = False
    keep_disk: bool = False
    warm: bool = False
    ips: int | None = None
    nic_poll_us: int = 0
    deadline_s: float = 1800.0
    ring_console: bool = False
    monitored: bool = True
    console: ConsoleSink | None = None
    marks: tuple[str, ...] = ()
    end_mark: str | None = None
    gdb: GdbOptions | None = None
    attach: AttachPort | None = None
    at_end: Callable[[LinkClient], None] | None = None
    log_sink: Path | None = None
    guest_disk: Path | None = None
    write_guest_disk: bool = False
    usb_disk: Path | None = None
    visitor: Visitor | None = None
    on_end: Callable[[LinkClient], None] | None = None


@dataclass(frozen=True)
class Mark:
    """State of the machine when a text appeared on the console.

    `wall_s` since power-on, `cpu_s` the processor time that the emulator has taken, `instructions`
    the machine's, `guest_instructions` those under the monitor, `exits` all VM exits so far.
    """

    wall_s: float
    cpu_s: float
    instructions: int
    guest_instructions: int
    exits: int
    log_bytes: int


@dataclass
class RunResult:
    """How a run went. `error` is set when the machine failed or the deadline passed; `altered` when
    a debugger changed what a log does not know; `crash` explains how a live run's guest ended.
    """

    report: MonitorReport
    wall_s: float = 0.0
    stats: Stats | None = None
    ending: Ending | None = None
    error: LvmmError | None = None
    timed_out: bool = False
    interrupted: bool = False
    stop_failure: str = ""
    altered: bool = False
    marks: dict[str, Mark] = field(default_factory=dict)
    console: bytes = b""
    crash: dict[str, Any] | None = None


class StopRequest:
    """Set by Ctrl-C (once: stop in order; twice: at once) or by another thread."""

    def __init__(self) -> None:
        self._event = threading.Event()
        self.at_once = False

    def request(self) -> None:
        if self._event.is_set():
            self.at_once = True
        self._event.set()

    @property
    def requested(self) -> bool:
        return self._event.is_set()

    def wait(self, seconds: float) -> None:
        """Waits for a request, up to so long."""
        self._event.wait(seconds)

    @contextmanager
    def from_ctrl_c(self) -> Iterator[None]:
        """While active, SIGINT and SIGTERM make a request and do nothing else."""

        def handle(_signal: int, _frame: FrameType | None) -> None:
            self.request()

        signals = (signal.SIGINT, signal.SIGTERM)
        before = [signal.signal(number, handle) for number in signals]
        try:
            yield
        finally:
            for number, handler in zip(signals, before, strict=True):
                signal.signal(number, handler)


class _Watcher:
    """The loop over one run."""

    def __init__(
        self, emulator: Emulator, board: Board, options: RunOptions, line: MonitorLine
    ) -> None:
        self.emulator = emulator
        self.options = options
        self.start = time.monotonic()
        self.line = line
        self.result = RunResult(self.line.report)
        self._ring = ConsoleRing(emulator.ram_path, board.memory.log_base)
        self._board = board
        self._console_at = 0
        self._fenced_told = 0
        self._console = bytearray()

    def elapsed(self) -> float:
        return time.monotonic() - self.start

    def pass_console(self) -> None:
        if self.options.ring_console:
            fresh = self._ring.read_new()
        else:
            with self.emulator.console_path.open("rb") as file:
                fresh = os.pread(file.fileno(), 1 << 20, self._console_at)
            self._console_at += len(fresh)
        if not fresh:
            return
        self._console += fresh
        if self.options.console:
            self.options.console(fresh)
        for text in self.options.marks:
            if text not in self.result.marks and text.encode() in self._console:
                stats = self.emulator.stats()
                self.result.marks[text] = Mark(
                    wall_s=round(self.elapsed(), 3),
                    cpu_s=cpu_seconds(self.emulator.pid),
                    instructions=stats.instructions,
                    guest_instructions=stats.guest_instructions,
                    exits=sum(stats.exits.values()),
                    log_bytes=log_bytes(self.emulator.ram_path, self._board.memory.log_base),
                )

    def tell_fenced(self) -> None:
        """Tells the user of devices that were kept from becoming bus master, or were let."""
        fenced = self.result.report.fenced
        for message in fenced[self._fenced_told :]:
            say(describe(message))
        self._fenced_told = len(fenced)

    def halted(self) -> bool:
        return self.result.report.halted is not None

    def _said_end_mark(self) -> bool:
        mark = self.options.end_mark
        return mark is not None and mark.encode() in self._console

    def ended(self) -> bool:
        if self._said_end_mark():
            return True
        self.result.ending = self.emulator.poll()
        return self.result.ending is not None

    def finish(self) -> RunResult:
        """Takes the last output and the counters, then pulls the plug."""
        result = self.result
        result.wall_s = self.elapsed()
        settle_until = time.monotonic() + SETTLE_S
        while time.monotonic() < settle_until and self.line.poll(0.05):
            pass
        self.tell_fenced()
        self.pass_console()
        result.ending = self.emulator.poll()
        result.stop_failure = self.line.stop_failure
        try:
            result.stats = self.emulator.stats()
        except MachineError:
            result.stats = None
        # What becomes of the machine behind the mark is nothing that was asked for.
        failed = result.ending is not None and result.report.halted is None
        failed = failed and not self._said_end_mark()
        if failed and (self.options.monitored or result.ending == Ending.FAILED):
            result.error = self.emulator.failure()
        self.line.close()
        self.emulator.terminate()
        self.pass_console()
        result.console = bytes(self._console)
        return result


def cpu_seconds(pid: int) -> float:
    """Processor time of a process, from proc(5)'s stat: fields 14 and 15."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def run_machine(
    board: Board, image: Path, run_dir: Path, options: RunOptions, stop: StopRequest | None = None
) -> RunResult:
    """Runs the image to the end of the guest. Raises LvmmError only when it cannot be started."""
    emulator = Emulator(
        board,
        iso=None if options.as_disk else image,
        disk=image if options.as_disk else None,
        run_dir=run_dir,
        net_port=options.net_port,
        seed=options.seed,
        start_time=options.start_time,
        ips=options.ips,
        nic_poll_us=options.nic_poll_us,
        keep_disk=options.keep_disk,
        warm=options.warm,
        guest_disk=options.guest_disk,
        write_guest_disk=options.write_guest_disk,
        usb_disk=options.usb_disk,
    )
    line = MonitorLine()
    debugger = None
    if served := options.gdb or options.attach:
        typewriter = _typewriter(emulator, options)
        debugger = RunDebugger(line, options.gdb, options.attach, typewriter, served.say)
    try:
        with emulator:
            line.open(SocketStream(emulator.monitor), emulator.run_dir / "monitor.log")
            watcher = _Watcher(emulator, board, options, line)
            receiver = LogReceiver(line.link, options.log_sink) if options.log_sink else None
            _watch(watcher, debugger, receiver, stop)
            if options.visitor is not None:
                watcher.result.error = options.visitor.failure
            if receiver is not None:
                _take_the_rest(receiver, watcher)
            if options.at_end is not None and watcher.halted():
                options.at_end(line.link)
            if debugger is not None and watcher.halted():
                watcher.result.altered = debugger.altered()
                debugger.close()  # while the monitor answers
            return watcher.finish()
    finally:
        line.close()
        if debugger is not None:
            debugger.close()


def _typewriter(emulator: Emulator, options: RunOptions) -> Typewriter:
    """What is typed goes to the guest's serial port, which is a real device: so it is recorded."""

    def write(data: bytes) -> int:
        if options.ring_console:
            raise TypingRefused("a replay takes no input: what was typed is in the recording")
        try:
            return emulator.serial.type(data)
        except OSError:
            raise TypingRefused("the machine is off") from None

    return write


def _take_the_rest(receiver: LogReceiver, watcher: _Watcher) -> None:
    try:
        receiver.finish()
    except LvmmError as error:
        watcher.result.error = error
    finally:
        receiver.close()


def _watch(
    watcher: _Watcher,
    debugger: RunDebugger | None,
    receiver: LogReceiver | None,
    stop: StopRequest | None,
) -> None:
    """Returns when the run has ended and nobody wants to look at it any more."""
    stop_deadline: float | None = None
    result = watcher.result
    visitor = watcher.options.visitor
    on_end = watcher.options.on_end
    while not watcher.ended():
        watcher.line.poll(POLL_S)
        watcher.tell_fenced()
        watcher.pass_console()
        stopping = stop is not None and stop.requested
        expired = watcher.elapsed() > watcher.options.deadline_s
        if receiver is not None and result.report.running:
            receiver.start()
        if on_end is not None and watcher.halted():
            on_end(watcher.line.link)
            on_end = None
        if debugger is not None and on_end is None:
            debugger.attend(watcher.halted() and not stopping)
        left = debugger is None or debugger.left()
        watcher.line.poll(0)  # one that has left may have gone back before
        if visitor is not None and result.report.running:
            visitor.start(watcher.line.link)
            result.interrupted |= stopping
            result.timed_out |= expired
            if stopping or expired:
                visitor.stop()
            if visitor.done:
                return
        elif watcher.halted():
            if left or stopping or expired:
                return
        elif stop_deadline is None:
            result.interrupted = stopping
            result.timed_out = expired
            if stopping or expired:
                watcher.line.ask_to_stop()
                stop_deadline = time.monotonic() + STOP_GRACE_S
        elif time.monotonic() > stop_deadline or (stop is not None and stop.at_once):
            return
