"""Compiles the guests that come with lvmm: the Linux workload, the sample appliance, tiny ones.

Results go to build/guests/ and are made again only when a source is newer.
"""

from __future__ import annotations

import argparse
import dataclasses
import fcntl
import subprocess
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from lvmm import initramfs, provision
from lvmm.apt import ensure_packages
from lvmm.board import Board
from lvmm.errors import EnvironmentProblem, LvmmError
from lvmm.guest import Guest
from lvmm.messages import say

ROOT = Path(__file__).resolve().parents[2]
SOURCES = ROOT / "tests" / "guests"
APPLIANCE = ROOT / "guest_support" / "appliance"
OUTPUT = ROOT / "build" / "guests"
SUPPORT = ROOT / "guest_support"

BUSYBOX = Path("/bin/busybox")
_CARD_MODULES = {"e1000": "e1000", "ne2k": "ne2k-pci"}
_DISK_MODULES = ("ata_piix", "sd_mod")
_USB_MODULES = ("uhci_hcd", "usb_storage", "sd_mod")

# Kept quiet: each character on the emulated serial line costs the time of thousands of
# instructions. panic=-1 makes a crash reboot at once, which ends the recording.
LINUX_CMDLINE = "console=ttyS0,115200 quiet loglevel=3 panic=-1 noapic"

# Each program has of the shared files (tests/guests/linux/common) only what it calls.
_LINUX_FLAGS = (
    *("-static", "-O2", "-std=gnu11", "-Wall", "-Wextra", "-Werror", "-s"),
    *("-ffunction-sections", "-Wl,--gc-sections"),
)
_TINY_FLAGS = (
    "-m32",
    "-march=i686",
    "-std=c11",
    "-O2",
    "-Wall",
    "-Wextra",
    "-Werror",
    "-ffreestanding",
    "-fno-pic",
    "-no-pie",
    "-fno-stack-protector",
    "-fno-asynchronous-unwind-tables",
    "-fcf-protection=none",
    "-mgeneral-regs-only",
    "-nostdlib",
    "-static",
    "-Wl,--build-id=none",
    "-Wl,-T,link.ld",
)
# Symbols for a debugger, frame pointers for a backtrace without them, and lvmm.h.
_APPLIANCE_FLAGS = (*_TINY_FLAGS, "-g", "-fno-omit-frame-pointer", "-I..")
# 64-bit code in a 32-bit ELF file, as Multiboot wants it; linked at 1 MiB.
_HOSTILE_FLAGS = (
    "-m64",
    "-mno-red-zone",
    *(flag for flag in _TINY_FLAGS if flag not in ("-m32", "-march=i686")),
)
_SECTOR_FLAGS = ("-m32", "-nostdlib", "-static", "-Wl,--build-id=none,--oformat=binary,-Ttext=0")


