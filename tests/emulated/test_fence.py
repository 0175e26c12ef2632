"""A device without a DMA profile does not become bus master while recording, unless excepted."""

import dataclasses
from pathlib import Path
from typing import Any

import pytest
from tests.emulated.machine import BOARD as PLAIN
from tests.emulated.machine import RECORD_TIMEOUT_S, assert_identical, events_of, replay, tiny

from lvmm import session
from lvmm.board import Device
from lvmm.logs import Recording
from lvmm.logs.layout import Fence
from lvmm.recording_dir import Manifest
from lvmm.session import RunSettings

# The board with a network card that nobody has written a profile for: an NE2000 on PCI. It does no
# DMA, so its bit stays 0 even where the write comes through; tests/host/test_fence.py sees that.
BOARD = dataclasses.replace(PLAIN, device=(*PLAIN.device, Device("nic1", "00:04.0", "ne2k", "")))

SERVED = {"00000009: 70108086 is bus master", "00000018: 100e8086 is bus master"}
CARD = {
    "address": "00:04.0",
    "vendor": "10ec",
    "device": "8029",
    "class": "020000",
    "lacks": "profile",
}


def record(directory: Path, *unfenced: str) -> tuple[Manifest, set[str], bool]:
    """Records the guest: the manifest, the lines of its console, and is the log unsound?"""
    settings = RunSettings(seed=1, timeout_s=RECORD_TIMEOUT_S, unfenced=unfenced)
    manifest = session.record(BOARD, tiny("master"), settings, directory)
    console = (directory / manifest.console.path).read_text()
    with Recording.open(directory) as recording:
        assert recording.header is not None
        return manifest, set(console.splitlines()), recording.header.unsound


def of_the_card(manifest: Manifest) -> list[dict[str, Any]]:
    return [message for message in manifest.fenced if message["address"] == CARD["address"]]


def test_a_device_without_profile_is_fenced(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    manifest, console, unsound = record(tmp_path / "recording")
    assert console >= {*SERVED, "00000020: 802910ec is none"}
    assert of_the_card(manifest) == [{"lvmm": "fence", **CARD, "allowed": False}]
    assert not unsound
    fences = [e.payload for e in events_of(tmp_path / "recording") if e.name == "FENCE"]
    assert Fence(0x20, 0x10EC, 0x8029, 0x020000, 0) in fences
    said = capfd.readouterr().err
    assert said.count("Ethernet controller 10ec:8029 at 00:04.0") == 1
    assert "is kept from becoming bus master" in said
    assert "--unfenced 00:04.0" in said
    assert_identical(replay(tmp_path / "recording", 2, tmp_path / "replay"))


def test_many_devices_with_a_profile(tmp_path: Path) -> None:
    """All that the emulator has room for: four network cards, beside the disk's and the USB's."""
    cards = [Device(f"nic{i}", f"00:0{3 + i}.0", "e1000", "e1000") for i in range(4)]
    board = dataclasses.replace(PLAIN, device=tuple(cards))
    settings = RunSettings(seed=1, timeout_s=RECORD_TIMEOUT_S)
    manifest = session.record(board, tiny("master"), settings, tmp_path / "recording")
    console = (tmp_path / "recording" / manifest.console.path).read_text()
    masters = [line.split()[1] for line in console.splitlines() if "is bus master" in line]
    assert sorted(masters) == ["100e8086"] * 4 + ["70108086", "70208086"]
    assert manifest.fenced == ()
    with Recording.open(tmp_path / "recording") as recording:
        assert recording.header is not None
        streams = [stream.stream for stream in recording.header.dma_streams]
        assert len(streams) == len(set(streams)) == 4 * 7 + 2 + 3
    assert_identical(replay(tmp_path / "recording", 2, tmp_path / "replay"))


@pytest.mark.parametrize(("exceptions", "allowed"), [(("00:04.0",), True), (("00:05.0",), False)])
def test_an_exception_makes_the_recording_unsound(
    tmp_path: Path, exceptions: tuple[str, ...], allowed: bool
) -> None:
    manifest, console, unsound = record(tmp_path / "recording", *exceptions)
    assert console >= SERVED
    assert of_the_card(manifest) == [{"lvmm": "fence", **CARD, "allowed": allowed}]
    assert manifest.unfenced == exceptions
    assert unsound
