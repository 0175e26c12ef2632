"""What all soaks on this machine have come to: a database (SQLite) with a row for each run."""

from __future__ import annotations

import dataclasses
import json
import sqlite3
import threading
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tabulate import tabulate

from lvmm import __version__
from lvmm.errors import EnvironmentProblem
from lvmm.soak.one_run import DIVERGED, FAILED, IDENTICAL, Outcome

_TABLE = """
CREATE TABLE IF NOT EXISTS runs (
    finished TEXT DEFAULT CURRENT_TIMESTAMP,
    version TEXT, seed INTEGER, workload TEXT, settings TEXT,
    record TEXT, replays TEXT,
    result TEXT, message TEXT,
    events INTEGER, branches INTEGER, log_bytes INTEGER, wall_s REAL
)
"""
_SUMMARY = """
SELECT workload, count(*), sum(result = ?), sum(result = ?), sum(result = ?),
    sum(events), sum(branches), sum(log_bytes), sum(wall_s)
FROM runs GROUP BY workload ORDER BY workload
"""
_KEYS = (
    *("workload", "runs", "identical", "diverged", "failed"),
    *("events", "branches", "log_bytes", "wall_s"),
)


class Results:
    """The database; any thread may add to it. Raises EnvironmentProblem."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            # Two soaks at once wait for each other's writes.
            self._connection = sqlite3.connect(path, timeout=60, check_same_thread=False)
            with self._connection:
                self._connection.execute(_TABLE)
        except (OSError, sqlite3.Error) as error:
            raise self._problem(error) from None

    def _problem(self, error: Exception) -> EnvironmentProblem:
        return EnvironmentProblem(f"{self._path}: {error}: move it away to begin anew")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._connection.close()

    def add(self, outcome: Outcome) -> None:
        plan = outcome.plan
        row = {
            "version": __version__,
            "seed": plan.seed,
            "workload": plan.workload,
            "settings": plan.settings,
            "record": json.dumps(dataclasses.asdict(plan.record)),
            "replays": json.dumps([dataclasses.asdict(replay) for replay in plan.replays]),
            "result": outcome.result,
            "message": outcome.message,
            "events": outcome.events,
            "branches": outcome.branches,
            "log_bytes": outcome.log_bytes,
            "wall_s": outcome.wall_s,
        }
        names, values = ", ".join(row), ", ".join(f":{name}" for name in row)
        try:
            with self._lock, self._connection:
                self._connection.execute(f"INSERT INTO runs ({names}) VALUES ({values})", row)
        except sqlite3.Error as error:
            raise self._problem(error) from None

    def summary(self) -> list[dict[str, Any]]:
        """A dictionary a workload: its name, how many runs came to what, and their sums."""
        try:
            with self._lock:
                rows = self._connection.execute(_SUMMARY, (IDENTICAL, DIVERGED, FAILED)).fetchall()
        except sqlite3.Error as error:
            raise self._problem(error) from None
        return [dict(zip(_KEYS, row, strict=True)) for row in rows]


def table(summary: list[dict[str, Any]]) -> str:
    """The summary for people, with a line for all workloads."""
    rows = [list(row.values()) for row in summary]
    if rows:
        rows.append(["all", *(sum(column) for column in list(zip(*rows, strict=True))[1:])])
    cells = []
    for name, *counts, events, branches, size, wall in rows:
        sums = [f"{events:,}", f"{branches / 1e6:,.1f}", f"{size / 1e6:,.1f}", f"{wall:,.0f}"]
        cells.append([name, *counts, *sums])
    headers = ["workload", "runs", "identical", "diverged", "failed"]
    headers += ["events", "M branches", "log MB", "s"]
    align = ("left", *("right" for _ in headers[1:]))
    return tabulate(cells, headers, tablefmt="simple", colalign=align, disable_numparse=True)
