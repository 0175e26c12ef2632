"""The rescue boot: the program that saves the log region, the image's partition, its kernel."""

from __future__ import annotations

import dataclasses
import functools
import subprocess
from pathlib import Path

import pytest
from tests.host import cbuild
from tests.host.log_driver import HEADER
from tests.host.test_initramfs import make_module

from lvmm import initramfs, rescue
from lvmm.board import load_board
from lvmm.cli import command_line
from lvmm.errors import EnvironmentProblem
from lvmm.image import BootFile, BootImage, grub_config
from lvmm.logs import Recording
from lvmm.logs.codec import Event
from lvmm.logs.crc import crc32c
from lvmm.logs.layout import CHUNK_PAYLOAD_MAX, Interrupt, Mode, RegionFlag, RegionHeader
from lvmm.logs.writer import LogWriter, build_region

MIB = 1 << 20
PAGE = 4096
BASE = MIB + 3 * PAGE
REGION_SIZE = 2 * MIB
EVENTS = 3000
SAVED, TROUBLE, USAGE, NO_LOG = 0, 1, 2, 4
SOURCES = (
    *(f"rescue/{name}" for name in ("save_log.c", "disk.c")),
    *(f"hypervisor/{name}.c" for name in ("replay/log_region", "replay/log_remains", "lib/crc32c")),
)


@functools.cache
def region() -> bytes:
    log = LogWriter(0x1122334455667788, HEADER)
    for index in range(EVENTS):
        log.write(Event(Interrupt(32), 7 * index, 0x1000 + index, True, check=index & 0xFFFF))
    log.flush()
    # What nothing counts must not be copied: it is not zeros.
    return build_region(log, REGION_SIZE, b"console\n").rstrip(b"\0").ljust(REGION_SIZE, b"\xa5")


def changed(**fields: int) -> bytes:
    """The region with other fields in its header, and the CRC that fits."""
    header = dataclasses.replace(RegionHeader.unpack(region()), **fields)
    header = dataclasses.replace(header, crc32c=crc32c(header.pack()[: header.static_size]))
    return header.pack() + region()[RegionHeader.STRUCT.size :]


def memory(folder: Path, content: bytes) -> Path:
    image = folder / "ram"
    image.write_bytes(bytes(BASE) + content)
    return image


def marked_disk(folder: Path, size: int = 4 * MIB, mark: bytes = rescue.MARK) -> Path:
    disk = folder / "disk"
    disk.write_bytes(mark.ljust(size, b"\0"))
    return disk


def save(image: Path, disk: Path, *options: str) -> tuple[int, str]:
    program = cbuild.build("save_log", SOURCES)
    words = [program, *options, image, hex(BASE), hex(REGION_SIZE), disk]
    done = subprocess.run(
        list(map(str, words)), capture_output=True, text=True, check=False, timeout=120
    )
    return done.returncode, done.stdout + done.stderr


def test_the_copy_is_what_was_in_memory(tmp_path: Path) -> None:
    image, disk = memory(tmp_path, region()), marked_disk(tmp_path)
    code, said = save(image, disk)
    assert code == SAVED, said
    assert f"recording {RegionHeader.unpack(region()).recording_id:016x}: {EVENTS} events" in said
    data = disk.read_bytes()
    assert data.startswith(rescue.SAVED)
    header = RegionHeader.unpack(region())
    used = header.chunks_offset + header.chunk_bytes
    copied = data[rescue.DATA_OFFSET :].rstrip(b"\0")
    assert used <= len(copied) <= used + CHUNK_PAYLOAD_MAX + 2 * PAGE
    assert copied == region()[: len(copied)]
    assert image.read_bytes() == bytes(BASE) + region()


def test_all_of_a_ring_is_copied(tmp_path: Path) -> None:
    """The older lap, too, behind where the newest chunk ends."""
    header = RegionHeader.unpack(region())
    ring = changed(flags=RegionFlag.OVERWRITES, chunk_bytes=PAGE, lap_end=header.chunk_bytes)
    disk = marked_disk(tmp_path)
    assert save(memory(tmp_path, ring), disk)[0] == SAVED
    copied = disk.read_bytes()[rescue.DATA_OFFSET :].rstrip(b"\0")
    assert len(copied) >= header.chunks_offset + header.chunk_bytes
    assert copied == ring[: len(copied)]


