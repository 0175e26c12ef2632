"""What all soaks on this machine have come to: a database (SQLite) with a row for each run."""

from __future__ import annotations

import dataclasses
import json
import sqlite3
import threading
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from lvmm import __version__
from lvmm.errors import EnvironmentProblem
from lvmm.soak.one_run import Outcome

_COLUMNS = {
    "finished": "TEXT DEFAULT CURRENT_TIMESTAMP",
    "version": "TEXT",
    "revision": "TEXT",
    "monitor": "TEXT",
    "seed": "INTEGER",
    "workload": "TEXT",
    "settings": "TEXT",
    "memory_mib": "INTEGER",
    "mode": "TEXT",
    "record": "TEXT",
    "replays": "TEXT",
    "result": "TEXT",
    "message": "TEXT",
    "events": "INTEGER",
    "branches": "INTEGER",
    "log_bytes": "INTEGER",
    "wall_s": "REAL",
}
# SQLite's error for a column that is there by now.
_DUPLICATE = "duplicate column name"
_JSON = ("mode", "record", "replays")


class Results:
    """The database; any thread may add to it. `revision`: of lvmm's own sources, as Git names them.

    Raises EnvironmentProblem.
    """

    def __init__(self, path: Path, revision: str = "") -> None:
        self._path = path
        self._revision = revision
        self._lock = threading.Lock()
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            # Two soaks at once wait for each other's writes.
            self._connection = sqlite3.connect(path, timeout=60, check_same_thread=False)
            self._connection.row_factory = sqlite3.Row
            self._create()
        except (OSError, sqlite3.Error) as error:
            raise self._problem(error) from None

    def _create(self) -> None:
        """The table, with the columns that an older version of lvmm did not know."""
        columns = ", ".join(f"{name} {kind}" for name, kind in _COLUMNS.items())
        with self._connection as database:
            database.execute(f"CREATE TABLE IF NOT EXISTS runs ({columns})")
            there = {row["name"] for row in database.execute("PRAGMA table_info(runs)")}
            for name in _COLUMNS.keys() - there:
                try:
                    database.execute(f"ALTER TABLE runs ADD COLUMN {name} {_COLUMNS[name]}")
                except sqlite3.OperationalError as error:
                    if _DUPLICATE not in str(error):
                        raise

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
            "revision": self._revision,
            "monitor": outcome.monitor,
            "seed": plan.seed,
            "workload": plan.workload,
            "settings": plan.settings,
            "memory_mib": plan.memory_mib,
            "mode": json.dumps(dataclasses.asdict(plan.mode)),
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

    def runs(self) -> list[dict[str, Any]]:
        """All of them. Of those of an older version some columns are None."""
        try:
            with self._lock:
                rows = self._connection.execute("SELECT * FROM runs").fetchall()
            return [_decoded(dict(row)) for row in rows]
        except (sqlite3.Error, ValueError) as error:
            raise self._problem(error) from None


def _decoded(row: dict[str, Any]) -> dict[str, Any]:
    return {**row, **{name: json.loads(row[name]) for name in _JSON if row[name] is not None}}
