"""What a run is told, and what is known of it when it is over."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from lvmm.debug.of_a_run import AttachPort
from lvmm.debug.service import GdbOptions
from lvmm.emulator import Ending
from lvmm.emulator_stats import Stats
from lvmm.errors import LvmmError
from lvmm.link import LinkClient
from lvmm.monitor_line import MonitorReport

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
    called when the guest has ended. With `from_end` a debugger is let in only then.
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
    from_end: bool = False


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
