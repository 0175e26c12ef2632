"""Record and live runs on a board: build the image, run the machine, keep what it leaves.

lvmm.replaying replays what was recorded.
"""

from __future__ import annotations

import dataclasses
import enum
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lvmm import __version__, recording_dir
from lvmm.board import Board
from lvmm.crash import CrashedGuest, explain_crash, save_crash
from lvmm.crash_report import render_crash
from lvmm.debug.of_a_run import AttachPort
from lvmm.debug.service import GdbOptions
from lvmm.early_reads import find_early_reads
from lvmm.errors import (
    EnvironmentProblem,
    LvmmError,
    MachineError,
    MachineTimeout,
    RecordingError,
)
from lvmm.fence import monitor_word
from lvmm.guest import Guest, check_guest
from lvmm.guest_disk import describe_disk
from lvmm.image import BootFile, BootImage, build_image
from lvmm.last_look import LastLook
from lvmm.logs import Recording
from lvmm.logs.errors import MemoryGone
from lvmm.logs.event_text import event_json
from lvmm.logs.from_epoch import save_replayable
from lvmm.logs.layout import End, FinalState
from lvmm.machine_run import ConsoleSink, RunOptions, RunResult, StopRequest, run_machine
from lvmm.memory_digest import digest_memory, ram_ranges
from lvmm.monitor_build import monitor_elf
from lvmm.recorded_part import recorded_part
from lvmm.recording_dir import Manifest
from lvmm.triggers import NO_TRIGGERS, Triggers

# The text with which the demo's guest says that it has reached init.
BOOT_MARK = "lvmm: init"

# How the monitor calls the end of a recording after which the guest runs on.
GUEST_STOP = "guest-stop"

# Besides the images: what a run writes into its directory at most, without the memory file.
_RUN_OVERHEAD_BYTES = 64 << 20


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


def default_directory() -> Path:
    """recordings/<date-time> in the current directory."""
    return Path("recordings") / time.strftime("%Y-%m-%d-%H%M%S")


def monitor_image(
    board: Board,
    guest: Guest,
    mode: str,
    output: Path,
    log: Path | None = None,
    menu_timeout_s: int = 0,
    words: dict[str, str] | None = None,
) -> Path:
    """Builds the boot image for a run of the guest under the monitor; returns the monitor used.

    `words` are further settings for the monitor's command line, as of RunSettings.words().
    """
    monitor = monitor_elf(board.name)
    files = list(guest.boot_files())
    if log is not None:
        files.append(BootFile("log.lvmm", log, "log"))
    settings = {"mode": mode, **guest.words(), **(words or {})}
    build_image(BootImage(monitor, settings, tuple(files), menu_timeout_s), output)
    return monitor


def _run_bytes(board: Board, memory_mib: int) -> int:
    return (memory_mib << 20) + board.memory.log_bytes + _RUN_OVERHEAD_BYTES


def run_mib(board: Board) -> int:
    """MiB of disk that a run with the board's usual memory may need, besides the guest's files."""
    return _run_bytes(board, board.memory.guest_default_mib) >> 20


def check_space(directory: Path, guest: Guest, board: Board) -> None:
    """Raises EnvironmentProblem when the disk cannot take a run with this guest."""
    files = sum(path.stat().st_size for path in guest.files)
    needed = _run_bytes(board, guest.memory_mib) + 4 * files
    existing = directory
    while not existing.exists():
        existing = existing.parent
    free = shutil.disk_usage(existing).free
    if free < needed:
        raise EnvironmentProblem(
            f"disk full: {existing} has {free >> 20} MiB free, this run may need {needed >> 20} MiB"
        )


def raise_run_error(result: RunResult) -> None:
    """Raises what went wrong with the machine, the monitor or the deadline, if anything."""
    if result.error is not None:
        raise result.error
    report = result.report
    if report.halted is None:
        if result.timed_out:
            raise MachineTimeout("the deadline passed and the monitor did not answer")
        why = f": {result.stop_failure}" if result.stop_failure else ""
        raise MachineError(f"the monitor did not answer the request to stop{why}")
    if report.reason == "error":
        text = "; ".join(report.errors) or report.last_text() or "no message"
        raise MachineError(f"the monitor gave up: {text}")


def live(
    board: Board, guest: Guest, settings: RunSettings, stop: StopRequest | None = None
) -> RunResult:
    """Runs the guest under the monitor, without a log."""
    return _temporary_run(board, guest, settings, "live", stop)


def run_native(board: Board, guest: Guest, options: RunOptions) -> RunResult:
    """Runs a Linux or multiboot guest on the bare emulator: what recording is compared with."""
    check_guest(guest, board)
    kernel, *initrd = guest.boot_files()
    memory = f" mem={guest.memory_mib}M" if guest.kind == "linux" else ""
    files = (dataclasses.replace(kernel, text=guest.cmdline + memory), *initrd)
    with tempfile.TemporaryDirectory(prefix="lvmm-native-") as scratch:
        image = Path(scratch) / "boot.iso"
        build_image(BootImage(None, {}, files, loader=guest.kind), image)
        return run_machine(
            board, image, Path(scratch) / "run", dataclasses.replace(options, monitored=False)
        )


