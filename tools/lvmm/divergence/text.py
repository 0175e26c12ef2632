"""Shows the report of a divergence (lvmm.divergence.explain) to people, as plain text."""

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
    wrapped,
)


def render_divergence(report: Facts) -> str:
    """The report as text, without a newline at the end."""
    lines = [_title(report), ""]
    if "event" in report:  # else the monitor's message was malformed
        lines += [*_positions(report), *_last_good(report), ""]
        lines += section("What differs", items(report["findings"]))
        lines += section("Registers", _registers(report))
        lines += section(code_title(report["code"], report["replayed"]), code_lines(report["code"]))
        lines += section("The last events before it", event_lines(report["last_events"]))
        lines += section("Before those, at other places", event_lines(report["earlier_events"]))
    lines += section("Notes", items(report["notes"]))
    return "\n".join(lines).rstrip()


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
    yield from table(rows)


def _last_good(report: Facts) -> Iterator[str]:
    last = report["last_good"]
    if last is None:
        return
    count = report["branches_after_last_good"]
    yield ""
    yield from paragraph(
        f"The last good event is {last['index']}, {_event_text(last)}, at {place_text(last)}: "
        f"{count} branch{'' if count == 1 else 'es'} before."
    )


def _event_text(event: Facts) -> str:
    """Kind and what it is about; the monitor's own description begins with the kind."""
    about = event["about"]
    if not about:
        return str(event["kind"])
    return about if about.startswith(event["kind"]) else f"{event['kind']} {about}"


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
    yield from table(rows)
    yield from wrapped("  equal: ", registers["equal"])


def _check_only(registers: Facts) -> Iterator[str]:
    verdict = "differs" if registers["check_differs"] else "is equal"
    yield from paragraph(
        f"The event stores only a 16-bit check of registers and output: it {verdict}. Recorded "
        "values are known only at events that store all:"
    )
    for name, title in (("last_snapshot", "last"), ("site_snapshot", "last at this RIP")):
        if name in registers:
            yield from _snapshot(registers[name], title)
    if "explanations" in registers:
        yield from _explanations(registers["explanations"])


def _snapshot(snapshot: Facts, title: str) -> Iterator[str]:
    what = "the replay has since changed" if snapshot["changed"] else "nothing has changed"
    yield f"  {title}: event {snapshot['event']} at {place_text(snapshot)}; {what}"
    if snapshot["changed"]:
        rows = [("", "then", "now")]
        rows += [(each["name"], each["then"], each["now"]) for each in snapshot["changed"]]
        yield from table(rows)
        yield from wrapped("  unchanged: ", snapshot["unchanged"])


def _explanations(found: list[Facts]) -> Iterator[str]:
    if not found:
        yield from paragraph(
            "No single register with an old value, one other bit or other status flags explains "
            "the check: several differ, or the output does."
        )
        return
    yield from paragraph(
        "If one register alone differs, and not the output, it may be this (but one difference in "
        "50 looks so by chance):"
    )
    for each in found:
        flags = f" ({' '.join(each['flags'])})" if "flags" in each else ""
        yield (
            f"    {each['name']}: recorded {each['recorded']}, replayed {each['replayed']}"
            f"{flags}: {each['why']}"
        )
