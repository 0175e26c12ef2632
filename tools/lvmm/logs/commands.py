"""extract_log.py's commands info, extract and console."""

from __future__ import annotations

import sys
from pathlib import Path

from lvmm.errors import EnvironmentProblem
from lvmm.logs.errors import NoLog
from lvmm.logs.facts import facts_of
from lvmm.logs.from_epoch import save_replayable
from lvmm.logs.output import check_new, write_atomically
from lvmm.logs.pack import SECRETS, write_pack
from lvmm.logs.printing import EXIT_COMPLETE, EXIT_LOSS, finish, flat, note, print_json, print_table
from lvmm.logs.recording import CONSOLE_NAME, LOG_NAME, Recording


def info(recording: Recording, as_json: bool) -> int:
    """Show what the recording is of and what state it is in."""
    facts = facts_of(recording)
    if as_json:
        print_json({**facts, "header": recording.header and recording.header.as_json()})
    else:
        print_table(flat(facts))
        if recording.header is not None:
            header = recording.header.as_json()
            header["cpuid"] = f"{len(recording.header.cpuid)} leaves"
            header["images"] = [
                f"{image['role']} {image['size']} bytes crc32c {image['crc32c']}"
                for image in header["images"]
            ]
            header["e820"] = [
                f"{entry.base:#x}-{entry.base + entry.length:#x} type {entry.type}"
                for entry in recording.header.e820
            ]
            print_table(flat(header))
    return finish(recording)


def extract(recording: Recording, output: Path) -> int:
    """Write log.lvmm and console.log into a directory, or the log alone to a .lvmm file.

    Nothing that is there is replaced. Raises UsageError then, NoLog, EnvironmentProblem.
    """
    if not recording.chunks:
        raise NoLog(f"{recording.source.name}: nothing was recorded in it")
    if output.suffix == ".lvmm" or output.is_file():
        check_new(output)
        problem = save_replayable(recording, output, replaces=False)
    else:
        log, console = output / LOG_NAME, output / CONSOLE_NAME
        check_new(log, console)
        try:
            output.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise EnvironmentProblem(f"cannot create {output}: {error.strerror}") from error
        problem = save_replayable(recording, log, replaces=False)
        if recording.console is not None:
            try:
                write_atomically(console, iter([recording.console]), replaces=False)
            except BaseException:
                log.unlink()  # else it would be in the way of the next attempt
                raise
    note(
        f"{output}: recording {recording.recording_id:016x}, {recording.event_count} events,"
        f" {recording.log_bytes} bytes"
    )
    if problem is not None:
        note(f"{problem}: the log is saved as it is, and cannot be replayed")
        finish(recording)
        return EXIT_LOSS
    return finish(recording)


def pack(recording: Recording, output: Path, images: bool) -> int:
    """Write the recording into one compressed file; the exit code."""
    names = write_pack(recording, output, images=images)
    note(f"{output}: {output.stat().st_size} bytes: {', '.join(names)}")
    note(f"{output}: {SECRETS}")
    if not images:
        note("without the guest's images: replay wants them by --image, or pack with --images")
    return finish(recording)


def console(recording: Recording) -> int:
    """Write the guest's console output to stdout, as it is."""
    if recording.console is None:
        raise NoLog(f"{recording.source.name}: holds no console output, only a log")
    sys.stdout.buffer.write(recording.console)
    sys.stdout.buffer.flush()
    if recording.region is not None and recording.region.console_lost:
        note(f"the ring holds no more: the first {recording.region.console_lost} bytes")
    return EXIT_COMPLETE
