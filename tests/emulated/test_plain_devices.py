"""Devices that do no DMA are recorded and replayed, although the monitor knows none of them."""

from __future__ import annotations

from pathlib import Path

from tests.emulated.machine import assert_identical, events_of, record_tiny, replay

from lvmm.logs import Event
from lvmm.logs.layout import In

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
