"""Guests of Debian's stock kernel: a folder of tests/guests with a program and its init."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from lvmm import initramfs, provision
from lvmm.board import Board
from lvmm.guest import Guest
from lvmm.guest_build import (
    BUSYBOX,
    LINUX_CMDLINE,
    OUTPUT,
    SOURCES,
    build_lock,
    linux_program,
    need_busybox,
    outdated,
)


def _initrd(
    name: str,
    applets: Sequence[str],
    modules: Sequence[str],
    kernel: provision.Kernel,
    files: Mapping[str, Path],
) -> Path:
    folder = SOURCES / name
    output = OUTPUT / name / f"initrd-{kernel.release}"
    need_busybox()
    with build_lock():
        program = linux_program(folder)
        if outdated(output, [program, *files.values(), folder / "init", *_callers()]):
            members = [
                *initramfs.base_system(BUSYBOX, applets, kernel.modules, modules),
                *(initramfs.regular(path, file.read_bytes()) for path, file in files.items()),
                initramfs.executable(f"bin/{name}", program.read_bytes()),
                initramfs.executable("init", (folder / "init").read_bytes()),
            ]
            output.parent.mkdir(parents=True, exist_ok=True)
            fresh = output.with_suffix(".new")
            fresh.write_bytes(initramfs.archive(members))
            fresh.replace(output)
    return output


def _callers() -> list[Path]:
    """The files that say what is in these archives."""
    return [Path(__file__), *Path(__file__).parent.glob("*_guest.py")]


def stock_guest(
    name: str,
    board: Board,
    *,
    applets: Sequence[str],
    modules: Sequence[str],
    words: str = "",
    files: Mapping[str, Path] | None = None,
) -> Guest:
    """tests/guests/`name`, whose program has the same name, with these modules of the kernel's.

    `words` are for its command line; `files` go into the initramfs, by their names there.
    """
    kernel = provision.kernel_package()
    return Guest(
        kind="linux",
        kernel=kernel.vmlinuz,
        cmdline=f"{LINUX_CMDLINE} {words}".strip(),
        memory_mib=board.memory.guest_default_mib,
        extra=(_initrd(name, applets, modules, kernel, files or {}),),
    )
