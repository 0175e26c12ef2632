"""A recording on disk: a directory with a manifest, the log and copies of the guest's files.

    recording.json      the manifest (below)
    log.lvmm            the log (docs/log-format.md)
    console.log         what the guest wrote to its console
    memory.pages        CRC-32C of each page of the guest's RAM at the end (lvmm.memory_digest)
    guest/              the files that the guest was started with
    run/                the emulator's and the monitor's own logs

While it is made the directory is called NAME.partial. Whatever carries that name, or lacks the
manifest, is incomplete and cannot be replayed; tools/extract_log.py still reads its parts.
"""

from __future__ import annotations

import dataclasses
import errno
import hashlib
import json
import os
import shutil
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lvmm.errors import EnvironmentProblem, RecordingError, UsageError, VersionMismatch
from lvmm.guest import Guest, Kind
from lvmm.logs.layout import CHUNK_MAGIC, FORMAT_VERSION

MANIFEST_VERSION = 1
MANIFEST = "recording.json"
LOG = "log.lvmm"
CONSOLE = "console.log"
PAGES = "memory.pages"
GUEST = "guest"
RUN = "run"
PARTIAL_SUFFIX = ".partial"


@dataclass(frozen=True)
class FileEntry:
    """A file of the recording; `path` is relative to its directory, `size` in bytes."""

    path: str
    size: int
    sha256: str


@dataclass(frozen=True)
class Manifest:
    """What recording.json says.

    `altered`: a debugger changed the guest in a way that the log does not know, so that a replay
    goes another way. A system on its own disk has no `kernel`; `disk` is then the image as it was
    before the run (`path` is its name): no copy is here, and a replay needs none. `unfenced`:
    devices that were bus masters although their DMA is not recorded (PCI addresses, or `all`), so
    that it may go another way, too; `fenced`: what the monitor said of such devices. `early_reads`:
    where the guest read buffers that a device owned; None: that was not looked for. `log_alone`:
    made of a log (lvmm.log_alone), so that memory and console at the end are not known.
    """

    board: str
    kind: Kind
    cmdline: str
    memory_mib: int
    kernel: FileEntry | None
    extra: tuple[FileEntry, ...]
    log: FileEntry
    console: FileEntry
    pages: FileEntry
    memory_sha256: str
    end_reason: str
    branches: int
    rip: int
    events_total: int
    events: dict[str, int]
    exits: dict[str, int]
    seed: int
    wall_s: float
    instructions: int
    registers: dict[str, Any]
    tool_version: str
    monitor_sha256: str
    kernel_name: str
    marks: dict[str, Any] = field(default_factory=dict)
    altered: bool = False
    disk: FileEntry | None = None
    unfenced: tuple[str, ...] = ()
    fenced: tuple[dict[str, Any], ...] = ()
    early_reads: tuple[dict[str, Any], ...] | None = None
    log_alone: bool = False
    version: int = MANIFEST_VERSION

    @property
    def images(self) -> tuple[FileEntry, ...]:
        """The files that the guest is started with."""
        return self.extra if self.kernel is None else (self.kernel, *self.extra)


def describe_file(directory: Path, path: str) -> FileEntry:
    """Size and digest of a file of the recording."""
    with (directory / path).open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return FileEntry(path, (directory / path).stat().st_size, digest)


def copy_file(source: Path, target: Path) -> None:
    """Copies a file, sharing its blocks where the file system can."""
    target.parent.mkdir(parents=True, exist_ok=True)
    result = subprocess.run(
        ["cp", "--reflink=auto", "--", str(source), str(target)],
        capture_output=True,
        text=True,
        check=False,
    )
    if result.returncode != 0:
        raise EnvironmentProblem(f"cannot copy {source}: {result.stderr.strip()}")


def create_partial(final: Path) -> Path:
    """Makes the directory in which a recording grows. Raises UsageError when `final` exists."""
    if os.path.lexists(final):
        raise UsageError(f"{final} exists already; choose another directory with -o")
    partial = final.with_name(final.name + PARTIAL_SUFFIX)
    if os.path.lexists(partial):
        raise UsageError(
            f"{partial} is in the way: another run is recording there, or one was cut short; "
            "choose another directory with -o, or remove that one"
        )
    try:
        (partial / RUN).mkdir(parents=True)
    except OSError as error:
        raise EnvironmentProblem(f"cannot create {partial}: {error.strerror}") from None
    return partial


