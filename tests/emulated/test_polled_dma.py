"""A guest that polls descriptors in memory: each harvest becomes visible where it did."""

import itertools
from pathlib import Path

from tests.emulated.machine import (
    BOARD,
    RECORD_TIMEOUT_S,
    assert_identical,
    events_of,
    replay,
    tiny,
)

from lvmm import netpeer, session
from lvmm.frame_source import frames_to
from lvmm.logs import Event
from lvmm.logs.layout import EventKind
from lvmm.session import RunSettings

SEEDS = (41, 42, 43)


def harvests_in_a_row(events: list[Event]) -> int:
    """The most positions at which DMA became visible without another input between them."""
    most = 0
    inputs = [event for event in events if event.kind not in (EventKind.SENT, EventKind.TIME)]
    for is_dma, run in itertools.groupby(inputs, lambda event: event.kind == EventKind.DMA):
        if is_dma:
            most = max(most, len({(event.branches, event.rip) for event in run}))
    return most


def test_polled_frames_replay_identically(tmp_path: Path) -> None:
    port = netpeer.free_port()
    settings = RunSettings(seed=1, timeout_s=RECORD_TIMEOUT_S, net_port=port)
    with frames_to(port, seed=port):
        manifest = session.record(BOARD, tiny("polling"), settings, tmp_path / "recording")
    assert manifest.end_reason == "reset"
    console = (tmp_path / "recording" / "console.log").read_text()
    batches = [[int(word) for word in line.split()[1:6:2]] for line in console.splitlines()]
    assert len(batches) == 8
    assert all(spins > 0 and frames > 0 for spins, frames, _bytes in batches[1:])
    assert harvests_in_a_row(events_of(tmp_path / "recording")) >= 7
    for seed in SEEDS:
        assert_identical(replay(tmp_path / "recording", seed, tmp_path / f"replay-{seed}"))
