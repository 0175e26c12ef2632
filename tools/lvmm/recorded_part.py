"""Which part of a run a recording covers: all of it, or what the guest chose (record --on-demand,
lvmm_start_recording() and lvmm_stop_recording() of guest_support/lvmm.h)."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from lvmm.errors import RecordingError
from lvmm.logs import Recording
from lvmm.logs.layout import Begin, Content, CpuState, End, EndReason


@dataclass(frozen=True)
class RecordedPart:
    """The part, in bytes of console output since the guest's start.

    `stopped`: the guest ended the recording and ran on, so that the machine's memory is not what
    it was at the recording's end; `console_end` is None otherwise.
    """

    console_start: int = 0
    console_end: int | None = None

    @property
    def stopped(self) -> bool:
        return self.console_end is not None

    def of_console(self, console: bytes) -> bytes:
        """What of the run's console output belongs to the recording."""
        return console[self.console_start : self.console_end]


def recorded_part(recording: Recording) -> RecordedPart:
    """Raises RecordingError for a run whose guest has never started the recording, and for a
    malformed beginning.
    """
    first = next(recording.events(), None)
    if first is None:
        raise RecordingError(
            "the recording was not started: the trigger of --start-at did not come, or with"
            " --on-demand the guest did not call lvmm_start_recording() (guest_support/lvmm.h)"
        )
    start = 0
    if isinstance(first.payload, Begin):
        if len(first.payload.state) < CpuState.STRUCT.size:
            raise RecordingError("the state that the recording begins with is cut short")
        start = CpuState.unpack(first.payload.state).console_bytes
    return RecordedPart(start, _console_end(recording))


def _console_end(recording: Recording) -> int | None:
    end = recording.end()
    if end is None or not isinstance(end.payload, End):
        return None
    if end.payload.reason != EndReason.GUEST_STOP:
        return None
    content, _ = deque(recording.events(), maxlen=2)
    if not isinstance(content.payload, Content):
        raise RecordingError("the log lacks the CONTENT event before its end")
    return content.payload.console_bytes
