"""The Linux guest's initramfs: a reproducible cpio archive of busybox, drivers and the workload.

The format is cpio "newc" as the kernel's Documentation/driver-api/early-userspace/buffer-format.rst
describes it. Inode numbers count up, times and owners are 0, so equal inputs give equal bytes.
"""

from __future__ import annotations

import gzip
import lzma
import stat
import struct
import subprocess
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from lvmm.errors import UsageError

WORKLOAD_APPLETS = (
    "sh",
    "cat",
    "echo",
    "halt",
    "insmod",
    "ip",
    "mount",
    "poweroff",
    "usleep",
)


DISK_APPLETS = ("sh", "cat", "dd", "echo", "insmod", "mount", "poweroff", "sha256sum", "usleep")


@dataclass(frozen=True)
class Entry:
    """One member of the archive; `mode` holds type and permission bits as in stat(2)."""

    name: str
    mode: int
    data: bytes = b""
    device: tuple[int, int] = (0, 0)


def directory(name: str) -> Entry:
    return Entry(name, stat.S_IFDIR | 0o755)


def executable(name: str, data: bytes) -> Entry:
    return Entry(name, stat.S_IFREG | 0o755, data)


def regular(name: str, data: bytes) -> Entry:
    return Entry(name, stat.S_IFREG | 0o644, data)


def symlink(name: str, target: str) -> Entry:
    return Entry(name, stat.S_IFLNK | 0o777, target.encode())


def character_device(name: str, major: int, minor: int) -> Entry:
    return Entry(name, stat.S_IFCHR | 0o600, device=(major, minor))


def _pad4(data: bytes) -> bytes:
    return data + bytes(-len(data) % 4)


def _member(inode: int, entry: Entry) -> bytes:
    name = entry.name.encode() + b"\0"
    fields = (
        inode,
        entry.mode,
        0,  # uid
        0,  # gid
        2 if stat.S_ISDIR(entry.mode) else 1,  # links
        0,  # time
        len(entry.data),
        0,  # device of the archive's file system: major, minor
        0,
        entry.device[0],
        entry.device[1],
        len(name),
        0,  # checksum: unused in "newc"
    )
    header = b"070701" + b"".join(b"%08X" % field for field in fields)
    return _pad4(header + name) + _pad4(entry.data)


def archive(entries: Iterable[Entry]) -> bytes:
    """Packs the entries, in their order, into a cpio archive."""
    members = [_member(inode, entry) for inode, entry in enumerate(entries, start=1)]
    members.append(_member(0, Entry("TRAILER!!!", 0)))
    return b"".join(members)


def module_depends(data: bytes) -> list[str]:
    """Names of the modules which a kernel module needs, from its ELF section .modinfo.

    Raises UsageError when the bytes are no 64-bit little-endian ELF with that section.
    """
    for key, value in _modinfo(data):
        if key == "depends":
            return [name for name in value.split(",") if name]
    return []


def _modinfo(data: bytes) -> Iterator[tuple[str, str]]:
    section_header = struct.Struct("<IIQQQQIIQQ")
    try:
        if data[:6] != b"\x7fELF\x02\x01":
            raise UsageError("the kernel module is not a 64-bit little-endian ELF file")
        (table,) = struct.unpack_from("<Q", data, 0x28)
        count, names_index = struct.unpack_from("<HH", data, 0x3C)
        headers = [
            section_header.unpack_from(data, table + i * section_header.size) for i in range(count)
        ]
        names_offset = headers[names_index][4]
        for header in headers:
            start = names_offset + header[0]
            if data[start : data.index(b"\0", start)] == b".modinfo":
                for item in data[header[4] : header[4] + header[5]].split(b"\0"):
                    key, _, value = item.decode("ascii", "replace").partition("=")
                    yield key, value
                return
    except (struct.error, ValueError, IndexError) as error:
        raise UsageError(f"the kernel module's ELF headers are damaged: {error}") from error


def read_module(path: Path) -> bytes:
    """Content of a kernel module file, unpacked when its suffix says that it is compressed."""
    if path.suffix == ".xz":
        return lzma.decompress(path.read_bytes())
    if path.suffix == ".gz":
        return gzip.decompress(path.read_bytes())
    if path.suffix == ".zst":
        return subprocess.run(
            ["zstd", "--decompress", "--stdout", str(path)], check=True, capture_output=True
        ).stdout
    return path.read_bytes()


def find_module(modules_dir: Path, name: str) -> Path:
    """Path of the module `name` below lib/modules/VERSION; "-" and "_" are the same in names."""
    for path in _modules_called(modules_dir, name):
        return path
    raise UsageError(f"kernel module {name} is not in {modules_dir}")


def has_module(modules_dir: Path, name: str) -> bool:
    """Whether the kernel has that as a module; not when it is built in."""
    return any(_modules_called(modules_dir, name))


def _modules_called(modules_dir: Path, name: str) -> Iterator[Path]:
    wanted = name.replace("-", "_")
    for path in sorted(modules_dir.rglob("*.ko*")):
        if path.name.split(".ko")[0].replace("-", "_") == wanted:
            yield path


def modules_in_load_order(modules_dir: Path, names: Iterable[str]) -> list[tuple[str, bytes]]:
    """(file name, content) of the modules and all that they need, dependencies first."""
    done: dict[str, bytes] = {}

    def add(name: str) -> None:
        if name in done:
            return
        data = read_module(find_module(modules_dir, name))
        for dependency in module_depends(data):
            add(dependency)
        done[name] = data

    for name in names:
        add(name)
    return [(f"{name}.ko", data) for name, data in done.items()]


def base_system(
    busybox: Path, applets: Iterable[str], modules_dir: Path, modules: Iterable[str]
) -> list[Entry]:
    """Folders, console, busybox with its applets, and kernel modules.

    The modules are in /lib/modules; the file `order` there names them, in the order of loading.
    `modules_dir` is the kernel package's lib/modules/VERSION.
    """
    loaded = modules_in_load_order(modules_dir, modules)
    order = "".join(f"{name}\n" for name, _ in loaded)
    return [
        *map(directory, ("bin", "dev", "lib", "lib/modules", "proc", "sys", "tmp")),
        character_device("dev/console", 5, 1),
        executable("bin/busybox", busybox.read_bytes()),
        *(symlink(f"bin/{applet}", "busybox") for applet in applets),
        *(regular(f"lib/modules/{name}", data) for name, data in loaded),
        regular("lib/modules/order", order.encode()),
    ]


def workload_initramfs(
    modules_dir: Path, busybox: Path, init: Path, programs: Iterable[Path], modules: Iterable[str]
) -> bytes:
    """The demo guest's initramfs; the programs go into /bin."""
    return archive(
        [
            *base_system(busybox, WORKLOAD_APPLETS, modules_dir, modules),
            *(executable(f"bin/{program.name}", program.read_bytes()) for program in programs),
            executable("init", init.read_bytes()),
        ]
    )


def disk_initramfs(modules_dir: Path, busybox: Path, init: Path, modules: Iterable[str]) -> bytes:
    """The initramfs of the guest that reads and writes a disk."""
    return archive(
        [
            *base_system(busybox, DISK_APPLETS, modules_dir, modules),
            executable("init", init.read_bytes()),
        ]
    )
