"""A byte of a received packet is changed in the log: Debian's kernel goes another way in replay."""

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


@pytest.mark.parametrize("at", [PORT_AT, PAYLOAD_AT], ids=["port", "payload"])
def test_a_changed_byte_is_found(received: NetRecording, tmp_path: Path, at: int) -> None:
    """No socket takes the packet of another port; of what is in it the guest prints a digest."""
    events = events_of(received.directory)
    planted = datagrams(events)[PACKETS // 2]
    assert isinstance(planted.payload, Dma)
    data = bytearray(planted.payload.data)
    data[at] ^= 1
    payload = dataclasses.replace(planted.payload, data=bytes(data))
    events[planted.index] = dataclasses.replace(planted, payload=payload)
    directory = tampered(received.directory, tmp_path / "planted", events)
    verdict = replay(directory, 3, tmp_path / "run")
    assert not verdict.identical
    assert verdict.divergence is not None
    found = verdict.divergence["event"]
    assert planted.index < found < len(events)
    assert verdict.divergence["kind"] == events[found].name
    assert verdict.events_matched == found
    if at == PAYLOAD_AT:
        assert datagrams(events)[-1].index < found, "the digest is printed when all have come"