def _temporary_run(
    board: Board, guest: Guest, settings: RunSettings, mode: str, stop: StopRequest | None
) -> RunResult:
    check_guest(guest, board)
    with tempfile.TemporaryDirectory(prefix=f"lvmm-{mode}-") as scratch:
        check_space(Path(scratch), guest, board)
        image = Path(scratch) / "boot.iso"
        monitor_image(
            board,
            guest,
            mode,
            image,
            menu_timeout_s=settings.menu_timeout_s,
            words=settings.words(),
        )
        run_dir = Path(scratch) / "run"
        look = LastLook()
        options = run_options(settings, **_guest_disk(guest), at_end=look)
        result = run_machine(board, image, run_dir, options, stop)
        crashed = CrashedGuest(guest.kind, guest.kernel, result.report.errors)
        result.crash = look.explain(crashed, run_dir / "ram.img", result.report)
        try:
            raise_run_error(result)
        except LvmmError:
            if result.crash is not None:
                print(render_crash(result.crash), file=sys.stderr)
            raise
        return result


def _say(line: str) -> None:
    print(f"lvmm: {line}", file=sys.stderr, flush=True)


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
        attach=settings.attach,
        guest_disk=settings.guest_disk,
        usb_disk=settings.usb_disk,
    )
    return dataclasses.replace(options, **changes)


def _guest_disk(guest: Guest) -> dict[str, Any]:
    """What RunOptions say of the disk that a guest begins on."""
    if guest.disk is None:
        return {}
    return {"guest_disk": guest.disk, "write_guest_disk": guest.disk_write}


def with_log(options: RunOptions, log: Path) -> RunOptions:
    """Tells the debugger, if there is one, where the log is."""
    gdb = options.gdb and dataclasses.replace(options.gdb, log=log)
    return dataclasses.replace(options, gdb=gdb)


def record(
    board: Board,
    guest: Guest,
    settings: RunSettings,
    output: Path,
    stop: StopRequest | None = None,
    before_extraction: Callable[[Path], None] | None = None,
) -> Manifest:
    """Records a run of the guest into the directory `output`.

    At the deadline or on a stop request the recording up to there is sealed and complete. When the
    machine fails, what its memory holds is saved in `output`.partial, and the error raised.
    `before_extraction` is called with the memory file when the machine has ended.
    """
    check_guest(guest, board)
    check_space(output.parent, guest, board)
    partial = recording_dir.create_partial(output)
    options = run_options(settings, **_guest_disk(guest), marks=(BOOT_MARK, *settings.marks))
    run_dir = partial / recording_dir.RUN
    options = with_log(options, run_dir / "ram.img")
    if settings.sink != Sink.MEMORY:
        options = dataclasses.replace(options, log_sink=partial / recording_dir.LOG)
    image = run_dir / "boot.iso"
    try:
        disk = describe_disk(guest.disk) if guest.disk is not None else None
        visitor = settings.triggers.visit(guest, _say)
        options = dataclasses.replace(options, visitor=visitor)
        stored = _store_guest(guest, partial)
        monitor = monitor_image(
            board,
            stored,
            "record",
            image,
            menu_timeout_s=settings.menu_timeout_s,
            words=settings.words(),
        )
        result = run_machine(board, image, run_dir, options, stop)
    except BaseException:
        recording_dir.remove(partial)
        raise
    ram = run_dir / "ram.img"
    if before_extraction is not None and result.error is None:
        before_extraction(ram)
    if settings.sink == Sink.MEMORY:
        _extract(ram, partial, result)
    else:
        _take_received(partial, result)
    image.unlink()
    crash = _explain_crash(partial, stored, ram, result)
    try:
        raise_run_error(result)
    except LvmmError as error:
        if crash is not None:
            print(render_crash(crash), file=sys.stderr)
        raise _with_salvage(error, partial) from None
    manifest = _manifest(board, guest, stored, partial, result, options, monitor)
    early = None
    if settings.early_reads:
        early = find_early_reads(partial / recording_dir.LOG, stored, ram)
    # The disk as it was before the run.
    manifest = dataclasses.replace(
        manifest, disk=disk, unfenced=settings.unfenced, early_reads=early
    )
    recording_dir.write_manifest(partial, manifest)
    for name in ("ram.img", "stats", "bochs.out", "console.log"):
        (run_dir / name).unlink(missing_ok=True)
    recording_dir.complete(partial, output)
    return manifest


