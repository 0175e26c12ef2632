"""What the user asks: the text of a query, and what it means."""

from __future__ import annotations

import enum
import re
from dataclasses import dataclass

from lvmm.errors import UsageError

LENGTH_MAX = 1023 << 12  # bytes: the pages that the monitor watches, wherever the range begins

_FORMS = (
    "'write PLACE [LEN]', 'change PLACE [LEN]', 'call FUNCTION' or 'running EVENT' "
    "(docs/queries.md)"
)


class Kind(enum.Enum):
    """What is looked for."""

    WRITE = "write"  # every write to a range
    CHANGE = "change"  # every write that changes it
    CALL = "call"  # every call of a function
    RUNNING = "running"  # who ran when an event was due


@dataclass(frozen=True)
class Query:
    """A query. `place` is of lvmm.queries.places, a function's for CALL, empty for RUNNING;
    `length` in bytes is None where what is at the place decides; `event` is the index of RUNNING.
    """

    text: str
    kind: Kind
    place: str = ""
    length: int | None = None
    event: int = 0

    @property
    def of_memory(self) -> bool:
        """Whether it is about a range of memory."""
        return self.kind in (Kind.WRITE, Kind.CHANGE)


def parse_query(text: str) -> Query:
    """Raises UsageError."""
    words = text.split()
    try:
        kind = Kind(words[0] if words else "")
    except ValueError:
        raise UsageError(f"--find {text!r} is no query: there are {_FORMS}") from None
    most = 3 if kind in (Kind.WRITE, Kind.CHANGE) else 2
    if not 2 <= len(words) <= most:
        raise UsageError(f"--find {text!r} has too few or too many words: there are {_FORMS}")
    if kind is Kind.RUNNING:
        return Query(text, kind, event=_number(text, words[1], "the index of an event"))
    length = None
    if len(words) > 2:
        length = _number(text, words[2], "a length in bytes")
        if not 1 <= length <= LENGTH_MAX:
            raise UsageError(f"--find {text!r}: the length must be from 1 to {LENGTH_MAX} bytes")
    return Query(text, kind, words[1], length)


def _number(text: str, word: str, what: str) -> int:
    if not re.fullmatch(r"\d+|0[xX][0-9a-fA-F]+", word):
        raise UsageError(f"--find {text!r}: {word!r} is not {what}")
    return int(word, 16 if word[:2] in ("0x", "0X") else 10)
