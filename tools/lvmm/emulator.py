"""An emulated board: one Bochs process with its serial lines, memory file and statistics.

Everything of a run is kept in its directory: `bochsrc`, `bochs.log` (Bochs's own log),
`console.log` (what the guest wrote to COM1), `ram.img` (offset N is physical address N; sparse) and
`stats`. The memory file, the statistics and the console can be read while the machine runs and
after it died, however it died.
"""

import enum
import os
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path
from types import TracebackType
from typing import Self

from lvmm import provision
from lvmm.board import Board
from lvmm.emulator_config import USB_IMAGE, Machine, bochsrc
from lvmm.emulator_log import POWER_OFF, complaints
from lvmm.emulator_stats import Stats, parse_stats
from lvmm.errors import EnvironmentProblem, LvmmError, MachineError, UsageError
from lvmm.guest_serial import GuestSerial

MAX_MEMORY_MIB = 2048  # that Bochs takes

_CONNECT_SECONDS = 30.0
_QUOTED_LINES = 5
_FULL_BELOW = 16 << 20


class Ending(enum.Enum):
    """How an emulator ended."""

    POWER_OFF = "power off"
    TERMINATED = "terminated"
    FAILED = "failed"


class Emulator:
    """A board under Bochs. Use as a context manager, or call terminate().

    Exactly one of `iso` (booted as a CD) and `disk` (booted as a hard disk) is given. What the
    machine writes to the disk is lost, unless `keep_disk`. With `warm` the memory is what the last
    run in this directory left: to software that is a warm reset. `net_port` is the UDP port on
    which the board's first NIC receives Ethernet frames from this host (it sends to net_port + 1);
    without it there is no network. `seed` selects the counter's skid. `start_time` is what the
    real-time clock shows at power-on (Unix time, UTC; default: now). `guest_disk` is a disk image
    for the guest, the master of the second IDE channel; what the machine writes to it is lost,
    unless `write_guest_disk`. `usb_disk` is the image of a disk on the first USB port; what the
    machine writes to it is lost. `nic_poll_us`: microseconds of emulated time between two frames
    that the NIC takes; 0: 1,000.
    """

    def __init__(
        self,
        board: Board,
        *,
        iso: Path | None = None,
        disk: Path | None = None,
        run_dir: Path,
        net_port: int | None = None,
        seed: int = 0,
        start_time: int | None = None,
        ips: int | None = None,
        nic_poll_us: int = 0,
        keep_disk: bool = False,
        warm: bool = False,
        guest_disk: Path | None = None,
        write_guest_disk: bool = False,
        usb_disk: Path | None = None,
    ) -> None:
        if (iso is None) == (disk is None):
            raise UsageError("an emulator boots from either a CD image or a disk image")
        image = iso or disk
        assert image is not None
        if not image.is_file():
            raise UsageError(f"no boot image at {image}")
        for given in (guest_disk, usb_disk):
            if given is not None and not given.is_file():
                raise UsageError(f"no disk image at {given}")
        self.board = board
        self.run_dir = run_dir.resolve()
        self.console_path = self.run_dir / "console.log"
        self.ram_path = self.run_dir / "ram.img"
        self.stats_path = self.run_dir / "stats"
        self._machine = Machine(
            board=board,
            run_dir=self.run_dir,
            iso=iso.resolve() if iso else None,
            disk=disk.resolve() if disk else None,
            keep_disk=keep_disk,
            guest_disk=guest_disk.resolve() if guest_disk else None,
            write_guest_disk=write_guest_disk,
            usb_disk=usb_disk.resolve() if usb_disk else None,
            net_port=net_port,
            seed=seed,
            start_time=int(time.time()) if start_time is None else start_time,
            ips=ips or board.emulator.ips,
        )
        self.log_path = self._machine.log_path
        self._nic_poll_us = nic_poll_us
        self._warm = warm
        self._process: subprocess.Popen[bytes] | None = None
        self._monitor: socket.socket | None = None
        self._serial: GuestSerial | None = None
        self._terminated = False

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.terminate()

    @property
    def monitor(self) -> socket.socket:
        """The monitor's serial line (COM2): a connected stream, 8 bits clean, with flow control.

        A machine that writes while nobody reads waits in the end, so keep reading.
        """
        assert self._monitor is not None, "not started"
        return self._monitor

    @property
    def serial(self) -> GuestSerial:
        """The guest's serial port (COM1)."""
        assert self._serial is not None, "not started"
        return self._serial

    @property
    def pid(self) -> int:
        """Process id of the emulator."""
        assert self._process is not None, "not started"
        return self._process.pid

    def start(self) -> None:
        """Power on. Returns when the machine runs and its monitor line is connected.

        Raises EnvironmentProblem (port in use, disk full, directory not writable) or MachineError.
        """
        assert self._process is None, "started twice"
        install = provision.bochs()
        try:
            self.run_dir.mkdir(parents=True, exist_ok=True)
            for path in (self.console_path, self.stats_path, self.log_path):
                path.unlink(missing_ok=True)
            if not self._warm:
                self.ram_path.unlink(missing_ok=True)
            self._check_port()
            self._link_usb_disk()
            with (
                socket.create_server(("127.0.0.1", 0)) as guest,
                socket.create_server(("127.0.0.1", 0)) as monitor,
            ):
                config = self.run_dir / "bochsrc"
                ports = guest.getsockname()[1], monitor.getsockname()[1]
                config.write_text(bochsrc(self._machine, install, *ports))
                self._spawn(install, config)
                self._serial = GuestSerial(self._accept(guest), self.console_path)
                self._monitor = self._accept(monitor)
                self._monitor.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        except OSError as error:
            self.terminate()
            raise EnvironmentProblem(f"cannot start the emulator: {error}") from None
        except BaseException:
            self.terminate()
            raise

    def poll(self) -> Ending | None:
        """None while the machine runs, else how it ended."""
        assert self._process is not None, "not started"
        status = self._process.poll()
        if status is None:
            return None
        if self._serial is not None:
            self._serial.drain()
        if self._terminated:
            return Ending.TERMINATED
        if any(POWER_OFF in line for line in self._complaints()):
            return Ending.POWER_OFF
        return Ending.FAILED

    def wait(self, timeout: float) -> Ending | None:
        """Wait up to `timeout` seconds for the end; None when the machine still runs."""
        assert self._process is not None, "not started"
        try:
            self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            return None
        return self.poll()

    def terminate(self) -> None:
        """Pull the plug (SIGKILL): memory, statistics and console stay readable."""
        if self._process is not None and self._process.poll() is None:
            self._terminated = True
            self._process.kill()
            self._process.wait()
        (self.run_dir / USB_IMAGE).unlink(missing_ok=True)
        if self._serial is not None:
            self._serial.close()
        if self._monitor is not None:
            self._monitor.close()

    def failure(self) -> LvmmError:
        """The error that describes an emulator that ended as FAILED, with its last words."""
        assert self._process is not None, "not started"
        status = self._process.returncode
        free = shutil.disk_usage(self.run_dir).free
        if free < _FULL_BELOW:
            return EnvironmentProblem(f"disk full: {free >> 20} MiB left at {self.run_dir}")
        if status is not None and status < 0:
            reason = f"was killed by {signal.Signals(-status).name}"
        else:
            reason = f"ended with status {status}"
        words = "; ".join(self._complaints()[-_QUOTED_LINES:]) or "nothing"
        return MachineError(f"the emulator {reason}; its last words ({self.log_path}): {words}")

    def stats(self) -> Stats:
        """The counters as of now (at most 10 ms of emulated time old)."""
        try:
            return parse_stats(self.stats_path.read_bytes())
        except OSError:
            raise MachineError("the emulator left no statistics") from None

    def read_ram(self, address: int, length: int) -> bytes:
        """Physical memory, live. Raises ValueError outside of RAM."""
        if address < 0 or length < 0 or address + length > self.board.memory.total_bytes:
            raise ValueError(f"no RAM at {address:#x}+{length:#x}")
        with self.ram_path.open("rb") as file:
            return os.pread(file.fileno(), length, address)

    def _check_port(self) -> None:
        if self._machine.net_port is None:
            return
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            try:
                probe.bind(("", self._machine.net_port))
            except (OSError, OverflowError) as error:
                raise EnvironmentProblem(
                    f"cannot use UDP port {self._machine.net_port} for the NIC: {error}"
                ) from None

    def _link_usb_disk(self) -> None:
        link = self.run_dir / USB_IMAGE
        link.unlink(missing_ok=True)
        if self._machine.usb_disk is not None:
            link.symlink_to(self._machine.usb_disk)

    def _spawn(self, install: provision.Bochs, config: Path) -> None:
        environment = {
            "PATH": os.environ.get("PATH", ""),
            "HOME": str(self.run_dir),
            "LVMM_PARENT": str(os.getpid()),
            "LVMM_PMU_SEED": str(self._machine.seed),
            "LVMM_PMU_MARGIN": str(self.board.emulator.skid_margin),
            "LVMM_PMU_FAULT": self.board.emulator.counter_fault,
            "LVMM_TLB_FLUSH": str(self.board.emulator.tlb_flush),
            "LVMM_NIC_POLL": str(self._nic_poll_us),
            "LVMM_RAM_FILE": str(self.ram_path),
            "LVMM_RAM_MIN": str(self.board.memory.total_bytes),
            "LVMM_STATS_FILE": str(self.stats_path),
            "LVMM_LINE_PORT": str(self.board.serial.monitor),
        }
        with (self.run_dir / "bochs.out").open("wb") as output:
            self._process = subprocess.Popen(
                [install.program, "-q", "-f", config],
                cwd=self.run_dir,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=_block_alarm,
            )

    def _accept(self, server: socket.socket) -> socket.socket:
        server.settimeout(0.1)
        deadline = time.monotonic() + _CONNECT_SECONDS
        while time.monotonic() < deadline:
            try:
                return server.accept()[0]
            except TimeoutError:
                if self.poll() is not None:
                    raise self.failure() from None
        raise MachineError(f"the emulator did not start within {_CONNECT_SECONDS:.0f} s")

    def _complaints(self) -> list[str]:
        """What Bochs logged last, or printed before it had its log."""
        return complaints(self.log_path) or complaints(self.run_dir / "bochs.out")


def _block_alarm() -> None:
    """Bochs logs its speed in a SIGALRM handler, which deadlocks when it interrupts the logging."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGALRM})
