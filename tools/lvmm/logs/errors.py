"""The errors of reading a log beside those in lvmm.errors."""

from __future__ import annotations

from dataclasses import dataclass

from lvmm.errors import RecordingError, VersionMismatch
from lvmm.logs.layout import FORMAT_VERSION

__all__ = ["Loss", "NoLog", "VersionMismatch", "version_mismatch"]


class NoLog(RecordingError):
    """There is no log in the source (exit code 4)."""


@dataclass(frozen=True)
class Loss:
    """A part of a recording that could not be read. `offset` and `size` in the source, in bytes;
    `events` lost, None when that cannot be known."""

    offset: int
    size: int
    events: int | None
    reason: str

    def __str__(self) -> str:
        count = "an unknown number of" if self.events is None else str(self.events)
        return f"{self.reason} at {self.offset:#x}: {self.size} bytes, {count} events lost"


def version_mismatch(name: str, version: int) -> VersionMismatch:
    """The error for a log of another format version."""
    return VersionMismatch(
        f"{name}: the log has format version {version}, this lvmm reads version {FORMAT_VERSION}:"
        " use the lvmm that made it"
    )
