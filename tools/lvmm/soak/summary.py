"""Sums over all runs ever: by workload, by condition, and by version."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import Any

from tabulate import tabulate

from lvmm.soak.one_run import DIVERGED, FAILED, IDENTICAL

Run = dict[str, Any]
_RESULTS = (IDENTICAL, DIVERGED, FAILED)
_SUMS = ("events", "branches", "log_bytes", "wall_s")
_NOT_KNOWN = "not known"


def summary(runs: list[Run]) -> dict[str, list[dict[str, Any]]]:
    """Lists of dictionaries: `workloads`, `conditions`, `versions`."""
    workloads = _grouped(runs, lambda run: [(run["workload"],)])
    conditions = _grouped(runs, _conditions)
    versions = _grouped(runs, lambda run: [_version(run)])
    return {
        "workloads": [
            {"workload": key[0], **_counts(group), **_totals(group)} for key, group in workloads
        ],
        "conditions": [
            {"condition": key[0], "value": key[1], **_counts(group)} for key, group in conditions
        ],
        "versions": [
            {"version": key[0], "revision": key[1], "monitor": key[2], **_counts(group)}
            for key, group in versions
        ],
    }


def _grouped(runs: list[Run], keys: Any) -> list[tuple[tuple[Any, ...], list[Run]]]:
    groups: dict[tuple[Any, ...], list[Run]] = defaultdict(list)
    for run in runs:
        for key in dict.fromkeys(keys(run)):
            groups[key].append(run)
    return sorted(groups.items(), key=lambda item: [_sortable(part) for part in item[0]])


def _sortable(value: object) -> tuple[bool, float, str]:
    """Numbers by size, before all else."""
    if isinstance(value, int | float):
        return False, value, ""
    return True, 0, str(value)


def _counts(group: list[Run]) -> dict[str, int]:
    results = {name: sum(run["result"] == name for run in group) for name in _RESULTS}
    return {"runs": len(group), **results}


def _totals(group: list[Run]) -> dict[str, float]:
    return {name: sum(run[name] or 0 for run in group) for name in _SUMS}


def _version(run: Run) -> tuple[str, str, str]:
    return run["version"], run["revision"] or _NOT_KNOWN, (run["monitor"] or _NOT_KNOWN)[:12]


def _conditions(run: Run) -> Iterator[tuple[str, Any]]:
    """What a run was made under. A condition of its replays counts once, if one of them had it."""
    record, replays = run["record"], run["replays"]
    if run["memory_mib"] is not None:
        yield "guest's memory, MiB", run["memory_mib"]
    yield from _mode(run["mode"] or {})
    for replay in replays:
        yield "CPU", f"{record['cpu_model']} -> {replay['cpu_model']}"
    for side, machines in (("recorded", [record]), ("replayed", replays)):
        for machine in machines:
            yield f"{side}: instructions a second", machine["ips"]
            yield f"{side}: skid, branches at most", machine["skid_margin"]
            yield f"{side}: TLB emptied every", machine["tlb_flush"] or "never"


def _mode(mode: Run) -> Iterable[tuple[str, Any]]:
    if not mode:
        return
    yield "log", mode["log"]
    yield "network card looks every, us", mode["nic_poll_us"] or 1000
    if mode["early_reads"]:
        yield "early reads", "looked for"
    if mode["checkpoints"]:
        yield "replayed: checkpoint every, branches", mode["checkpoints"]


def render(facts: dict[str, list[dict[str, Any]]]) -> str:
    """The tables for people; the one of workloads has a line for all."""
    if not facts["workloads"]:
        return "no runs yet"
    return "\n\n".join(
        [
            _workload_table(facts["workloads"]),
            _table(facts["conditions"], ("condition", "value")),
            _table(facts["versions"], ("version", "revision", "monitor")),
        ]
    )


def _workload_table(lines: list[dict[str, Any]]) -> str:
    rows = [list(line.values()) for line in lines]
    if rows:
        rows.append(["all", *(sum(column) for column in list(zip(*rows, strict=True))[1:])])
    cells = []
    for name, *counts, events, branches, size, wall in rows:
        sums = [f"{events:,}", f"{branches / 1e6:,.1f}", f"{size / 1e6:,.1f}", f"{wall:,.0f}"]
        cells.append([name, *counts, *sums])
    headers = ["workload", "runs", *_RESULTS, "events", "M branches", "log MB", "s"]
    align = ("left", *("right" for _ in headers[1:]))
    return tabulate(cells, headers, tablefmt="simple", colalign=align, disable_numparse=True)


def _table(lines: list[dict[str, Any]], names: tuple[str, ...]) -> str:
    headers = [*names, "runs", *_RESULTS]
    cells = [[_cell(line[header]) for header in headers] for line in lines]
    align = (*("left" for _ in names), *("right" for _ in headers[len(names) :]))
    return tabulate(cells, headers, tablefmt="simple", colalign=align, disable_numparse=True)


def _cell(value: object) -> str:
    return f"{value:,}" if isinstance(value, int) else str(value)
