"""A debugger that begins at the end is let in only there, also where a replay resumes before it."""

from types import SimpleNamespace
from typing import Any

import pytest

from lvmm.machine_run import run
from lvmm.machine_run.options import RunOptions

pytestmark = pytest.mark.host


class Machine:
    """Watcher and debugger: the guest ends in the third turn, the debugger leaves in the fifth."""

    def __init__(self, options: RunOptions) -> None:
        self.options = options
        self.turn = 0
        self.turns_with_debugger: list[int] = []
        self.line = SimpleNamespace(poll=lambda _: None, link=None)
        self.result = SimpleNamespace(report=SimpleNamespace(running=True))

    def ended(self) -> bool:
        self.turn += 1
        assert self.turn < 10
        return False

    def halted(self) -> bool:
        return self.turn >= 3

    def elapsed(self) -> float:
        return 0.0

    def tell_fenced(self) -> None:
        pass

    def pass_console(self) -> None:
        pass

    def attend(self, _: bool) -> None:
        self.turns_with_debugger.append(self.turn)

    def left(self) -> bool:
        return self.turn >= 5


@pytest.mark.parametrize(
    ("from_end", "saves", "turns"),
    [(False, False, [1, 2, 3, 4, 5]), (True, False, [3, 4, 5]), (True, True, [3, 4, 5])],
)
def test_when_the_debugger_is_let_in(from_end: bool, saves: bool, turns: list[int]) -> None:
    saved: list[int] = []
    machine: Any = None
    on_end = (lambda _: saved.append(machine.turn)) if saves else None
    machine = Machine(RunOptions(from_end=from_end, on_end=on_end))
    run._watch(machine, machine, None, None)
    assert machine.turns_with_debugger == turns
    assert saved == ([3] if saves else [])
