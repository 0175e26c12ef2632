"""Amounts over time in a fixed number of bins, whose width grows with the time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

BINS = 4096
_FIRST_WIDTH = 1e-6  # seconds


class Histogram:
    """Sums by name in bins of equal width; `width` in seconds doubles when time gets on."""

    def __init__(self) -> None:
        self.width = _FIRST_WIDTH
        self.totals: Counter[str] = Counter()
        self._bins: dict[str, list[float]] = {}

    def add(self, name: str, seconds: float, amount: float) -> None:
        """Adds an amount at a time."""
        self.reach(seconds)
        self.totals[name] += amount  # type: ignore[assignment]
        self._of(name)[int(seconds / self.width)] += amount

    def spread(self, name: str, start: float, end: float, amount: float) -> None:
        """Adds an amount evenly over a time."""
        self.reach(end)
        first, last = int(start / self.width), int(end / self.width)
        for index in range(first, last + 1):
            low, high = max(start, index * self.width), min(end, (index + 1) * self.width)
            share = (high - low) / (end - start) if end > start else 1.0
            self._of(name)[index] += amount * share
        self.totals[name] += amount  # type: ignore[assignment]

    def reach(self, seconds: float) -> None:
        """Makes the bins wide enough for a time."""
        while seconds >= self.width * BINS:
            self.width *= 2
            for name, old in self._bins.items():
                pairs = [a + b for a, b in zip(old[::2], old[1::2], strict=True)]
                self._bins[name] = pairs + [0.0] * (BINS // 2)

    def bins(self, name: str) -> list[float]:
        """The sums of a name."""
        return self._bins.get(name, [0.0] * BINS)

    def names(self) -> Iterator[str]:
        """The names, that with the largest total first."""
        for name, _ in self.totals.most_common():
            yield name

    def _of(self, name: str) -> list[float]:
        return self._bins.setdefault(name, [0.0] * BINS)
