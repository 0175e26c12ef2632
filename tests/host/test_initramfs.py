"""The initramfs, checked by cpio, and the reading of kernel modules, checked against readelf."""

import gzip
import lzma
import shutil
import subprocess
from pathlib import Path

import pytest

from lvmm import initramfs
from lvmm.errors import UsageError


def make_module(folder: Path, name: str, depends: str) -> Path:
    """A relocatable ELF file with a .modinfo section, made by the assembler."""
    source = folder / f"{name}.S"
    source.write_text(
        '.section .modinfo,"a"\n'
        f'.asciz "license=GPL"\n.asciz "depends={depends}"\n.asciz "name={name}"\n'
    )
    output = folder / f"{name}.ko"
    subprocess.run(["gcc", "-c", "-o", str(output), str(source)], check=True)
    source.unlink()
    return output


def test_archive_is_what_cpio_reads(tmp_path: Path) -> None:
    if not shutil.which("cpio"):
        pytest.skip("cpio is not installed")
    entries = [
        initramfs.directory("d"),
        initramfs.executable("d/run", b"#!/bin/sh\n"),
        initramfs.regular("d/empty", b""),
        initramfs.regular("d/odd", b"12345"),
        initramfs.symlink("d/link", "run"),
    ]
    data = initramfs.archive(entries)
    subprocess.run(["cpio", "-idm", "--quiet"], input=data, cwd=tmp_path, check=True)
    assert (tmp_path / "d/run").read_bytes() == b"#!/bin/sh\n"
    assert (tmp_path / "d/run").stat().st_mode & 0o777 == 0o755
    assert (tmp_path / "d/empty").read_bytes() == b""
    assert (tmp_path / "d/odd").read_bytes() == b"12345"
    assert (tmp_path / "d/link").readlink() == Path("run")
    assert len(data) % 4 == 0


def test_dependencies_come_first(tmp_path: Path) -> None:
    make_module(tmp_path, "top", "middle_one,base")
    make_module(tmp_path, "middle-one", "base")
    make_module(tmp_path, "base", "")
    order = [name for name, _ in initramfs.modules_in_load_order(tmp_path, ["top"])]
    assert order == ["base.ko", "middle_one.ko", "top.ko"]


@pytest.mark.parametrize("suffix", [".xz", ".gz"])
def test_compressed_modules_are_unpacked(tmp_path: Path, suffix: str) -> None:
    module = make_module(tmp_path, "packed", "")
    data = module.read_bytes()
    packed = lzma.compress(data) if suffix == ".xz" else gzip.compress(data)
    module.with_name(module.name + suffix).write_bytes(packed)
    module.unlink()
    assert initramfs.modules_in_load_order(tmp_path, ["packed"]) == [("packed.ko", data)]


def test_missing_module_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="e1000"):
        initramfs.modules_in_load_order(tmp_path, ["e1000"])


def test_damaged_modules_are_refused_or_read(tmp_path: Path) -> None:
    data = make_module(tmp_path, "whole", "other").read_bytes()
    with pytest.raises(UsageError):
        initramfs.module_depends(b"no ELF at all")
    for length in range(0, len(data), 7):
        try:
            initramfs.module_depends(data[:length])
        except UsageError:
            continue


def test_equal_inputs_give_equal_archives(tmp_path: Path) -> None:
    make_module(tmp_path, "driver", "")
    for name in ("busybox", "init", "workload"):
        (tmp_path / name).write_text(name)

    def build() -> bytes:
        return initramfs.workload_initramfs(
            tmp_path, tmp_path / "busybox", tmp_path / "init", [tmp_path / "workload"], ["driver"]
        )

    assert build() == build()
    assert b"lib/modules/driver.ko" in build()
