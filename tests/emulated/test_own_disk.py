"""A system on its own disk: the BIOS boots it in guest mode, and its replay has no disk."""

import hashlib
import re
from pathlib import Path

import pytest
from tests.emulated.machine import (
    BOARD,
    RECORD_TIMEOUT_S,
    TINY_MEMORY_MIB,
    assert_identical,
    events_of,
    record_guest,
    replay,
)

from lvmm import cli, guest_build, recording_dir, session
from lvmm.guest import Guest
from lvmm.logs import Event, Recording
from lvmm.logs.layout import GuestKind, In, InString
from lvmm.machine_run import RunOptions, run_machine
from lvmm.session import RunSettings

DATA_PORT = 0x170  # of the second IDE channel
SCRATCH = slice(1000 * 512, 1001 * 512)  # the sector that the guest writes


def own_disk(image: Path, *, write: bool = False) -> Guest:
    return Guest("disk", None, "", TINY_MEMORY_MIB, disk=image, disk_write=write)


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return guest_build.boot_disk("own_disk", tmp_path_factory.mktemp("disk") / "disk.img")


def test_recorded_and_replayed_without_the_disk(tmp_path: Path) -> None:
    image = guest_build.boot_disk("own_disk", tmp_path / "disk.img")
    before = image.read_bytes()
    recording = record_guest(own_disk(image), tmp_path / "recording")
    assert image.read_bytes() == before
    image.unlink()

    manifest = recording_dir.read_manifest(recording)
    assert manifest.disk is not None
    assert manifest.disk.sha256 == hashlib.sha256(before).hexdigest()
    assert manifest.disk.path == image.name
    with Recording.open(recording) as opened:
        assert opened.header is not None
        assert opened.header.machine.guest_kind == GuestKind.DISK
    # All that was read from the disk is in the log, and not much more: the sectors of the program
    # that its boot loader read, and one twice.
    read = b"".join(map(read_from_disk, events_of(recording)))
    assert before[:2048] in read
    assert b"\xef\xbe" * 256 in read
    check_console((recording / recording_dir.CONSOLE).read_text())
    assert_identical(replay(recording, 7, tmp_path / "replay"))


def read_from_disk(event: Event) -> bytes:
    """What an event says of the disk's data; a word that lies in two pages is an IN."""
    match event.payload:
        case InString(data=data):
            return data
        case In(port=port, size=size, value=value) if port == DATA_PORT:
            return value.to_bytes(size, "little")
    return b""


def check_console(text: str) -> None:
    lines = text.replace("\r", "").split("\n")
    assert lines[0] == "own disk"
    drive, conventional, below_64m, low, high, e881 = lines[1].split()
    end = TINY_MEMORY_MIB << 20
    assert int(drive, 16) == 0x80
    assert int(below_64m, 16) == int(low, 16) == (end - (1 << 20)) >> 10
    assert (int(high, 16), e881) == (0, "C")
    ranges = [entry(line) for line in lines[2:] if re.fullmatch(r"(?:[0-9a-f]{4} ){10}", line)]
    ram = sorted((base, length) for base, length, kind in ranges if kind == 1)
    # What the monitor put below the EBDA, itself and the log region are not for the guest.
    assert ram == [(0, int(conventional, 16) << 10), (1 << 20, end - (1 << 20))]
    for start in (BOARD.memory.monitor_base, BOARD.memory.log_base):
        assert any(base <= start < base + length for base, length, kind in ranges if kind == 2)
    assert "- 0100 - - beef \n" in text.replace("\r", "")
    assert "074c" in text  # the L on the screen
    assert lines[-2] == "done"


def entry(line: str) -> tuple[int, int, int]:
    """Base, length and type of an entry of the memory map, printed in words, the low one first."""
    words = [int(word, 16) for word in line.split()]
    base, length = (
        sum(word << 16 * i for i, word in enumerate(part)) for part in (words[:4], words[4:8])
    )
    return base, length, words[8]


def test_written_only_if_asked(tmp_path: Path) -> None:
    image = guest_build.boot_disk("own_disk", tmp_path / "disk.img")
    before = image.read_bytes()
    result = session.live(
        BOARD, own_disk(image, write=True), RunSettings(timeout_s=RECORD_TIMEOUT_S)
    )
    assert result.report.reason == "halt"
    after = image.read_bytes()
    assert after[SCRATCH] == b"\xef\xbe" * 256
    assert after[: SCRATCH.start] == before[: SCRATCH.start]
    assert after[SCRATCH.stop :] == before[SCRATCH.stop :]


def test_built_image_boots_the_machines_disk(tmp_path: Path, image: Path) -> None:
    """As on a server: the monitor's image is a USB stick, the BIOS's first disk."""
    stick = tmp_path / "stick.img"
    arguments = ["build", "--disk", "0x81", "--memory", str(TINY_MEMORY_MIB), "--mode", "live"]
    assert cli.main([*arguments, "-o", str(stick)]) == 0
    options = RunOptions(as_disk=True, guest_disk=image, deadline_s=RECORD_TIMEOUT_S)
    result = run_machine(BOARD, stick, tmp_path / "run", options)
    assert result.error is None
    assert result.report.reason == "halt"
    lines = result.console.decode().split("\n")
    assert lines[0] == "own disk"
    assert lines[1].startswith("0081 ")


def test_no_such_disk_is_told(tmp_path: Path, image: Path) -> None:
    guest = Guest("disk", None, "", TINY_MEMORY_MIB, disk=image, drive=0x85)
    result = session.live(BOARD, guest, RunSettings(timeout_s=RECORD_TIMEOUT_S))
    assert result.report.reason == "guest-panic"
    assert result.crash is not None
    assert "the BIOS cannot read the disk's first sector: INT 13h, error 01" in str(result.crash)
