"""Hypercalls: marks and panics are in the recording, and bad ones do no harm."""

import dataclasses
from pathlib import Path

import pytest
from tests.emulated.machine import (
    BOARD,
    assert_identical,
    boot_sector,
    events_of,
    record_guest,
    record_tiny,
    replay,
    tampered,
    tiny,
)

from lvmm import session
from lvmm.logs.layout import End, EndReason, Mark
from lvmm.session import RunSettings

PANIC_TEXT = b'out of "cookies"\n'

pytestmark = pytest.mark.xdist_group(__name__)  # one worker: they share a recording


def marks_of(directory: Path) -> list[bytes]:
    return [event.payload.text for event in events_of(directory) if isinstance(event.payload, Mark)]


@pytest.fixture(scope="module")
def panicked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return record_tiny("panic", tmp_path_factory.mktemp("panic") / "recording")


def test_panic_ends_the_run_and_replays(panicked: Path, tmp_path: Path) -> None:
    assert marks_of(panicked) == [b"before the panic", PANIC_TEXT]
    mark, end = events_of(panicked)[-2:]
    assert isinstance(end.payload, End)
    assert end.payload.reason == EndReason.GUEST_PANIC
    assert (end.branches, end.rip) == (mark.branches, mark.rip)
    assert (panicked / "console.log").read_text() == "interface 3\nstill there\nstill there\n"
    log = (panicked / "run" / "monitor.log").read_text()
    assert r'{"lvmm":"guest-panic","text":"out of \"cookies\"\u000a"}' in log
    for seed in (3, 4):
        verdict = replay(panicked, seed, tmp_path / f"replay-{seed}")
        assert_identical(verdict)
        assert verdict.end_reason == "guest-panic"


@pytest.mark.parametrize("text", [b"", b"before the panik", b"before the panic!"])
def test_another_mark_is_a_divergence(panicked: Path, tmp_path: Path, text: bytes) -> None:
    events = events_of(panicked)
    index = next(event.index for event in events if isinstance(event.payload, Mark))
    events[index] = dataclasses.replace(events[index], payload=Mark(text))
    tampered(panicked, tmp_path / "planted", events)
    verdict = replay(tmp_path / "planted", 5, tmp_path / "run")
    assert verdict.divergence is not None
    assert verdict.divergence["event"] == index
    assert verdict.divergence["kind"] == "MARK"


def test_bad_hypercalls_do_no_harm(tmp_path: Path) -> None:
    recording = record_tiny("hypercalls", tmp_path / "recording")
    assert (recording / "console.log").read_text().splitlines() == [
        "interface: 00000003",
        "nothing: 00000000",
        "longest: 00000000",
        "too long: fffffffe",
        "endless: fffffffe",
        "the APIC: fffffffd",
        "ROM never touched: fffffffd",
        "the monitor: fffffffd",
        "over the end: fffffffd",
        "around: fffffffd",
        "no such call: ffffffff",
        "other magic: 1 #UD",
        "cpl 3: #UD",
    ]
    empty, longest = marks_of(recording)
    assert empty == b""
    assert longest == bytes(ord("a") + i % 26 for i in range(256))
    verdict = replay(recording, 3, tmp_path / "replay")
    assert_identical(verdict)
    assert verdict.end_reason == "halt"
    # The stack on which the #UD at CPL 3 is delivered is on a page that a checkpoint protects.
    assert_identical(replay(recording, 13, tmp_path / "checkpoints", checkpoints=20_000))


def test_hypercalls_of_16_and_64_bit_code(tmp_path: Path) -> None:
    recording = record_guest(boot_sector("hypercall_modes"), tmp_path / "recording")
    assert marks_of(recording) == [b"16-bit", b"64-bit", b"the end"]
    verdict = replay(recording, 3, tmp_path / "replay")
    assert_identical(verdict)
    assert verdict.end_reason == "guest-panic"


def test_panic_in_live_mode() -> None:
    result = session.live(BOARD, tiny("panic"), RunSettings(seed=1, timeout_s=60))
    assert result.report.reason == "guest-panic"
    assert result.console == b"interface 3\nstill there\nstill there\n"
