"""What was found: as JSON values, and as text for people."""

from __future__ import annotations

import enum
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from lvmm.queries.arguments import Argument
from lvmm.queries.places import Range
from lvmm.queries.query import Kind, Query
from lvmm.report_facts import hexadecimal
from lvmm.report_text import table

_SHOWN_BYTES = 16


class Writer(enum.Enum):
    """Who has written."""

    CODE = "code"
    DEVICE = "device"
    UNSEEN = "unseen"  # memory differs, and no watched access did it


@dataclass(frozen=True)
class Where:
    """A position, and what runs there. `rip` is linear; `seconds` of guest time."""

    event: int
    branches: int
    rip: int
    seconds: float | None
    code: str | None
    task: str | None

    def facts(self) -> dict[str, Any]:
        """As JSON values."""
        return {
            "event": self.event,
            "branches": self.branches,
            "rip": hexadecimal(self.rip),
            "seconds": None if self.seconds is None else round(self.seconds, 9),
            "code": self.code,
            "task": self.task,
        }


@dataclass(frozen=True)
class Write:
    """A write: the first byte that it wrote or changed, and what was there. `old` None: unknown."""

    where: Where
    address: int
    old: bytes | None
    new: bytes
    writer: Writer

    def facts(self) -> dict[str, Any]:
        """As JSON values; up to 8 bytes are a number, more are their hexadecimal digits."""
        return {
            **self.where.facts(),
            "address": hexadecimal(self.address),
            "old": None if self.old is None else _value(self.old),
            "new": _value(self.new),
            "by": self.writer.value,
        }

    def row(self) -> tuple[str, ...]:
        """For a table."""
        old = "?" if self.old is None else _value(self.old[:_SHOWN_BYTES])
        new = _value(self.new[:_SHOWN_BYTES])
        by = "" if self.writer is Writer.CODE else f" ({self.writer.value})"
        return (*_row(self.where), f"{self.address:#x}", f"{old} -> {new}{by}")


@dataclass(frozen=True)
class Call:
    """A call: where the function begins, the return address, and the arguments."""

    where: Where
    caller: int | None
    caller_code: str | None
    arguments: list[Argument]

    def facts(self) -> dict[str, Any]:
        """As JSON values."""
        return {
            **self.where.facts(),
            "caller": hexadecimal(self.caller),
            "caller_code": self.caller_code,
            "arguments": [
                {
                    "name": argument.name or None,
                    "type": argument.type or None,
                    "value": hexadecimal(argument.value),
                    "text": argument.text,
                }
                for argument in self.arguments
            ],
        }

    def row(self) -> tuple[str, ...]:
        """For a table."""
        said = ", ".join(
            f"{argument.name}={argument.text}" if argument.name else argument.text
            for argument in self.arguments
        )
        place = self.caller_code or hexadecimal(self.caller) or "?"
        return (*_row(self.where), f"({said})", f"from {place}")


@dataclass(frozen=True)
class Running:
    """Who runs where an event is due; `privilege` is the CPL."""

    where: Where
    kind: str
    privilege: int

    def facts(self) -> dict[str, Any]:
        """As JSON values."""
        return {**self.where.facts(), "kind": self.kind, "privilege": self.privilege}

    def row(self) -> tuple[str, ...]:
        """For a table."""
        return (*_row(self.where), f"CPL {self.privilege}, before {self.kind}")


Finding = Write | Call | Running

_TITLES = {
    Kind.WRITE: ("address", "old -> new"),
    Kind.CHANGE: ("address", "old -> new"),
    Kind.CALL: ("arguments", "caller"),
    Kind.RUNNING: ("",),
}


@dataclass
class Answer:
    """What a query has found so far: how often, and those that are kept.

    `range` is that of a place (of a function its first byte), None while it is not known where;
    `since` is the event from which on it was looked for; `note` says what stands in the way.
    """

    query: Query
    kept: deque[Finding]
    count: int = 0
    range: Range | None = None
    since: int | None = None
    note: str = ""
    limit: int | None = None  # so many findings are enough
    full: bool = field(default=False, init=False)

    def add(self, finding: Finding) -> None:
        """Takes one more, unless there are enough."""
        if self.full:
            return
        self.count += 1
        self.kept.append(finding)
        self.full = self.limit is not None and self.count >= self.limit

    def give_up(self, note: str) -> None:
        """It cannot be looked for, and why."""
        self.note = note
        self.full = True

    def facts(self) -> dict[str, Any]:
        """As JSON values."""
        return {
            "query": self.query.text,
            "kind": self.query.kind.value,
            "address": hexadecimal(self.range.address) if self.range else None,
            "length": self.range.length if self.range and self.query.of_memory else None,
            "since_event": self.since,
            "note": self.note or None,
            "count": self.count,
            "findings": [finding.facts() for finding in self.kept],
        }

    def lines(self) -> Iterator[str]:
        """For people."""
        yield f"{self.query.text}: {self._found()}"
        if self.note:
            yield f"  {self.note}"
        if self.kept:
            titles = ("event", "branches", "guest time", "code", "task", *_TITLES[self.query.kind])
            yield from table([titles, *(finding.row() for finding in self.kept)])

    def _found(self) -> str:
        if self.count == len(self.kept):
            return f"{self.count} found"
        return f"{self.count} found, the last {len(self.kept)} of them:"


def _row(where: Where) -> tuple[str, ...]:
    seconds = "?" if where.seconds is None else f"{where.seconds:.6f} s"
    code = where.code or f"{where.rip:#x}"
    return (str(where.event), str(where.branches), seconds, code, where.task or "")


def _value(data: bytes) -> str:
    if len(data) in (1, 2, 4, 8):
        return f"{int.from_bytes(data, 'little'):#x}"
    return data.hex()
