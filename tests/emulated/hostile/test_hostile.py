"""Guests that do their worst: afterwards the debugger answers, and the monitor is unharmed."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.emulated.hostile.machine import boot, hostile
from tests.emulated.machine import BOARD, assert_identical, replay

from lvmm import session
from lvmm.session import RunSettings

WORK_S = 60.0  # for what comes to an end
FOREVER_S = 2.0  # for what does not
BOOTS = 40  # at most, for one run of streams

MEMORY = BOARD.memory
MONITOR = f"monitor={MEMORY.monitor_base} end={MEMORY.log_base + MEMORY.log_bytes}"
IN_MONITOR = f"at={MEMORY.monitor_base}"
IN_LOG = f"at={MEMORY.log_base}"

# What a guest gets over; several in one boot.
SURVIVED = [
    ("memory,msrs", f"seed=1 {MONITOR}"),
    ("instructions,lapic,init,timer-storm,ipi-storm,nmi-storm,cr4,efer", "seed=2"),
    ("pci,ports", "seed=3"),
]

# What it does not: how it ends. None: it goes on, without an end.
ENDS = [
    ("triple-fault", "", "triple-fault"),
    ("halt", "", "halt"),
    ("spin", "", None),
    ("tsc-back", "", None),
    ("zeros", "", "error"),
    ("idt", IN_MONITOR, "error"),
    ("gdt", IN_LOG, "error"),
    ("tables", "", "triple-fault"),
    ("cr3", IN_MONITOR, "error"),
    ("task-switch", "", "error"),
    ("entry-state", "case=1", "triple-fault"),
    ("entry-state", "case=2", "triple-fault"),
    ("entry-state", "case=3", "triple-fault"),
    ("entry-state", "case=4", "triple-fault"),
    ("stack-in-device", "", "error"),
    ("fetch-hidden", IN_MONITOR, "error"),
]

RECORDED_ENDS = ("triple-fault", "spin", "zeros", "idt", "task-switch")

# Which streams, how run, and their share of --hostile-seeds.
STREAMS = [
    ("streams", "live", 1.0),
    ("streams", "record", 0.2),
    ("wild-streams", "live", 0.04),
    ("wild-streams", "record", 0.04),
]
STREAMS_S = 10.0
STREAMS_PER_S = 20.0

REPLAYED = [
    "mode=instructions,nmi-storm,ipi-storm,triple-fault count=300",
    "mode=timer-storm,streams,halt seed=1000 count=60",
    "mode=lapic,init,cr4,efer,tables",
]


@pytest.mark.parametrize("mode", ["live", "record"])
@pytest.mark.parametrize(("modes", "words"), SURVIVED, ids=[modes for modes, _ in SURVIVED])
def test_survived(mode: str, modes: str, words: str, tmp_path: Path) -> None:
    with boot(mode, f"mode={modes} {words}", tmp_path) as machine:
        machine.run(WORK_S)
        assert machine.end is None, machine.lines
        machine.check()
        console = machine.console
        assert "all done" in console
        assert "wrong" not in console
        assert "unexpected" not in console


@pytest.mark.parametrize(
    ("mode", "name", "words", "reason"),
    [
        pytest.param(mode, *end, id=f"{mode}-{end[0]}{end[1].replace('case=', '-')[:2]}")
        for mode in ("live", "record")
        for end in ENDS
        if mode == "live" or end[0] in RECORDED_ENDS
    ],
)
def test_end(mode: str, name: str, words: str, reason: str | None, tmp_path: Path) -> None:
    with boot(mode, f"mode={name} {words}", tmp_path) as machine:
        machine.run(WORK_S if reason else FOREVER_S)
        assert machine.end == reason, machine.lines
        assert f"begin {name[:4]}" in machine.console
        machine.check()
        if reason == "error":
            assert machine.message("error") is not None


def run_streams(name: str, mode: str, first: int, count: int, folder: Path) -> int:
    """Runs so many streams, in as many boots as they need; returns how many that were."""
    seed, boots = first, 0
    while seed < first + count:
        assert boots < BOOTS, f"{boots} boots came to seed {seed} of {first} to {first + count - 1}"
        left = first + count - seed
        with boot(mode, f"mode={name} seed={seed} count={left}", folder / str(seed)) as machine:
            boots += 1
            machine.run(STREAMS_S + left / STREAMS_PER_S)
            machine.check()
            # The stream that ended the guest, or hangs, is over, too.
            reached = machine.variable("current")
            assert seed <= reached <= first + count, machine.lines
            seed = reached if reached == first + count else reached + 1
    return boots


@pytest.mark.parametrize(("name", "mode", "share"), STREAMS)
def test_streams(
    name: str, mode: str, share: float, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    seeds = int(request.config.getoption("--hostile-seeds"))
    run_streams(name, mode, 1, max(int(seeds * share), 1), tmp_path)


@pytest.mark.parametrize("words", REPLAYED)
def test_replays_identically(words: str, tmp_path: Path) -> None:
    directory = tmp_path / "recording"
    settings = RunSettings(seed=1, timeout_s=WORK_S)
    session.record(BOARD, hostile(words), settings, directory)
    assert_identical(replay(directory, 5, tmp_path / "replay"))
