"""Bytes of a received packet are changed in the log: Debian's kernel goes another way in replay."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from tests.emulated.machine import BOARD, assert_identical, events_of, replay, tampered

from lvmm.demo import NetRecording, record_receiving
from lvmm.logs import Event
from lvmm.logs.layout import Dma
from lvmm.netpeer import Traffic
from lvmm.session import RunSettings
from lvmm.triggers import Triggers, parse_trigger

PACKETS = 40
SIZE = 1024
# Of the peer's frames: Ethernet has 14 bytes, IPv4 20, UDP 8.
PORT_AT = 14 + 20 + 2  # of the receiver
PAYLOAD_AT = 14 + 20 + 8 + 500
CHANGES = {
    "port": lambda frame: flipped(frame, PORT_AT),  # no socket takes it
    "checksum": lambda frame: flipped(frame, PAYLOAD_AT),  # the kernel drops it
    "digest": lambda frame: swapped(frame, PAYLOAD_AT),  # only the program can see that
}

pytestmark = [pytest.mark.deadline(1800), pytest.mark.xdist_group(__name__)]


@pytest.fixture(scope="module")
def received(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> NetRecording:
    """Datagrams, recorded from when the kernel has booted: so replays need no boot."""
    if not request.config.getoption("--disk-systems"):
        pytest.skip("takes minutes: give --disk-systems")
    begin = parse_trigger("console lvmm: init")
    return record_receiving(
        BOARD,
        tmp_path_factory.mktemp("received") / "recording",
        PACKETS,
        Traffic(seed=6, size=SIZE, pauses=False),
        RunSettings(seed=1, timeout_s=600.0, triggers=Triggers(begin)),
        "lvmm.race=1000 lvmm.end=poweroff",
    )


def datagrams(events: list[Event]) -> list[Event]:
    """What the card wrote that is as long as a datagram."""
    return [e for e in events if isinstance(e.payload, Dma) and len(e.payload.data) > SIZE]


def test_unchanged_packets_replay_identically(received: NetRecording, tmp_path: Path) -> None:
    assert len(datagrams(events_of(received.directory))) == PACKETS
    assert_identical(replay(received.directory, 2, tmp_path / "run"))


def flipped(frame: bytes, at: int) -> bytes:
    return frame[:at] + bytes([frame[at] ^ 1]) + frame[at + 1 :]


def swapped(frame: bytes, at: int) -> bytes:
    """With two words in each other's place: the sum of all (RFC 1071) stays."""
    return frame[:at] + frame[at + 2 : at + 4] + frame[at : at + 2] + frame[at + 4 :]


@pytest.mark.parametrize("seen_by", CHANGES)
def test_a_change_is_found(received: NetRecording, tmp_path: Path, seen_by: str) -> None:
    events = events_of(received.directory)
    planted = datagrams(events)[PACKETS // 2]
    assert isinstance(planted.payload, Dma)
    data = CHANGES[seen_by](planted.payload.data)
    assert data != planted.payload.data
    payload = dataclasses.replace(planted.payload, data=data)
    events[planted.index] = dataclasses.replace(planted, payload=payload)
    directory = tampered(received.directory, tmp_path / "planted", events)
    verdict = replay(directory, 3, tmp_path / "run")
    assert not verdict.identical
    assert verdict.divergence is not None
    found = verdict.divergence["event"]
    assert planted.index < found < len(events)
    assert verdict.divergence["kind"] == events[found].name
    assert verdict.events_matched == found
    if seen_by == "digest":
        assert datagrams(events)[-1].index < found, "the digest is printed when all have come"
