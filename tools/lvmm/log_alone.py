"""A log that extract_log.py has saved, made a recording that can be replayed.

The log says what the guest was started with, by digests; the files themselves are given. What it
does not say, the guest's memory and console at the end, a replay cannot be compared with.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from lvmm import __version__, recording_dir
from lvmm.errors import EnvironmentProblem, RecordingError, UsageError
from lvmm.guest import Kind
from lvmm.logs import Recording
from lvmm.logs.crc import crc32c
from lvmm.logs.layout import End, EndReason, FinalState, GuestKind, Image, ImageRole
from lvmm.recording_dir import FileEntry, Manifest

_KINDS: dict[int, Kind] = {
    GuestKind.LINUX: "linux",
    GuestKind.MULTIBOOT: "multiboot",
    GuestKind.SECTOR: "sector",
    GuestKind.DISK: "disk",
}
_KERNEL = "kernel"
# How a recording ended that has no end: the machine went down.
CUT_OFF = "cut-off"
# As the monitor calls them, where that is not the name in small letters.
_REASONS = {EndReason.POWER_OFF: "shutdown", EndReason.MONITOR_ERROR: "error"}


def adopt(log: Path, images: Sequence[Path], directory: Path) -> None:
    """Makes a recording in `directory` of a log, or of a directory with one.

    Raises UsageError (an image is missing, or is none of this guest's), RecordingError (the log is
    damaged, or lacks its beginning) and EnvironmentProblem.
    """
    with Recording.open(log) as recording:
        header, end = recording.header, recording.end()
        if recording.losses or header is None:
            raise RecordingError(f"{log}: the log is damaged: extract_log.py verify tells more")
        if recording.overwritten is not None:
            raise RecordingError(
                f"{log}: the log has lost its beginning, and nothing says what the guest's memory "
                "was where it begins: extract it from an image of all the machine's memory"
            )
        recording.save(directory / recording_dir.LOG)
        kind = _KINDS.get(header.machine.guest_kind)
        if kind is None:
            raise RecordingError(f"{log}: a guest of a kind that this lvmm does not know")
        events_total = recording.event_count
        reason, branches, rip = CUT_OFF, 0, 0
        if end is not None and isinstance(end.payload, End):
            state = FinalState.unpack(end.payload.state)
            reason, branches, rip = _reason(end.payload.reason), state.branches, state.rip
    for name in (recording_dir.CONSOLE, recording_dir.PAGES):
        (directory / name).write_bytes(b"")
    files = _copy_images(log, header.images, images, directory)
    kernels = [entry for image, entry in files if image.role == ImageRole.KERNEL]
    manifest = Manifest(
        board=header.board,
        kind=kind,
        cmdline=header.command_line,
        memory_mib=header.machine.guest_memory_bytes >> 20,
        kernel=kernels[0] if kernels else None,
        extra=tuple(entry for image, entry in files if image.role != ImageRole.KERNEL),
        log=recording_dir.describe_file(directory, recording_dir.LOG),
        console=recording_dir.describe_file(directory, recording_dir.CONSOLE),
        pages=recording_dir.describe_file(directory, recording_dir.PAGES),
        memory_sha256="",
        end_reason=reason,
        branches=branches,
        rip=rip,
        events_total=events_total,
        events={},
        exits={},
        seed=0,
        wall_s=0.0,
        instructions=0,
        registers={},
        tool_version=__version__,
        monitor_sha256="",
        kernel_name=_KERNEL,
        log_alone=True,
    )
    recording_dir.write_manifest(directory, manifest)


def _reason(reason: int) -> str:
    known = EndReason(reason)
    return _REASONS.get(known, known.name.lower().replace("_", "-"))


def _copy_images(
    log: Path, wanted: Sequence[Image], given: Sequence[Path], directory: Path
) -> list[tuple[Image, FileEntry]]:
    """The guest's files, in the order in which it was started with them."""
    try:
        digests = {(path.stat().st_size, crc32c(path.read_bytes())): path for path in given}
    except OSError as error:
        raise EnvironmentProblem(f"cannot read {error.filename}: {error.strerror}") from None
    found: list[tuple[Image, FileEntry]] = []
    unused = set(given)
    for number, image in enumerate(wanted):
        path = digests.get((image.size, image.crc32c))
        if path is None:
            raise UsageError(
                f"{log}: the guest's {ImageRole(image.role).name.lower()} is needed: give it by "
                f"--image FILE ({image.size} bytes, CRC-32C {image.crc32c:08x})"
            )
        unused.discard(path)
        # A module's name is seen by the guest; that of record's own copies is like this.
        name = _KERNEL if image.role == ImageRole.KERNEL else f"m{number - 1}-{path.name}"
        recording_dir.copy_file(path, directory / recording_dir.GUEST / name)
        relative = f"{recording_dir.GUEST}/{name}"
        found.append((image, recording_dir.describe_file(directory, relative)))
    for path in sorted(unused):
        raise UsageError(f"--image {path}: no file that this guest was started with")
    return found


def is_alone(path: Path) -> bool:
    """Whether it is a log, or a directory that extract_log.py has made, and no recording."""
    if path.is_dir():
        return (path / recording_dir.LOG).is_file() and not (
            (path / recording_dir.MANIFEST).exists() or path.name.endswith(".partial")
        )
    return path.is_file()
