"""Recordings that triggers and the debugger begin and end, in the middle of a run."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.emulated.gdb_run import debugged
from tests.emulated.machine import (
    BOARD,
    RECORD_TIMEOUT_S,
    TINY_MEMORY_MIB,
    assert_identical,
    events_of,
    replay,
    tiny,
)

from lvmm import guest_build, netpeer, recording_dir, session
from lvmm.echo_peer import EchoPeer
from lvmm.guest import Guest
from lvmm.guest_build import tiny_guest
from lvmm.logs.layout import Begin, Content, Dma
from lvmm.session import RING_MIN_KIB, RingSettings, RunSettings
from lvmm.triggers import Triggers, address_of, parse_trigger

REQUESTS = 200
FIRST, LAST = 61, 151  # echo requests by number; the odd ones are ICMP
ICMP_IDENTIFIER = b"LV"


def settings(
    start: str | None, stop: str | None, net_port: int | None = None, *, ring: bool = False
) -> RunSettings:
    triggers = Triggers(*(parse_trigger(text) if text else None for text in (start, stop)))
    return RunSettings(
        seed=1,
        timeout_s=RECORD_TIMEOUT_S,
        triggers=triggers,
        net_port=net_port,
        ring=RingSettings(RING_MIN_KIB, epoch_events=20) if ring else None,
    )


def test_a_breakpoint_starts_and_a_text_stops(tmp_path: Path) -> None:
    guest, directory = tiny("timer"), tmp_path / "recording"
    chosen = settings("break on_timer", "console timer result")
    manifest = session.record(BOARD, guest, chosen, directory)
    assert manifest.end_reason == "stopped"
    first = events_of(directory)[0]
    assert isinstance(first.payload, Begin)
    assert first.rip == address_of("on_timer", guest)
    console = (directory / recording_dir.CONSOLE).read_text()
    assert console.startswith("0 eip ")
    assert console.endswith("timer result")
    assert_identical(replay(directory, 2, tmp_path / "replay"))


@pytest.mark.parametrize("ring", [False, True], ids=["log", "ring"])
def test_a_text_starts_and_a_breakpoint_stops(ring: bool, tmp_path: Path) -> None:
    guest, directory = tiny("timer"), tmp_path / "recording"
    chosen = settings("console 10 eip", "break end_triple_fault", ring=ring)
    manifest = session.record(BOARD, guest, chosen, directory)
    assert manifest.end_reason == "stopped"
    events = events_of(directory)
    assert isinstance(events[0].payload, Begin)
    assert events[-1].rip == address_of("end_triple_fault", guest)
    console = (directory / recording_dir.CONSOLE).read_text().splitlines()
    assert console[1].startswith("11 eip ")
    assert console[-1].startswith("timer result ")
    assert_identical(replay(directory, 3, tmp_path / "replay"))


def test_packets_start_and_stop(tmp_path: Path) -> None:
    """The packet that starts it is in the log, and nothing before it."""
    patterns = [ICMP_IDENTIFIER + number.to_bytes(2, "big") for number in (FIRST, LAST)]
    directory, port = tmp_path / "recording", netpeer.free_port()
    guest = Guest("multiboot", guest_build.appliance(), "", TINY_MEMORY_MIB)
    chosen = settings(*(f"packet {pattern.hex()}" for pattern in patterns), net_port=port)
    peer = EchoPeer(port, REQUESTS, 1)
    peer.start()
    try:
        manifest = session.record(BOARD, guest, chosen, directory)
    finally:
        peer.stop()
    assert manifest.end_reason == "stopped"
    events = events_of(directory)
    assert isinstance(events[0].payload, Begin)
    frames = [event.payload.data for event in events if isinstance(event.payload, Dma)]
    frames = [frame for frame in frames if len(frame) > 40]
    assert patterns[0] in frames[0]
    assert patterns[1] in b"".join(frames)
    assert_identical(replay(directory, 4, tmp_path / "replay"))


def test_the_debugger_starts_and_stops(tmp_path: Path) -> None:
    """The guest runs on; what the replay must come to then is in the log."""
    directory = tmp_path / "recording"
    words = ["--multiboot", tiny_guest("timer"), "--memory", TINY_MEMORY_MIB, "--on-demand"]
    with debugged(tmp_path / "run", "record", *words, "--wait", "-o", directory) as run:
        said = run.gdb(
            "timer",
            "monitor record stop",
            "hbreak on_timer",
            "continue",
            "monitor record start",
            "monitor record start",
            "ignore 1 20",
            "continue",
            "monitor record stop",
            "delete",
            "detach",
        )
        assert run.ended() == 0, run.said
    assert said.count("the recording begins here") == 1, said
    assert "nothing is being recorded" in said
    assert "a recording begins once, and on demand only" in said
    assert "the recording is complete" in said
    assert recording_dir.read_manifest(directory).end_reason == "guest-stop"
    events = events_of(directory)
    address = address_of("on_timer", tiny("timer"))
    assert isinstance(events[0].payload, Begin)
    assert isinstance(events[-2].payload, Content)
    assert [event.rip for event in (events[0], *events[-2:])] == [address] * 3
    assert events[-1].branches > events[0].branches
    assert_identical(replay(directory, 5, tmp_path / "replay"))
