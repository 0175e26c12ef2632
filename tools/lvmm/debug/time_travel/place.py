"""Places in a replay: exact positions as text, and what the user names to go to."""

from __future__ import annotations

import re
from dataclasses import dataclass

from lvmm.link import Position
from lvmm.link.layout import PositionFlag

_MOST = (1 << 64) - 1
_POSITION = re.compile(
    r"(\d{1,20}):(\d{1,20}):0x([0-9a-f]{1,16}):([0-9a-f]{8})", re.ASCII | re.IGNORECASE
)
_NUMBER = re.compile(r"\d{1,20}|0x[0-9a-f]{1,16}", re.ASCII | re.IGNORECASE)

USAGE = "event N | BRANCHES | EVENTS:BRANCHES:RIP:CHECK | begin | end"


def position_text(at: Position) -> str:
    """EVENTS:BRANCHES:RIP:CHECK, which place() takes."""
    return f"{at.events}:{at.branches}:{at.rip:#x}:{at.check:08x}"


def is_before(at: Position, later: Position) -> bool:
    """Whether `at` is surely earlier. Neither is where events and branches are the same."""
    return at.events < later.events or at.branches < later.branches


@dataclass(frozen=True)
class Goal:
    """Where to go: `flags` says what of the position counts (enum position_flag)."""

    at: Position
    flags: int = 0

    def is_after(self, position: Position) -> bool:
        """Whether a guest at this position has surely not been there yet."""
        return is_before(position, self.at)


def exactly(at: Position) -> Goal:
    """This very boundary."""
    return Goal(at, PositionFlag.RIP | PositionFlag.CHECK)


def after_branches(count: int) -> Goal:
    """The first boundary with so many conditional branches before it."""
    return Goal(Position(0, count, 0, 0))


def after_events(count: int) -> Goal:
    """The first boundary with so many events before it."""
    return Goal(Position(count, 0, 0, 0))


@dataclass(frozen=True)
class Begin:
    """Where the replay began."""


@dataclass(frozen=True)
class End:
    """The end of the recording."""


@dataclass(frozen=True)
class BeforeEvent:
    """The last boundary before an event."""

    number: int


Place = Begin | End | BeforeEvent | Goal


def parse_place(text: str) -> Place:
    """What the user names, in one of the ways of USAGE. Raises ValueError."""
    match text.split():
        case ["begin"]:
            return Begin()
        case ["end"]:
            return End()
        case ["event", number] if _NUMBER.fullmatch(number):
            return BeforeEvent(_in_range(int(number, 0), _MOST - 1))
        case [number] if _NUMBER.fullmatch(number):
            return after_branches(_in_range(int(number, 0), _MOST))
        case [position] if match := _POSITION.fullmatch(position):
            events, branches = (_in_range(int(match[index]), _MOST) for index in (1, 2))
            return exactly(Position(events, branches, int(match[3], 16), int(match[4], 16)))
    raise ValueError(f"{text!r} is no place in a replay: {USAGE}")


def _in_range(number: int, most: int) -> int:
    if number > most:
        raise ValueError(f"{number} is too large")
    return number


def end_goal() -> Goal:
    """Beyond any end."""
    return after_events(_MOST)
