"""What the user chooses for a run, and what of it the monitor and the machine are told."""

from __future__ import annotations

import dataclasses
import enum
import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lvmm.debug.of_a_run import AttachPort
from lvmm.debug.service import GdbOptions
from lvmm.fence import monitor_word
from lvmm.guest import Guest
from lvmm.machine_run import ConsoleSink, RunOptions
from lvmm.triggers import NO_TRIGGERS, Triggers

LOG_MIN_KIB = 256  # as in hypervisor/boot/main.c
RING_MIN_KIB = 1024  # as in hypervisor/boot/ring.c


class Sink(enum.Enum):
    """Where the log goes: it stays in memory, which is read when the run is over; or it is taken
    over the monitor's line meanwhile, and when memory is full the guest waits, or the recording
    ends.
    """

    MEMORY = "memory"
    SERIAL = "serial"
    SERIAL_STOP = "serial-stop"


@dataclass(frozen=True)
class RingSettings:
    """A ring of `kib` KiB. An epoch ends after `epoch_ms` of the guest's time or `epoch_events`
    events, 0: never, and when an eighth of the ring is written.
    """

    kib: int
    epoch_ms: int = 0
    epoch_events: int = 0

    def words(self) -> dict[str, str]:
        """What of this the monitor's command line says."""
        words = {"ring": str(self.kib)}
        if self.epoch_ms:
            words["epoch-ms"] = str(self.epoch_ms)
        if self.epoch_events:
            words["epoch-events"] = str(self.epoch_events)
        return words


@dataclass(frozen=True)
class RunSettings:
    """What the user chooses for a run.

    `watchdog_s`: seconds without progress after which the guest's run is ended; 0: never.
    `on_demand`: record only from where the guest asks for it (guest_support/lvmm.h). `sent_bytes`:
    what to record of each frame that the guest sends; None: all. `log_kib`: how much of the board's
    log region is used; None: all. `ring`: only the newest part of the log is kept. `sink`: where
    the log goes. `guest_disk`: the image of the guest's own disk, `usb_disk` that of one on a USB
    port: they stay as they are. `unfenced`: devices that may be bus masters although their DMA is
    not recorded: PCI addresses, or `all`. `early_reads`: tell where the guest reads buffers that a
    device owns (docs/early-reads.md). `checkpoints`: conditional branches from one checkpoint of a
    replay to the next; 0: it makes none, and cannot go back. `triggers`: what begins and ends the
    recording. `from_end`: a debugger is let in at the end of a replay, whose checkpoints are kept
    beside the recording. `nic_poll_us`: microseconds of emulated time between two frames that the
    emulated NIC takes; 0: 1,000.
    """

    net_port: int | None = None
    seed: int | None = None
    timeout_s: float = 3600.0
    as_disk: bool = False
    console: ConsoleSink | None = None
    menu_timeout_s: int = 0
    marks: tuple[str, ...] = ()
    ips: int | None = None
    nic_poll_us: int = 0
    gdb: GdbOptions | None = None
    attach: AttachPort | None = None
    watchdog_s: int = 0
    on_demand: bool = False
    sent_bytes: int | None = None
    log_kib: int | None = None
    ring: RingSettings | None = None
    sink: Sink = Sink.MEMORY
    guest_disk: Path | None = None
    usb_disk: Path | None = None
    unfenced: tuple[str, ...] = ()
    checkpoints: int = 0
    triggers: Triggers = NO_TRIGGERS
    from_end: bool = False
    early_reads: bool = False

    @property
    def wait(self) -> bool:
        """Whether the guest is to wait for the debugger before its first instruction."""
        return any(option.wait for option in (self.gdb, self.attach) if option is not None)

    def words(self) -> dict[str, str]:
        """What of this the monitor's command line says (docs/getting-started.md)."""
        words = {}
        if self.wait:
            words["wait"] = "1"
        if self.watchdog_s:
            words["watchdog"] = str(self.watchdog_s)
        if self.on_demand:
            words["on-demand"] = "1"
        if self.sent_bytes is not None:
            words["sent"] = str(self.sent_bytes)
        if self.unfenced:
            words["unfenced"] = monitor_word(self.unfenced)
        if self.log_kib is not None:
            words["log"] = str(self.log_kib)
        if self.early_reads:
            words["early-reads"] = "1"
        if self.checkpoints:
            words["checkpoints"] = str(self.checkpoints)
        if self.ring is not None:
            words |= self.ring.words()
        if self.sink == Sink.SERIAL:
            words["wait-for-room"] = "1"
        return {**words, **self.triggers.words()}


def with_network(settings: RunSettings, port: int, marks: tuple[str, ...]) -> RunSettings:
    """The same settings with a network, noting the state at these texts on the console."""
    return dataclasses.replace(settings, net_port=port, marks=marks)


def new_seed() -> int:
    return random.SystemRandom().randrange(1, 1 << 31)


def run_options(settings: RunSettings, **changes: Any) -> RunOptions:
    """How to run the machine as the settings say, with these changes."""
    options = RunOptions(
        net_port=settings.net_port,
        seed=settings.seed if settings.seed is not None else new_seed(),
        as_disk=settings.as_disk,
        ips=settings.ips,
        nic_poll_us=settings.nic_poll_us,
        deadline_s=settings.timeout_s,
        console=settings.console,
        gdb=settings.gdb,
        from_end=settings.from_end,
        attach=settings.attach,
        guest_disk=settings.guest_disk,
        usb_disk=settings.usb_disk,
    )
    return dataclasses.replace(options, **changes)


def disk_options(guest: Guest) -> dict[str, Any]:
    """What RunOptions say of the disk that a guest begins on."""
    if guest.disk is None:
        return {}
    return {"guest_disk": guest.disk, "write_guest_disk": guest.disk_write}


def with_log(options: RunOptions, log: Path) -> RunOptions:
    """Tells the debugger, if there is one, where the log is."""
    gdb = options.gdb and dataclasses.replace(options.gdb, log=log)
    return dataclasses.replace(options, gdb=gdb)
