"""Digests of guest memory."""

import hashlib
import os
import random
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from lvmm.logs.crc import crc32c
from lvmm.memory_digest import PAGE, digest_memory, ram_ranges

SIZE = 4 << 20


def header(*ranges: tuple[int, int, int]) -> Any:
    entries = [
        SimpleNamespace(base=base, length=length, type=kind) for base, length, kind in ranges
    ]
    return SimpleNamespace(e820=entries)


def test_ram_is_whole_pages_of_type_1_without_page_0() -> None:
    map_of_a_pc = header((0, 0x9FC00, 1), (0x9FC00, 0x400, 2), (0x100000, 1 << 30, 1))
    assert ram_ranges(map_of_a_pc, SIZE) == [(PAGE, 0x9F000), (0x100000, SIZE)]


def test_ranges_beyond_the_guest_memory_are_left_out() -> None:
    assert ram_ranges(header((SIZE, 4096, 1), (0x100000, 100, 1)), SIZE) == []


def test_digest_and_page_checksums(tmp_path: Path) -> None:
    ram = tmp_path / "ram"
    content = bytearray(SIZE)
    content[0x1000:0x1800] = random.Random(1).randbytes(0x800)
    content[0x200000:0x200004] = b"data"
    ram.write_bytes(content)
    ranges = [(PAGE, 0x9F000), (0x100000, SIZE)]
    digest = digest_memory(ram, SIZE, ranges)
    expected = hashlib.sha256(content[PAGE:0x9F000] + content[0x100000:])
    assert digest.sha256 == expected.hexdigest()
    assert len(digest.pages) == SIZE // PAGE * 4
    page = int.from_bytes(digest.pages[4:8], "little")
    assert page == crc32c(bytes(content[PAGE : 2 * PAGE]))


def test_differing_pages_are_named(tmp_path: Path) -> None:
    ram = tmp_path / "ram"
    ram.touch()
    os.truncate(ram, SIZE)
    ranges = [(PAGE, SIZE)]
    before = digest_memory(ram, SIZE, ranges)
    with ram.open("r+b") as file:
        for address in (0, 0x3000, 0x3F0123):
            file.seek(address)
            file.write(b"x")
    after = digest_memory(ram, SIZE, ranges)
    assert before.sha256 != after.sha256
    assert after.first_differences(before.pages) == [0x3000, 0x3F0000]
    assert after.first_differences(before.pages, limit=1) == [0x3000]
    assert after.first_differences(after.pages) == []


def test_memory_file_may_be_shorter(tmp_path: Path) -> None:
    short = tmp_path / "short"
    short.write_bytes(b"")
    whole = tmp_path / "whole"
    whole.write_bytes(bytes(SIZE))
    assert digest_memory(short, SIZE, [(PAGE, SIZE)]) == digest_memory(whole, SIZE, [(PAGE, SIZE)])
