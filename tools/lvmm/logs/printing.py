"""How extract_log.py shows what it found, and its exit code."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any, Self, TextIO

from lvmm.logs.recording import Recording

EXIT_COMPLETE = 0
EXIT_LOSS = 3

_SHOWN_LOSSES = 10
_PROGRESS_S = 0.5


def finish(recording: Recording) -> int:
    """Say on stderr what was lost; the exit code."""
    if recording.damage:
        note(recording.damage)
    for loss in islice(recording.losses, _SHOWN_LOSSES):
        note(str(loss))
    if len(recording.losses) > _SHOWN_LOSSES:
        note(f"{len(recording.losses) - _SHOWN_LOSSES} more losses: --json of verify has all")
    if recording.disordered:
        note(f"{recording.disordered} chunks at a wrong place, or twice: put in order")
    for recording_id, chunks in recording.others.items():
        note(f"{chunks} chunks of another recording: --recording {recording_id:016x}")
    if recording.header is None and recording.chunks:
        note("the recording header is lost")
        return EXIT_LOSS
    return EXIT_LOSS if recording.losses else EXIT_COMPLETE


def note(text: str) -> None:
    """Say something on stderr, as stdout is for data."""
    print(f"extract_log: {text}", file=sys.stderr)


def print_json(facts: dict[str, Any]) -> None:
    """Print JSON on stdout."""
    json.dump(facts, sys.stdout, indent=2)
    print()


def flat(facts: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Name and value pairs of nested values; a list gives a line for each entry."""
    for name, value in facts.items():
        if isinstance(value, dict):
            yield from flat(value, f"{prefix}{name}.")
        elif isinstance(value, list):
            yield from ((prefix + name, entry) for entry in value if isinstance(entry, str))
        else:
            yield prefix + name, value


def print_table(rows: Iterable[tuple[str, Any]]) -> None:
    """Print names and values, one pair a line."""
    for name, value in rows:
        print(f"{name:<22} {_text(value)}")


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "-" if value is None else str(value)


class Progress:
    """A percentage on a terminal for what takes more than a moment; nothing elsewhere."""

    def __init__(self, what: str, total: int, stream: TextIO) -> None:
        """`total` is what at() comes to."""
        self._what = what
        self._total = max(total, 1)
        self._stream = stream if stream.isatty() else None
        self._due = time.monotonic() + _PROGRESS_S
        self._shown = False

    def at(self, done: int) -> None:
        """So much is done."""
        if self._stream is None or time.monotonic() < self._due:
            return
        self._due = time.monotonic() + _PROGRESS_S
        self._shown = True
        print(
            f"\r{self._what}: {100 * done // self._total}%", end="", file=self._stream, flush=True
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._shown and self._stream is not None:
            print("\r\x1b[K", end="", file=self._stream, flush=True)
