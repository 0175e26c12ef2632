"""The boot image: one file that boots as a CD and, written raw, as a USB stick or disk.

It carries GRUB, the monitor, the guest and the settings. The settings are the words of the
monitor's command line in the menu entry, so they can be changed at GRUB's menu (press Escape
during the menu's timeout, then "e").
"""

from __future__ import annotations

import errno
import re
import shutil
import subprocess
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

from lvmm import provision
from lvmm.apt import ensure_packages
from lvmm.errors import EnvironmentProblem, UsageError

# What the menu entries below need; every further module costs time at the boot from a slow CD.
GRUB_MODULES = (
    "biosdisk",
    "part_msdos",
    "iso9660",
    "normal",
    "configfile",
    "multiboot2",
)

# The image holds GRUB (about 2 MiB) and rounding besides the files given.
IMAGE_OVERHEAD_BYTES = 8 << 20

# ISO 9660: the first volume descriptor is in sector 16, and begins with its type, a byte.
_ISO_MAGIC_AT = 16 * 2048 + 1
_ISO_MAGIC = b"CD001"

_UNSAFE = re.compile(r"[^A-Za-z0-9_@%+=:,./-]")


@dataclass(frozen=True)
class BootFile:
    """A file for the image, known to GRUB as /boot/`name`; `text` is its module string."""

    name: str
    path: Path
    text: str


@dataclass(frozen=True)
class BootImage:
    """What the image boots: the monitor with its settings, or (monitor None) the bare guest.

    For the bare guest `files` are the kernel, whose text is its command line, and the initrd of
    Linux; `loader` is GRUB's command and module for such a kernel, `linux` or `multiboot`.
    """

    monitor: Path | None
    settings: dict[str, str] = field(default_factory=dict)
    files: tuple[BootFile, ...] = ()
    menu_timeout_s: int = 0
    loader: str = "linux"


def quote(word: str) -> str:
    """A word as GRUB's script language wants it: in single quotes where it has special signs."""
    if word and not _UNSAFE.search(word):
        return word
    return "'" + word.replace("'", "'\\''") + "'"


def _words(text: str) -> str:
    return " ".join(quote(word) for word in text.split())


def grub_config(image: BootImage) -> str:
    """The image's grub.cfg."""
    lines = [f"set timeout={image.menu_timeout_s}", "set default=0", "menuentry lvmm {"]
    if image.monitor is None:
        kernel, *initrds = image.files
        lines.append(f"    {image.loader} /boot/{kernel.name} {_words(kernel.text)}".rstrip())
        if initrds:
            lines.append("    initrd " + " ".join(f"/boot/{file.name}" for file in initrds))
    else:
        settings = " ".join(f"{key}={value}" for key, value in image.settings.items())
        lines.append(f"    multiboot2 /boot/lvmm.elf {_words(settings)}")
        lines += [f"    module2 /boot/{file.name} {_words(file.text)}" for file in image.files]
    lines += ["    boot", "}", ""]
    return "\n".join(lines)


def check_place(output: Path) -> None:
    """Raises UsageError where an image cannot be, or something else is that is no image."""
    if output.is_dir():
        raise UsageError(f"{output} is a directory: name a file for the image")
    if not output.is_file() or output.stat().st_size == 0:
        return
    with output.open("rb") as file:
        file.seek(_ISO_MAGIC_AT)
        if file.read(len(_ISO_MAGIC)) != _ISO_MAGIC:
            raise UsageError(f"{output} is there, and is no boot image; choose another file")


def build_image(image: BootImage, output: Path) -> None:
    """Writes the image to `output`, in the place of an earlier one. Raises EnvironmentProblem, as
    for a full disk, and UsageError.

    The files are linked, not copied, into the tree that grub-mkrescue reads, where possible.
    """
    try:
        check_place(output)
        output.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise EnvironmentProblem(f"cannot write {output}: {error.strerror}") from None
    sources = [file.path for file in image.files] + ([image.monitor] if image.monitor else [])
    needed = 2 * sum(path.stat().st_size for path in sources) + IMAGE_OVERHEAD_BYTES
    free = shutil.disk_usage(output.parent).free
    if free < needed:
        raise EnvironmentProblem(
            f"disk full: {output.parent} has {free >> 20} MiB free, the boot image needs "
            f"{needed >> 20} MiB"
        )
    ensure_packages(provision.IMAGE_PACKAGES)
    with tempfile.TemporaryDirectory(prefix=".image-", dir=output.parent) as scratch:
        boot = Path(scratch) / "tree" / "boot"
        (boot / "grub").mkdir(parents=True)
        (boot / "grub" / "grub.cfg").write_text(grub_config(image))
        if image.monitor is not None:
            _place(image.monitor, boot / "lvmm.elf")
        for file in image.files:
            _place(file.path, boot / file.name)
        modules = list(GRUB_MODULES)
        if image.monitor is None:
            modules.append(image.loader)
        temporary = Path(scratch) / "image.iso"
        _run_mkrescue(boot.parent, modules, temporary)
        temporary.replace(output)


def _place(source: Path, target: Path) -> None:
    try:
        target.hardlink_to(source.resolve())
    except OSError:
        try:
            shutil.copyfile(source, target)
        except OSError as error:
            if error.errno == errno.ENOSPC:
                raise EnvironmentProblem(
                    f"disk full while copying {source} to {target.parent}"
                ) from error
            raise


def _run_mkrescue(tree: Path, modules: list[str], output: Path) -> None:
    names = " ".join(modules)
    command = [
        "grub-mkrescue",
        f"--output={output}",
        f"--install-modules={names}",
        f"--modules={names}",
        "--compress=no",
        "--locales=",
        "--fonts=",
        "--themes=",
        "--directory=/usr/lib/grub/i386-pc",
        str(tree),
        "--",
        "-volid",
        "LVMM",
    ]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode != 0 or not output.exists():
        lines = (result.stderr.strip() or "no message").splitlines()
        raise EnvironmentProblem(f"grub-mkrescue failed: {lines[-1]}")
