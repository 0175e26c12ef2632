"""Disk images with GRUB and a file system, made by the distribution's tools, without root."""

from __future__ import annotations

import shutil
import struct
import subprocess
import tempfile
from pathlib import Path

from lvmm import provision
from lvmm.apt import ensure_packages
from lvmm.cache import cache_dir, locked
from lvmm.packages import unpack_packages

SECTOR = 512
FIRST_SECTOR = 2048  # of the one partition
GRUB = Path("/usr/lib/grub/i386-pc")
GRUB_MODULES = ("biosdisk", "part_msdos", "ext2", "normal", "configfile", "linux", "linux16")
BOOT_CODE_BYTES = 440  # of the first sector; the partition table follows


def run(*command: object, **options: object) -> str:
    """Runs a tool; returns what it prints."""
    words = [str(word) for word in command]
    result = subprocess.run(words, capture_output=True, text=True, check=False)
    assert result.returncode == 0, f"{' '.join(words)}\n{result.stdout}{result.stderr}"
    return result.stdout


def disk_image(tree: Path, commands: str, size_mib: int, image: Path) -> None:
    """A disk with one partition that holds `tree`; GRUB on it executes `commands`."""
    ensure_packages((*provision.IMAGE_PACKAGES, "e2fsprogs"))
    grub = tree / "boot" / "grub"
    grub.mkdir(parents=True, exist_ok=True)
    entry = f"set timeout=0\nmenuentry system {{\n{commands}\n}}\n"
    (grub / "grub.cfg").write_text(entry)
    sectors = (size_mib << 20) // SECTOR
    with image.open("wb") as file:
        file.truncate(sectors * SECTOR)
    blocks = (sectors - FIRST_SECTOR) * SECTOR // 1024
    place = f"offset={FIRST_SECTOR * SECTOR},nodiscard"
    run("mke2fs", "-q", "-F", "-t", "ext4", "-d", tree, "-E", place, image, f"{blocks}k")
    with tempfile.TemporaryDirectory() as scratch:
        core = Path(scratch) / "core.img"
        prefix = "(hd0,msdos1)/boot/grub"
        run("grub-mkimage", "-O", "i386-pc", "-p", prefix, "-o", core, *GRUB_MODULES)
        loader = core.read_bytes()
    assert len(loader) < (FIRST_SECTOR - 1) * SECTOR
    # Bootable, of type Linux; without cylinders, heads and sectors (0xff: too large for them).
    far = b"\xff" * 3
    size = sectors - FIRST_SECTOR
    partition = struct.pack("<B3sB3sII", 0x80, far, 0x83, far, FIRST_SECTOR, size)
    with image.open("r+b") as file:
        file.write((GRUB / "boot.img").read_bytes()[:BOOT_CODE_BYTES])
        file.seek(446)
        file.write(partition.ljust(64, b"\0") + b"\x55\xaa")
        file.write(loader)


def program_disk(package: str, name: str, commands: str, folder: Path) -> Path:
    """A disk whose GRUB starts /boot/`name` of a package of the distribution's."""
    unpacked = cache_dir() / f"package-{package}"
    with locked(f"package-{package}"):
        if not unpacked.is_dir():
            unpack_packages([package], unpacked)
    tree = folder / "tree"
    (tree / "boot").mkdir(parents=True)
    shutil.copy(unpacked / "boot" / name, tree / "boot" / name)
    image = folder / f"{package}.img"
    disk_image(tree, commands, 16, image)
    return image
