"""Packed recordings: what is in them, what they replay as, and damaged ones."""

from __future__ import annotations

import json
import os
import random
import re
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
import zstandard
from tests.host import extract_tool
from tests.host.damaged_logs import split
from tests.host.extract_tool import (
    COMPLETE,
    ENVIRONMENT,
    EVENTS,
    LOSS,
    NO_LOG,
    TOOL,
    Tool,
    log_of,
    one_line,
    region_of,
    write,
)
from tests.host.log_cases import python_writer
from tests.host.log_driver import Written
from tests.host.recordings import make_recording

from lvmm import cli, recording_dir
from lvmm.errors import RecordingError, UsageError
from lvmm.logs import Recording, compression, layout
from lvmm.logs.codec import Event, Registers
from lvmm.logs.pack import read_pack
from lvmm.packed_recording import unpacked_recording

pytestmark = pytest.mark.host

tool = extract_tool.tool


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    """A complete recording with a real log."""
    directory = tmp_path / "first"
    make_recording(directory)
    write(directory / "log.lvmm", bytes(log_of().data))
    (directory / "run").mkdir()
    write(directory / "run" / "bochs.log", b"not for others")
    manifest = json.loads((directory / "recording.json").read_text())
    entry = recording_dir.describe_file(directory, "log.lvmm")
    manifest["log"] |= {"size": entry.size, "sha256": entry.sha256}
    (directory / "recording.json").write_text(json.dumps(manifest))
    return directory


def members(pack: Path) -> list[str]:
    """The names in it, read with the standard library and zstandard alone."""
    data = zstandard.ZstdDecompressor().stream_reader(pack.read_bytes()).read()
    (pack.parent / "pack.tar").write_bytes(data)
    with tarfile.open(pack.parent / "pack.tar") as archive:
        return archive.getnames()


def test_a_pack_reads_as_its_recording(tool: Tool, tmp_path: Path, recording: Path) -> None:
    pack = tmp_path / "first.pack"
    code, out, err = tool("pack", recording, "-o", pack)
    assert (code, out) == (COMPLETE, "")
    assert "secrets" in err and "--images" in err
    names = ["log.lvmm", "recording.json", "memory.pages", "console.log"]
    assert members(pack) == names
    for command in ("info", "verify", "dump", "console"):
        assert tool(command, pack)[:2] == tool(command, recording)[:2]
    assert tool("extract", pack, "-o", tmp_path / "out.lvmm")[0] == COMPLETE
    assert (tmp_path / "out.lvmm").read_bytes() == (recording / "log.lvmm").read_bytes()
    assert tool("pack", pack, "-o", tmp_path / "again")[0] == COMPLETE


def test_with_images_it_is_all_that_replay_needs(
    tool: Tool, tmp_path: Path, recording: Path
) -> None:
    pack = tmp_path / "first.pack"
    assert tool("pack", recording, "--images", "-o", pack)[0] == COMPLETE
    assert "guest/guest.elf" in members(pack)
    with unpacked_recording(pack, []) as directory:
        recording_dir.verify_files(directory, recording_dir.read_manifest(directory))
        kept = directory
    assert not kept.exists()
    with unpacked_recording(recording, []) as directory:
        assert directory == recording
    extra = [recording / "console.log"]
    with pytest.raises(UsageError, match="no file that"), unpacked_recording(pack, extra):
        pass


