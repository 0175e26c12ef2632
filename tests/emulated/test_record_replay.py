"""Tiny guests: each is recorded and replayed exactly, whatever the counter's skid."""

from pathlib import Path

import pytest
from tests.emulated.machine import (
    assert_identical,
    boot_sector,
    record_guest,
    record_tiny,
    replay,
)

from lvmm.logs import Recording
from lvmm.logs.layout import GuestKind

SEEDS = (11,)  # test_soak.py has more

# How each guest ends, so that every kind of end is recorded and replayed.
ENDS = {
    "a20": "halt",
    "apic": "triple-fault",
    "fpu": "reset",
    "hello": "halt",
    "idle": "halt",
    "inputs": "halt",
    "paging": "reset",
    "rep": "reset",
    "selfmod": "triple-fault",
    "shadow": "triple-fault",
    "stale": "reset",
    "timer": "triple-fault",
}


@pytest.mark.parametrize("name", sorted(ENDS))
def test_guest_replays_identically(name: str, tmp_path: Path) -> None:
    recording = record_tiny(name, tmp_path / "recording")
    console = (recording / "console.log").read_text()
    assert console.endswith("\n")
    assert "unexpected" not in console
    for seed in SEEDS:
        verdict = replay(recording, seed, tmp_path / f"replay-{seed}")
        assert_identical(verdict)
        assert verdict.end_reason == ENDS[name]


def test_a20_stays_open(tmp_path: Path) -> None:
    """The monitor lies at an address that the guest could mask for it, too."""
    recording = record_tiny("a20", tmp_path / "recording")
    *tries, output_port = (recording / "console.log").read_text().splitlines()
    assert len(tries) == 4
    assert all(line.endswith("A20 is open") for line in tries)
    assert int(output_port.split()[-1], 16) & 3 == 3


def test_no_guest_sees_a_stale_entry(tmp_path: Path) -> None:
    """Page faults of pages that are present go through the monitor: each once, no more."""
    recording = record_tiny("stale", tmp_path / "recording")
    words = (recording / "console.log").read_text().replace(",", "").split()
    stale, others, expected = (int(words[at]) for at in (2, 4, 6))
    assert stale == 0
    assert others == expected > 100


def test_boot_sector_replays_identically(tmp_path: Path) -> None:
    """Real mode, with a code segment whose base is not 0, protected mode and back."""
    recording = record_guest(boot_sector("real_mode"), tmp_path / "recording")
    greeting, memory, *hits, _results = (recording / "console.log").read_text().splitlines()
    assert greeting == "real mode"
    assert 512 <= int(memory, 16) < 640, "KiB of memory, says the BIOS"
    counts = {int(line.split()[1], 16) for line in hits}
    assert len(hits) == 24
    assert counts - {0}, "an interrupt inside a REP STOSB"
    with Recording.open(recording) as opened:
        assert opened.header is not None
        assert opened.header.machine.guest_kind == GuestKind.SECTOR
    for seed in SEEDS:
        verdict = replay(recording, seed, tmp_path / f"replay-{seed}")
        assert_identical(verdict)
        assert verdict.end_reason == "triple-fault"


def test_two_recordings_differ(tmp_path: Path) -> None:
    """What is replayed is not something that comes out the same anyway."""
    first, second = (record_tiny("inputs", tmp_path / name) for name in ("first", "second"))
    assert (first / "console.log").read_bytes() != (second / "console.log").read_bytes()
    assert (first / "log.lvmm").read_bytes() != (second / "log.lvmm").read_bytes()


def test_boots_as_a_disk_too(tmp_path: Path) -> None:
    recording = record_tiny("timer", tmp_path / "recording", as_disk=True)
    assert_identical(replay(recording, 7, tmp_path / "replay"))
