"""A log without its recording directory is replayed with the guest's files given."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from tests.host.log_driver import HEADER

from lvmm import cli
from lvmm.errors import RecordingError, UsageError
from lvmm.log_alone import CUT_OFF
from lvmm.logs import layout
from lvmm.logs.codec import Event
from lvmm.logs.crc import crc32c
from lvmm.logs.layout import FinalState, GuestKind, Image, ImageRole, MachineFlag
from lvmm.logs.writer import LogWriter
from lvmm.packed_recording import unpacked_recording
from lvmm.recording_dir import read_manifest, recorded_guest, verify_files

pytestmark = pytest.mark.host


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    """A kernel and two modules."""
    paths = [tmp_path / name for name in ("os.elf", "one", "two")]
    for path in paths:
        path.write_bytes(path.name.encode() * 1000)
    return paths


def log_of(folder: Path, files: list[Path], *, end: bool = True, flags: int = 0) -> Path:
    """A log of a multiboot guest that was started with these files."""
    roles = [ImageRole.KERNEL, *[ImageRole.MODULE] * len(files)]
    images = [
        Image(path.stat().st_size, role, crc32c(path.read_bytes()))
        for path, role in zip(files, roles, strict=False)
    ]
    machine = replace(HEADER.machine, guest_kind=GuestKind.MULTIBOOT, flags=flags)
    log = LogWriter(1, replace(HEADER, machine=machine, images=images))
    log.write(Event(layout.Rdtsc(5), 3, 0x1000, check=0))
    log.flush()
    if flags:  # as if the ring had lost it
        at = log.data.rindex(b"LVCK")
        del log.data[at:]
    if end:
        state = FinalState.unpack(bytes(FinalState.STRUCT.size))
        state = replace(state, branches=77, rip=0x2000)
        log.write(Event(layout.End(layout.EndReason.POWER_OFF, state.pack()), 77, 0x2000, check=0))
        log.flush()
    path = folder / "log.lvmm"
    path.write_bytes(log.data)
    return path


def test_it_becomes_a_recording(tmp_path: Path, files: list[Path]) -> None:
    log = log_of(tmp_path, files)
    before = sorted(path.name for path in tmp_path.iterdir())
    with unpacked_recording(log, [files[2], files[0], files[1]]) as directory:
        manifest = read_manifest(directory)
        verify_files(directory, manifest)
        guest = recorded_guest(directory, manifest)
        assert (guest.kind, guest.cmdline, guest.memory_mib) == (
            "multiboot",
            HEADER.command_line,
            256,
        )
        assert [path.read_bytes() for path in guest.files] == [path.read_bytes() for path in files]
        assert [path.name for path in guest.extra] == ["m0-one", "m1-two"]
        assert (manifest.end_reason, manifest.branches, manifest.rip) == ("shutdown", 77, 0x2000)
        assert (manifest.events_total, manifest.log_alone) == (2, True)
        assert manifest.board == "bochs-vtx"
    assert sorted(path.name for path in tmp_path.iterdir()) == before


def test_a_log_without_an_end(tmp_path: Path, files: list[Path]) -> None:
    with unpacked_recording(log_of(tmp_path, files, end=False), files) as directory:
        manifest = read_manifest(directory)
        assert (manifest.end_reason, manifest.events_total) == (CUT_OFF, 1)


def test_files_are_told_by_their_digests(tmp_path: Path, files: list[Path]) -> None:
    log = log_of(tmp_path, files)
    other = tmp_path / "other"
    other.write_bytes(files[1].read_bytes()[:-1] + b"x")
    with (
        pytest.raises(UsageError, match=r"module is needed.*3000 bytes, CRC-32C"),
        unpacked_recording(log, [files[0], other, files[2]]),
    ):
        pass
    with (
        pytest.raises(UsageError, match="no file that this guest was started with"),
        unpacked_recording(log, [*files, other]),
    ):
        pass


def test_what_cannot_be_replayed(tmp_path: Path, files: list[Path]) -> None:
    with (
        pytest.raises(RecordingError, match="has lost its beginning"),
        unpacked_recording(log_of(tmp_path, files, flags=MachineFlag.OVERWRITES), files),
    ):
        pass
    log = log_of(tmp_path, files)
    data = bytearray(log.read_bytes())
    data[-50] ^= 1
    log.write_bytes(data)
    with pytest.raises(RecordingError, match="damaged"), unpacked_recording(log, files):
        pass


def test_one_line_for_what_is_no_log(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "text").write_text("no log")
    assert cli.main(["replay", str(tmp_path / "text")]) == 4
    assert len(capsys.readouterr().err.splitlines()) == 1
