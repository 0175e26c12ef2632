"""The tables of `lvmm bench --peers`: what was measured, the ratios, and the papers' figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from lvmm.bench.results import Metric, Row, Section


@dataclass(frozen=True)
class Sample:
    """Figures of one run, those it has, and its result in words."""

    figures: Mapping[str, float]
    result: str


# By system and mode, one of each repetition, in the same order.
Samples = Mapping[tuple[str, str], Sequence[Sample]]

# How each system calls the runs that are compared.
_BASES = {"lvmm": "native", "QEMU": "plain"}

RUN_METRICS = (
    Metric("boot_s", "s to init", 1),
    Metric("boot_cpu_s", "CPU s to init", 1),
    Metric("receive_s", "s receiving", 1),
    Metric("run_s", "s in all", 1),
    Metric("boot_log_bytes", "log to init"),
    Metric("log_bytes", "log in all"),
)
RATIO_METRICS = (
    Metric("record_boot", "record/native to init", 2),
    Metric("record_boot_cpu", "CPU", 2),
    Metric("replay_boot", "replay/record to init", 2),
    Metric("replay_boot_cpu", "CPU", 2),
    Metric("replay_run", "in all", 2),
    Metric("log_per_byte", "log per received byte", 3),
)

# What lvmm wants to reach (the same quantities as in the rows below).
TARGETS = {"record_boot": 1.15, "replay_boot": 0.8, "log_per_byte": 1.03}

RUN_NOTES = (
    "{datagrams:,} UDP datagrams of {size:,} bytes, the same for each run; a replay has them from "
    "its recording. s: of this\ncomputer, from power-on; CPU s: the emulator's processor time. "
    "lvmm's machine starts through its BIOS and GRUB from a CD,\nQEMU loads the kernel itself. "
    "lvmm's native is an emulated VT-x processor (Bochs) without the monitor, QEMU's plain is\n"
    "its TCG: seconds of the one say nothing about the other.",
    "identical: with lvmm all events, registers, console and memory; with QEMU console and memory "
    "when it has ended, which is\na moment after the guest asked for the power-off: by then some "
    "pages may differ.",
)
RATIO_NOTES = (
    "Each within its own system: medians of the repetitions' ratios. CPU: of the emulators' "
    "processor time, up to the same\nmoment; what else this computer does is in the ratios of "
    "seconds. Log per received byte: all that the log grew by from\nwhen the network was up to "
    "the digest, for each byte of the frames.",
)

# Figures of papers, with their source: what, as published, and which ratio of lvmm's is the same.
_RETRACE = "VMware ReTrace (Xu and others, MoBS 2007)"
_TAKEUCHI = "Takeuchi 2009 (IPSJ Journal; abstract)"
_REVIRT = "ReVirt (Dunlap and others, OSDI 2002)"
_PUBLISHED = (
    (f"{_REVIRT}: time with logging", "1.00 to 1.08", "record_boot_cpu"),
    (f"{_RETRACE}: time with recording", "from 1.05", "record_boot_cpu"),
    (f"{_RETRACE}: log bytes per 1,000 instructions", "0.5", "log_per_1000"),
    (f"{_TAKEUCHI}: log bytes per received byte", "about 1", "log_per_byte"),
    (f"{_TAKEUCHI}: receive rate while logging, of VMware's", "0.62", ""),
)
_PUBLISHED_METRICS = (Metric("here", "lvmm, this run", 2),)
_PUBLISHED_NOTES = (
    "The papers measured other guests on real machines; lvmm's figures are of the boot and the "
    "datagrams above, on an emulated\nprocessor: times are processor time to init, by that of the "
    "native run. Receive rates: see the benchmark of UDP.",
)


def _ratio(above: Sample, below: Sample, key: str) -> float | None:
    one, other = above.figures.get(key), below.figures.get(key)
    return one / other if one is not None and other else None


def ratios_of(base: Sample, record: Sample, replay: Sample) -> dict[str, float]:
    """Of one repetition; what cannot be told, since a run has not come so far, is missing."""
    ratios = {
        "record_boot": _ratio(record, base, "boot_s"),
        "record_boot_cpu": _ratio(record, base, "boot_cpu_s"),
        "replay_boot": _ratio(replay, record, "boot_s"),
        "replay_boot_cpu": _ratio(replay, record, "boot_cpu_s"),
        "replay_run": _ratio(replay, record, "run_s"),
        "log_per_byte": record.figures.get("log_per_byte"),
        "log_per_1000": record.figures.get("log_per_1000"),
    }
    return {key: value for key, value in ratios.items() if value is not None}


def sections(samples: Samples, datagrams: int, size: int) -> list[Section]:
    """The tables of what was measured; `size` is a datagram's, in bytes."""
    runs = [
        Row(f"{system} {mode}", [sample.figures for sample in taken], _results(taken))
        for (system, mode), taken in samples.items()
    ]
    target = Row("target of lvmm", [TARGETS])
    ratios = [target, *(_ratio_row(samples, system, base) for system, base in _BASES.items())]
    notes = (RUN_NOTES[0].format(datagrams=datagrams, size=size), *RUN_NOTES[1:])
    return [
        Section("peers", "Peers: lvmm and QEMU, the same guest", RUN_METRICS, runs, notes),
        Section("peers-ratios", "Peers: ratios", RATIO_METRICS, ratios, RATIO_NOTES),
        _published(ratios[1]),
    ]


def _published(lvmm: Row) -> Section:
    """The papers' figures, and lvmm's own of the same kind, where there is one."""
    rows = [
        Row(what, [{"here": value} for value in lvmm.values(key)], figure)
        for what, figure, key in _PUBLISHED
    ]
    title = "Peers: as their papers tell"
    return Section(
        "peers-papers", title, _PUBLISHED_METRICS, rows, _PUBLISHED_NOTES, result_title="published"
    )


def _results(taken: Sequence[Sample]) -> str:
    """Each result once, with how often it came where not all are the same."""
    results = [sample.result for sample in taken]
    different = list(dict.fromkeys(results))
    if len(different) == 1:
        return different[0]
    return "; ".join(f"{results.count(result)} x {result}" for result in different)


def _ratio_row(samples: Samples, system: str, base: str) -> Row:
    runs = [samples[system, mode] for mode in (base, "record", "replay")]
    return Row(system, [ratios_of(*each) for each in zip(*runs, strict=True)])
