"""The project's aims for speed and size of the log, each beside what was measured."""

from __future__ import annotations

from collections.abc import Mapping

from lvmm.bench.modes import BOOT, Mode
from lvmm.bench.results import Metric, Row, Section
from lvmm.bench.throughput import Workload

METRICS = (
    Metric("aim", "aim", 2),
    Metric("measured", "measured", 3),
    Metric("reached", "reached"),
)
NOTE = (
    "At most, or where it says so at least. Reached: 1 is yes. Wall: time of this computer;\n"
    "processor time: the emulator's, which other work on this computer changes less."
)

_LARGE, _MIDDLE = "UDP, 1,472 bytes", "UDP, 1,024 bytes"


def section(workloads: Mapping[str, Workload], entry_instructions: int) -> Section | None:
    """What of the aims can be told of these; None: nothing. Instructions of 0 were not counted."""
    rows = []

    def at_most(what: str, aim: float, measured: float) -> None:
        sample = {"aim": aim, "measured": measured, "reached": float(measured <= aim)}
        rows.append(Row(what, [sample]))

    def at_least(what: str, aim: float, measured: float) -> None:
        sample = {"aim": aim, "measured": measured, "reached": float(measured >= aim)}
        rows.append(Row(f"{what}, at least", [sample]))

    if boot := workloads.get(BOOT):
        log = boot.spent[Mode.RECORD].log.total
        at_most("boot to init: log, MB", 1.0, log / 1e6)
        for aim, mode, other in (
            (1.15, Mode.RECORD, Mode.NATIVE),
            (0.8, Mode.REPLAY, Mode.RECORD),
        ):
            what = f"boot to init: {{}} {mode.value} / {other.value}"
            at_most(what.format("wall time"), aim, boot.wall_ratio(mode, other))
            at_most(what.format("processor time"), aim, boot.cpu_ratio(mode, other))
    if middle := workloads.get(_MIDDLE):
        received = middle.phase.data * middle.phase.units
        growth = middle.spent[Mode.RECORD].log.total / received
        at_most(f"{_MIDDLE}: log per received byte", 1.03, growth)
    if large := workloads.get(_LARGE):
        exits = large.spent[Mode.RECORD].exit_count / large.phase.units
        at_most(f"{_LARGE}: exits per datagram, recorded", 0.5, exits)
        throughput = large.throughput(Mode.RECORD)
        at_least(f"{_LARGE}: modelled throughput, recorded", 0.9, throughput)
    if entry_instructions:
        millions = entry_instructions / 1e6
        at_most("M instructions from the monitor's entry to the guest's first", 50.0, millions)
    return Section("aims", "Aims, and what was measured", METRICS, rows, (NOTE,)) if rows else None
