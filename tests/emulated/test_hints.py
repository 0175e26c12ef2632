"""A device that the monitor has never heard of: recorded by its driver's hints, and replayed."""

from __future__ import annotations

import hashlib
import struct
from pathlib import Path

import pytest
from tests.emulated.machine import assert_identical, events_of, replay, tiny
from tests.emulated.sound_guest import BOARD, CARD_ADDRESS, sound_guest

from lvmm import session
from lvmm.guest import Guest
from lvmm.logs.devices import stream_name
from lvmm.logs.layout import Dma, Hypercall
from lvmm.recording_dir import Manifest
from lvmm.session import RunSettings

CAPTURED = 4096
PATTERN = 0x5A5A5A5A
COMMAND_MASTER = 4


def record(guest: Guest, output: Path) -> tuple[Manifest, list[str], bytes]:
    """The manifest, the guest's lines, and what the card heard."""
    manifest = session.record(BOARD, guest, RunSettings(seed=1, timeout_s=900.0), output)
    console = (output / manifest.console.path).read_text()
    return manifest, console.splitlines(), (output / "run" / "noise.raw").read_bytes()


def is_bus_master(console: list[str]) -> bool:
    """What the guest reads of the card, when its driver has been loaded."""
    (line,) = [line for line in console if line.startswith("sound: command register")]
    return bool(int(line.split()[-1], 16) & COMMAND_MASTER)


def shown(how: str, data: bytes) -> str:
    """As tests/guests/tiny/hinted.c prints it."""
    words = [word for (word,) in struct.iter_unpack("<I", data)]
    total = 0
    for word in words:
        total = ((total << 1 | total >> 31) & 0xFFFFFFFF) ^ word
    return f"{how}: {words[0]:08x} ... {words[-1]:08x}, sum {total:08x}"


def test_a_driver_with_the_header(tmp_path: Path) -> None:
    manifest, console, noise = record(tiny("hinted"), tmp_path / "recording")
    looks = console[11]
    assert console == [
        "not attached: fffffffa",
        "no device: fffffffa",
        "with a profile: fffffffa",
        "attached: 00000000 00000000",
        "not RAM: fffffffd",
        "nothing: fffffff9",
        "no kind: fffffff9",
        "too much: fffffffb",
        "beyond: fffffff9",
        "twice: 00000000 fffffff9",
        shown("shared", noise[:CAPTURED]),
        looks,
        shown("before the hand-over", struct.pack("<I", PATTERN) * (CAPTURED // 4)),
        shown("after it", noise[CAPTURED : 2 * CAPTURED]),
        "detached: 00000000",
        "command: 00000001",
    ]
    assert int(looks.split()[1]) > 1000
    assert manifest.fenced == ()
    events = events_of(tmp_path / "recording")
    written = [event.payload for event in events if isinstance(event.payload, Dma)]
    assert {stream_name(dma.stream, None) for dma in written} == {
        "hints 0 shared",
        "hints 0 buffers",
    }
    assert b"".join(dma.data for dma in written) == noise[: 2 * CAPTURED]
    assert sum(isinstance(event.payload, Hypercall) for event in events) == 19
    # On a machine without the card.
    assert_identical(replay(tmp_path / "recording", 2, tmp_path / "replay"))


@pytest.mark.deadline(3600)
class TestStockDriver:
    """Debian's kernel with its own driver of the card, which knows nothing of lvmm."""

    @pytest.fixture(autouse=True)
    def _asked_for(self, request: pytest.FixtureRequest) -> None:
        if not request.config.getoption("--disk-systems"):
            pytest.skip("takes minutes: give --disk-systems")

    def test_with_the_module_it_is_recorded(self, tmp_path: Path) -> None:
        manifest, console, noise = record(sound_guest(hints=True), tmp_path / "recording")
        assert manifest.fenced == ()
        assert is_bus_master(console)
        assert "sound: played 6 periods" in console
        (read,) = [line for line in console if "bytes by read" in line]
        (looked,) = [line for line in console if "bytes by looking" in line]
        assert read.split()[-1] == hashlib.sha256(noise[:49152]).hexdigest()
        assert looked.split()[-1] == hashlib.sha256(noise[49152 : 49152 + 24576]).hexdigest()
        assert_identical(replay(tmp_path / "recording", 2, tmp_path / "replay"))

    def test_without_it_is_fenced(self, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
        manifest, console, _ = record(sound_guest(hints=False), tmp_path / "recording")
        assert [message["address"] for message in manifest.fenced] == [CARD_ADDRESS]
        said = capfd.readouterr().err
        assert "the audio device 1274:5000 at 00:04.0" in said
        assert "give hints (docs/adding-a-device.md)" in said
        assert not is_bus_master(console)
        assert_identical(replay(tmp_path / "recording", 2, tmp_path / "replay"))
