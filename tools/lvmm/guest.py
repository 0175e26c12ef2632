"""The guest as the user gives it, checked: a kernel, a boot sector or the image of a disk."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from lvmm.board import Board
from lvmm.errors import UsageError
from lvmm.image import BootFile

LINUX_MIN_MIB = 64
GUEST_MIN_MIB = 2
SECTOR_SIZE = 512  # bytes
CYLINDER_SIZE = 16 * 63 * SECTOR_SIZE
FIRST_DISK = 0x80  # the BIOS's number (INT 13h)

Kind = Literal["linux", "multiboot", "sector", "disk"]

# Names of the kernel's file in images and recordings.
_KERNEL_NAMES = {
    "linux": "linux",
    "multiboot": "guest.elf",
    "sector": "sector.bin",
}

# Offsets in the first sector: of the BIOS's boot signature, the others of the Linux boot protocol
# (Documentation/x86/boot.rst).
_BOOT_SIGNATURE = (0x1FE, b"\x55\xaa")
_HEADER_MAGIC = (0x202, b"HdrS")
_PROTOCOL_VERSION = 0x206
_XLOADFLAGS = 0x236
_PREF_ADDRESS = 0x258
_KERNEL_INIT_SIZE = 0x260
_OLDEST_PROTOCOL = 0x20C
_XLF_KERNEL_64 = 1

_MULTIBOOT1_MAGIC = struct.pack("<I", 0x1BADB002)
_MULTIBOOT1_SEARCH = 8192
_ELF32_HEADER = struct.Struct("<16sHHIIIIIHHHHHH")
_ELF32_PROGRAM_HEADER = struct.Struct("<IIIIIIII")
_PT_LOAD = 1


@dataclass(frozen=True)
class Guest:
    """A guest: its files, its command line and its memory.

    `extra` holds the initrd of a Linux kernel, or the modules of a multiboot guest. A system on its
    own disk has no `kernel`: `disk` is the image that the emulated machine has as its disk (a
    replay needs none), `drive` the BIOS's number of the disk. What the guest writes to it is lost
    unless `disk_write`.
    """

    kind: Kind
    kernel: Path | None
    cmdline: str
    memory_mib: int
    extra: tuple[Path, ...] = ()
    disk: Path | None = None
    drive: int = FIRST_DISK
    disk_write: bool = False

    @property
    def files(self) -> tuple[Path, ...]:
        """The files that the guest is started with."""
        return self.extra if self.kernel is None else (self.kernel, *self.extra)

    @property
    def name(self) -> str:
        """Name of the file that the user gave."""
        given = self.kernel or self.disk
        return given.name if given is not None else ""

    def words(self) -> dict[str, str]:
        """What the monitor's command line says of the guest."""
        words = {"memory": str(self.memory_mib)}
        if self.kind == "disk":
            words["disk"] = f"{self.drive:#x}"
        return words

    def boot_files(self) -> tuple[BootFile, ...]:
        """The guest's files for the boot image; the first word of each text is its role."""
        if self.kernel is None:
            return ()
        role = self.kind
        files = [BootFile(self.kernel_name, self.kernel, f"{role} {self.cmdline}".strip())]
        for index, path in enumerate(self.extra):
            if self.kind == "linux":
                files.append(BootFile("initrd", path, "initrd"))
            else:
                files.append(BootFile(f"m{index}", path, f"module {path.name}"))
        return tuple(files)

    @property
    def kernel_name(self) -> str:
        """Name of the kernel's file in images and recordings."""
        return _KERNEL_NAMES[self.kind]


def check_guest(guest: Guest, board: Board) -> None:
    """Raises UsageError, with what is wrong, for a guest that cannot be started on the board."""
    for path in (*guest.files, *([guest.disk] if guest.disk else [])):
        if not path.exists():
            raise UsageError(f"no such file: {path}")
        if not path.is_file():
            raise UsageError(f"not a file: {path}")
    if "\n" in guest.cmdline or "\0" in guest.cmdline:
        raise UsageError("the guest's command line must be one line")
    limit = board.memory.guest_max_mib
    if guest.memory_mib > limit:
        raise UsageError(
            f"--memory {guest.memory_mib}: the board {board.name} has at most {limit} MiB "
            "for a guest"
        )
    if guest.kind == "linux":
        assert guest.kernel is not None
        _check_linux(guest, guest.kernel)
        return
    if guest.memory_mib < GUEST_MIN_MIB:
        raise UsageError(
            f"--memory {guest.memory_mib}: too little memory; "
            f"a guest needs {GUEST_MIN_MIB} MiB or more"
        )
    if guest.kind == "disk":
        if guest.disk is not None:
            _check_disk(guest.disk)
        return
    assert guest.kernel is not None
    if guest.kind == "multiboot":
        _check_multiboot(guest, guest.kernel)
    else:
        _check_sector(guest.kernel)


