"""The loop over one run: passes the console on, and sees when it is over."""

from __future__ import annotations

import os
import time
from pathlib import Path

from lvmm.board import Board
from lvmm.console_ring import ConsoleRing, log_bytes
from lvmm.emulator import Emulator, Ending
from lvmm.errors import MachineError
from lvmm.fence import describe
from lvmm.machine_run.options import Mark, RunOptions, RunResult
from lvmm.messages import say
from lvmm.monitor_line import MonitorLine

SETTLE_S = 0.2


class Watcher:
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
