"""`extract_log.py timeline`: a trace for Perfetto, a picture, or both in one pass."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from lvmm.errors import EnvironmentProblem, RecordingError, UsageError
from lvmm.logs.codec import Event
from lvmm.logs.devices import stream_name
from lvmm.logs.guest_time import GuestClock
from lvmm.logs.header import enum_name
from lvmm.logs.layout import End, EndReason, GuestKind
from lvmm.logs.output import check_replaceable, new_file
from lvmm.logs.printing import Progress, finish, note
from lvmm.logs.recording import Recording
from lvmm.timeline.console_lines import line_texts
from lvmm.timeline.marks import MarkMaker

if TYPE_CHECKING:
    from lvmm.timeline.picture import Picture
    from lvmm.timeline.trace import TraceWriter

_PROGRESS_EVENTS = 4096


def timeline(
    recording: Recording, trace: Path | None, png: Path | None, span: tuple[int, int] | None
) -> int:
    """Writes the files; `span` is the first and the last event in them. Returns the exit code.

    Raises UsageError, RecordingError, EnvironmentProblem.
    """
    if trace is None and png is None:
        raise UsageError("timeline: say what to write: -o FILE for Perfetto, --png FILE, or both")
    if trace is not None and png is not None and trace.absolute() == png.absolute():
        raise UsageError(f"timeline: -o and --png name the same file, {png}")
    if recording.header is None:
        raise RecordingError("the recording header is lost, and with it the clock's frequency")
    for file in (trace, png):
        check_replaceable(file, recording.source.name)
    machine = recording.header.machine
    clock = GuestClock(machine.tsc_hz, machine.start_tsc)
    streams = {number: stream_name(number, recording.header) for number in range(256)}
    marks = MarkMaker(streams, line_texts(recording))
    estimate = ""
    with contextlib.ExitStack() as files:
        writer = _trace_writer(files, trace, recording)
        picture = _picture() if png is not None else None
        for mark in marks.marks(clock.timed(_with_progress(recording))):
            if span is None or span[0] <= mark.event.index <= span[1]:
                if writer is not None:
                    writer.add(mark)
                if picture is not None:
                    picture.add(mark)
        if not clock.readings:
            estimate = "times are estimates: the guest did not read its clock"
        if picture is not None and png is not None:
            picture.write(files.enter_context(new_file(png)), _title(recording), estimate)
    if estimate:
        note(estimate)
    return finish(recording)


def _trace_writer(
    files: contextlib.ExitStack, path: Path | None, recording: Recording
) -> TraceWriter | None:
    if path is None:
        return None
    try:
        from lvmm.timeline.trace import TraceWriter
    except ImportError as error:
        raise _missing("perfetto", error) from None
    return TraceWriter(files.enter_context(new_file(path)), _title(recording))


def _picture() -> Picture:
    try:
        from lvmm.timeline.picture import Picture
    except ImportError as error:
        raise _missing("matplotlib", error) from None
    return Picture()


def _missing(package: str, error: ImportError) -> EnvironmentProblem:
    return EnvironmentProblem(
        f"timeline needs the Python package {package} ({error}): pip install {package}"
    )


def _with_progress(recording: Recording) -> Iterator[Event]:
    with Progress("timeline", recording.event_count, sys.stderr) as progress:
        for count, event in enumerate(recording.events(), 1):
            yield event
            if count % _PROGRESS_EVENTS == 0:
                progress.at(count)


def _title(recording: Recording) -> str:
    header = recording.header
    kind = enum_name(GuestKind, header.machine.guest_kind) if header is not None else "guest"
    end = recording.end()
    how = "without an end"
    if end is not None and isinstance(end.payload, End):
        how = "ended by " + enum_name(EndReason, end.payload.reason).replace("_", " ")
    return (
        f"recording {recording.recording_id:016x}: {kind} guest, {recording.event_count:,} events, "
        f"{how}"
    )
