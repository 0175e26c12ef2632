"""The rescue boot: an image with an ordinary Linux that saves the log out of a machine's memory.

The kernel leaves the log region alone because its command line says so; the init (rescue/) copies
the region to a disk that is marked for it. The image has a partition with that mark: written to a
USB stick, it saves the log on the stick it was booted from. tools/extract_log.py reads it there.
"""

from __future__ import annotations

import struct
import subprocess
import sys
import tempfile
from pathlib import Path

from lvmm import guest_build, initramfs, provision
from lvmm.board import Board
from lvmm.errors import EnvironmentProblem
from lvmm.guest_build import ROOT
from lvmm.image import BootFile, BootImage, build_image, check_place

SOURCES = ROOT / "rescue"
MONITOR = ROOT / "hypervisor"
OUTPUT = ROOT / "build" / "rescue"

# The first line of a disk that may be written to, and that of one with a log (rescue/disk.h). What
# is saved follows the first page.
MARK = b"lvmm: save here\n"
SAVED = b"lvmm: saved log\n"
DATA_OFFSET = 4096

_C_FILES = ("save_log.c", "disk.c")
_MONITOR_C_FILES = ("replay/log_region.c", "replay/log_remains.c", "lib/crc32c.c")
_C_FLAGS = ("-static", "-O2", "-std=gnu11", "-Wall", "-Wextra", "-Werror", "-s")

_APPLETS = (
    *("sh", "cat", "dd", "echo", "grep", "head", "insmod", "ls", "mount", "od"),
    *("poweroff", "reboot", "sleep"),
)
# Disks of servers, and what a USB stick needs. Some kernels have one or the other built in.
_DRIVERS = (
    *("ata_piix", "ahci", "nvme", "sd_mod"),
    *("xhci_pci", "ehci_pci", "uhci_hcd", "usb_storage", "uas"),
)

# ttyS0 to ttyS3 as PCs have them.
_SERIAL_PORTS = (0x3F8, 0x2F8, 0x3E8, 0x2E8)

_SECTOR = 512
_ALIGNMENT = 1 << 20  # of the partition
_MBR_TABLE = 446
_MBR_ENTRIES = 4
_MBR_SIGNATURE = b"\x55\xaa"
# Status, first sector as CHS, type, last sector as CHS, first sector, sectors. The CHS values are
# those that say: look at the others.
_MBR_ENTRY = struct.Struct("<B3sB3sII")
_CHS_NONE = b"\xfe\xff\xff"
_NO_FILE_SYSTEM = 0xDA


def rescue_image(
    board: Board,
    output: Path,
    append: str = "",
    menu_timeout_s: int = 0,
    kernel: provision.Kernel | None = None,
) -> None:
    """Writes the rescue boot's image for a board; `append` are more words for its command line.

    `kernel` is the distribution's stock kernel if not given. Raises EnvironmentProblem.
    """
    check_place(output)
    kernel = kernel or provision.kernel_package()
    words = f"{command_line(board)} {append}".strip()
    with tempfile.TemporaryDirectory(prefix="lvmm-rescue-") as scratch:
        initrd = Path(scratch) / "initrd"
        initrd.write_bytes(_initrd(board, kernel))
        files = (
            BootFile("linux", kernel.vmlinuz, words),
            BootFile("initrd", initrd, ""),
        )
        fresh = output.with_name(f".{output.name}.new")
        try:
            build_image(BootImage(None, {}, files, menu_timeout_s), fresh)
            add_save_partition(fresh, DATA_OFFSET + board.memory.log_bytes)
            fresh.replace(output)
        finally:
            fresh.unlink(missing_ok=True)


def command_line(board: Board) -> str:
    """Of the rescue kernel: without KASLR and with the region reserved, it never touches that."""
    memory = board.memory
    words = ["nokaslr", f"memmap={memory.log_mib}M${memory.log_base:#x}", "console=tty0"]
    if board.serial.guest_console in _SERIAL_PORTS:
        number = _SERIAL_PORTS.index(board.serial.guest_console)
        words.append(f"console=ttyS{number},115200")
    return " ".join([*words, "quiet", "printk.devkmsg=on"])


def _initrd(board: Board, kernel: provision.Kernel) -> bytes:
    guest_build.need_busybox()
    program = save_log_program()
    drivers = [name for name in _DRIVERS if initramfs.has_module(kernel.modules, name)]
    region = f"{board.memory.log_base:#x} {board.memory.log_bytes:#x}\n"
    return initramfs.archive(
        [
            *initramfs.base_system(guest_build.BUSYBOX, _APPLETS, kernel.modules, drivers),
            initramfs.directory("etc"),
            initramfs.regular("etc/lvmm-region", region.encode()),
            initramfs.executable("bin/save_log", program.read_bytes()),
            initramfs.executable("init", (SOURCES / "init").read_bytes()),
        ]
    )


def save_log_program() -> Path:
    """The program that copies the region, compiled when needed."""
    program = OUTPUT / "save_log"
    own = [SOURCES / name for name in (*_C_FILES, "disk.h")]
    shared = [MONITOR / name for name in _MONITOR_C_FILES]
    headers = [*(MONITOR / "replay").glob("log_re*.h"), *(ROOT / "logs_format").glob("*.toml")]
    with guest_build.build_lock():
        if guest_build.outdated(program, [*own, *shared, *headers]):
            OUTPUT.mkdir(parents=True, exist_ok=True)
            _write_log_format(OUTPUT / "log_format.h")
            folders = ["-I", str(OUTPUT), "-I", str(MONITOR)]
            units = [*_C_FILES, *map(str, shared)]
            guest_build.compile_program([*_C_FLAGS, *folders, *units], SOURCES, program)
    return program


def _write_log_format(header: Path) -> None:
    generator = ROOT / "logs_format" / "generate.py"
    command = [sys.executable, str(generator), "--c", str(header)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise EnvironmentProblem(f"cannot make {header}: {done.stderr.strip()}")


def add_save_partition(image: Path, size: int) -> None:
    """Appends a marked partition of `size` bytes to an image with a master boot record.

    The image stays sparse. Raises EnvironmentProblem.
    """
    try:
        with image.open("r+b") as file:
            sector = bytearray(file.read(_SECTOR))
            if sector[-2:] != _MBR_SIGNATURE:
                raise EnvironmentProblem(f"{image} has no master boot record")
            at = _free_entry(image, sector)
            start = -(-file.seek(0, 2) // _ALIGNMENT) * _ALIGNMENT
            end = -(-(start + size) // _ALIGNMENT) * _ALIGNMENT
            place = start // _SECTOR, (end - start) // _SECTOR
            _MBR_ENTRY.pack_into(sector, at, 0, _CHS_NONE, _NO_FILE_SYSTEM, _CHS_NONE, *place)
            file.seek(0)
            file.write(sector)
            file.seek(start)
            file.write(MARK)
            file.truncate(end)
    except OSError as error:
        raise EnvironmentProblem(f"cannot write {image}: {error.strerror}") from None


def _free_entry(image: Path, sector: bytearray) -> int:
    """Offset of the first unused entry of the partition table."""
    for number in range(_MBR_ENTRIES):
        at = _MBR_TABLE + number * _MBR_ENTRY.size
        if not any(sector[at : at + _MBR_ENTRY.size]):
            return at
    raise EnvironmentProblem(f"{image} has no room for another partition")
