"""Which event will come next, by what came after the last ones when they came before.

The counterpart of hypervisor/replay/log_predict.c; docs/log-format.md explains both.
"""

from __future__ import annotations

from dataclasses import dataclass

from lvmm.logs.wire import MASK64

PREDICTIONS = 3
SAME = 0x20  # in a prefix, beside the kind
ASYNC = 0x40

_HISTORY = 4
_SLOTS = (1024, 256, 64)  # by the last events, by the last one, by the last asynchronous one
_SPREAD = 0x9E3779B97F4A7C15
_SPREAD_OTHER = 0xC2B2AE3D27D4EB4F


@dataclass(slots=True)
class Fact:
    """What can be predicted of an event.

    `branches` since the last position. `access` and `value`: of a read; `value` of a time is the
    difference to the last one. `sub`: vector or stream.
    """

    prefix: int = 0
    branches: int = 0
    rip: int = 0
    access: int = 0
    value: int = 0
    sub: int = 0

    def mark(self, note: bool) -> int:
        """What the event is known by afterwards. Where an asynchronous event came is chance."""
        if note:
            return self.prefix
        if self.prefix & (SAME | ASYNC):
            return self.prefix | self.sub << 8
        mixed = (self.rip * _SPREAD & MASK64) ^ self.access
        return mixed * _SPREAD_OTHER + self.prefix & MASK64


@dataclass(slots=True)
class _Next:
    """What followed certain events when they were there last."""

    tag: int
    fact: Fact
    doubted: bool = False  # another kind followed the last time


class Predictor:
    """What is predicted in one chunk."""

    def __init__(self) -> None:
        """Nothing known."""
        self.expected: list[Fact | None] = [None] * PREDICTIONS
        self._history = [0] * _HISTORY  # marks of the last events, newest first
        self._async_history = 0
        self._tables: tuple[dict[int, _Next], ...] = ({}, {}, {})
        self._places = [(0, 0)] * PREDICTIONS  # slot and tag of each prediction

    def predict(self) -> None:
        """Find what followed the last events: sets `expected`."""
        key = 0
        for mark in reversed(self._history):
            key = key * _SPREAD_OTHER + mark & MASK64
        for index, part in enumerate((key, self._history[0], self._async_history)):
            hashed = part * _SPREAD & MASK64
            slot, tag = hashed >> 48 & (_SLOTS[index] - 1), hashed >> 16 & 0xFFFFFFFF
            self._places[index] = slot, tag
            found = self._tables[index].get(slot)
            self.expected[index] = found.fact if found is not None and found.tag == tag else None

    def first(self) -> int:
        """The number of the prediction that an event without a byte is as; else PREDICTIONS."""
        for index, fact in enumerate(self.expected):
            if fact is not None:
                return index
        return PREDICTIONS

    def best(self, now: Fact) -> int:
        """The number of the prediction that comes closest to an event; else PREDICTIONS."""
        best, best_score = PREDICTIONS, 0
        for index, fact in enumerate(self.expected):
            if fact is None or fact.prefix != now.prefix:
                continue
            score = 1
            if fact.rip == now.rip:
                score += 2 if fact.branches == now.branches else 1
            if score > best_score:
                best, best_score = index, score
        return best

    def learn(self, now: Fact, note: bool) -> None:
        """Remember that an event followed, after predict(); `note`: its kind is a note."""
        mark = now.mark(note)
        self._learn(0, now)
        self._learn(1, now)
        if now.prefix & ASYNC:
            self._learn(2, now)
            self._async_history = mark
        self._history = [mark, *self._history[:-1]]

    def _learn(self, index: int, now: Fact) -> None:
        """One event of another kind does not change what is predicted."""
        slot, tag = self._places[index]
        known = self.expected[index]
        if known is not None and known.prefix != now.prefix:
            entry = self._tables[index][slot]
            if not entry.doubted:
                entry.doubted = True
                return
        self._tables[index][slot] = _Next(tag, now)
