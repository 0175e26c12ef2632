"""The workloads' figures as pictures, SVG and PNG."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from lvmm.bench.modes import Mode, Spent
from lvmm.bench.throughput import EXIT_COST, Workload
from lvmm.vmx_reasons import reason_name

_COLOURS = ("#4477aa", "#ee6677", "#228833", "#ccbb44", "#66ccee", "#aa3377", "#997700", "#222255")
_OTHER = "#bbbbbb"
_MODES = {Mode.NATIVE: _OTHER, Mode.LIVE: _COLOURS[2], Mode.RECORD: _COLOURS[0]} | {
    Mode.REPLAY: _COLOURS[1]
}
_PER = 1e6  # guest instructions


def write_plots(workloads: Sequence[Workload], folder: Path) -> list[Path]:
    """Modelled throughput, exits by reason and log bytes by kind; returns the PNG files."""
    names = [workload.phase.name for workload in workloads]
    figures = {
        "throughput": _throughput(workloads),
        "exits": _stacked(
            names,
            [_per_instruction(workload, _exits) for workload in workloads],
            "VM exits while recording by reason; the number: for a million guest instructions",
        ),
        "log": _stacked(
            names,
            [_per_instruction(workload, _log) for workload in workloads],
            "bytes of log by kind of event; the number: for a million guest instructions",
        ),
    }
    files = []
    folder.mkdir(parents=True, exist_ok=True)
    for name, figure in figures.items():
        for suffix in ("svg", "png"):
            figure.savefig(folder / f"{name}.{suffix}")
        files.append(folder / f"{name}.png")
    return files


def _figure(rows: int, title: str) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(11, 1.5 + 0.42 * rows), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    axes.set_title(title, loc="left")
    axes.grid(axis="x", color="#dddddd")
    axes.set_axisbelow(True)
    return figure, axes


def _throughput(workloads: Sequence[Workload]) -> Figure:
    title = f"modelled throughput: native instructions / (instructions + exits x {EXIT_COST:,})"
    figure, axes = _figure(2 * len(workloads), title)
    height = 0.8 / len(Mode)
    for number, mode in enumerate(Mode):
        places = [place + (number - 1.5) * height for place in range(len(workloads))]
        values = [workload.throughput(mode) for workload in workloads]
        bars = axes.barh(places, values, height, color=_MODES[mode], label=mode.value)
        axes.bar_label(bars, fmt="%.2f", fontsize=6, padding=2)
    axes.set_yticks(range(len(workloads)), [workload.phase.name for workload in workloads])
    axes.invert_yaxis()
    axes.legend(ncols=len(Mode), fontsize=8, loc="lower right")
    return figure


def _exits(spent: Spent) -> dict[str, float]:
    return {reason_name(reason): count for reason, count in spent.exits.items()}


def _log(spent: Spent) -> dict[str, float]:
    return dict(spent.log.kinds)


def _per_instruction(
    workload: Workload, amounts: Callable[[Spent], dict[str, float]]
) -> dict[str, float]:
    spent = workload.spent[Mode.RECORD]
    return {
        name: amount * _PER / spent.guest_instructions for name, amount in amounts(spent).items()
    }


def _stacked(names: Sequence[str], rows: Sequence[dict[str, float]], title: str) -> Figure:
    """A bar a row, of all its parts' shares; the largest parts have colours of their own."""
    figure, axes = _figure(len(rows), title)
    shares = [
        {name: amount / sum(row.values()) for name, amount in row.items() if amount} for row in rows
    ]
    together: dict[str, float] = {}
    for share in shares:
        for name, part in share.items():
            together[name] = together.get(name, 0.0) + part
    shown = sorted(together, key=lambda name: -together[name])[: len(_COLOURS)]
    parts = {name: [share.get(name, 0.0) for share in shares] for name in shown}
    parts["other"] = [
        sum(part for name, part in share.items() if name not in shown) for share in shares
    ]
    left = [0.0] * len(rows)
    for (name, widths), colour in zip(
        parts.items(), (*_COLOURS[: len(shown)], _OTHER), strict=True
    ):
        axes.barh(range(len(rows)), widths, 0.7, left=left, color=colour, label=name)
        left = [place + width for place, width in zip(left, widths, strict=True)]
    for place, row in enumerate(rows):
        axes.text(1.0, place, f" {sum(row.values()):,.0f}", va="center", fontsize=8)
    axes.set_xlim(0, 1.1)
    axes.xaxis.set_major_formatter(PercentFormatter(1.0))
    axes.set_yticks(range(len(names)), names)
    axes.invert_yaxis()
    axes.legend(fontsize=8, loc="center left", bbox_to_anchor=(1.0, 0.5))
    return figure
