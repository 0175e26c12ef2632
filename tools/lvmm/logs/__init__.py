"""Reading and writing of lvmm logs (docs/log-format.md).

with Recording.open("recording-directory") as recording:
    for event in recording.events():
        print(event.branches, event.name, event.payload)
"""

from lvmm.logs.codec import Event, Registers
from lvmm.logs.errors import Loss, NoLog, VersionMismatch
from lvmm.logs.header import RecordingHeader
from lvmm.logs.layout import EventKind
from lvmm.logs.recording import CONSOLE_NAME, LOG_NAME, Recording

__all__ = [
    "CONSOLE_NAME",
    "LOG_NAME",
    "Event",
    "EventKind",
    "Loss",
    "NoLog",
    "Recording",
    "RecordingHeader",
    "Registers",
    "VersionMismatch",
]
