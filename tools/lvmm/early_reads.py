"""Where a guest read buffers that a device owned (docs/early-reads.md)."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

from lvmm.guest import Guest
from lvmm.logs import Recording
from lvmm.logs.devices import stream_name
from lvmm.logs.layout import EarlyRead, End, EventKind, FinalState
from lvmm.logs.selection import Selection
from lvmm.report_facts import guest_names, open_memory

_SHOWN = 3  # places in the summary


def find_early_reads(log: Path, guest: Guest, ram: Path) -> tuple[dict[str, Any], ...]:
    """The instructions that read so, in the order of their first time, as JSON values.

    `ram` is the machine's memory at the end, with which a Linux kernel's symbols are found. Raises
    LvmmError when the log cannot be read.
    """
    places: dict[int, dict[str, Any]] = {}
    with Recording.open(log) as recording, contextlib.ExitStack() as files:
        for event in Selection(frozenset({EventKind.EARLY_READ})).of(recording):
            read = event.payload
            assert isinstance(read, EarlyRead)
            place = places.setdefault(
                event.rip,
                {
                    "rip": f"{event.rip:#x}",
                    "symbol": None,
                    "times": 0,
                    "first_event": event.index,
                    "first_gpa": f"{read.gpa:#x}",
                    "size": read.size,
                    "buffer": stream_name(read.stream, recording.header),
                },
            )
            place["times"] += 1
        end = recording.end()
        if places and end is not None and isinstance(end.payload, End):
            memory = open_memory(ram, "the memory at the end", files, [])
            cr3 = FinalState.unpack(end.payload.state).cr3
            names = guest_names(guest.kind, guest.kernel, memory, cr3)
            for rip, place in places.items():
                place["symbol"] = names.describe(rip)
    return tuple(places.values())


def describe_early_reads(places: tuple[dict[str, Any], ...]) -> str:
    """What `record --early-reads` says of them: one line."""
    if not places:
        return "early reads: none; no buffer was read while a device owned it"
    total = sum(place["times"] for place in places)
    shown = [
        f"{place['symbol'] or place['rip']} ({place['times']} times, first at event"
        f" {place['first_event']}: {place['size']} bytes at {place['first_gpa']}, which belonged to"
        f" {place['buffer']})"
        for place in places[:_SHOWN]
    ]
    more = f", and {len(places) - _SHOWN} places more" if len(places) > _SHOWN else ""
    return f"early reads: {total} of buffers that a device owned, at {'; '.join(shown)}{more}"
