"""Devices that do no DMA are recorded and replayed, although the monitor knows none of them."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from tests.emulated.machine import BOARD, assert_identical, events_of, record_tiny, replay

from lvmm.board import Device
from lvmm.demo import record_receiving
from lvmm.logs import Event
from lvmm.logs.layout import In, InString
from lvmm.netpeer import Traffic
from lvmm.session import RunSettings

# An NE2000 is all the network that this board has. Its memory for received frames holds eight of
# the largest size; and a frame that comes after the driver has looked for the last time, but before
# it clears the interrupt, stays there until the next one comes.
CARD = "00:03.0"
NE2000 = dataclasses.replace(BOARD, device=(Device("nic0", CARD, "ne2k", ""),))
TRAFFIC = Traffic(seed=3, window=8, ask=True)
DATAGRAMS = 400
DEADLINE_S = 600.0

TICKS = 12
CLOCK_WORDS = 6  # of the line of an interrupt
RTC_PERIODIC_INTERRUPT = 0xC0  # register C of the MC146818A
VGA_STATUS = 0x3DA


def test_clocks_keyboard_and_screen(tmp_path: Path) -> None:
    recording = record_tiny("legacy", tmp_path / "recording")
    lines = [line.split() for line in (recording / "console.log").read_text().splitlines()]

    def values(word: str, size: int = 2) -> list[int]:
        """The numbers after this word, of lines of so many words."""
        return [int(line[1], 16) for line in lines if line[0] == word and len(line) == size]

    def fact(what: str) -> int:
        """The number in the one line that begins so."""
        (found,) = [line[2] for line in lines if " ".join(line[:2]) == what]
        return int(found, 16)

    assert values("rtc", CLOCK_WORDS) == [RTC_PERIODIC_INTERRUPT] * TICKS
    counter = values("hpet", CLOCK_WORDS)
    assert len(counter) == TICKS
    assert counter == sorted(set(counter))
    assert fact("hpet period") > 0
    for clock in ("rtc", "hpet"):
        counts = [
            int(line[5], 16) for line in lines if line[0] == clock and len(line) == CLOCK_WORDS
        ]
        assert counts == sorted(set(counts)), "the loop went on between the interrupts"
    assert fact("keyboard echo") == 0xEE
    assert values("key") == list(range(0x10, 0x16))
    assert values("screen") == [0x1E00 | ord(letter) for letter in "ABCDEF"]
    retraces = [line for line in events_of(recording) if reads(line, VGA_STATUS)]
    assert len(retraces) == 256
    assert len({str(event.payload) for event in retraces}) > 1
    assert_identical(replay(recording, 2, tmp_path / "replay"))


def reads(event: Event, port: int) -> bool:
    return isinstance(event.payload, In) and event.payload.port == port


@pytest.mark.deadline(1200)
def test_ne2000_with_the_stock_driver(request: pytest.FixtureRequest, tmp_path: Path) -> None:
    """The card's memory is read by INS: no DMA, so no profile, and nothing is fenced."""
    if not request.config.getoption("--disk-systems"):
        pytest.skip("takes minutes: give --disk-systems")
    directory = tmp_path / "recording"
    recording = record_receiving(
        NE2000,
        directory,
        DATAGRAMS,
        TRAFFIC,
        RunSettings(seed=1, timeout_s=DEADLINE_S),
        "lvmm.race=60000 lvmm.end=poweroff",
    )
    assert "out-of-order 0" in recording.console
    manifest = recording.manifest
    assert "DMA" not in manifest.events
    assert not manifest.fenced
    strings = [e.payload for e in events_of(directory) if isinstance(e.payload, InString)]
    assert sum(len(string.data) for string in strings) > 0.9 * recording.peer.frame_bytes
    verdict = replay(directory, 2, tmp_path / "replay", timeout_s=DEADLINE_S)
    assert_identical(verdict)
