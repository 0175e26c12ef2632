"""Which waits in a recording are HLT: the log does not say what the guest waits in.

A wait (lvmm.logs.guest_time) is time that no branch explains, before an interrupt. That is HLT, or
long code without branches, such as arithmetic of large numbers. The two differ in where interrupts
meet them: HLT is one address, at which most interrupts end a wait; the other is many, all near.
"""

from __future__ import annotations

from collections import Counter

_BLOCK_SHIFT = 10  # addresses that agree in all higher bits are near
_SHARE_OF_BLOCK = 0.9
_WAITS = 2
_SITES_MAX = 1 << 16


class IdleSites:
    """Learns the places of waits as events come; what it needs does not grow with the log."""

    def __init__(self) -> None:
        self._others: Counter[int] = Counter()
        self._waits: Counter[int] = Counter()
        self._seconds: dict[int, float] = {}
        self._block_seconds: dict[int, float] = {}

    def woken(self, rip: int) -> None:
        """An interrupt, or what a device wrote, met the guest at this place, and ended no wait."""
        if rip in self._seconds:
            self._others[rip] += 1

    def is_idle(self, rip: int, seconds: float) -> bool:
        """Takes in a wait at this place, and says whether it was HLT."""
        if len(self._seconds) >= _SITES_MAX and rip not in self._seconds:
            return False
        block = rip >> _BLOCK_SHIFT
        self._waits[rip] += 1
        self._seconds[rip] = self._seconds.get(rip, 0.0) + seconds
        self._block_seconds[block] = self._block_seconds.get(block, 0.0) + seconds
        return (
            self._waits[rip] >= _WAITS
            and self._waits[rip] >= self._others[rip]
            and self._seconds[rip] >= _SHARE_OF_BLOCK * self._block_seconds[block]
        )
