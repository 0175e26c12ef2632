"""What a replay showed, for people."""

from __future__ import annotations

from lvmm.replaying import ReplayVerdict


def verdict_table(verdict: ReplayVerdict) -> str:
    """What a replay showed, for people."""

    def yes(same: bool) -> str:
        return "identical" if same else "DIFFERENT"

    console = yes(verdict.console_identical)
    if verdict.console_differs_at is not None:
        console += f" from byte {verdict.console_differs_at}"
    memory = yes(verdict.memory_identical)
    if verdict.log_alone:
        console = memory = "not known: a log alone"
    if verdict.differing_pages:
        memory += ", first pages: " + " ".join(f"{page:#x}" for page in verdict.differing_pages)
    same = "the replay is identical" if verdict.identical else "THE REPLAY DIFFERS"
    if verdict.altered:
        same = "the debugger has altered the replay"
    rows = [
        ("events matched", f"{verdict.events_matched} of {verdict.events_total}"),
        ("console", console),
        ("registers", yes(verdict.registers_identical)),
        ("memory", memory),
        ("end", f"{verdict.end_reason} (recorded: {verdict.recorded_end_reason})"),
        ("seed", str(verdict.seed)),
        ("time", f"{verdict.wall_s:.1f} s"),
        ("verdict", same),
    ]
    return "\n".join(f"{name:<15} {value}" for name, value in rows)
