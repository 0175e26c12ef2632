"""Whether a file of Zstandard's frames ends where a frame does (RFC 8878, section 3.1).

Neither decompressor says where a file is cut short, and the Python package says nothing at all.
"""

from __future__ import annotations

import os
from typing import IO

MAGIC = b"\x28\xb5\x2f\xfd"
_SKIPPABLE = b"\x2a\x4d\x18"  # behind a byte from 0x50 to 0x5f
_FIELD_BYTES = (0, 1, 2, 4)  # of the dictionary's ID
_SIZE_BYTES = (0, 2, 4, 8)  # of the content's size
_CHECKSUM_BYTES = 4


class _Ended(Exception):
    """The file ends in the middle of a frame, or goes on with something else."""


def ends_within_frame(file: IO[bytes]) -> bool:
    """Whether the file ends in the middle of one of its frames."""
    file.seek(0)
    end = os.fstat(file.fileno()).st_size
    try:
        while file.tell() < end:
            _pass_frame(file, end)
    except _Ended:
        return True
    return False


def _pass_frame(file: IO[bytes], end: int) -> None:
    magic = _read(file, len(MAGIC))
    if magic[1:] == _SKIPPABLE and magic[0] & 0xF0 == 0x50:
        _pass(file, int.from_bytes(_read(file, 4), "little"), end)
        return
    if magic != MAGIC:
        raise _Ended
    descriptor = _read(file, 1)[0]
    single_segment = bool(descriptor & 0x20)
    size_bytes = _SIZE_BYTES[descriptor >> 6] or int(single_segment)
    _pass(file, (not single_segment) + _FIELD_BYTES[descriptor & 3] + size_bytes, end)
    last = False
    while not last:
        block = int.from_bytes(_read(file, 3), "little")
        last, kind, size = bool(block & 1), block >> 1 & 3, block >> 3
        _pass(file, 1 if kind == 1 else size, end)  # 1: one byte, so many times
    if descriptor & 4:
        _pass(file, _CHECKSUM_BYTES, end)


def _read(file: IO[bytes], size: int) -> bytes:
    data = file.read(size)
    if len(data) < size:
        raise _Ended
    return data


def _pass(file: IO[bytes], size: int, end: int) -> None:
    if file.seek(size, os.SEEK_CUR) > end:
        raise _Ended
