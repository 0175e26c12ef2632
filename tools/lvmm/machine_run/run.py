"""One run, from power-on until nobody wants to look at it any more."""

from __future__ import annotations

import time
from pathlib import Path

from lvmm.board import Board
from lvmm.debug.of_a_run import RunDebugger
from lvmm.emulator import Emulator
from lvmm.errors import LvmmError
from lvmm.link import SocketStream
from lvmm.link.relay import Typewriter, TypingRefused
from lvmm.log_receiver import LogReceiver
from lvmm.machine_run.options import RunOptions, RunResult
from lvmm.machine_run.stop_request import StopRequest
from lvmm.machine_run.watcher import Watcher
from lvmm.monitor_line import MonitorLine

POLL_S = 0.05
STOP_GRACE_S = 60.0


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
            watcher = Watcher(emulator, board, options, line)
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


def _take_the_rest(receiver: LogReceiver, watcher: Watcher) -> None:
    try:
        receiver.finish()
    except LvmmError as error:
        watcher.result.error = error
    finally:
        receiver.close()


def _watch(
    watcher: Watcher,
    debugger: RunDebugger | None,
    receiver: LogReceiver | None,
    stop: StopRequest | None,
) -> None:
    """Returns when the run has ended and nobody wants to look at it any more."""
    stop_deadline: float | None = None
    result = watcher.result
    visitor = watcher.options.visitor
    on_end = watcher.options.on_end
    lets_in = not watcher.options.from_end
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
        lets_in |= watcher.halted()
        if debugger is not None and lets_in:
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
