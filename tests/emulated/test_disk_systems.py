"""Systems of other people on disks of their own: recorded from their BIOS boot on, and replayed.

They take minutes, and packages of the distribution: only with --disk-systems.
"""

from __future__ import annotations

import dataclasses
import re
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.emulated import debian_disk
from tests.emulated.disk_image import program_disk
from tests.emulated.machine import BOARD, assert_identical, replay

from lvmm import recording_dir, session
from lvmm.guest import Guest
from lvmm.machine_run import StopRequest
from lvmm.netpeer import MAX_PAYLOAD, NetPeer, Traffic, free_port
from lvmm.recording_dir import Manifest
from lvmm.replaying import ReplayVerdict
from lvmm.session import RunSettings

pytestmark = pytest.mark.deadline(7200)


@pytest.fixture(autouse=True)
def _asked_for(request: pytest.FixtureRequest) -> None:
    if not request.config.getoption("--disk-systems"):
        pytest.skip("takes minutes and downloads packages: give --disk-systems")


class Until:
    """Ends a run when the console shows a text."""

    def __init__(self, text: bytes) -> None:
        self.stop = StopRequest()
        self._text = text
        self._seen = b""

    def __call__(self, data: bytes) -> None:
        self._seen += data
        if self._text in self._seen and not self.stop.requested:
            self.stop.request()


def record(
    disk: Path,
    memory_mib: int,
    output: Path,
    settings: RunSettings,
    stop: StopRequest | None = None,
) -> Manifest:
    guest = Guest("disk", None, "", memory_mib, disk=disk)
    return session.record(BOARD, guest, settings, output, stop)


SETTINGS = RunSettings(seed=1, timeout_s=3000.0)


def replayed(folder: Path) -> ReplayVerdict:
    return replay(folder / "recording", 2, folder / "replay", timeout_s=SETTINGS.timeout_s)


def needs_debian() -> None:
    reason = debian_disk.why_not()
    if reason:
        pytest.skip(reason)


def test_debian(tmp_path: Path) -> None:
    """Stock kernel, initramfs and driver of the disk, which does DMA; a root file system on it."""
    needs_debian()
    recording = tmp_path / "recording"
    manifest = record(debian_disk.debian_disk(debian_disk.SMALL), 256, recording, SETTINGS)
    assert manifest.end_reason == "shutdown"
    console = (recording / recording_dir.CONSOLE).read_text(errors="replace")
    assert "/dev/sda1 / ext4 rw" in console
    digests = {line.split()[-2] for line in console.splitlines() if line.startswith("debian: read")}
    assert len(digests) == 1
    assert f"debian: written {digests.pop()}" in console
    assert "debian: done" in console
    assert manifest.events["DMA"] > 1000
    assert_identical(replayed(tmp_path))


def test_debian_at_work(tmp_path: Path) -> None:
    """Its package manager; then 50 MB from the e1000 to the disk, while fio works on the disk."""
    needs_debian()
    port = free_port()
    peer = NetPeer(port, Traffic(seed=9, size=MAX_PAYLOAD, pauses=False))
    peer.start()
    recording = tmp_path / "recording"
    try:
        settings = dataclasses.replace(SETTINGS, net_port=port)
        manifest = record(debian_disk.debian_disk(debian_disk.WORK), 256, recording, settings)
    finally:
        sent = peer.stop()
    assert manifest.end_reason == "shutdown"
    console = (recording / recording_dir.CONSOLE).read_text(errors="replace")
    print(console)
    assert "/dev/sda1 / ext4 rw" in console
    assert "Hello, world!" in console
    assert re.search(rf"work: {debian_disk.PACKAGE}\s.* is installed and whole", console)
    assert "work: fio has verified what it wrote" in console
    assert re.findall(r"err= *(\d+)", console) == ["0", "0"]
    assert sent.complete
    assert not sent.errors
    assert sent.payload_bytes > 50_000_000
    assert f"digest {sent.digest} packets {sent.requested} " in console
    assert f"work: on disk {sent.digest}" in console
    assert "work: done" in console
    assert_identical(replayed(tmp_path))


def test_memtest86(tmp_path: Path) -> None:
    """A test of memory finds the guest's, and no error in it."""
    kernel = "memtest86+ia32.bin"
    commands = f"linux /boot/{kernel} console=ttyS0,115200 nosmp"
    disk = program_disk("memtest86+", kernel, commands, tmp_path)
    until = Until(b"#4  [Moving inversions, 8 bit pattern]")
    settings = dataclasses.replace(SETTINGS, console=until)
    manifest = record(disk, 16, tmp_path / "recording", settings, until.stop)
    assert manifest.end_reason == "stopped"
    console = (tmp_path / "recording" / recording_dir.CONSOLE).read_bytes()
    assert b"Errors: 0 " in console
    assert b"Memory  :   16MB" in console
    assert_identical(replayed(tmp_path))


@pytest.fixture
def cable() -> Iterator[tuple[int, Callable[[StopRequest], None]]]:
    """A port for the network card; what waits for the first frame from it, and stops the run."""
    port = free_port()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as end:
        end.bind(("127.0.0.1", port + 1))
        end.settimeout(SETTINGS.timeout_s)

        def wait(stop: StopRequest) -> None:
            end.recv(2048)
            stop.request()

        yield port, wait


def test_ipxe(tmp_path: Path, cable: tuple[int, Callable[[StopRequest], None]]) -> None:
    """It finds the card by a driver of its own, and asks for an address."""
    port, wait = cable
    disk = program_disk("ipxe", "ipxe.lkrn", "linux16 /boot/ipxe.lkrn", tmp_path)
    stop = StopRequest()
    waiting = threading.Thread(target=wait, args=[stop], daemon=True)
    waiting.start()
    settings = dataclasses.replace(SETTINGS, net_port=port)
    manifest = record(disk, 64, tmp_path / "recording", settings, stop)
    waiting.join()
    assert manifest.end_reason == "stopped"
    assert manifest.events["SENT"] > 0
    assert_identical(replayed(tmp_path))
