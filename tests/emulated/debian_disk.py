"""Debian on a disk of its own, as debootstrap installs it: two systems, kept in the cache."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.emulated import disk_image
from tests.emulated.disk_image import run

from lvmm import apt, guest_build
from lvmm.apt import ensure_packages, os_release
from lvmm.cache import cache_dir, locked
from lvmm.messages import say

SOURCES = guest_build.SOURCES / "disk"
COMMAND_LINE = "root=/dev/sda1 console=ttyS0,115200 panic=-1 quiet"
# What the initramfs loads: the disk's driver, and those of the file system.
INITRAMFS_MODULES = ("ata_piix", "sd_mod", "ext4")
PACKAGE = "hello"  # that the guest installs, from a repository on its disk


@dataclass(frozen=True)
class System:
    """What is installed, and `furnish`, which adds to the tree what the test needs there.

    `settings` are more words for the kernel. `sources`: files that `furnish` uses.
    """

    name: str
    packages: tuple[str, ...]
    size_mib: int
    settings: str
    sources: tuple[Path, ...]
    furnish: Callable[[Path], None]


def why_not() -> str:
    """Why no Debian can be put on a disk here; empty where it can."""
    if os.geteuid() != 0:
        return "debootstrap needs root"
    return "" if os_release().get("ID") == "debian" else "debootstrap is set up for Debian here"


def _furnish_small(tree: Path) -> None:
    _install(SOURCES / "debian-init", tree / "sbin" / "init")


def _furnish_work(tree: Path) -> None:
    _small_initramfs(tree)
    _install(guest_build.workload(), tree / "root" / "workload")
    _install(SOURCES / "debian-work", tree / "root" / "work")
    _install(SOURCES / "mixed.fio", tree / "root" / "mixed.fio")
    _make_repository(tree)


def _small_initramfs(tree: Path) -> None:
    modules = "".join(f"{name}\n" for name in INITRAMFS_MODULES)
    (tree / "etc" / "initramfs-tools" / "modules").write_text(modules)
    (tree / "etc" / "initramfs-tools" / "conf.d" / "small").write_text("MODULES=list\n")
    run("chroot", tree, "update-initramfs", "-u", "-k", "all")


# A kernel without drivers of real cards, and an init that ends by itself.
SMALL = System(
    name="small",
    packages=("initramfs-tools", "kmod", "linux-image-cloud-amd64", "udev"),
    size_mib=1024,
    settings="ro",
    sources=(SOURCES / "debian-init",),
    furnish=_furnish_small,
)

_SERVER_PACKAGES = (
    *("fio", "initramfs-tools", "iproute2", "kmod", "linux-image-amd64"),
    *("systemd-sysv", "udev", "zstd"),
)

# The stock kernel; its init works with disk and network, and ends by itself.
WORK = System(
    name="work",
    packages=_SERVER_PACKAGES,
    size_mib=2048,
    settings="rw init=/root/work",
    sources=(
        *(SOURCES / "debian-work", SOURCES / "mixed.fio"),
        *sorted((guest_build.SOURCES / "linux").glob("*.[ch]")),
    ),
    furnish=_furnish_work,
)


def debian_disk(system: System) -> Path:
    """The image of a disk with this system; GRUB boots it at once."""
    files = b"".join(path.read_bytes() for path in (Path(__file__), *system.sources))
    key = hashlib.sha256(files + Path(disk_image.__file__).read_bytes()).hexdigest()[:16]
    image = cache_dir() / f"debian-{system.name}-{key}.img"
    with locked("debian-disk"):
        if not image.exists():
            _make_disk(system, _installed(system), image)
    return image


def _installed(system: System) -> Path:
    """A tree with the packages, and nothing of ours."""
    suite = os_release()["VERSION_CODENAME"]
    key = hashlib.sha256(" ".join((suite, *system.packages)).encode()).hexdigest()[:16]
    tree = cache_dir() / f"debian-tree-{key}"
    if not tree.is_dir():
        ensure_packages(("debootstrap",))
        say(f"installing Debian {suite}, {system.name}, into the cache")
        wanted = "--include=" + ",".join(system.packages)
        with tempfile.TemporaryDirectory(dir=cache_dir(), prefix="debian-") as scratch:
            fresh = Path(scratch) / "tree"
            run("debootstrap", "--variant=minbase", wanted, suite, fresh, _mirror(suite))
            for package in (fresh / "var" / "cache" / "apt" / "archives").glob("*.deb"):
                package.unlink()
            fresh.rename(tree)
    return tree


def _mirror(suite: str) -> str:
    listed = run(
        "apt-get", "indextargets", "--format", "$(SITE) $(RELEASE)", "Created-By: Packages"
    )
    return next(line.split()[0] for line in listed.splitlines() if line.split()[1] == suite)


def _make_disk(system: System, installed: Path, image: Path) -> None:
    with tempfile.TemporaryDirectory(dir=cache_dir(), prefix="debian-") as scratch:
        tree = Path(scratch) / "tree"
        run("cp", "-a", "--reflink=auto", installed, tree)
        system.furnish(tree)
        kernel = next((tree / "boot").glob("vmlinuz-*")).name
        release = kernel.removeprefix("vmlinuz-")
        words = f"{COMMAND_LINE} {system.settings}"
        commands = f"linux /boot/{kernel} {words}\ninitrd /boot/initrd.img-{release}"
        fresh = Path(scratch) / "disk.img"
        disk_image.disk_image(tree, commands, system.size_mib, fresh)
        fresh.replace(image)


def _install(source: Path, target: Path) -> None:
    target.unlink(missing_ok=True)  # it may be a link
    shutil.copy(source, target)
    target.chmod(0o755)


def _make_repository(tree: Path) -> None:
    """A repository of one package, apt's only one."""
    folder = tree / "srv" / "packages"
    folder.mkdir(parents=True)
    error = apt.run_quietly(
        ["apt-get", "-q", "-oAPT::Sandbox::User=root", "download", PACKAGE], cwd=folder
    )
    assert not error, error
    (package,) = folder.glob("*.deb")
    data = package.read_bytes()
    fields = run("dpkg-deb", "--field", package).strip()
    digest = hashlib.sha256(data).hexdigest()
    place = f"Filename: ./{package.name}\nSize: {len(data)}\nSHA256: {digest}\n"
    (folder / "Packages").write_text(f"{fields}\n{place}")
    shutil.rmtree(tree / "var" / "lib" / "apt" / "lists")
    (tree / "etc" / "apt" / "sources.list").write_text("deb [trusted=yes] file:/srv/packages ./\n")