@contextmanager
def build_lock() -> Iterator[None]:
    """Held while something in build/ is made: parallel tests wait for each other."""
    OUTPUT.mkdir(parents=True, exist_ok=True)
    with (OUTPUT / ".lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def tiny_names() -> list[str]:
    """Names of the tiny guests."""
    return sorted(path.stem for path in (SOURCES / "tiny").glob("*.c") if path.stem != "runtime")


def tiny_guest(name: str) -> Path:
    """The multiboot ELF file of a tiny guest, compiled when needed."""
    folder = SOURCES / "tiny"
    output = OUTPUT / "tiny" / f"{name}.elf"
    sources = [folder / "start.S", folder / "runtime.c", folder / f"{name}.c"]
    with build_lock():
        support = SUPPORT.glob("*.h")
        if outdated(output, [*sources, folder / "runtime.h", folder / "link.ld", *support]):
            compile_program([*_TINY_FLAGS, *(path.name for path in sources)], folder, output)
    return output


def appliance() -> Path:
    """The multiboot ELF file of the sample appliance, compiled when needed."""
    output = OUTPUT / "appliance.elf"
    with build_lock():
        if outdated(output, [*APPLIANCE.iterdir(), *APPLIANCE.parent.glob("*.h")]):
            units = sorted(path.name for path in APPLIANCE.iterdir() if path.suffix in (".S", ".c"))
            compile_program([*_APPLIANCE_FLAGS, *units], APPLIANCE, output)
    return output


def hostile_guest() -> Path:
    """The multiboot ELF file of the hostile guest, compiled when needed.

    Its modes are chosen by the command line: mode=a,b,c (tests/guests/hostile/runtime.c).
    """
    folder = SOURCES / "hostile"
    output = OUTPUT / "hostile" / "hostile.elf"
    sources = [folder / "start.S", *sorted(folder.glob("*.c"))]
    with build_lock():
        if outdated(output, [*sources, folder / "hostile.h", folder / "link.ld"]):
            long = output.with_suffix(".elf64")
            compile_program([*_HOSTILE_FLAGS, *(path.name for path in sources)], folder, long)
            fresh = output.with_suffix(".new")
            subprocess.run(["objcopy", "-O", "elf32-i386", str(long), str(fresh)], check=True)
            fresh.replace(output)
    return output


# Two cylinders of 16 heads and 63 sectors.
BOOT_DISK_SIZE = 2 * 16 * 63 * 512


def boot_disk(name: str, disk: Path) -> Path:
    """Makes `disk`, the image of a disk that a tiny guest begins, of BOOT_DISK_SIZE bytes."""
    disk.write_bytes(boot_disk_content(name))
    return disk


def boot_disk_content(name: str) -> bytes:
    """Of such a disk."""
    return boot_sector(name).read_bytes().ljust(BOOT_DISK_SIZE, b"\x01")


def boot_sector(name: str) -> Path:
    """A tiny guest that is a boot sector, or begins with one, assembled when needed."""
    folder = SOURCES / "tiny"
    output = OUTPUT / "tiny" / f"{name}.bin"
    source = folder / f"{name}.S"
    with build_lock():
        if outdated(output, [source, *folder.glob("*.h"), *SUPPORT.glob("*.h")]):
            compile_program([*_SECTOR_FLAGS, source.name], folder, output)
    return output


def workload() -> Path:
    """The program that the recorded Linux runs, linked statically, compiled when needed."""
    with build_lock():
        return linux_program(SOURCES / "linux" / "workload")


def workload_initrd(
    kernel: provision.Kernel, modules: tuple[str, ...], *, stress: bool = False
) -> Path:
    """The initramfs with the workload, the loads if asked for, and modules of the kernel's."""
    programs = ("workload", *(("stress",) if stress else ()))
    return _programs_initrd("init", programs, kernel, modules)


def _programs_initrd(
    script: str, names: tuple[str, ...], kernel: provision.Kernel, modules: tuple[str, ...]
) -> Path:
    """An initramfs with programs and an init of tests/guests/linux, and modules of the kernel's."""
    folder = SOURCES / "linux"
    output = OUTPUT / "linux" / "-".join((script, *names, kernel.release, *modules))
    need_busybox()
    with build_lock():
        programs = [linux_program(folder / name) for name in names]
        own = [*programs, folder / script, BUSYBOX, Path(initramfs.__file__)]
        if outdated(output, own):
            data = initramfs.workload_initramfs(
                kernel.modules, BUSYBOX, folder / script, programs, modules
            )
            fresh = output.with_suffix(".new")
            fresh.write_bytes(data)
            fresh.replace(output)
    return output


def linux_program(folder: Path) -> Path:
    """A static program of all C files in a folder and what they use of tests/guests/linux/common,
    compiled when needed. The caller holds the build lock.
    """
    output = OUTPUT / "linux" / folder.name
    folders = (folder, SOURCES / "linux" / "common")
    units = [str(unit) for each in folders for unit in sorted(each.glob("*.c"))]
    if outdated(output, [file for each in folders for file in each.glob("*.[ch]")]):
        compile_program([*_LINUX_FLAGS, *units], folder, output)
    return output


def need_busybox() -> None:
    """Installs the statically linked busybox of the initramfs where it is missing."""
    if not BUSYBOX.exists():
        ensure_packages(provision.GUEST_PACKAGES)


def linux_guest(board: Board, settings: str = "", memory_mib: int | None = None) -> Guest:
    """The stock kernel, with its own drivers of the board's network cards, and the workload.

    `settings` are words for its command line.
    """
    kernel = provision.kernel_package()
    cards = [device.model for device in board.device if device.model in _CARD_MODULES]
    modules = tuple(_CARD_MODULES[model] for model in cards)
    return _linux_guest(board, kernel, modules, settings, memory_mib)


def small_linux_guest(board: Board, settings: str = "") -> Guest:
    """The distribution's small kernel with the workload; it has no driver for the network card."""
    kernel = provision.kernel_package("small")
    return _linux_guest(board, kernel, (), f"lvmm.packets=0 {settings}", None)


def stress_linux_guest(board: Board, settings: str, memory_mib: int | None = None) -> Guest:
    """The same with the loads of tests/guests/linux/stress, which the settings name."""
    kernel = provision.kernel_package("small")
    guest = _linux_guest(board, kernel, (), f"lvmm.packets=0 {settings}", memory_mib)
    return dataclasses.replace(guest, extra=(workload_initrd(kernel, (), stress=True),))


def phases_linux_guest(board: Board, settings: str) -> Guest:
    """The stock kernel with its own drivers of the first network card and of the IDE disk; its init
    (tests/guests/linux/phases) runs the loads and transfers that the settings name.
    """
    kernel = provision.kernel_package()
    modules = (_CARD_MODULES["e1000"], *_DISK_MODULES)
    initrd = _programs_initrd("phases", ("transfer", "stress"), kernel, modules)
    guest = _linux_guest(board, kernel, (), settings, None)
    return dataclasses.replace(guest, extra=(initrd,))


def disk_linux_guest(
    board: Board, settings: str, script: str = "init", memory_mib: int | None = None
) -> Guest:
    """The distribution's small kernel with its own driver of the IDE disk.

    `settings` are words for its command line; `script`, of tests/guests/disk, is its init.
    """
    kernel = provision.kernel_package("small")
    guest = _disk_guest(board, kernel, _DISK_MODULES, settings, script)
    return dataclasses.replace(guest, memory_mib=memory_mib or guest.memory_mib)


def usb_linux_guest(board: Board, settings: str, script: str = "init") -> Guest:
    """The same with the stock kernel and its drivers of a disk on UHCI: the small one has none."""
    return _disk_guest(board, provision.kernel_package(), _USB_MODULES, settings, script)


def _disk_guest(
    board: Board, kernel: provision.Kernel, modules: tuple[str, ...], settings: str, script: str
) -> Guest:
    init = SOURCES / "disk" / script
    output = OUTPUT / "disk" / f"{script}-{kernel.release}"
    need_busybox()
    with build_lock():
        if outdated(output, [init, BUSYBOX, Path(initramfs.__file__)]):
            data = initramfs.disk_initramfs(kernel.modules, BUSYBOX, init, modules)
            output.parent.mkdir(parents=True, exist_ok=True)
            fresh = output.with_suffix(".new")
            fresh.write_bytes(data)
            fresh.replace(output)
    return Guest(
        kind="linux",
        kernel=kernel.vmlinuz,
        cmdline=f"{LINUX_CMDLINE} {settings}",
        memory_mib=board.memory.guest_default_mib,
        extra=(output,),
    )


def _linux_guest(
    board: Board,
    kernel: provision.Kernel,
    modules: tuple[str, ...],
    settings: str,
    memory_mib: int | None,
) -> Guest:
    return Guest(
        kind="linux",
        kernel=kernel.vmlinuz,
        cmdline=f"{LINUX_CMDLINE} {settings}".strip(),
        memory_mib=memory_mib or board.memory.guest_default_mib,
        extra=(workload_initrd(kernel, modules),),
    )


def outdated(output: Path, sources: Iterable[Path]) -> bool:
    """Whether `output` is missing or older than one of the sources."""
    if not output.exists():
        return True
    made = output.stat().st_mtime
    return any(path.stat().st_mtime > made for path in sources)


def compile_program(arguments: list[str], folder: Path, output: Path) -> None:
    """Runs gcc with these arguments in `folder`. Raises EnvironmentProblem with its first error."""
    output.parent.mkdir(parents=True, exist_ok=True)
    fresh = output.with_suffix(".new")
    result = subprocess.run(
        ["gcc", "-I", str(SUPPORT), *arguments, "-o", str(fresh)],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    if result.returncode != 0:
        errors = [line for line in result.stderr.splitlines() if "error" in line]
        raise EnvironmentProblem(
            f"cannot compile {output.name}: {(errors or ['no message from gcc'])[0]}"
        )
    fresh.replace(output)


def main() -> int:
    """Compiles one guest and prints its path."""
    parser = argparse.ArgumentParser(description="Compiles a guest that comes with lvmm")
    parser.add_argument("name", choices=("appliance", *tiny_names()))
    name = parser.parse_args().name
    try:
        print(appliance() if name == "appliance" else tiny_guest(name))
    except LvmmError as error:
        say(str(error))
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
