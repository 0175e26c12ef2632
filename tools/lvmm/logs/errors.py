"""The errors of reading a log beside those in lvmm.errors."""

from __future__ import annotations

from dataclasses import dataclass

from lvmm.errors import RecordingError, VersionMismatch
from lvmm.logs.layout import FORMAT_VERSION

__all__ = [
    "READABLE_VERSIONS",
    "Loss",
    "MemoryGone",
    "NoLog",
    "VersionMismatch",
    "version_mismatch",
]

# Versions 3 to 5 added kinds of events and header items; what is older than 2 is coded otherwise.
READABLE_VERSIONS = range(2, FORMAT_VERSION + 1)


class NoLog(RecordingError):
    """There is no log in the source (exit code 4)."""


class MemoryGone(RecordingError):
    """What is left of a ring cannot be replayed: the memory that belongs to it is not there."""


@dataclass(frozen=True)
class Loss:
    """A part of a recording that could not be read.

    `offset` and `size`: bytes of the source; size 0: what is lost stands nowhere in it. `events`
    lost from `first_event` on, in the chunks with the sequence numbers `first_seq` to `last_seq`,
    at guest times (conditional branches) between `after`, where the last intact chunk before it
    begins, and `before`, where the next one does. None is what cannot be known, or is none.
    """

    offset: int
    size: int
    events: int | None
    reason: str
    first_seq: int | None = None
    last_seq: int | None = None
    first_event: int | None = None
    after: int | None = None
    before: int | None = None

    def __str__(self) -> str:
        place = f"{self.reason} at {self.offset:#x}: {self.size} bytes"
        if self.events == 0 and self.first_seq is None:
            return f"{place}, no event lost"
        count = "an unknown number of" if self.events is None else str(self.events)
        parts = [place, *self._chunks(), f"{count} events lost"]
        if self.first_event is not None:
            parts[-1] += f" from event {self.first_event} on"
        if self.after is not None:
            end = "" if self.before is None else f" and {self.before}"
            parts.append(f"{'between' if end else 'after'} branches {self.after}{end}")
        return ", ".join(parts)

    def _chunks(self) -> list[str]:
        if self.first_seq is None:
            return []
        if self.last_seq is None:
            return [f"chunks from {self.first_seq} on"]
        if self.first_seq == self.last_seq:
            return [f"chunk {self.first_seq}"]
        return [f"chunks {self.first_seq} to {self.last_seq}"]


def version_mismatch(name: str, version: int, made_by: str = "") -> VersionMismatch:
    """The error for a log of a format version that cannot be read; `made_by` is what it says of
    its monitor, where that can be read."""
    reads = f"{READABLE_VERSIONS[0]} to {READABLE_VERSIONS[-1]}"
    maker = made_by if made_by.startswith("lvmm") else f"lvmm {made_by}"
    use = f"it was made by {maker}: use that" if made_by else "use the lvmm that made it"
    return VersionMismatch(
        f"{name}: the log has format version {version}, this lvmm reads versions {reads}: {use}"
    )
