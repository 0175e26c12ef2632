"""Disk images with GRUB and a file system, made by the distribution's tools, without root."""

from __future__ import annotations

import hashlib
import os
import shutil
import struct
import subprocess
import tempfile
from pathlib import Path

from lvmm import provision
from lvmm.apt import ensure_packages, os_release
from lvmm.cache import cache_dir, locked
from lvmm.guest_build import SOURCES
from lvmm.packages import unpack_packages

SECTOR = 512
FIRST_SECTOR = 2048  # of the one partition
GRUB = Path("/usr/lib/grub/i386-pc")
GRUB_MODULES = ("biosdisk", "part_msdos", "ext2", "normal", "configfile", "linux", "linux16")
BOOT_CODE_BYTES = 440  # of the first sector; the partition table follows

DEBIAN_MIB = 1024
DEBIAN_PACKAGES = ("initramfs-tools", "kmod", "linux-image-cloud-amd64", "udev")


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


def why_no_debian() -> str:
    """Why no Debian can be put on a disk here; empty where it can."""
    if os.geteuid() != 0:
        return "debootstrap needs root"
    return "" if os_release().get("ID") == "debian" else "debootstrap is set up for Debian here"


def debian_disk() -> Path:
    """The image of a disk with Debian as debootstrap installs it, and an init that ends by itself.

    Kept in the cache.
    """
    init = SOURCES / "disk" / "debian-init"
    key = hashlib.sha256(init.read_bytes() + Path(__file__).read_bytes()).hexdigest()[:16]
    image = cache_dir() / f"debian-disk-{key}.img"
    with locked("debian-disk"):
        if not image.exists():
            _make_debian(init, image)
    return image


def _make_debian(init: Path, image: Path) -> None:
    ensure_packages(("debootstrap",))
    suite = os_release()["VERSION_CODENAME"]
    targets = run(
        "apt-get", "indextargets", "--format", "$(SITE) $(RELEASE)", "Created-By: Packages"
    )
    mirror = next(line.split()[0] for line in targets.splitlines() if line.split()[1] == suite)
    with tempfile.TemporaryDirectory(dir=cache_dir(), prefix="debian-") as scratch:
        tree = Path(scratch) / "tree"
        packages = f"--include={','.join(DEBIAN_PACKAGES)}"
        run("debootstrap", "--variant=minbase", packages, suite, tree, mirror)
        shutil.copy(init, tree / "sbin" / "init")
        (tree / "sbin" / "init").chmod(0o755)
        kernel = next((tree / "boot").glob("vmlinuz-*")).name
        release = kernel.removeprefix("vmlinuz-")
        commands = (
            f"linux /boot/{kernel} root=/dev/sda1 ro console=ttyS0,115200 panic=-1 quiet\n"
            f"initrd /boot/initrd.img-{release}"
        )
        fresh = Path(scratch) / "disk.img"
        disk_image(tree, commands, DEBIAN_MIB, fresh)
        fresh.replace(image)
