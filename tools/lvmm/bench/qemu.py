"""A Linux guest on QEMU's TCG: plain, recorded, or replayed (QEMU's manual, "Record/replay").

The network card is on a socket that carries each Ethernet frame as a UDP datagram, as the emulated
board's does, so that the same peer sends the same frames. The guest's memory is a file: so two runs
can be compared to the last byte.
"""

from __future__ import annotations

import enum
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path

from lvmm import provision
from lvmm.emulator_config import MAC_ADDRESS
from lvmm.guest import Guest
from lvmm.machine_run import cpu_seconds

# What TCG offers a guest at most; QEMU's default has no RDRAND, which the workload executes.
_CPU = "max"
_POLL_S = 0.02
_SERIAL, _ERRORS, RECORDING = "console.log", "errors", "recording.rr"
PAGE = 4096


class Mode(enum.Enum):
    """What QEMU does besides running the guest."""

    PLAIN = "plain"
    RECORD = "record"
    REPLAY = "replay"


class Outcome(enum.Enum):
    """How a run ended: the guest powered off, nothing came any more, or QEMU gave up."""

    FINISHED = "finished"
    HUNG = "hung"
    FAILED = "failed"


@dataclass(frozen=True)
class QemuMark:
    """When a text appeared on the guest's console: seconds since QEMU's start, processor time that
    QEMU has taken, and bytes of its recording so far.
    """

    wall_s: float
    cpu_s: float
    log_bytes: int


@dataclass
class QemuRun:
    """What a run has left: QEMU's last words are the `message`, `ram` the file that was its RAM."""

    outcome: Outcome
    wall_s: float
    cpu_s: float
    log_bytes: int
    console: bytes
    ram: Path
    message: str = ""
    marks: dict[str, QemuMark] = field(default_factory=dict)


@dataclass(frozen=True)
class Limits:
    """Seconds: `deadline_s` for the whole run, `end_s` from `end_mark` on the console to its end:
    what is not over by then hangs.
    """

    deadline_s: float
    end_mark: str
    end_s: float


def command(program: Path, guest: Guest, mode: Mode, port: int, folder: Path) -> list[str]:
    """The command line; `port` receives frames for the guest, whose own go to the next one."""
    assert guest.kernel is not None
    file = _in(folder, ram_name(mode))
    ram = f"memory-backend-file,id=ram,size={guest.memory_mib}M,mem-path={file}"
    cable = f"socket,id=cable,udp=127.0.0.1:{port + 1},localaddr=127.0.0.1:{port}"
    words = [
        *(str(program), "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"),
        *("-accel", "tcg", "-cpu", _CPU, "-machine", "pc,memory-backend=ram"),
        *("-m", f"{guest.memory_mib}M", "-object", f"{ram},share=on"),
        *("-serial", f"file:{folder / _SERIAL}", "-kernel", str(guest.kernel)),
        *("-append", guest.cmdline),
        *("-netdev", cable, "-device", f"e1000,netdev=cable,mac={MAC_ADDRESS}"),
    ]
    if guest.extra:
        words += ["-initrd", str(guest.extra[0])]
    if mode is not Mode.PLAIN:
        file = _in(folder, RECORDING)
        words += ["-icount", f"shift=auto,rr={mode.value},rrfile={file}"]
        words += ["-object", "filter-replay,id=replay,netdev=cable"]
    return words


def ram_name(mode: Mode) -> str:
    """Name of the file that is the RAM of such a run."""
    return f"{mode.value}.ram"


def different_pages(one: Path, other: Path) -> int:
    """How many pages of two runs' RAM are different; those that only one has are."""
    count = 0
    with one.open("rb") as left, other.open("rb") as right:
        while True:
            pages = left.read(PAGE), right.read(PAGE)
            if not any(pages):
                return count
            count += pages[0] != pages[1]


def _in(folder: Path, name: str) -> str:
    """A path in QEMU's options, where a comma is doubled."""
    return str(folder / name).replace(",", ",,")


def run(
    guest: Guest, mode: Mode, port: int, folder: Path, marks: tuple[str, ...], limits: Limits
) -> QemuRun:
    """Runs the guest; a recording is written to, or read from, `folder`.

    A run that hangs or fails is a result. Raises EnvironmentProblem where there is no QEMU.
    """
    words = command(provision.qemu(), guest, mode, port, folder)
    ram = folder / ram_name(mode)
    for path in (folder / _SERIAL, ram):
        path.unlink(missing_ok=True)
    with (folder / _ERRORS).open("wb") as errors:
        process = subprocess.Popen(
            words, stdin=subprocess.DEVNULL, stdout=errors, stderr=errors, cwd=folder
        )
        try:
            watcher = _Watcher(process, folder, ram, marks, limits)
            while watcher.goes_on():
                time.sleep(_POLL_S)
        finally:
            process.kill()  # nothing where it has ended, which goes_on() has seen
            process.wait()
    return watcher.result()


class _Watcher:
    """Follows the console of a run to its end."""

    def __init__(
        self,
        process: subprocess.Popen[bytes],
        folder: Path,
        ram: Path,
        marks: tuple[str, ...],
        limits: Limits,
    ) -> None:
        self._process = process
        self._folder = folder
        self._ram = ram
        self._texts = (*marks, limits.end_mark)
        self._limits = limits
        self._start = time.monotonic()
        self._marks: dict[str, QemuMark] = {}
        self._cpu_s = 0.0
        self._wall_s = 0.0
        self._outcome = Outcome.HUNG

    def goes_on(self) -> bool:
        """Notes what is new; whether the run is neither over nor too late."""
        status = self._process.poll()
        self._wall_s = time.monotonic() - self._start
        if status is None:
            self._cpu_s = cpu_seconds(self._process.pid)
        self._note_marks()
        if status is not None:
            self._outcome = Outcome.FAILED if status else Outcome.FINISHED
            return False
        end = self._marks.get(self._limits.end_mark)
        late = end is not None and self._wall_s > end.wall_s + self._limits.end_s
        return not late and self._wall_s < self._limits.deadline_s

    def _note_marks(self) -> None:
        console = self._read(_SERIAL)
        for text in self._texts:
            if text not in self._marks and text.encode() in console:
                self._marks[text] = QemuMark(self._wall_s, self._cpu_s, self._log_bytes())

    def _read(self, name: str) -> bytes:
        path = self._folder / name
        return path.read_bytes() if path.exists() else b""

    def _log_bytes(self) -> int:
        path = self._folder / RECORDING
        return path.stat().st_size if path.exists() else 0

    def result(self) -> QemuRun:
        """What is left when the process has ended."""
        words = self._read(_ERRORS).decode(errors="replace").split("\n")
        said = [line.strip() for line in words if line.strip()]
        return QemuRun(
            outcome=self._outcome,
            wall_s=self._wall_s,
            cpu_s=self._cpu_s,
            log_bytes=self._log_bytes(),
            console=self._read(_SERIAL),
            ram=self._ram,
            message=said[-1] if said else "",
            marks=self._marks,
        )
