"""ELF cores: made from generated memory, read by pyelftools and by gdb."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.elf_cores import REGISTERS, ElfCore
from tests.gdb_batch import gdb_words
from tests.host import core_machine
from tests.host.cbuild import ROOT
from tests.host.core_machine import (
    CODE,
    CODE_FRAME,
    CODE_PAGES,
    MIB,
    PML4,
    RAM,
    RANGES,
    REGION_SIZE,
    RIP,
    Memory,
    final_state,
    image_of,
    log_of,
    mapped_memory,
)

from lvmm.guest_view import AddressSpace, Mode
from lvmm.logs.codec import GPR_NAMES
from lvmm.logs.writer import build_region
from lvmm.vmcore import page_runs
from lvmm.vmcore.elf_core import Run, write_core
from lvmm.vmcore.page_runs import UNMAPPED_BASE, RunMap
from lvmm.vmcore.prstatus import end_registers, prstatus
from lvmm.vmcore.vmcoreinfo import find_vmcoreinfo

pytestmark = pytest.mark.host

SPACE_MODES = [mode for mode in Mode if mode is not Mode.NONE]


def core(*words: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, ROOT / "tools" / "extract_log.py", "core", *words]
    return subprocess.run(
        [str(word) for word in command], capture_output=True, text=True, check=False
    )


@pytest.fixture
def image(tmp_path: Path) -> Path:
    return image_of(mapped_memory(), tmp_path / "ram.img", final_state())


def test_memory_is_where_the_page_tables_and_the_addresses_say(image: Path, tmp_path: Path) -> None:
    done = core(image, "-o", tmp_path / "vmcore")
    assert done.returncode == 0, done.stderr
    assert "no Linux kernel was found" in done.stderr
    read = ElfCore(tmp_path / "vmcore")
    for page in range(CODE_PAGES):
        assert read.read(CODE + 0x1000 * page, 0x1000) == bytes([page + 1]) * 0x1000
    memory = mapped_memory()
    assert read.read(PML4, 0x1000) == memory.read(PML4, 0x1000), "the identity mapping"
    for start, end in RANGES:
        for address in range(start, end, 0x1000):
            assert read.physical(address, 0x1000) == memory.read(address, 0x1000)
    assert read.physical(0xA0000, 16) == b"", "no RAM"


def test_crash_takes_it_for_a_dump_of_linux(image: Path, tmp_path: Path) -> None:
    """By segments without alignment; else the user had to tell it of KASLR."""
    core(image, "-o", tmp_path / "vmcore")
    assert ElfCore(tmp_path / "vmcore").alignments == {0}


def test_registers_are_those_of_the_end(image: Path, tmp_path: Path) -> None:
    core(image, "-o", tmp_path / "vmcore")
    registers = ElfCore(tmp_path / "vmcore").registers()
    assert {name: registers[name] for name in GPR_NAMES} == {
        name: 0x1000 + index for index, name in enumerate(GPR_NAMES)
    }
    assert registers["rip"] == RIP
    assert registers["cs"] == 0x10
    assert registers["fs_base"] == 0x400
    assert registers["orig_rax"] == (1 << 64) - 1
    assert set(registers) == set(REGISTERS)


def test_without_an_end_there_are_no_registers(tmp_path: Path) -> None:
    done = core(image_of(mapped_memory(), tmp_path / "ram.img"), "-o", tmp_path / "vmcore")
    assert done.returncode == 0
    assert "no registers" in done.stderr
    read = ElfCore(tmp_path / "vmcore")
    assert "CORE" not in read.notes
    assert read.read(UNMAPPED_BASE + CODE_FRAME, 16) == bytes([CODE_PAGES]) * 16
    assert read.physical(CODE_FRAME, 16) == bytes([CODE_PAGES]) * 16


def test_without_paging_memory_is_where_it_is(tmp_path: Path) -> None:
    state = final_state(cr0=0x11, cr3=0, efer=0)
    core(image_of(mapped_memory(), tmp_path / "ram.img", state), "-o", tmp_path / "vmcore")
    read = ElfCore(tmp_path / "vmcore")
    assert [(load[0], load[1]) for load in read.loads] == [(start, start) for start, _ in RANGES]


def test_pages_of_zeros_are_not_stored(image: Path, tmp_path: Path) -> None:
    core(image, "-o", tmp_path / "vmcore")
    stat = (tmp_path / "vmcore").stat()
    assert stat.st_size >= RAM - 2 * MIB
    assert 512 * stat.st_blocks < MIB
    assert ElfCore(tmp_path / "vmcore").physical(RAM - 0x1000, 0x1000) == bytes(0x1000)


@pytest.mark.skipif(shutil.which("gdb") is None, reason="there is no gdb")
def test_gdb_reads_it(image: Path, tmp_path: Path) -> None:
    core(image, "-o", tmp_path / "vmcore")
    words = gdb_words(
        f"core {tmp_path / 'vmcore'}",
        "p/x $rip",
        "p/x $r15",
        f"x/1xb {RIP}",
        f"x/1xb {CODE + 0x7000}",
    )
    said = subprocess.run(words, capture_output=True, text=True, check=False).stdout
    assert f"= {RIP:#x}" in said
    assert "= 0x100f" in said
    assert f"{RIP:#x}:\t0x01" in said
    assert "0x08" in said


def test_vmcoreinfo_is_the_one_that_the_page_tables_confirm(tmp_path: Path) -> None:
    memory = mapped_memory()
    offset = PML4 - CODE_FRAME  # of physical from linked addresses: swapper_pg_dir is at CODE
    text = "OSRELEASE=6.1.0-test\nPAGESIZE=4096\nSYMBOL(swapper_pg_dir)={:x}\nSYMBOL(_stext)={:x}\n"
    text += "NUMBER(phys_base)={}\n"
    phys_base = CODE_FRAME + 0x1000 * (CODE_PAGES - 1)
    top = core_machine.KERNEL_BASE + PML4 - phys_base
    right = text.format(top & (1 << 64) - 1, CODE, phys_base).encode()
    memory.write(0x2F0000, b"OSRELEASE=6.9.0-not-this-one\nPAGESIZE=4096\n")
    memory.write(0x300010, right)  # not at the start of a page
    memory.write(0x310000, right + b"\0garbage")
    image = image_of(memory, tmp_path / "ram.img", final_state())
    done = core(image, "-o", tmp_path / "vmcore")
    assert "Linux 6.1.0-test" in done.stderr, (done.stderr, offset)
    assert ElfCore(tmp_path / "vmcore").notes["VMCOREINFO"] == right
    memory.write(0x310000, bytes(0x1000))
    assert find_vmcoreinfo(memory, RANGES) is None


def test_a_log_without_memory_is_refused(tmp_path: Path) -> None:
    log = tmp_path / "log.lvmm"
    log.write_bytes(log_of(final_state()).data)
    region = tmp_path / "pmem"
    region.write_bytes(build_region(log_of(final_state()), REGION_SIZE))
    for source, why in ((log, "./lvmm replay DIR --core FILE"), (region, "not the guest's memory")):
        done = core(source, "-o", tmp_path / "vmcore")
        assert done.returncode == 2
        assert why in done.stderr
        assert len(done.stderr.splitlines()) == 1
    assert not (tmp_path / "vmcore").exists()


def test_what_cannot_be_written_leaves_nothing(image: Path, tmp_path: Path) -> None:
    done = core(image, "-o", tmp_path / "missing" / "vmcore")
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["ram.img"]


def test_symbols_need_a_linux(image: Path, tmp_path: Path) -> None:
    done = core(image, "-o", tmp_path / "vmcore", "--symbols", tmp_path / "symbols")
    assert done.returncode == 4
    assert "no Linux kernel was found" in done.stderr.splitlines()[-1]
    assert not (tmp_path / "symbols").exists()


def test_more_segments_than_the_header_can_count(tmp_path: Path) -> None:
    memory = mapped_memory()
    count = 70_000
    runs = [Run(0x7F0000000000 + 0x1000 * n, CODE_FRAME, 0x1000) for n in range(count)]
    path = tmp_path / "vmcore"
    with path.open("w+b") as file:
        write_core(file, [prstatus(end_registers(final_state()))], runs, memory, RANGES)
    read = ElfCore(path)
    assert read.count == count + 1
    assert read.read(runs[-1].linear, 8) == memory.read(CODE_FRAME, 8)
    assert read.registers()["rip"] == RIP


def test_pages_with_many_names_have_few_of_them_in_the_core() -> None:
    memory = mapped_memory()
    small = PML4 + 0x5000
    for index in range(CODE_PAGES, 512):
        memory.entry(small, index, CODE_FRAME | 3)
    runs = RunMap([AddressSpace(memory, Mode.LEVEL4, PML4)], RANGES)
    assert 1 < sum(run.physical == CODE_FRAME for run in runs.runs) <= 16


def test_page_tables_that_name_themselves_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page_runs, "_MAPPINGS_MAX", 10_000)
    memory = Memory()
    for index in range(512):
        memory.entry(PML4, index, PML4 | 3)
    runs = RunMap([AddressSpace(memory, Mode.LEVEL4, PML4)], RANGES)
    assert runs.cut_short
    assert sum(run.size for run in runs.runs if run.linear & 0xFFF == 0) >= sum(
        end - start for start, end in RANGES
    )


@given(
    st.sampled_from(SPACE_MODES),
    st.lists(st.tuples(st.integers(0, 0x5FF), st.integers(0, (1 << 64) - 1)), max_size=40),
)
def test_any_page_tables(mode: Mode, entries: list[tuple[int, int]]) -> None:
    """Every run is what a walk of the page tables finds there, and all RAM is in some run."""
    memory = Memory()
    for index, entry in entries:
        table = PML4 | (entry & 0x3000 if entry & 4 else entry & 0x3FF000)
        memory.entry(PML4, index, table | entry & 0x81)
    space = AddressSpace(memory, mode, PML4)
    runs = RunMap([space], RANGES).runs
    for run in runs[:200]:
        if not UNMAPPED_BASE <= run.linear < UNMAPPED_BASE + RAM:
            assert space.translate(run.linear) == run.physical
            assert space.translate(run.linear + run.size - 1) == run.physical + run.size - 1
    covered = {page for run in runs for page in range(run.physical, run.physical + run.size, 4096)}
    assert covered == {page for start, end in RANGES for page in range(start, end, 4096)}
