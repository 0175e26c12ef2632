"""The monitor's file: protections of its segments, and its size."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from elftools.elf.constants import P_FLAGS
from elftools.elf.elffile import ELFFile

from lvmm.board import load_board
from lvmm.monitor_build import monitor_elf

BOARD = load_board("bochs-vtx")

# What a reader can be asked to trust, and what a server can spare.
TEXT_MAX_BYTES = 128 << 10
MEMORY_MAX_BYTES = 4 << 20  # besides the log region and the devices' shadow memory


@pytest.fixture(scope="module")
def monitor() -> Iterator[ELFFile]:
    with monitor_elf(BOARD.name).open("rb") as file:
        yield ELFFile(file)


def test_no_segment_is_writable_and_executable(monitor: ELFFile) -> None:
    flags = [segment["p_flags"] for segment in monitor.iter_segments() if segment["p_memsz"]]
    assert flags
    assert not any(flag & P_FLAGS.PF_W and flag & P_FLAGS.PF_X for flag in flags)


def test_text_is_executable_and_not_writable(monitor: ELFFile) -> None:
    text = monitor.get_section_by_name(".text")
    holders = [segment for segment in monitor.iter_segments() if segment.section_in_segment(text)]
    assert [segment["p_flags"] for segment in holders] == [P_FLAGS.PF_R | P_FLAGS.PF_X]
    start, size = text["sh_addr"], text["sh_size"]
    assert start <= monitor["e_entry"] < start + size


def test_segments_lie_in_the_monitors_memory(monitor: ELFFile) -> None:
    memory = BOARD.memory
    end = memory.monitor_base + (memory.monitor_mib << 20)
    for segment in monitor.iter_segments("PT_LOAD"):
        assert memory.monitor_base <= segment["p_paddr"] == segment["p_vaddr"]
        assert segment["p_vaddr"] + segment["p_memsz"] <= end


def test_size(monitor: ELFFile) -> None:
    sizes = {
        name: section["sh_size"]
        for name in (".text", ".rodata", ".data", ".bss")
        if (section := monitor.get_section_by_name(name)) is not None
    }
    print("monitor, bytes:", ", ".join(f"{name} {size:,}" for name, size in sizes.items()))
    assert sizes[".text"] <= TEXT_MAX_BYTES
    assert sum(sizes.values()) <= MEMORY_MAX_BYTES < BOARD.memory.monitor_mib << 20
