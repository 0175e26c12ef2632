"""A watched range of a guest's memory: what is in it, and what a write has done to it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from lvmm.guest_view import PAGE
from lvmm.logs.layout import Dma
from lvmm.queries.findings import Answer, Where, Write, Writer
from lvmm.queries.guest import Look
from lvmm.queries.places import Range
from lvmm.queries.query import Kind

Pages = tuple[int | None, ...]  # physical addresses; None: not mapped


@dataclass
class Watch:
    """A range that is watched for a query, by the monitor's watchpoints of these numbers.

    What was in it last is kept, and where that is in physical memory. One write may meet two
    watchpoints, and stop the guest twice at one boundary.
    """

    answer: Answer
    numbers: frozenset[int]
    range: Range
    before: bytes
    pages: Pages
    last: tuple[int, ...] = ()  # the boundary at which a write was found

    @classmethod
    def begin(cls, answer: Answer, numbers: frozenset[int], place: Range, look: Look) -> Watch:
        """Takes what is there now."""
        return cls(answer, numbers, place, *_mapped(look, place))

    def look_at(
        self, look: Look, where: Where, dma: Sequence[Dma], number: int, address: int
    ) -> None:
        """The guest has stopped by the watchpoint `number`, which saw an access to `address`."""
        here = (where.event, where.branches, *look.registers.values())
        now, pages = self._content(look)
        ours = number in self.numbers or self.range.has(address)
        old = self.before if pages == self.pages else None
        changed = old is not None and old != now
        self.before, self.pages = now, pages
        again = not changed and self.last == here
        if again or not (changed or (ours and self.answer.query.kind is Kind.WRITE)):
            return
        self.last = here
        device = _by_device(dma, self.range, pages)
        writer = Writer.DEVICE if device else Writer.CODE if ours else Writer.UNSEEN
        self.answer.add(_write(where, self.range, address, old, now, writer))

    def _content(self, look: Look) -> tuple[bytes, Pages]:
        """What is in it, also where the address space of the moment does not have it."""
        now, pages = _mapped(look, self.range)
        if None not in pages or None in self.pages:
            return now, pages
        parts = _parts(self.range, self.pages)
        return b"".join(look.memory.read(at, length) for length, at in parts), self.pages


def _mapped(look: Look, place: Range) -> tuple[bytes, Pages]:
    """What is in a range, and the physical addresses of its pages; without what is not mapped."""
    space = look.space
    first = place.address - place.address % PAGE
    pages = range(first, place.address + place.length, PAGE)
    return space.read(place.address, place.length), tuple(space.translate(at) for at in pages)


def _by_device(dma: Sequence[Dma], place: Range, pages: Pages) -> bool:
    """Whether a device has written to the range."""
    for part, physical in _parts(place, pages):
        for write in dma:
            if write.gpa < physical + part and physical < write.gpa + len(write.data):
                return True
    return False


def _parts(place: Range, pages: Pages) -> Iterator[tuple[int, int]]:
    """Length and physical address of what each page has of a range."""
    at = place.address
    end = place.address + place.length
    for page in pages:
        length = min(PAGE - at % PAGE, end - at)
        if page is not None:
            yield length, page + at % PAGE
        at += length


def _write(
    where: Where, place: Range, address: int, old: bytes | None, new: bytes, writer: Writer
) -> Write:
    """The bytes that differ, or the word at `address` where none does; a short range is whole."""
    if place.length <= 8:
        return Write(where, place.address, old, new, writer)
    if old is not None and old != new and len(old) == len(new):
        differing = [
            at for at, (one, other) in enumerate(zip(old, new, strict=True)) if one != other
        ]
        first, last = differing[0], differing[-1] + 1
    else:
        first = address - place.address if place.has(address) else 0
        last = min(first + 8, len(new))
    part = None if old is None else old[first:last]
    return Write(where, place.address + first, part, new[first:last], writer)
