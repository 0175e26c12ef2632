"""Going to positions in replay, with generated guests on a model of the CPU: exactly there."""

from __future__ import annotations

import subprocess

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.host.cbuild import build

# enum kind in tests/host/c/position_driver.c
PLAIN, LOOP, REP, COUNT, IRET, EXITS, MOVSS = range(7)
Insn = tuple[int, int]

UNITS = 20_000


@st.composite
def guests(draw: st.DrawFn) -> list[Insn]:
    """Instructions, and back to the first. Loops end in a conditional branch."""
    insns: list[Insn] = []
    for _ in range(draw(st.integers(1, 8))):
        start = len(insns)
        body = st.sampled_from([PLAIN, PLAIN, PLAIN, REP, COUNT, IRET, EXITS, MOVSS])
        for kind in draw(st.lists(body, min_size=0, max_size=6)):
            insns.append((kind, draw(st.integers(0, 9)) if kind == COUNT else 0))
        back = draw(st.integers(max(0, start - 3), len(insns)))
        insns.append((LOOP, back + 256 * draw(st.sampled_from([0, 1, 3, 40, 300]))))
    return insns


def replay(
    margin: int, seed: int, insns: list[Insn], positions: list[int]
) -> tuple[list[str], int]:
    """Where the replay stopped, by units executed, and with how many exits."""
    sources = ("tests/host/c/position_driver.c", "hypervisor/replay/position.c")
    text = [f"{margin} {seed} {UNITS} {len(insns)}", *(f"{kind} {arg}" for kind, arg in insns)]
    result = subprocess.run(
        [build("position_driver", sources)],
        input="\n".join([*text, str(len(positions)), *map(str, positions)]) + "\n",
        capture_output=True,
        text=True,
        check=True,
        timeout=10,
    )
    *stops, exits = result.stdout.split("\n")[:-1]
    return stops, int(exits)


@settings(max_examples=50, deadline=None)
@given(
    st.integers(0, 100),
    st.integers(0, 1000),
    guests(),
    st.lists(st.integers(0, UNITS - 1), min_size=1, max_size=40, unique=True),
)
def test_every_position_is_reached(
    margin: int, seed: int, insns: list[Insn], positions: list[int]
) -> None:
    positions.sort()
    stops, _ = replay(margin, seed, insns, positions)
    assert stops == [str(units) for units in positions]


def test_a_tight_loop_costs_few_exits() -> None:
    """The counter's interrupt, the position, and no other: what comes before it is passed."""
    positions = list(range(500, UNITS, 500))
    stops, exits = replay(100, 1, [(PLAIN, 0), (LOOP, 256 * 300)], positions)
    assert stops == [str(units) for units in positions]
    assert exits == 2 * len(positions)
