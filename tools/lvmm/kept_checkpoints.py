"""Checkpoints of a replay, kept beside its recording: the next replay resumes from the last one.

They are the memory in which the monitor has them, so they are good for this very monitor only.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO

from lvmm.errors import EnvironmentProblem, RecordingError
from lvmm.link import LinkClient
from lvmm.logs.compression import compressed_to, decompressed

DIRECTORY = "checkpoints"
_MEMORY, _FACTS = "memory.zst", "facts.json"
_CHUNK = 1 << 20
_LEVEL = 1  # of Zstandard: most pages are of few kinds, and somebody waits


@dataclass(frozen=True)
class _Facts:
    """Where the memory belongs, in bytes, and for whom it is."""

    monitor_sha256: str
    log_sha256: str
    total_mib: int
    address: int
    size: int


class KeptCheckpoints:
    """Those of one recording, for one monitor on a machine of `total_mib`. `say` gets lines for the
    user.
    """

    def __init__(
        self, recording: Path, log: Path, monitor: Path, total_mib: int, say: Callable[[str], None]
    ) -> None:
        self._directory = recording / DIRECTORY
        self._say = say
        self._for = _sha256(monitor), _sha256(log), total_mib

    def load(self, ram: Path) -> bool:
        """Puts them into a new memory file for a machine that is off. False: there are none that
        are of use.
        """
        facts = self._facts()
        if facts is None or (facts.monitor_sha256, facts.log_sha256, facts.total_mib) != self._for:
            return False
        ram.parent.mkdir(parents=True, exist_ok=True)
        try:
            with ram.open("wb") as file:
                file.truncate(facts.total_mib << 20)
                with decompressed(self._directory / _MEMORY) as source:
                    whole = _fill(file, facts, source)
        except RecordingError:
            whole = False
        except OSError as error:
            raise EnvironmentProblem(f"cannot write {ram}: {error.strerror}") from None
        if not whole:
            self._say(f"{self._directory} is damaged: the replay begins at the beginning")
        return whole

    def save(self, link: LinkClient, ram: Path) -> None:
        """Takes them from a machine whose replay has come to its end, and brings it there again.

        Raises what the link raises, and EnvironmentProblem.
        """
        link.replay.restore(link.replay.checkpoints().points[-1].id)
        kept = link.replay.keep()
        facts = _Facts(*self._for, kept.address, kept.size)
        try:
            self._directory.mkdir(exist_ok=True)
            (self._directory / _FACTS).unlink(missing_ok=True)  # of what is being replaced
            with (
                ram.open("rb") as source,
                (self._directory / _MEMORY).open("wb") as file,
                compressed_to(file, _LEVEL) as target,
            ):
                _copy(source, facts, target)
            partial = self._directory / (_FACTS + ".partial")
            partial.write_text(json.dumps(asdict(facts)))
            partial.replace(self._directory / _FACTS)
        except OSError as error:
            raise EnvironmentProblem(f"cannot keep the checkpoints: {error.strerror}") from None
        stored = (self._directory / _MEMORY).stat().st_size
        self._say(f"checkpoints are kept in {self._directory} ({stored / 1e6:.1f} MB)")
        link.wait_for_stop(link.resume())

    def _facts(self) -> _Facts | None:
        try:
            return _Facts(**json.loads((self._directory / _FACTS).read_text()))
        except (OSError, ValueError, TypeError):
            return None


def _fill(file: IO[bytes], facts: _Facts, source: IO[bytes]) -> bool:
    """Whether it was all there."""
    at, end = facts.address, facts.address + facts.size
    zeros = bytes(_CHUNK)
    while chunk := source.read(_CHUNK):
        if at + len(chunk) > end:
            return False
        if chunk != zeros:
            os.pwrite(file.fileno(), chunk, at)
        at += len(chunk)
    return at == end


def _copy(source: IO[bytes], facts: _Facts, target: IO[bytes]) -> None:
    at, end = facts.address, facts.address + facts.size
    while at < end:
        chunk = os.pread(source.fileno(), min(_CHUNK, end - at), at)
        target.write(chunk)
        at += len(chunk)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
