"""The timeline as a picture: five lanes over guest time, at a glance. Needs matplotlib."""

from __future__ import annotations

from typing import IO

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, PercentFormatter

from lvmm.timeline.histogram import BINS, Histogram
from lvmm.timeline.marks import Lane, TimelineMark

_SHOWN = 5  # names of a lane with a colour of their own
_COLOURS = ("#4477aa", "#ee6677", "#228833", "#ccbb44", "#66ccee")
_OTHER = "#bbbbbb"
_COLUMNS = 400  # of the picture, at most
_UNITS = {
    Lane.EXITS: "per second",
    Lane.INTERRUPTS: "per second",
    Lane.DMA: "bytes/s",
    Lane.CONSOLE: "bytes/s",
    Lane.IDLE: "of the time",
}


class Picture:
    """Collects marks; what it keeps does not grow with them."""

    def __init__(self) -> None:
        self._lanes = {lane: Histogram() for lane in Lane}
        self._start: float | None = None
        self._length = 0.0

    def add(self, mark: TimelineMark) -> None:
        """Takes in a mark."""
        if self._start is None:
            self._start = mark.seconds
        end = mark.seconds - self._start
        self._length = max(self._length, end)
        lane = self._lanes[mark.lane]
        if mark.lane is Lane.IDLE:
            amount = min(mark.amount, end)
            lane.spread(mark.name, end - amount, end, amount)
        else:
            lane.add(mark.name, end, mark.amount)

    def write(self, file: IO[bytes], title: str, note: str) -> None:
        """Writes a PNG; `note` stands below the title in small print."""
        figure = Figure(figsize=(14, 9), dpi=110, layout="constrained")
        FigureCanvasAgg(figure)
        figure.suptitle(title, fontsize=14, fontweight="bold", x=0.01, ha="left")
        axes = figure.subplots(len(Lane), 1, sharex=True)
        for lane, place in zip(Lane, axes, strict=True):
            self._draw(place, lane)
        axes[0].set_title(note, fontsize=9, color="#555555", loc="left")
        axes[-1].set_xlabel("guest time in seconds")
        start = self._start or 0.0
        axes[-1].set_xlim(start, start + (self._length or 1))
        figure.align_ylabels(axes)
        figure.savefig(file, format="png")

    def _draw(self, place: Axes, lane: Lane) -> None:
        histogram = self._lanes[lane]
        histogram.reach(self._length)
        used = min(int(self._length / histogram.width) + 1, BINS)
        step = -(-used // _COLUMNS)
        width = histogram.width * step
        start = self._start or 0.0
        edges = [start + index * width for index in range(-(-used // step) + 1)]
        names = list(histogram.names())
        shown = names[:_SHOWN] if len(names) > _SHOWN + 1 else names[: _SHOWN + 1]
        series = {name: _rates(histogram.bins(name), used, step, width) for name in shown}
        rest = [name for name in names if name not in series]
        if rest:
            sums = [_rates(histogram.bins(name), used, step, width) for name in rest]
            series[f"{len(rest)} more"] = [sum(column) for column in zip(*sums, strict=True)]
        base = [0.0] * (len(edges) - 1)
        for index, (name, rates) in enumerate(series.items()):
            top = [low + rate for low, rate in zip(base, rates, strict=True)]
            colour = _COLOURS[index] if index < len(_COLOURS) else _OTHER
            place.stairs(top, edges, baseline=base, fill=True, color=colour, label=name)
            base = top
        self._decorate(place, lane, bool(series))

    def _decorate(self, place: Axes, lane: Lane, filled: bool) -> None:
        place.set_ylabel(f"{lane.value}\n{_UNITS[lane]}")
        place.set_ylim(bottom=0)
        place.yaxis.set_major_formatter(EngFormatter())
        if lane is Lane.IDLE:
            place.set_ylim(0, 1)
            place.yaxis.set_major_formatter(PercentFormatter(1.0))
        place.grid(alpha=0.3)
        place.set_axisbelow(True)
        for side in ("top", "right"):
            place.spines[side].set_visible(False)
        if not filled:
            place.set_yticks([])
            place.text(0.5, 0.5, "none", transform=place.transAxes, ha="center", color="#999999")
        elif lane is not Lane.IDLE:
            place.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), fontsize=8, frameon=False)


def _rates(bins: list[float], used: int, step: int, width: float) -> list[float]:
    """Amounts a second, `step` bins taken together."""
    return [sum(bins[at : min(at + step, used)]) / width for at in range(0, used, step)]
