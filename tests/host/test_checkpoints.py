"""The monitor's checkpoints (hypervisor/replay/checkpoint.c, kept_checkpoints.c) against a model:
generated writes and moves, with stores so small that checkpoints are thinned out and dropped."""

from __future__ import annotations

import random
import subprocess
from types import TracebackType
from typing import Self

import pytest
from tests.host import cbuild

pytestmark = pytest.mark.host

SOURCES = (
    "tests/host/c/checkpoint_driver.c",
    "hypervisor/replay/checkpoint.c",
    "hypervisor/replay/kept_checkpoints.c",
    "hypervisor/core/page_journal.c",
    "hypervisor/lib/crc32c.c",
)
RAM_PAGES = 400
PAGE_AND_ADDRESS = 4096 + 8
ERR_INVALID, ERR_NO_SPACE, ERR_FAULT = -1, -4, -5


class Checkpoints:
    """The driver's process."""

    def __init__(self, pages: int) -> None:
        self._process = subprocess.Popen(
            [str(cbuild.build("checkpoint_driver", SOURCES))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.number(f"pages {pages}") == 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        _error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        self._process.communicate()
        assert kind is not None or self._process.returncode == 0

    def ask(self, request: str) -> str:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(request + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        assert answer, f"the driver has ended at: {request}"
        return answer.strip()

    def number(self, request: str) -> int:
        return int(self.ask(request))

    def list(self) -> tuple[dict[int, int], int, int]:
        """Pages by checkpoint, oldest first; bytes used and room."""
        *points, used, room = self.ask("list").split()
        return {int(p.split(":")[0]): int(p.split(":")[1]) for p in points}, int(used), int(room)


class Model:
    """What the state was at each checkpoint, and which pages were written since."""

    def __init__(self, machine: Checkpoints) -> None:
        self.machine = machine
        self.states: dict[int, str] = {}
        self.note()

    def note(self) -> None:
        """A checkpoint that has come into being by itself was made in this state."""
        points, used, room = self.machine.list()
        assert used <= room
        fresh = [point for point in points if point not in self.states]
        assert len(fresh) <= 1
        for point in fresh:
            self.states[point] = self.machine.ask("state")

    def go_back(self, point: int) -> None:
        assert self.machine.number(f"restore {point}") == 0
        assert self.machine.ask("state") == self.states[point]
        self.states = {number: s for number, s in self.states.items() if number <= point}
        assert list(self.machine.list()[0])[-1] == point


def _move(rng: random.Random, machine: Checkpoints, model: Model) -> None:
    match rng.choices(("write", "go", "take", "touch", "restore", "resume"), (60, 25, 5, 1, 6, 1)):
        case ["write"]:
            page = min(int(rng.expovariate(1 / rng.choice((8, 200)))), RAM_PAGES - 1)
            assert machine.number(f"write {page} {rng.randrange(256)}") == 0
        case ["go"]:
            machine.number(f"go {rng.choice((1, 10, 60, 150))}")
            model.note()
        case ["take"]:
            assert machine.number("take") > 0
            model.note()
        case ["touch"]:
            machine.number("touch")
        case ["restore"]:
            points = list(machine.list()[0])
            if points:
                model.go_back(rng.choice(points))
        case ["resume"]:
            _resume(machine, model)


def _resume(machine: Checkpoints, model: Model) -> None:
    points = list(machine.list()[0])
    if not points:
        return
    result = machine.number("resume")
    assert result in (0, ERR_NO_SPACE)
    assert machine.ask("state") == model.states[points[-1]]
    assert set(machine.list()[0]) <= set(points)


@pytest.mark.parametrize("pages", [257, 450, 2000])
@pytest.mark.parametrize("seed", range(4))
def test_generated_runs(seed: int, pages: int) -> None:
    rng = random.Random(f"{seed} {pages}")
    with Checkpoints(pages) as machine:
        model = Model(machine)
        for _ in range(1500):
            _move(rng, machine, model)
        for point in reversed(machine.list()[0]):
            model.go_back(point)


@pytest.mark.parametrize(("pages", "all_of_memory"), [(300, False), (RAM_PAGES + 1, True)])
def test_a_full_store(pages: int, all_of_memory: bool) -> None:
    """All pages are written again and again: checkpoints are thinned out. The first one stays if
    the store has room for all of memory; else the oldest go."""
    with Checkpoints(pages) as machine:
        model = Model(machine)
        for turn in range(20):
            for page in range(RAM_PAGES):
                machine.number(f"write {page} {turn}")
            machine.number("go 200")
            model.note()
        points = list(machine.list()[0])
        assert (points[0] == 1) == all_of_memory
        assert 1 <= len(points) < 20
        for point in reversed(points):
            model.go_back(point)


def test_changes_are_known_by_page() -> None:
    with Checkpoints(300) as machine:
        machine.number("write 3 1")
        second = machine.number("take")
        machine.number("write 4 1")
        third = machine.number("take")
        machine.number("write 3 2")
        assert machine.ask("changed 3") == f"1 {third}"
        assert machine.ask("changed 4") == f"{second}"
        assert machine.ask("changed 5") == ""


def test_what_is_not_there() -> None:
    with Checkpoints(300) as machine:
        first = machine.number("take")
        assert machine.number(f"restore {first + 7}") == ERR_FAULT
        assert machine.number("restore 1") == 0
        assert machine.number(f"restore {first}") == ERR_FAULT  # gone since