def write_manifest(directory: Path, manifest: Manifest) -> None:
    text = json.dumps(dataclasses.asdict(manifest), indent=2) + "\n"
    fresh = directory / (MANIFEST + ".new")
    try:
        with fresh.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(directory / MANIFEST)
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise EnvironmentProblem(f"disk full: {directory}") from None
        raise


def complete(partial: Path, final: Path) -> None:
    """Gives a finished recording its name."""
    partial.rename(final)


def read_manifest(directory: Path) -> Manifest:
    """The manifest of a complete recording.

    Raises UsageError (no such directory), RecordingError (incomplete or damaged), VersionMismatch.
    """
    if not directory.is_dir():
        partial = directory.with_name(directory.name + PARTIAL_SUFFIX)
        if partial.is_dir():
            raise RecordingError(
                f"{directory}: the recording is incomplete ({partial} is what there is)"
            )
        raise UsageError(f"no such recording: {directory}")
    if directory.name.endswith(PARTIAL_SUFFIX):
        raise RecordingError(f"{directory}: the recording is incomplete; it cannot be replayed")
    path = directory / MANIFEST
    try:
        fields = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise RecordingError(f"{directory}: no {MANIFEST}: incomplete, or no recording") from None
    except (OSError, ValueError) as error:
        raise RecordingError(f"{path} cannot be read: {error}") from None
    if not isinstance(fields, dict) or not isinstance(fields.get("version"), int):
        raise RecordingError(f"{path} is not a recording's manifest")
    if fields["version"] != MANIFEST_VERSION:
        raise VersionMismatch(
            f"{directory} was made by another lvmm: recording version {fields['version']}, "
            f"this one reads version {MANIFEST_VERSION}"
        )
    try:
        for name in ("kernel", "disk", "log", "console", "pages"):
            if fields.get(name) is not None:
                fields[name] = FileEntry(**fields[name])
        fields["extra"] = tuple(FileEntry(**entry) for entry in fields["extra"])
        for name in ("unfenced", "fenced"):
            fields[name] = tuple(fields.get(name, ()))
        if fields.get("early_reads") is not None:
            fields["early_reads"] = tuple(fields["early_reads"])
        return Manifest(**fields)
    except (TypeError, KeyError) as error:
        raise RecordingError(f"{path} is damaged: {error}") from None


def verify_files(directory: Path, manifest: Manifest) -> None:
    """Raises RecordingError when a file is missing or not the one that was recorded."""
    entries = (*manifest.images, manifest.log, manifest.console, manifest.pages)
    for entry in entries:
        path = directory / entry.path
        if not path.is_file():
            raise RecordingError(f"{directory}: {entry.path} is missing")
        if path.stat().st_size != entry.size or describe_file(directory, entry.path) != entry:
            raise RecordingError(f"{directory}: {entry.path} is not the file that was recorded")


def recorded_kernel(directory: Path, manifest: Manifest) -> Path | None:
    """The recording's own copy of the kernel; None for a system on its own disk."""
    return None if manifest.kernel is None else directory / manifest.kernel.path


def recorded_guest(directory: Path, manifest: Manifest) -> Guest:
    """The guest, from the recording's own copies of its files."""
    return Guest(
        kind=manifest.kind,
        kernel=recorded_kernel(directory, manifest),
        cmdline=manifest.cmdline,
        memory_mib=manifest.memory_mib,
        extra=tuple(directory / entry.path for entry in manifest.extra),
    )


def remove(directory: Path) -> None:
    shutil.rmtree(directory, ignore_errors=True)


def check_replayable(log: Path) -> None:
    """Raises VersionMismatch when the monitor of this lvmm cannot replay the log.

    RecordingError where it is missing.
    """
    if not log.is_file():
        raise RecordingError(f"{log} is missing")
    with log.open("rb") as file:
        start = file.read(6)
    version = int.from_bytes(start[4:6], "little")
    if start.startswith(CHUNK_MAGIC.to_bytes(4, "little")) and version != FORMAT_VERSION:
        raise VersionMismatch(
            f"{log}: the log has format version {version}, this lvmm replays version "
            f"{FORMAT_VERSION}: use the lvmm that made it (extract_log.py tells what it reads)"
        )