def _check_linux(guest: Guest, kernel: Path) -> None:
    if guest.memory_mib < LINUX_MIN_MIB:
        raise UsageError(
            f"--memory {guest.memory_mib}: too little memory; "
            f"Linux needs {LINUX_MIN_MIB} MiB or more"
        )
    with kernel.open("rb") as file:
        head = file.read(1024)
    for offset, magic in (_BOOT_SIGNATURE, _HEADER_MAGIC):
        if head[offset : offset + len(magic)] != magic:
            raise UsageError(f"{kernel} is not a Linux kernel (no bzImage boot sector)")
    (version,) = struct.unpack_from("<H", head, _PROTOCOL_VERSION)
    (flags,) = struct.unpack_from("<H", head, _XLOADFLAGS)
    if version < _OLDEST_PROTOCOL or not flags & _XLF_KERNEL_64:
        raise UsageError(f"{kernel} is not a 64-bit Linux kernel of version 3.8 or later")
    (pref_address,) = struct.unpack_from("<Q", head, _PREF_ADDRESS)
    (init_size,) = struct.unpack_from("<I", head, _KERNEL_INIT_SIZE)
    needed = pref_address + init_size + sum(path.stat().st_size for path in guest.extra)
    if needed > guest.memory_mib << 20:
        raise UsageError(
            f"--memory {guest.memory_mib}: too little memory; this kernel and its initrd alone "
            f"need {-(-needed >> 20)} MiB"
        )


def _check_sector(path: Path) -> None:
    size = path.stat().st_size
    if size != SECTOR_SIZE:
        raise UsageError(
            f"{path} is not a boot sector: it has {size} bytes, a sector has {SECTOR_SIZE}"
        )
    offset, signature = _BOOT_SIGNATURE
    if path.read_bytes()[offset:] != signature:
        raise UsageError(f"{path} is not a boot sector: it does not end in the bytes 55 AA")


def _check_disk(path: Path) -> None:
    size = path.stat().st_size
    if size == 0 or size % SECTOR_SIZE:
        raise UsageError(
            f"{path} is not a disk image: it has {size} bytes, which are no whole sectors of "
            f"{SECTOR_SIZE}"
        )
    offset, signature = _BOOT_SIGNATURE
    with path.open("rb") as file:
        sector = file.read(SECTOR_SIZE)
    if sector[offset:] != signature:
        raise UsageError(
            f"{path} cannot be booted: its first sector does not end in the bytes 55 AA (the image "
            "of a whole disk is needed, raw, with a boot loader for BIOS)"
        )
    if size < CYLINDER_SIZE:
        raise UsageError(
            f"{path} is too small for a disk: it has {size} bytes, one cylinder of 16 heads and "
            f"63 sectors has {CYLINDER_SIZE}"
        )


def _check_multiboot(guest: Guest, kernel: Path) -> None:
    data = kernel.read_bytes()
    if data[:6] != b"\x7fELF\x01\x01" or len(data) < _ELF32_HEADER.size:
        raise UsageError(f"{kernel} is not a 32-bit ELF file")
    if not any(
        data[offset : offset + 4] == _MULTIBOOT1_MAGIC
        for offset in range(0, min(_MULTIBOOT1_SEARCH, len(data)), 4)
    ):
        raise UsageError(f"{kernel} has no multiboot header")
    _, _, _, _, _, table, _, _, _, entry_size, count, *_ = _ELF32_HEADER.unpack_from(data)
    end = 0
    for index in range(count):
        offset = table + index * entry_size
        if offset + _ELF32_PROGRAM_HEADER.size > len(data):
            raise UsageError(f"{kernel} is damaged: its program headers are cut off")
        kind, at, _, address, file_size, memory_size, *_ = _ELF32_PROGRAM_HEADER.unpack_from(
            data, offset
        )
        if kind != _PT_LOAD:
            continue
        if at + file_size > len(data):
            raise UsageError(f"{kernel} is damaged: a segment is cut off")
        end = max(end, address + memory_size)
    if end == 0:
        raise UsageError(f"{kernel} has nothing to load")
    end += sum(path.stat().st_size for path in guest.extra)
    if end > guest.memory_mib << 20:
        raise UsageError(
            f"--memory {guest.memory_mib}: too little memory; the guest needs {-(-end >> 20)} MiB"
        )
