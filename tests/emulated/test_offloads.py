"""Debian's driver of the e1000 lets the card work for it; long frames are on."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from tests.emulated.machine import BOARD, assert_identical, events_of, replay
from tests.emulated.offloads_peer import ROUND, ROUNDS, OffloadsPeer
from tests.emulated.stock_guest import stock_guest

from lvmm import session
from lvmm.logs.layout import Sent, SentFlag
from lvmm.netpeer import free_port
from lvmm.session import RunSettings

APPLETS = ("sh", "cat", "echo", "insmod", "ip", "mount", "poweroff", "usleep")
SEGMENT, JUMBO_SEGMENT = 1448, 8948  # bytes of data, as in offloads.c


def segments(data: int, segment: int) -> Counter[int]:
    """How many packets of which length the card makes of so much data."""
    return Counter({segment: data // segment, data % segment: 1})


@pytest.mark.deadline(3600)
def test_segments_checksums_and_jumbo_frames(
    request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    if not request.config.getoption("--disk-systems"):
        pytest.skip("takes minutes: give --disk-systems")
    guest = stock_guest("offloads", BOARD, applets=APPLETS, modules=["e1000"])
    port = free_port()
    peer = OffloadsPeer(port, seed=1)
    peer.start()
    recording = tmp_path / "recording"
    try:
        settings = RunSettings(seed=1, timeout_s=1200.0, net_port=port)
        manifest = session.record(BOARD, guest, settings, recording)
    finally:
        peer.end()
    console = (recording / manifest.console.path).read_text()
    assert peer.errors == []
    assert f"offloads: sent {peer.received_digest}" in console
    assert f"offloads: received {peer.sent_digest}" in console
    # Of the data of each frame, what the card was given in one piece came in several.
    one_round = Counter(ROUND) - Counter({60_000: 2})
    one_round += segments(60_000, SEGMENT) + segments(60_000, JUMBO_SEGMENT)
    assert peer.sizes == Counter({size: ROUNDS * count for size, count in one_round.items()})
    sent = [e.payload for e in events_of(recording) if isinstance(e.payload, Sent)]
    firsts = [part for part in sent if part.flags & SentFlag.FIRST]
    assert sum(bool(part.flags & SentFlag.SEGMENTED) for part in firsts) == 2 * ROUNDS
    assert_identical(replay(recording, 2, tmp_path / "replay", timeout_s=1200.0))
