"""Queries over a replay, without a debugger: `./lvmm replay DIR --find QUERY` (docs/queries.md)."""
