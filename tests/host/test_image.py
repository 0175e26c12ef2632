"""The boot image: GRUB's configuration, and what is inside the file."""

import shutil
import subprocess
from pathlib import Path

import pytest

from lvmm.errors import EnvironmentProblem
from lvmm.image import BootFile, BootImage, build_image, grub_config, quote


def test_monitor_configuration() -> None:
    image = BootImage(
        monitor=Path("m"),
        settings={"mode": "record", "memory": "256"},
        files=(
            BootFile("linux", Path("k"), "linux console=ttyS0,115200 quiet"),
            BootFile("initrd", Path("i"), "initrd"),
        ),
    )
    lines = [line.strip() for line in grub_config(image).splitlines()]
    assert "multiboot2 /boot/lvmm.elf mode=record memory=256" in lines
    assert "module2 /boot/linux linux console=ttyS0,115200 quiet" in lines
    assert "module2 /boot/initrd initrd" in lines
    assert "set timeout=0" in lines


def test_words_with_special_signs_are_quoted() -> None:
    assert quote("console=ttyS0,115200") == "console=ttyS0,115200"
    assert quote("a$b;c") == "'a$b;c'"
    assert quote("it's") == "'it'\\''s'"
    image = BootImage(Path("m"), {}, (BootFile("linux", Path("k"), "linux a=$x 'b}'"),))
    assert "module2 /boot/linux linux 'a=$x' ''\\''b}'\\'''" in grub_config(image)


def test_image_holds_the_files_and_boots_both_ways(tmp_path: Path) -> None:
    monitor = tmp_path / "monitor"
    kernel = tmp_path / "kernel"
    monitor.write_bytes(b"monitor" * 1000)
    kernel.write_bytes(b"kernel" * 1000)
    output = tmp_path / "boot.iso"
    build_image(
        BootImage(monitor, {"mode": "record"}, (BootFile("linux", kernel, "linux"),)), output
    )
    data = output.read_bytes()
    assert data[0x8001:0x8006] == b"CD001"
    assert data[510:512] == b"\x55\xaa", "no master boot record"
    listing = subprocess.run(
        ["xorriso", "-indev", str(output), "-find", "/boot", "-type", "f"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    for name in ("/boot/lvmm.elf", "/boot/linux", "/boot/grub/grub.cfg"):
        assert f"'{name}'" in listing
    torito = subprocess.run(
        ["xorriso", "-indev", str(output), "-report_el_torito", "plain"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert "BIOS" in torito
    assert len(data) < 4 << 20


def test_full_disk_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kernel = tmp_path / "kernel"
    kernel.write_bytes(b"kernel")
    usage = shutil.disk_usage(tmp_path)._replace(free=1 << 20)
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: usage)
    with pytest.raises(EnvironmentProblem, match="disk full"):
        build_image(BootImage(None, {}, (BootFile("linux", kernel, ""),)), tmp_path / "boot.iso")
    assert not (tmp_path / "boot.iso").exists()
