"""extract_log.py stats."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lvmm.errors import UsageError
from lvmm.logs import devices
from lvmm.logs.counts import Count, Statistics
from lvmm.logs.header import RecordingHeader
from lvmm.logs.printing import Progress, finish, print_json, print_table
from lvmm.logs.recording import Recording
from lvmm.logs.statistics import PythonCounter, count, fast_counter

_MANIFEST = "recording.json"

Lookup = Callable[[int], str]


def stats(recording: Recording, as_json: bool, top: int, symbols: Path | None) -> int:
    """Count events, bytes and exits by kind, device and code address; the exit code.

    `top`: most devices and addresses to show. `symbols`: an ELF file.
    """
    name_of = _symbols(symbols) if symbols is not None else None
    with Progress("stats", recording.log_bytes, sys.stderr) as progress:
        found = count(recording, fast_counter() or PythonCounter(), progress=progress.at)
    facts = statistics_json(found, recording, top, name_of)
    if as_json:
        print_json(facts)
        return finish(recording)
    _print_counts("kind", facts["kinds"], ("exits",))
    _print_counts("device", facts["devices"], ("data",))
    _print_counts("code", facts["code"], ("symbol",))
    exits = facts.get("monitor_exits")
    if exits:
        _print_counts("VM exit", [{"name": name, "events": exits[name]} for name in exits])
    lists = ("kinds", "devices", "code", "monitor_exits", "uncounted")
    print_table([(name, facts[name]) for name in facts if name not in lists])
    return finish(recording)


def statistics_json(
    found: Statistics, recording: Recording, top: int, name_of: Lookup | None = None
) -> dict[str, Any]:
    """What was counted as JSON values; devices and code addresses: those with most bytes first."""
    kinds = [
        {"name": kind.name, **_numbers(counted), "exits": found.exits.get(kind, 0)}
        for kind, counted in _largest(found.kinds)
    ]
    code = []
    for rip, counted in _largest(found.code)[:top]:
        code.append({"name": f"{rip:#x}", **_numbers(counted)})
        if name_of is not None:
            code[-1]["symbol"] = name_of(rip)
    first = recording.chunks[0].header if recording.chunks else None
    facts = {
        "kinds": kinds,
        "devices": _devices(found, recording.header)[:top],
        "code": code,
        "code_addresses": len(found.code),
        "uncounted": found.uncounted,
        "events": found.events,
        "exits": sum(found.exits.values()),
        "log_bytes": recording.log_bytes,
        "chunks": len(recording.chunks),
        "first_branches": first.first_branches if first else 0,
        "last_branches": found.last_branches,
        "dma_bytes": sum(counted.data for counted in found.streams.values()),
    }
    exits = _monitor_exits(recording)
    return facts | ({"monitor_exits": exits} if exits else {})


def _devices(found: Statistics, header: RecordingHeader | None) -> list[dict[str, Any]]:
    """Reads and DMA by device, those with most bytes first."""
    rows: dict[tuple[str, str], Count] = {}
    tables = ((devices.PORTS, found.ports), (devices.MMIO, found.mmio), (devices.MSRS, found.msrs))
    for space, table in tables:
        others = {}
        for address, counted in table.items():
            name = devices.fixed_device(space, address)
            if name is None:
                others[address] = counted
            else:
                _add(rows, (name, space), counted)
        for block in devices.blocks(space, others):
            low, high = block[0], block[-1]
            name = f"{space}:{low:#x}" if low == high else f"{space}:{low:#x}-{high:#x}"
            for address in block:
                _add(rows, (name, space), others[address])
    for stream, counted in found.streams.items():
        _add(rows, (devices.stream_name(stream, header), f"dma:{stream}"), counted)
    ordered = sorted(rows.items(), key=lambda row: (-row[1].bytes, row[0]))
    return [
        {"name": name, "space": space, **_numbers(counted), "data": counted.data}
        for (name, space), counted in ordered
    ]


def _add(rows: dict[tuple[str, str], Count], key: tuple[str, str], counted: Count) -> None:
    row = rows.setdefault(key, Count())
    row.events += counted.events
    row.bytes += counted.bytes
    row.data += counted.data


def _largest(table: dict[Any, Count]) -> list[tuple[Any, Count]]:
    return sorted(table.items(), key=lambda item: (-item[1].bytes, item[0]))


def _numbers(counted: Count) -> dict[str, Any]:
    return {"events": counted.events, "bytes": counted.bytes}


def _monitor_exits(recording: Recording) -> dict[str, int]:
    """The VM exits that the monitor counted, where a recording directory tells them."""
    path = Path(recording.source.name).with_name(_MANIFEST)
    try:
        exits = json.loads(path.read_text(encoding="utf-8"))["exits"]
        counts = {str(name): int(exits[name]) for name in exits}
    except (OSError, ValueError, KeyError, TypeError):
        return {}
    return dict(sorted(counts.items(), key=lambda item: -item[1]))


def _symbols(path: Path) -> Lookup:
    """Names for addresses, of an ELF file. Raises UsageError."""
    from lvmm.symbols import SymbolsUnavailable, elf_symbols

    try:
        table = elf_symbols(path)
    except SymbolsUnavailable as error:
        raise UsageError(f"--symbols {path}: {error}") from None

    def name_of(address: int) -> str:
        symbol = table.lookup(address)
        return f"{symbol[0]}+{address - symbol[1]:#x}" if symbol else ""

    return name_of


def _print_counts(title: str, rows: list[dict[str, Any]], more: tuple[str, ...] = ()) -> None:
    """A table with a line for each of `rows`, and an empty line; nothing if there are none."""
    if not rows:
        return
    width = max(len(title), *(len(row["name"]) for row in rows))
    columns = ("events", *(("bytes",) if "bytes" in rows[0] else ()), *more)
    columns = tuple(name for name in columns if any(name in row for row in rows))
    print("  ".join([f"{title:<{width}}", *(f"{name:>12}" for name in columns)]))
    for row in rows:
        cells = [f"{row.get(name, ''):>12}" for name in columns]
        print("  ".join([f"{row['name']:<{width}}", *cells]).rstrip())
    print()
