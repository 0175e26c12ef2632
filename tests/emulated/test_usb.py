"""A disk on USB, recorded, and replayed without it: by a guest that polls, and by Debian's drivers.

The kernel that has these drivers takes minutes: only with --disk-systems.
"""

import hashlib
import random
from pathlib import Path

import pytest
from tests.emulated.machine import BOARD, assert_identical, events_of, replay, tiny

from lvmm import guest_build, session
from lvmm.logs import Recording
from lvmm.logs.layout import Dma, StreamContent
from lvmm.session import RunSettings

DISK_BYTES = 4 << 20
LARGE, SMALL = 4, 16  # reads of 64 KiB and of 4 KiB
COPIED, COPY_TO = 16, 512  # blocks of 4 KiB
CACHED = 512 << 10  # bytes

# Bytes of log for each byte read that DMA takes: data, and what is written about each packet.
LIMIT = 1.03


READS, READ_BYTES = 6, 4096  # of tests/guests/tiny/usb.c


def fnv1a(data: bytes) -> int:
    value = 0xCBF29CE484222325
    for byte in data:
        value = (value ^ byte) * 0x100000001B3 % (1 << 64)
    return value


def test_transfers_that_are_polled_in_memory(tmp_path: Path) -> None:
    """Nothing tells the monitor of a transfer, and no register tells the guest that it is done."""
    disk = tmp_path / "a disk, on USB.img"
    content = random.Random(11).randbytes(1 << 20)
    disk.write_bytes(content)
    directory = tmp_path / "recording"
    settings = RunSettings(seed=1, timeout_s=120.0, usb_disk=disk)
    manifest = session.record(BOARD, tiny("usb"), settings, directory)
    assert manifest.end_reason == "reset"
    disk.unlink()
    console = (directory / manifest.console.path).read_text()
    parts = [content[READ_BYTES * i : READ_BYTES * (i + 1)] for i in range(READS)]
    assert console.splitlines() == [f"usb: read {fnv1a(part):016x}" for part in parts]
    assert_identical(replay(directory, 2, tmp_path / "replay"))


@pytest.mark.deadline(1200)
def test_usb_disk_replays_without_it(request: pytest.FixtureRequest, tmp_path: Path) -> None:
    if not request.config.getoption("--disk-systems"):
        pytest.skip("takes minutes: give --disk-systems")
    disk = tmp_path / "a disk, on USB.img"
    content = random.Random(7).randbytes(DISK_BYTES)
    disk.write_bytes(content)
    words = f"disk.large={LARGE} disk.small={SMALL} disk.copied={COPIED} disk.copy_to={COPY_TO}"
    guest = guest_build.usb_linux_guest(BOARD, f"{words} disk.copy_from=0")
    directory = tmp_path / "recording"
    settings = RunSettings(seed=1, timeout_s=600.0, usb_disk=disk)
    manifest = session.record(BOARD, guest, settings, directory)
    assert manifest.end_reason == "shutdown"
    assert disk.read_bytes() == content, "the image stays as it is"
    disk.unlink()

    console = (directory / manifest.console.path).read_text(errors="replace")
    digests = [line.split()[0] for line in console.splitlines() if line.endswith(" -")]
    reads = [LARGE << 16, SMALL << 12, COPIED << 12, CACHED]
    assert digests == [hashlib.sha256(content[:size]).hexdigest() for size in reads]

    with Recording.open(directory) as recording:
        assert recording.header is not None
        streams = {
            stream.stream: stream.content
            for stream in recording.header.dma_streams
            if bytes(stream.profile).rstrip(b"\0") == b"uhci"
        }
    events = [event for event in events_of(directory) if isinstance(event.payload, Dma)]
    of_usb = [(event.size, event.payload) for event in events if event.payload.stream in streams]
    size = sum(size for size, _ in of_usb)
    read = sum(p.data_len for _, p in of_usb if streams[p.stream] == StreamContent.BLOCKS)
    print(f"log bytes per read byte: {size / read:.3f}")
    assert read >= sum(reads)
    assert size / read <= LIMIT

    assert_identical(replay(directory, 2, tmp_path / "replay"))
