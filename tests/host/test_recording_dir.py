"""Recording directories: what is written is what is read, and everything else is refused."""

import dataclasses
import json
from pathlib import Path

import pytest
from tests.host.recordings import make_recording

from lvmm import recording_dir
from lvmm.errors import RecordingError, UsageError, VersionMismatch


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    make_recording(tmp_path / "r")
    return tmp_path / "r"


def test_manifest_round_trip(tmp_path: Path) -> None:
    manifest = make_recording(tmp_path / "r")
    assert recording_dir.read_manifest(tmp_path / "r") == manifest
    recording_dir.verify_files(tmp_path / "r", manifest)
    guest = recording_dir.recorded_guest(tmp_path / "r", manifest)
    assert guest.kernel is not None
    assert guest.kernel.read_text() == "guest/guest.elf"


def test_disk_of_a_recording(recording: Path) -> None:
    """A system on its own disk: the image is named, and neither needed nor looked for."""
    disk = recording_dir.FileEntry("disk.img", 4096, "00" * 32)
    manifest = dataclasses.replace(
        recording_dir.read_manifest(recording), kind="disk", kernel=None, disk=disk
    )
    recording_dir.write_manifest(recording, manifest)
    assert recording_dir.read_manifest(recording) == manifest
    recording_dir.verify_files(recording, manifest)
    guest = recording_dir.recorded_guest(recording, manifest)
    assert (guest.kernel, guest.disk, guest.files) == (None, None, ())


def test_no_such_recording(tmp_path: Path) -> None:
    with pytest.raises(UsageError):
        recording_dir.read_manifest(tmp_path / "nothing")


def test_incomplete_recordings_are_refused(recording: Path) -> None:
    partial = recording.with_name("r.partial")
    recording.rename(partial)
    for path in (partial, recording):
        with pytest.raises(RecordingError, match="incomplete"):
            recording_dir.read_manifest(path)


def test_directory_without_manifest_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RecordingError, match="incomplete"):
        recording_dir.read_manifest(tmp_path)


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("", RecordingError),
        ("[]", RecordingError),
        ("{}", RecordingError),
        ('{"version": 1}', RecordingError),
        ('{"version": 99}', VersionMismatch),
    ],
)
def test_bad_manifests_are_refused(recording: Path, text: str, error: type[Exception]) -> None:
    (recording / "recording.json").write_text(text)
    with pytest.raises(error):
        recording_dir.read_manifest(recording)


@pytest.mark.parametrize("missing", ["kernel", "log", "end_reason", "registers"])
def test_manifest_with_a_missing_key_is_refused(recording: Path, missing: str) -> None:
    path = recording / "recording.json"
    fields = json.loads(path.read_text())
    del fields[missing]
    path.write_text(json.dumps(fields))
    with pytest.raises(RecordingError):
        recording_dir.read_manifest(recording)


@pytest.mark.parametrize("name", ["guest/guest.elf", "log.lvmm", "console.log", "memory.pages"])
@pytest.mark.parametrize("damage", ["missing", "changed", "shorter"])
def test_changed_files_are_noticed(recording: Path, name: str, damage: str) -> None:
    manifest = recording_dir.read_manifest(recording)
    path = recording / name
    if damage == "missing":
        path.unlink()
    elif damage == "changed":
        path.write_text(name[:-1] + "X")
    else:
        path.write_text(name[:-1])
    with pytest.raises(RecordingError, match=Path(name).name):
        recording_dir.verify_files(recording, manifest)


def test_existing_directories_are_not_overwritten(recording: Path) -> None:
    with pytest.raises(UsageError, match="exists already"):
        recording_dir.create_partial(recording)
    other = recording.with_name("other")
    recording_dir.create_partial(other)
    with pytest.raises(UsageError, match="in the way"):
        recording_dir.create_partial(other)
