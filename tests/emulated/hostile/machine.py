"""One boot of the hostile guest under the monitor, with the debug link's client."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from elftools.elf.elffile import ELFFile
from tests.emulated.hostile.monitor_state import check_monitor
from tests.emulated.machine import BOARD, TINY_MEMORY_MIB

from lvmm import guest_build, session
from lvmm.emulator import Emulator
from lvmm.guest import Guest
from lvmm.link import SocketStream
from lvmm.link.client import LinkClient
from lvmm.link.layout import MemorySpace, RunState

IMAGE = 0x100000
START_S = 120.0
STOP_S = 60.0
POLL_S = 0.05


@dataclass
class HostileMachine:
    """The running machine: its lines, and the end of the guest if there was one."""

    emulator: Emulator
    client: LinkClient
    lines: list[str] = field(default_factory=list)

    @property
    def console(self) -> str:
        return self.emulator.console_path.read_bytes().decode(errors="replace")

    def message(self, kind: str) -> dict[str, Any] | None:
        """The first line {"lvmm": kind, ...} that the monitor has said."""
        for line in list(self.lines):
            if line.startswith("{") and f'"lvmm":"{kind}"' in line:
                message: dict[str, Any] = json.loads(line)
                return message
        return None

    @property
    def end(self) -> str | None:
        """Why the guest has ended; None while it runs."""
        halted = self.message("halted")
        return str(halted["reason"]) if halted else None

    def wait(self, condition: Callable[[], bool], seconds: float) -> bool:
        """Waits for it, for so long; False where it did not come true."""
        deadline = time.monotonic() + seconds
        while not condition():
            assert self.emulator.poll() is None, self.emulator.failure()
            if time.monotonic() > deadline:
                return False
            time.sleep(POLL_S)
        return True

    def run(self, seconds: float) -> None:
        """Lets the guest do its work: until it says that it is done, ends, or the time is over."""
        assert self.wait(lambda: self.message("running") is not None, START_S), self.lines
        self.wait(lambda: self.end is not None or "all done" in self.console, seconds)

    def variable(self, name: str) -> int:
        """A 32-bit variable of the guest's, as it is in memory."""
        with guest_build.hostile_guest().open("rb") as file:
            (symbol,) = ELFFile(file).get_section_by_name(".symtab").get_symbol_by_name(name)
        return int.from_bytes(self.emulator.read_ram(symbol["st_value"], 4), "little")

    def check(self) -> None:
        """The debugger answers, and the monitor is what it was."""
        self.client.connect()
        status = self.client.wait_for_stop(self.client.interrupt(), STOP_S)
        assert status.state in (RunState.STOPPED, RunState.HALTED), status
        registers = self.client.read_registers()
        assert registers.rip == status.rip
        there = self.client.read_memory(IMAGE, 64, MemorySpace.PHYSICAL)
        assert there == self.emulator.read_ram(IMAGE, 64)
        assert not any("panic:" in line for line in self.lines), self.lines
        assert self.emulator.poll() is None
        check_monitor(self.emulator)

    def seal(self) -> None:
        """Ends the run, so that a recording is complete."""
        if self.end is None:
            self.client.stop_run()
            assert self.wait(lambda: self.end is not None, STOP_S), self.lines


def hostile(words: str) -> Guest:
    return Guest("multiboot", guest_build.hostile_guest(), words, TINY_MEMORY_MIB)


@contextmanager
def boot(mode: str, words: str, folder: Path, seed: int = 1) -> Iterator[HostileMachine]:
    """Boots the hostile guest with these words on its command line."""
    image = folder / "boot.iso"
    session.monitor_image(BOARD, hostile(words), mode, image)
    with Emulator(BOARD, iso=image, run_dir=folder / "run", seed=seed) as emulator:
        lines: list[str] = []
        stream = SocketStream(emulator.monitor)
        with LinkClient(lambda: stream, lines.append) as client:
            client.listen()
            try:
                yield HostileMachine(emulator, client, lines)
            finally:
                (folder / "run" / "monitor.log").write_text("\n".join(lines) + "\n")
