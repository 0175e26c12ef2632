"""What a benchmark returns, as a table for people and as JSON for programs."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tabulate import tabulate


@dataclass(frozen=True)
class Metric:
    """One column: its name in the JSON and in the table, and its digits after the point there."""

    key: str
    title: str
    digits: int = 0


@dataclass(frozen=True)
class Row:
    """One thing that was measured; a value of every metric for each repetition, where there is one.

    `result` says in words what came of it; `details` are for the JSON only.
    """

    what: str
    samples: Sequence[Mapping[str, float]]
    result: str = ""
    details: Mapping[str, Any] = field(default_factory=dict)

    def values(self, key: str) -> list[float]:
        """Of one metric, in the order in which they were measured."""
        return [sample[key] for sample in self.samples if key in sample]


@dataclass(frozen=True)
class Section:
    """What one benchmark has measured. `notes` are sentences that say what the figures mean."""

    name: str
    title: str
    metrics: Sequence[Metric]
    rows: Sequence[Row]
    notes: Sequence[str] = field(default=())
    result_title: str = "result"

    def table(self) -> str:
        """Medians; with the lowest and the highest value where not all are the same."""
        headers = ["", *(metric.title for metric in self.metrics), "repetitions"]
        rows = [
            [row.what, *(_cell(row, metric) for metric in self.metrics), str(len(row.samples))]
            for row in self.rows
        ]
        align = ["left", *("right" for _ in headers[1:])]
        if any(row.result for row in self.rows):
            headers.append(self.result_title)
            align.append("left")
            rows = [[*cells, row.result] for cells, row in zip(rows, self.rows, strict=True)]
        table = tabulate(rows, headers, tablefmt="simple", colalign=align, disable_numparse=True)
        parts = [self.title, "", table]
        if self.notes:
            parts += ["", *self.notes]
        return "\n".join(parts)

    def as_json(self) -> dict[str, Any]:
        """Everything, the single values included."""
        return {
            "name": self.name,
            "title": self.title,
            "rows": [
                {
                    "what": row.what,
                    "repetitions": len(row.samples),
                    "metrics": {
                        metric.key: _spread(row.values(metric.key)) for metric in self.metrics
                    },
                    **({"result": row.result} if row.result else {}),
                    **({"details": dict(row.details)} if row.details else {}),
                }
                for row in self.rows
            ],
            "notes": list(self.notes),
        }


def _spread(values: list[float]) -> dict[str, Any] | None:
    if not values:
        return None
    return {
        "median": statistics.median(values),
        "lowest": min(values),
        "highest": max(values),
        "values": values,
    }


def _cell(row: Row, metric: Metric) -> str:
    values = row.values(metric.key)
    if not values:
        return "-"

    def text(value: float) -> str:
        return f"{value:,.{metric.digits}f}"

    median = text(statistics.median(values))
    low, high = text(min(values)), text(max(values))
    return median if low == high else f"{median} ({low} to {high})"