def test_extract_log_takes_the_disk(tmp_path: Path) -> None:
    image, disk = memory(tmp_path, region()), marked_disk(tmp_path)
    assert save(image, disk)[0] == SAVED
    for source in (image, disk):
        with Recording.open(source) as recording:
            assert recording.losses == []
            assert recording.console == b"console\n"
            recording.save(tmp_path / f"{source.name}.lvmm")
    assert (tmp_path / "ram.lvmm").read_bytes() == (tmp_path / "disk.lvmm").read_bytes()


@pytest.mark.parametrize("mark", [b"", b"lvmm: save her\n", b"\xeb\x63\x90"])
def test_a_disk_without_mark_is_left_alone(tmp_path: Path, mark: bytes) -> None:
    disk = marked_disk(tmp_path, mark=mark)
    before = disk.read_bytes()
    code, said = save(memory(tmp_path, region()), disk)
    assert code == TROUBLE
    assert f'{disk} is not marked for a log (its first line is to be "lvmm: save here")' in said
    assert disk.read_bytes() == before


def test_a_saved_log_is_not_overwritten(tmp_path: Path) -> None:
    image, disk = memory(tmp_path, region()), marked_disk(tmp_path)
    assert save(image, disk)[0] == SAVED
    before = disk.read_bytes()
    code, said = save(image, disk)
    assert code == TROUBLE
    assert "holds a saved log already" in said
    assert disk.read_bytes() == before


