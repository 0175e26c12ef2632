"""Stores a log while it is written: record --sink serial, attach --save-log.

The monitor keeps what the tool has not stored yet, so nothing is lost by a line that is slow or
breaks; when its region is full the guest waits, or the recording ends, as the user has asked.
"""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path
from typing import BinaryIO, Protocol

from lvmm.errors import EnvironmentProblem, LvmmError, RecordingError, UsageError
from lvmm.link.layout import TakeLogReply
from lvmm.logs.layout import ChunkHeader, RegionHeader, RegionState

_PART = 1 << 14  # bytes that are asked for at once
_PAUSE_S = 0.3  # where there was nothing new: each question costs the guest some time
_CLOSE_S = 1.0  # a chunk that is not full is completed so often
_OVER = (RegionState.SEALED, RegionState.FAILED, RegionState.TAKEN)


class LogLine(Protocol):
    """What is needed of lvmm.link.LinkClient."""

    def take_log(self, stored: int, close: bool = False) -> TakeLogReply:
        """See LinkClient."""

    def read_log(self, offset: int, length: int) -> bytes:
        """See LinkClient."""


class LogReceiver:
    """Takes the log from `line` into the file `path`, in a thread from start() on."""

    def __init__(self, line: LogLine, path: Path) -> None:
        self._line = line
        self._path = path
        self._file: BinaryIO | None = None
        self._done = threading.Event()
        self._thread: threading.Thread | None = None
        self.stored = 0  # bytes
        self.failure: LvmmError | None = None

    def resume(self) -> None:
        """Goes on with a file that an earlier receiver has left.

        Raises UsageError when that holds another recording, and EnvironmentProblem.
        """
        try:
            with self._path.open("rb") as file:
                head = file.read(ChunkHeader.STRUCT.size)
                size = file.seek(0, os.SEEK_END)
        except FileNotFoundError:
            return
        except OSError as error:
            raise EnvironmentProblem(f"cannot read {self._path}: {error.strerror}") from error
        region = RegionHeader.unpack(self._line.read_log(0, RegionHeader.STRUCT.size))
        if (
            len(head) < ChunkHeader.STRUCT.size
            or ChunkHeader.unpack(head).recording_id != region.recording_id
        ):
            raise UsageError(f"{self._path} is not of this recording: choose another file")
        self.stored = size

    def start(self) -> None:
        """Begins. A second call does nothing."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="lvmm-log", daemon=True)
            self._thread.start()

    def finish(self) -> None:
        """Takes the rest of a recording that has ended. Raises LvmmError."""
        self.stop()
        if self._thread is None:
            return
        if self.failure is not None:
            raise self.failure
        try:
            while not self.turn(close=False):
                pass
        finally:
            self.close()

    def stop(self) -> None:
        """Ends the thread; what is stored stays."""
        self._done.set()
        if self._thread is not None:
            self._thread.join()

    def close(self) -> None:
        """Closes the file."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def turn(self, close: bool) -> bool:
        """Takes what there is. Whether all of a recording that has ended is stored, and the monitor
        knows that: then it is no unsaved log to it.

        `close`: events that the monitor has not finished a chunk of, too. Raises LvmmError.
        """
        told = self.stored
        place = self._line.take_log(told, close)
        if self.stored < place.start:
            raise RecordingError(
                f"the first {place.start} bytes of the log were taken by another tool"
            )
        while self.stored < place.end:
            at = place.offset + self.stored - place.start
            data = self._line.read_log(at, min(_PART, place.end - self.stored))
            if not data:
                raise RecordingError("the monitor's log ends before it says")
            self._store(data)
        return place.state in _OVER and told == place.end

    def _store(self, data: bytes) -> None:
        try:
            if self._file is None:
                self._file = self._path.open("ab" if self.stored else "wb")
            self._file.write(data)
            self._file.flush()
            os.fsync(self._file.fileno())
        except OSError as error:
            raise EnvironmentProblem(f"cannot write {self._path}: {error.strerror}") from error
        self.stored += len(data)

    def _run(self) -> None:
        closed = time.monotonic()
        try:
            while not self._done.is_set():
                before = self.stored
                close = time.monotonic() > closed + _CLOSE_S
                if self.turn(close):
                    return
                if close:
                    closed = time.monotonic()
                if self.stored == before:
                    self._done.wait(_PAUSE_S)
        except LvmmError as error:
            self.failure = error
