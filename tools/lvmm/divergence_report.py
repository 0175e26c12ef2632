"""Shows the report of a divergence (lvmm.divergence) to people, as plain text."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from typing import Any

Facts = dict[str, Any]

_WIDTH = 100
_MARK = "=>"


def render_divergence(report: Facts) -> str:
    """The report as text, without a newline at the end."""
    lines = [_title(report), ""]
    if "event" in report:  # else the monitor's message was malformed
        lines += [*_positions(report), *_last_good(report), ""]
        lines += _section("What differs", _items(report["findings"]))
        lines += _section("Registers", _registers(report))
        lines += _section(_code_title(report), _code(report["code"]))
        lines += _section("The last events before it", _events(report["last_events"]))
        lines += _section("Before those, at other places", _events(report["earlier_events"]))
    lines += _section("Notes", _items(report["notes"]))
    return "\n".join(lines).rstrip()


def _section(title: str, body: Iterator[str]) -> list[str]:
    """Title, body and an empty line; nothing when the body is empty."""
    lines = list(body)
    return [f"{title}:", *lines, ""] if lines else []


def _title(report: Facts) -> str:
    if "event" not in report:
        return f"DIVERGENCE: {report['why']}"
    kind = f" ({report['kind']})" if report["kind"] else ""
    return f"DIVERGENCE at event {report['event']}{kind}: {report['why']}"


def _positions(report: Facts) -> Iterator[str]:
    recorded = report["recorded"]
    replayed = report["replayed"]
    rows = [("", "recorded", "replayed")]
    nothing = "(the recording is over)"
    rows.append(
        (
            "event",
            _event_text(recorded) if recorded else nothing,
            replayed["about"] or "(the guest asked for nothing)",
        )
    )
    then = recorded or {}
    ahead = replayed["branches"] - then["branches"] if recorded else 0
    rows.append(
        (
            "branches",
            str(then.get("branches", "-")),
            f"{replayed['branches']}" + (f" ({ahead:+d})" if ahead else ""),
        )
    )
    rows.append(("RIP", then.get("rip", "-"), replayed["rip"]))
    if then.get("symbol") or replayed["symbol"]:
        rows.append(("", then.get("symbol") or "-", replayed["symbol"] or "-"))
    if replayed["check"] is not None:
        rows.append(("check", then.get("check") or "-", replayed["check"]))
    yield from _table(rows)


def _last_good(report: Facts) -> Iterator[str]:
    last = report["last_good"]
    if last is None:
        return
    count = report["branches_after_last_good"]
    yield ""
    yield from _paragraph(
        f"The last good event is {last['index']}, {_event_text(last)}, at {_place(last)}: "
        f"{count} branch{'' if count == 1 else 'es'} before."
    )


def _event_text(event: Facts) -> str:
    """Kind and what it is about; the monitor's own description begins with the kind."""
    about = event["about"]
    if not about:
        return str(event["kind"])
    return about if about.startswith(event["kind"]) else f"{event['kind']} {about}"


def _place(facts: Facts) -> str:
    return f"{facts['rip']} {facts['symbol']}" if facts.get("symbol") else str(facts["rip"])


# --- registers -----------------------------------------------------------------------------


def _registers(report: Facts) -> Iterator[str]:
    registers = report["registers"]
    if registers["stored"]:
        yield from _stored(registers)
    elif registers["check_differs"] is not None:
        yield from _check_only(registers)
    yield "  all in the replay:"
    named = [f"{name:<6} {value:>18}" for name, value in report["replayed"]["registers"].items()]
    for at in range(0, len(named), 3):
        yield "    " + "   ".join(named[at : at + 3])


def _stored(registers: Facts) -> Iterator[str]:
    if not registers["same_position"]:
        yield "  Recorded at another position: what differs may be due to that alone."
    if not registers["differing"]:
        yield "  all are equal to the recorded ones"
        return
    rows = [("", "recorded", "replayed", "")]
    for each in registers["differing"]:
        flags = " ".join(each.get("flags", ()))
        rows.append((each["name"], each["recorded"], each["replayed"], flags))
    yield from _table(rows)
    yield from _wrapped("  equal: ", registers["equal"])


def _check_only(registers: Facts) -> Iterator[str]:
    verdict = "differs" if registers["check_differs"] else "is equal"
    yield from _paragraph(
        f"The event stores only a 16-bit check of registers and output: it {verdict}. Recorded "
        "values are known only at events that store all:"
    )
    for name, title in (("last_snapshot", "last"), ("site_snapshot", "last at this RIP")):
        if name in registers:
            yield from _snapshot(registers[name], title)
    if "explanations" in registers:
        yield from _explanations(registers["explanations"])


def _snapshot(snapshot: Facts, title: str) -> Iterator[str]:
    yield (
        f"  {title}: event {snapshot['event']} at {_place(snapshot)}; the replay has since changed"
        if snapshot["changed"]
        else f"  {title}: event {snapshot['event']} at {_place(snapshot)}; nothing has changed"
    )
    if snapshot["changed"]:
        rows = [("", "then", "now")]
        rows += [(each["name"], each["then"], each["now"]) for each in snapshot["changed"]]
        yield from _table(rows)
        yield from _wrapped("  unchanged: ", snapshot["unchanged"])


def _explanations(found: list[Facts]) -> Iterator[str]:
    if not found:
        yield from _paragraph(
            "No single register with an old value, one other bit or other status flags explains "
            "the check: several differ, or the output does."
        )
        return
    yield from _paragraph(
        "If one register alone differs, and not the output, it may be this (but one difference in "
        "50 looks so by chance):"
    )
    for each in found:
        flags = f" ({' '.join(each['flags'])})" if "flags" in each else ""
        yield (
            f"    {each['name']}: recorded {each['recorded']}, replayed {each['replayed']}"
            f"{flags}: {each['why']}"
        )


# --- code ----------------------------------------------------------------------------------


def _code_title(report: Facts) -> str:
    code = report["code"]
    mode = f"{code['bits']}-bit" if code["bits"] else "no disassembly"
    if code["bits"] and not code["mode_known"]:
        mode += ", a guess"
    if code["paging"] not in (None, "none"):
        mode += f", {code['paging']} paging"
    if code["base"] not in (None, "0x0"):
        mode += f", code segment at {code['base']}"
    return f"Code around {_place(report['replayed'])} ({mode})"


def _code(code: Facts) -> Iterator[str]:
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


def _events(events: list[Facts]) -> Iterator[str]:
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
                _place(event),
            )
        )
        before = event["branches"]
    yield from _table(rows)
    if any(row[3] for row in rows[1:]):
        yield "  (a: asynchronous, between two instructions; =: at the position of the one before)"


# --- layout --------------------------------------------------------------------------------


def _table(rows: Sequence[tuple[str, ...]]) -> Iterator[str]:
    widths = [max(len(row[at]) for row in rows) for at in range(len(rows[0]))]
    for row in rows:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        yield f"  {'  '.join(cells)}".rstrip()


def _items(texts: list[str]) -> Iterator[str]:
    for text in texts:
        yield from _paragraph(text, "  - ", "    ")


def _paragraph(text: str, first: str = "  ", rest: str = "  ") -> list[str]:
    return textwrap.wrap(
        text,
        _WIDTH,
        initial_indent=first,
        subsequent_indent=rest,
        break_long_words=False,
        break_on_hyphens=False,
    )


def _wrapped(title: str, words: list[str]) -> Iterator[str]:
    yield from _paragraph(" ".join(words), title, " " * len(title)) if words else ()