def test_a_disk_that_is_too_small(tmp_path: Path) -> None:
    code, said = save(memory(tmp_path, region()), marked_disk(tmp_path, size=64 * 1024))
    assert code == TROUBLE
    assert "is too small: 1 MiB are needed" in said
    assert (tmp_path / "disk").read_bytes() == rescue.MARK.ljust(64 * 1024, b"\0")
    code, said = save(tmp_path / "ram", marked_disk(tmp_path, size=len(rescue.MARK)))
    assert code == TROUBLE
    assert "too small" in said


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (bytes(REGION_SIZE), "nothing"),
        (changed(mode=Mode.LIVE), "live"),
        (changed(mode=Mode.REPLAY), "replay"),
        (changed(chunk_bytes=0), "empty"),
        (region()[:20] + b"\0" + region()[21:PAGE].ljust(REGION_SIZE - 21, b"\0"), "a header only"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_no_log(tmp_path: Path, content: bytes, why: str) -> None:
    del why
    disk = marked_disk(tmp_path)
    before = disk.read_bytes()
    code, said = save(memory(tmp_path, content), disk)
    assert code == NO_LOG
    assert f"no log at {BASE:#x}" in said
    assert disk.read_bytes() == before


def test_all_of_a_region_with_a_damaged_header(tmp_path: Path) -> None:
    content = region()[:20] + b"\0" + region()[21:]
    disk = marked_disk(tmp_path)
    code, said = save(memory(tmp_path, content), disk)
    assert code == SAVED
    assert "parts of a log, recording 1122334455667788; the region's header is damaged" in said
    assert disk.read_bytes()[rescue.DATA_OFFSET :][:REGION_SIZE] == content


def test_all_of_a_region_because_the_user_says_so(tmp_path: Path) -> None:
    content = b"\xa5" * REGION_SIZE
    disk = marked_disk(tmp_path)
    assert save(memory(tmp_path, content), disk)[0] == NO_LOG
    assert save(memory(tmp_path, content), disk, "-a")[0] == SAVED
    assert disk.read_bytes()[rescue.DATA_OFFSET :][:REGION_SIZE] == content


@pytest.mark.parametrize(
    "content",
    [changed(format_version=999), changed(chunk_bytes=1 << 60), changed(chunks_offset=1 << 63)],
    ids=["version", "bytes", "offset"],
)
def test_a_header_that_cannot_be_trusted_means_all(tmp_path: Path, content: bytes) -> None:
    disk = marked_disk(tmp_path)
    assert save(memory(tmp_path, content), disk)[0] == SAVED
    assert disk.read_bytes()[rescue.DATA_OFFSET :][:REGION_SIZE] == content


def test_an_open_chunk_is_a_log(tmp_path: Path) -> None:
    content = changed(chunk_bytes=0, open_chunk=5 << 32 | 100)
    assert "5 events, 100 bytes" in save(memory(tmp_path, content), marked_disk(tmp_path))[1]


def test_memory_that_ends_early(tmp_path: Path) -> None:
    code, said = save(memory(tmp_path, region()[: PAGE * 2]), marked_disk(tmp_path))
    assert code == TROUBLE
    assert "cannot be read" in said and "memmap=" in said
    assert (tmp_path / "disk").read_bytes().startswith(rescue.MARK)


def test_usage(tmp_path: Path) -> None:
    program = cbuild.build("save_log", SOURCES)
    for words in ([], ["a", "0x1000", "x", "d"], ["a", "1", "4096"], ["a", "1", "100", "d"]):
        done = subprocess.run([program, *words], capture_output=True, check=False, cwd=tmp_path)
        assert done.returncode == USAGE
        assert b"usage: save_log" in done.stderr


def test_words_that_let_a_log_be_overwritten(capsys: pytest.CaptureFixture[str]) -> None:
    build = ["build", "--multiboot", "x.elf", "-o", "image"]
    parser = command_line()
    assert parser.parse_args(build).overwrite is None
    assert parser.parse_args([*build, "--overwrite"]).overwrite == "any"
    assert parser.parse_args([*build, "--overwrite", "1A2B"]).overwrite == "1a2b"
    for wrong in ("yes", "0x12", "1" * 17):
        with pytest.raises(SystemExit) as stop:
            parser.parse_args([*build, "--overwrite", wrong])
        assert stop.value.code == 2
        assert "a recording's ID is needed" in capsys.readouterr().err


def master_boot_record(entries: int) -> bytes:
    """A sector with that many partitions."""
    table = (b"\x80" + bytes(14) + b"\1") * entries
    return bytes(446) + table.ljust(64, b"\0") + b"\x55\xaa"


def test_partition_for_the_log(tmp_path: Path) -> None:
    image = tmp_path / "image"
    image.write_bytes(master_boot_record(1).ljust(3 * MIB + 100, b"\1"))
    rescue.add_save_partition(image, 64 * MIB + 1)
    data = image.read_bytes()
    entry = data[446 + 16 : 446 + 32]
    assert entry[4] == 0xDA
    start, size = (int.from_bytes(entry[at : at + 4], "little") * 512 for at in (8, 12))
    assert (start, size) == (4 * MIB, 65 * MIB)
    assert len(data) == start + size
    assert data[start:] == rescue.MARK.ljust(size, b"\0")
    assert data[512 : 3 * MIB + 100] == bytes([1]) * (3 * MIB + 100 - 512)
    assert data[510:512] == b"\x55\xaa"
    assert image.stat().st_blocks * 512 < 8 * MIB, "the partition takes room"


@pytest.mark.parametrize(
    ("sector", "why"),
    [(bytes(512), "no master boot record"), (master_boot_record(4), "no room for another")],
)
def test_image_without_place_for_a_partition(tmp_path: Path, sector: bytes, why: str) -> None:
    image = tmp_path / "image"
    image.write_bytes(sector)
    with pytest.raises(EnvironmentProblem, match=why):
        rescue.add_save_partition(image, MIB)
    assert image.read_bytes() == sector


def test_kernel_leaves_the_region_alone() -> None:
    board = load_board("bochs-vtx")
    words = rescue.command_line(board)
    assert "memmap=288M$0x42000000" in words.split()
    assert "nokaslr" in words.split()
    assert "console=ttyS0,115200" in words.split()
    other = dataclasses.replace(board.serial, guest_console=0x1000)
    assert "ttyS" not in rescue.command_line(dataclasses.replace(board, serial=other))
    # GRUB's script language would take $0 as a variable.
    config = grub_config(BootImage(None, {}, (BootFile("linux", Path("k"), words),)))
    assert " 'memmap=288M$0x42000000' " in config


def test_modules_that_a_kernel_has(tmp_path: Path) -> None:
    make_module(tmp_path, "usb-storage", "")
    assert initramfs.has_module(tmp_path, "usb_storage")
    assert not initramfs.has_module(tmp_path, "ahci")


def test_the_marks_are_those_of_the_c_header() -> None:
    text = (cbuild.ROOT / "rescue" / "disk.h").read_text()
    for name, value in (("DISK_MARK ", rescue.MARK), ("DISK_SAVED", rescue.SAVED)):
        assert f'#define {name} "{value.decode()[:-1]}\\n"' in text
    init = (cbuild.ROOT / "rescue" / "init").read_text()
    for value in (rescue.MARK, rescue.SAVED):
        assert f"marked '{value.decode()[:-1]}'" in init
        assert len(value) == len(rescue.MARK) == 16
