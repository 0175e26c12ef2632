"""What the reports to people are made of: sections, tables, code, events; 100 columns wide."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from typing import Any

Facts = dict[str, Any]

_WIDTH = 100
_MARK = "=>"


def section(title: str, body: Iterator[str]) -> list[str]:
    """Title, body and an empty line; nothing when the body is empty."""
    lines = list(body)
    return [f"{title}:", *lines, ""] if lines else []


def place_text(facts: Facts) -> str:
    """RIP and its symbol, of the facts of a place."""
    return f"{facts['rip']} {facts['symbol']}" if facts.get("symbol") else str(facts["rip"])


# --- code ----------------------------------------------------------------------------------


def code_title(code: Facts, place: Facts) -> str:
    """The title of code_lines(); `place` is that of RIP."""
    mode = f"{code['bits']}-bit" if code["bits"] else "no disassembly"
    if code["bits"] and not code["mode_known"]:
        mode += ", a guess"
    if code["paging"] not in (None, "none"):
        mode += f", {code['paging']} paging"
    if code["base"] not in (None, "0x0"):
        mode += f", code segment at {code['base']}"
    return f"Code around {place_text(place)} ({mode})"


def code_lines(code: Facts) -> Iterator[str]:
    """The instructions of the facts of code, one a line."""
    if not code["instructions"] and code["bytes_at_rip"]:
        yield f"  bytes at RIP: {code['bytes_at_rip']}"
    if not code["bytes_at_rip"]:
        yield "  no code is mapped at RIP"
    width = max((len(line["bytes"]) for line in code["instructions"]), default=0)
    for line in code["instructions"]:
        mark = _MARK if line["current"] else ""
        target = f"  <{line['target']}>" if line["target"] else ""
        yield f"  {mark:<2} {line['address']:>18}  {line['bytes']:<{width}}  {line['text']}{target}"
    if code["boundaries_sure"] is False:
        yield "  (no symbol is near: where the instructions before RIP begin is a guess)"


# --- events --------------------------------------------------------------------------------


def event_lines(events: list[Facts]) -> Iterator[str]:
    """A table of the facts of events."""
    if not events:
        return
    rows = [("event", "branches", "since", "", "kind", "about", "RIP")]
    before = None
    for event in events:
        since = "" if before is None else f"+{event['branches'] - before}"
        mark = "=" if event["same_position"] else "a" if event["async"] else ""
        rows.append(
            (
                str(event["index"]),
                str(event["branches"]),
                since,
                mark,
                event["kind"],
                event["about"],
                place_text(event),
            )
        )
        before = event["branches"]
    yield from table(rows)
    if any(row[3] for row in rows[1:]):
        yield "  (a: asynchronous, between two instructions; =: at the position of the one before)"


# --- layout --------------------------------------------------------------------------------


def table(rows: Sequence[tuple[str, ...]]) -> Iterator[str]:
    """Rows whose columns are aligned, indented by two."""
    widths = [max(len(row[at]) for row in rows) for at in range(len(rows[0]))]
    for row in rows:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        yield f"  {'  '.join(cells)}".rstrip()


def items(texts: list[str]) -> Iterator[str]:
    """Texts as a list."""
    for text in texts:
        yield from paragraph(text, "  - ", "    ")


def paragraph(text: str, first: str = "  ", rest: str = "  ") -> list[str]:
    """A text in lines of the reports' width."""
    return textwrap.wrap(
        text,
        _WIDTH,
        initial_indent=first,
        subsequent_indent=rest,
        break_long_words=False,
        break_on_hyphens=False,
    )


def wrapped(title: str, words: list[str]) -> Iterator[str]:
    """Words behind a title, in lines of the reports' width."""
    yield from paragraph(" ".join(words), title, " " * len(title)) if words else ()
