"""`./lvmm doctor`: looks, prints, and says by its exit code whether all is there."""

from __future__ import annotations

import json

from lvmm.board import Board
from lvmm.doctor.findings import Finding, State, is_fine, render
from lvmm.doctor.machine import look, machine_findings
from lvmm.doctor.probe import board_findings, probe_board
from lvmm.errors import LvmmError
from lvmm.session import run_mib


def run(board: Board, *, boots: bool, as_json: bool) -> int:
    """0: nothing is missing; 1: something is. `boots`: looks at the board, too."""
    machine = machine_findings(look(), run_mib(board))
    on_board = _look_at(board, machine) if boots else []
    fine = is_fine([*machine, *on_board])
    if as_json:
        facts = {
            "fine": fine,
            "machine": [finding.facts() for finding in machine],
            "board": {"name": board.name, "findings": [finding.facts() for finding in on_board]}
            if boots
            else None,
        }
        print(json.dumps(facts, indent=2))
    else:
        print(render("this machine", machine))
        if boots:
            print(render(f"\nthe board {board.name}: {board.description}", on_board))
    return 0 if fine else 1


def _look_at(board: Board, machine: list[Finding]) -> list[Finding]:
    """Boots it, where this machine can do so: nothing is installed or built for that."""
    lacks = [finding.subject for finding in machine if finding.state is State.MISSING]
    if lacks:
        text = f"not booted: this machine lacks {', '.join(lacks)}"
        return [Finding("board", State.MISSING, text, "see to these first")]
    try:
        return board_findings(board, probe_board(board))
    except LvmmError as error:
        return [Finding("board", State.MISSING, str(error))]