def test_images_are_known_by_their_digests(
    tool: Tool, tmp_path: Path, recording: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    pack = tmp_path / "first.pack"
    tool("pack", recording, "-o", pack)
    assert cli.main(["replay", str(pack)]) == 2
    captured = capfd.readouterr()
    assert "guest.elf is not in it: give it by --image" in captured.err
    assert len(captured.err.splitlines()) == 1
    other = write(tmp_path / "guest.elf", b"another kernel")
    assert cli.main(["replay", str(pack), "--image", str(other)]) == 2
    copy = write(tmp_path / "copy", (recording / "guest" / "guest.elf").read_bytes())
    with unpacked_recording(pack, [copy]) as directory:
        recording_dir.verify_files(directory, recording_dir.read_manifest(directory))
    with pytest.raises(UsageError, match="only a packed"), unpacked_recording(recording, [copy]):
        pass


def test_any_source_can_be_packed(tool: Tool, tmp_path: Path) -> None:
    image = write(tmp_path / "ram", region_of())
    pack = tmp_path / "pack"
    assert tool("pack", image, "-o", pack)[0] == COMPLETE
    assert members(pack) == ["log.lvmm", "console.log"]
    with Recording.open(image) as one, Recording.open(pack) as other:
        assert list(one.events()) == list(other.events())
        assert one.console == other.console
    with pytest.raises(RecordingError, match="a log alone"), unpacked_recording(pack, []):
        pass
    log = bytearray(log_of().data)
    log[700] ^= 1
    assert tool("pack", write(tmp_path / "log", bytes(log)), "-o", tmp_path / "p2")[0] == LOSS
    assert tool("verify", tmp_path / "p2")[0] == LOSS


def test_a_compressed_log(tool: Tool, tmp_path: Path) -> None:
    data = bytes(log_of().data)
    path = write(tmp_path / "log.lvmm.zst", zstandard.compress(data))
    with Recording.open(path) as recording:
        recording.save(tmp_path / "log.lvmm")
    assert (tmp_path / "log.lvmm").read_bytes() == data
    assert tool("verify", path)[0] == COMPLETE


def block_ends(pack: bytes) -> list[int]:
    """Where the parts of its one frame end (RFC 8878): magic, header, each block's header and
    content, checksum.
    """
    descriptor = pack[4]
    assert descriptor & 0x27 == 4, "a checksum, a window, no dictionary, no size"
    ends = [4, 6]
    last = 0
    while not last:
        block = int.from_bytes(pack[ends[-1] : ends[-1] + 3], "little")
        last, kind, size = block & 1, block >> 1 & 3, block >> 3
        ends += [ends[-1] + 3, ends[-1] + 3 + (1 if kind == 1 else size)]
    assert ends[-1] + 4 == len(pack)
    return [*ends, len(pack)]


@pytest.mark.parametrize("program", [False, True], ids=["package", "program"])
@pytest.mark.parametrize("noise", [0, 300_000])
def test_a_pack_that_is_cut_short_gives_what_is_left(
    tool: Tool,
    tmp_path: Path,
    recording: Path,
    noise: int,
    program: bool,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    if program:
        if compression.shutil.which("zstd") is None:
            pytest.skip("there is no program zstd")
        monkeypatch.setattr(compression, "_module", lambda: None)
    rng = random.Random(noise)
    frames = [
        Written(
            Event(layout.Dma(1, 0x1000, rng.randbytes(1000)), 0, 0x1000),
            Registers((0,) * 16, 0x1000, 2),
        )
        for _ in range(noise // 1000)
    ]
    log = bytes(python_writer([*frames, *EVENTS], 7).data)
    write(recording / "log.lvmm", log)
    pack = tmp_path / "pack"
    assert tool("pack", recording, "-o", pack)[0] == COMPLETE
    data = pack.read_bytes()
    ends = block_ends(data)
    sizes = {at + step for at in [0, *ends] for step in (-1, 0, 1)} | {*range(0, len(data), 20_011)}
    for size in sorted(size for size in sizes if 0 < size < len(data)):
        cut = write(tmp_path / "cut", data[:size])
        said = f"{cut}: cut short after byte {size}: copy it again"
        if size < 4:
            assert one_line(tool("verify", cut)) == NO_LOG
            continue
        left = zstandard.ZstdDecompressor().decompressobj().decompress(data[:size])
        chunks = [seq for seq, chunk in enumerate(split(log)) if chunk in left]
        outcome = tool("extract", cut, "-o", tmp_path / f"{size}.lvmm")
        if not chunks:
            assert (one_line(outcome), outcome[2]) == (NO_LOG, f"extract_log: {said}\n"), size
        else:
            assert outcome[0] == LOSS and said in outcome[2], size
            saved = (tmp_path / f"{size}.lvmm").read_bytes()
            assert split(saved) == [split(log)[seq] for seq in chunks], size
            facts = json.loads(tool("info", cut, "--json")[1])
            assert not facts["complete"] and facts["losses"]
        assert cli.main(["replay", str(cut)]) == NO_LOG, size
        assert capfd.readouterr().err == f"lvmm: {said}\n"


def test_damaged_packs(tool: Tool, tmp_path: Path, recording: Path) -> None:
    pack = tmp_path / "pack"
    tool("pack", recording, "-o", pack)
    data = pack.read_bytes()
    for at in range(4, len(data), 50):
        damaged = data[:at] + bytes([data[at] ^ 0x55]) + data[at + 1 :]
        code, _, err = tool("verify", write(tmp_path / "damaged", damaged))
        assert code in (NO_LOG, LOSS) and "Traceback" not in err, at
        assert re.search(r"damaged before byte|cut short after byte|no lvmm log", err), at
    noise = write(tmp_path / "noise", zstandard.compress(os.urandom(5000)))
    assert one_line(tool("verify", noise)) == NO_LOG


def test_an_archive_cannot_write_elsewhere(tmp_path: Path) -> None:
    secret = write(tmp_path / "x", b"x")
    with tarfile.open(tmp_path / "tar", "w") as archive:
        for name in ("../escaped", "/tmp/escaped", "guest/../../escaped", "other", "guest/a/b"):
            archive.add(secret, name)
        archive.add(secret, "guest/fine")
    pack = write(tmp_path / "pack", zstandard.compress((tmp_path / "tar").read_bytes()))
    (tmp_path / "in" / "side").mkdir(parents=True)
    read_pack(pack, tmp_path / "in" / "side")
    files = [path for path in (tmp_path / "in").rglob("*") if path.is_file()]
    assert files == [tmp_path / "in" / "side" / "guest" / "fine"]


def test_the_program_will_do_and_its_absence_is_told(
    tool: Tool, tmp_path: Path, recording: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compression, "_module", lambda: None)
    pack = tmp_path / "pack"
    if compression.shutil.which("zstd") is not None:
        assert tool("pack", recording, "-o", pack)[0] == COMPLETE
        assert tool("verify", pack)[0] == COMPLETE
        monkeypatch.undo()
        assert tool("verify", pack)[0] == COMPLETE
    environment = {**os.environ, "PATH": str(tmp_path)}
    program = (
        "import runpy, sys\n"
        "sys.modules['zstandard'] = None\n"
        f"sys.argv = ['extract_log', 'pack', {str(recording)!r}, '-o', {str(tmp_path / 'p')!r}]\n"
        f"runpy.run_path({str(TOOL)!r}, run_name='__main__')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, env=environment
    )
    assert done.returncode == ENVIRONMENT
    assert "install the Python package zstandard or the program zstd" in done.stderr
    assert len(done.stderr.splitlines()) == 1 and not (tmp_path / "p").exists()
