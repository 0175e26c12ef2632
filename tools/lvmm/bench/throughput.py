"""What the workloads took in each mode, as figures for each unit of work."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from lvmm.bench.modes import Mode, Phase, Spent
from lvmm.bench.results import Metric, Row, Section
from lvmm.vmx_reasons import reason_name

# What a VM exit and the entry after it take on a real processor, in instructions: in an emulator
# they cost next to nothing.
EXIT_COST = 1500

METRICS = (
    Metric("guest_instructions", "guest instr."),
    Metric("monitor_instructions", "monitor instr."),
    Metric("exits", "exits", 2),
    Metric("log_bytes", "log bytes", 1),
    Metric("wall_us", "wall us", 1),
    Metric("wall_by_native", "wall/native", 2),
    Metric("wall_by_record", "wall/record", 2),
    Metric("throughput", "throughput", 3),
)

NOTES = (
    "All but ratios and throughput: for each unit of work. Instructions are retired ones, counted "
    "by the emulator\nfrom mark to mark. Boot to init: from when the kernel, or the monitor, loads "
    "its first page tables (so neither\nfirmware nor GRUB count) until init runs.",
    f"Throughput is modelled: native instructions / (instructions + exits x {EXIT_COST:,}). Wall: "
    "time of this computer,\nwith what else it did: a ratio of short times says little.",
    "Work that waits for a time (timers and signals) takes as many instructions as the time has; "
    "what the guest idles\nis in the wall time only.",
)


@dataclass(frozen=True)
class Workload:
    """A phase and what it took in each mode."""

    phase: Phase
    spent: Mapping[Mode, Spent]

    def throughput(self, mode: Mode) -> float:
        """Modelled, against native."""
        spent = self.spent[mode]
        cost = spent.instructions + spent.exit_count * EXIT_COST
        return self.spent[Mode.NATIVE].instructions / cost

    def wall_ratio(self, mode: Mode, other: Mode) -> float:
        """Wall time in a mode against that in another."""
        return self.spent[mode].wall_s / self.spent[other].wall_s

    def cpu_ratio(self, mode: Mode, other: Mode) -> float:
        """Likewise, of the emulator's processor time."""
        return self.spent[mode].cpu_s / self.spent[other].cpu_s

    def row(self, mode: Mode) -> Row:
        """Figures for each unit."""
        spent, units = self.spent[mode], self.phase.units
        sample = {
            "guest_instructions": spent.guest_instructions / units,
            "monitor_instructions": spent.monitor_instructions / units,
            "exits": spent.exit_count / units,
            "log_bytes": spent.log.total / units,
            "wall_us": spent.wall_s * 1e6 / units,
            "wall_by_native": self.wall_ratio(mode, Mode.NATIVE),
            "wall_by_record": self.wall_ratio(mode, Mode.RECORD),
            "throughput": self.throughput(mode),
        }
        return Row(f"{self.phase.name}, {mode.value}", [sample], details=self.details(mode))

    def details(self, mode: Mode) -> dict[str, Any]:
        """What the table has no room for: of all units together."""
        spent = self.spent[mode]
        return {
            "workload": self.phase.name,
            "mode": mode.value,
            "unit": self.phase.unit,
            "units": self.phase.units,
            "data_bytes": self.phase.data * self.phase.units,
            "instructions": spent.instructions,
            "wall_s": spent.wall_s,
            "cpu_s": spent.cpu_s,
            "exits": {reason_name(reason): count for reason, count in sorted(spent.exits.items())},
            "log_events": spent.log.events,
            "log_bytes": dict(sorted(spent.log.kinds.items())),
        }


def section(workloads: Iterable[Workload]) -> Section:
    """A row for each workload and mode."""
    workloads = list(workloads)
    units = "; ".join(f"{workload.phase.name}: {workload.phase.unit}" for workload in workloads)
    return Section(
        "workloads",
        "Workloads: what they take without the monitor, live, recorded and replayed",
        METRICS,
        [workload.row(mode) for workload in workloads for mode in Mode],
        (*NOTES, f"Units: {units}."),
    )
