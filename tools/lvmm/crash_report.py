"""Shows the report of a crash (lvmm.crash) to people, as plain text."""

from __future__ import annotations

from collections.abc import Iterator

from lvmm.report_text import (
    Facts,
    code_lines,
    code_title,
    event_lines,
    items,
    paragraph,
    place_text,
    section,
    table,
)

_HOW = {"rip": "", "frame pointer": "", "stack": "?"}


def render_crash(report: Facts) -> str:
    """The report as text, without a newline at the end."""
    title = f"CRASH ({report['reason'].replace('_', ' ')}): {report['why']}"
    lines = [*paragraph(title, ""), "", *_summary(report), ""]
    lines += section("What is wrong", items(report["findings"]))
    lines += section("Calls", _calls(report["backtrace"]))
    code = report["code"]
    if code["paging"] is not None:
        lines += section(code_title(code, report["place"]), code_lines(code))
    lines += section("Registers", _registers(report))
    lines += section("The last events", event_lines(report["last_events"]))
    lines += section("Notes", items(report["notes"]))
    return "\n".join(lines).rstrip()


def _summary(report: Facts) -> Iterator[str]:
    if report["panic"] is not None:
        yield f"  panic: {report['panic'].strip()}"
    for error in report["errors"]:
        yield f"  {error}"
    if report["task"] is not None:
        yield f"  in {report['task']}"
    after = "" if report["branches"] is None else f", after {report['branches']} branches"
    yield f"  at {place_text(report['place'])}{after}"


def _calls(frames: list[Facts]) -> Iterator[str]:
    if not frames:
        return
    rows = [
        (f"#{number}", frame["rip"], frame["symbol"] or "", _HOW[frame["how"]])
        for number, frame in enumerate(frames)
    ]
    yield from table(rows)
    if any(frame["how"] == "stack" for frame in frames):
        yield "  (?: return addresses on the stack, some perhaps of calls that are over)"


def _registers(report: Facts) -> Iterator[str]:
    system = report["system"]
    named = {"rip": report["place"]["rip"], **report["registers"]}
    named |= {name: value for name, value in system.items() if "dtr" not in name}
    cells = [f"{name:<6} {value:>18}" for name, value in named.items()]
    for at in range(0, len(cells), 3):
        yield "  " + "   ".join(cells[at : at + 3])
    for name in ("gdtr", "idtr"):
        yield f"  {name:<6} base {system[name + '_base']}, limit {system[name + '_limit']}"
    rows = [("", "selector", "base", "limit", "attributes")]
    rows += [
        (s["name"], s["selector"], s["base"], s["limit"], s["attributes"])
        for s in report["segments"]
    ]
    yield from table(rows)