def _explain_crash(
    partial: Path, guest: Guest, ram: Path, result: RunResult
) -> dict[str, Any] | None:
    """The report of a crash, kept in the recording; None without one, or when nothing was saved."""
    if not (partial / recording_dir.LOG).exists():
        return None
    crashed = CrashedGuest(guest.kind, guest.kernel, result.report.errors)
    report = explain_crash(partial, crashed, ram)
    if report is not None:
        save_crash(partial, report)
    return report


def _with_salvage(error: LvmmError, partial: Path) -> LvmmError:
    saved = (partial / recording_dir.LOG).exists()
    what = f"the log up to there is in {partial}" if saved else f"no log in {partial}"
    return type(error)(f"{error} ({what})")


def _store_guest(guest: Guest, partial: Path) -> Guest:
    """Copies the guest's files into the recording; returns the guest made of the copies."""
    if guest.kernel is None:
        return guest
    folder = partial / recording_dir.GUEST
    kernel = folder / guest.kernel_name
    recording_dir.copy_file(guest.kernel, kernel)
    extra = []
    for index, path in enumerate(guest.extra):
        target = folder / ("initrd" if guest.kind == "linux" else f"m{index}-{path.name}")
        recording_dir.copy_file(path, target)
        extra.append(target)
    return dataclasses.replace(guest, kernel=kernel, extra=tuple(extra))


def _extract(ram: Path, partial: Path, result: RunResult) -> None:
    """Saves log and console out of the memory file, as far as they are there."""
    console = result.console
    try:
        with Recording.open(ram) as recording:
            problem = save_replayable(recording, partial / recording_dir.LOG)
            region = recording.region
            if region is not None and recording.console is not None and not region.console_lost:
                console = recording.console
        if problem is not None:
            raise problem
        with Recording.open(partial / recording_dir.LOG) as recording:
            console = recorded_part(recording).of_console(console)
    except LvmmError as error:
        if result.error is None and result.report.reason != "error":
            raise
        what = "no log could be saved"
        if isinstance(error, MemoryGone):
            what = "the log is saved as it is, and cannot be replayed"
        print(f"lvmm: {what}: {error}", file=sys.stderr)
    (partial / recording_dir.CONSOLE).write_bytes(console)


def _take_received(partial: Path, result: RunResult) -> None:
    """The log has come over the line, as far as it has; the console by its own."""
    console = result.console
    log = partial / recording_dir.LOG
    if log.exists():
        with Recording.open(log) as recording:
            console = recorded_part(recording).of_console(console)
    (partial / recording_dir.CONSOLE).write_bytes(console)


def _manifest(
    board: Board,
    source: Guest,
    guest: Guest,
    partial: Path,
    result: RunResult,
    options: RunOptions,
    monitor: Path,
) -> Manifest:
    """Describes the recording; `source` is the guest as given, `guest` made of the copies."""
    size = guest.memory_mib << 20
    ram = partial / recording_dir.RUN / "ram.img"
    with Recording.open(partial / recording_dir.LOG) as recording:
        end = recording.end()
        if recording.header is None or end is None or not isinstance(end.payload, End):
            raise RecordingError(f"{partial}: the log has no end; it was cut short")
        registers = event_json(end)
        state = FinalState.unpack(end.payload.state)
        stopped = recorded_part(recording).stopped
        # Then the guest has run on, and memory with it: the log has the monitor's own digest.
        memory = digest_memory(ram, size, [] if stopped else ram_ranges(recording.header, size))
        events_total = recording.event_count
    (partial / recording_dir.PAGES).write_bytes(memory.pages)
    copy = partial / recording_dir.RUN / "lvmm.elf"
    recording_dir.copy_file(monitor, copy)
    monitor_entry = recording_dir.describe_file(partial, f"{recording_dir.RUN}/lvmm.elf")
    copy.unlink()

    def entry(path: Path) -> recording_dir.FileEntry:
        return recording_dir.describe_file(partial, str(path.relative_to(partial)))

    return Manifest(
        board=board.name,
        kind=guest.kind,
        cmdline=guest.cmdline,
        memory_mib=guest.memory_mib,
        kernel=None if guest.kernel is None else entry(guest.kernel),
        extra=tuple(entry(path) for path in guest.extra),
        log=entry(partial / recording_dir.LOG),
        console=entry(partial / recording_dir.CONSOLE),
        pages=entry(partial / recording_dir.PAGES),
        memory_sha256=memory.sha256,
        end_reason=GUEST_STOP if stopped else str(result.report.reason),
        branches=state.branches,
        rip=state.rip,
        events_total=events_total,
        events=result.report.events,
        exits=result.report.exits,
        seed=options.seed,
        wall_s=round(result.wall_s, 3),
        instructions=result.stats.instructions if result.stats else 0,
        registers={
            name: value for name, value in registers.get("state", {}).items() if name != "segments"
        },
        tool_version=__version__,
        monitor_sha256=monitor_entry.sha256,
        marks={text: dataclasses.asdict(mark) for text, mark in result.marks.items()},
        kernel_name=source.name,
        altered=result.altered,
        fenced=tuple(result.report.fenced),
    )
