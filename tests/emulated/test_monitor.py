"""The monitor itself: its page tables, and what it says on machines that it cannot use."""

from __future__ import annotations

import dataclasses
import re
import struct
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from elftools.elf.elffile import ELFFile
from tests.emulated.machine import BOARD, RECORD_TIMEOUT_S, record_tiny, tiny

from lvmm import session
from lvmm.board import Board
from lvmm.emulator import Emulator
from lvmm.guest import Guest
from lvmm.image import BootImage, build_image
from lvmm.machine_run import RunOptions, RunResult, run_machine
from lvmm.monitor_build import monitor_elf
from lvmm.session import RunSettings

PRESENT, WRITABLE, LARGE, NO_EXECUTE = 1 << 0, 1 << 1, 1 << 7, 1 << 63
ADDRESS = 0x000FFFFFFFFFF000
PAGE = 4096
# Writes a byte to the monitor's UART, then `cli; hlt` for ever: i386 code.
HALTING = bytes.fromhex("66baf802 b021 ee fa f4 ebfd")
START_LIMIT = 50_000_000  # instructions; measured are 12.6 million with 256 MiB of guest memory
GUARDS = ("monitor_stack_guard", "nmi_stack_guard", "fault_stack_guard")


class Mapping(NamedTuple):
    """A leaf of the page tables: linear range, physical address, and what is allowed."""

    start: int
    size: int
    physical: int
    writable: bool
    executable: bool


def run_hello(board: Board, mode: str, folder: Path) -> RunResult:
    image = folder / "boot.iso"
    session.monitor_image(BOARD, tiny("hello"), mode, image)
    return run_machine(board, image, folder / "run", RunOptions(deadline_s=RECORD_TIMEOUT_S))


def symbols() -> dict[str, int]:
    with monitor_elf(BOARD.name).open("rb") as file:
        table = ELFFile(file).get_section_by_name(".symtab")
        return {symbol.name: symbol["st_value"] for symbol in table.iter_symbols()}


def walk(
    memory: Path, table: int, level: int = 4, base: int = 0, allowed: int = WRITABLE
) -> Iterator[Mapping]:
    """All present leaves below a table (SDM vol. 3, section 4.5.4).

    `allowed` holds the rights that the levels above leave: the bit WRITABLE, and NO_EXECUTE
    where they forbid that.
    """
    with memory.open("rb") as file:
        file.seek(table)
        entries = struct.unpack("<512Q", file.read(PAGE))
    size = PAGE << 9 * (level - 1)
    for index, entry in enumerate(entries):
        if not entry & PRESENT:
            continue
        start = base + index * size
        rights = (allowed & entry & WRITABLE) | ((allowed | entry) & NO_EXECUTE)
        if level == 1 or entry & LARGE:
            physical = entry & ADDRESS & ~(size - 1)
            yield Mapping(start, size, physical, bool(rights & WRITABLE), not rights & NO_EXECUTE)
        else:
            yield from walk(memory, entry & ADDRESS, level - 1, start, rights)


def test_monitor_page_tables(tmp_path: Path) -> None:
    result = run_hello(BOARD, "live", tmp_path)
    assert result.error is None
    assert result.report.reason == "halt"
    at = symbols()
    mappings = list(walk(tmp_path / "run" / "ram.img", at["pml4"]))
    assert mappings

    def mapped(address: int) -> list[Mapping]:
        return [m for m in mappings if m.start <= address < m.start + m.size]

    assert all(m.physical == m.start for m in mappings)
    assert [m for m in mappings if m.writable and m.executable] == []
    text = range(at["text_start"], at["text_end"], PAGE)
    assert {m.start for m in mappings if m.executable} == set(text)
    for page in range(at["text_start"], at["rodata_end"], PAGE):
        assert [m.writable for m in mapped(page)] == [False]
    for guard in GUARDS:
        assert mapped(at[guard]) == [], guard
        assert len(mapped(at[guard] + PAGE)) == 1, guard
    assert mapped(0) == []
    assert len(mapped(PAGE)) == 1


@pytest.mark.parametrize(
    ("model", "mode", "messages"),
    [
        pytest.param("ryzen", "live", ["has no VT-x"], id="no-vtx"),
        pytest.param("core2_penryn_t9600", "live", ["lacks EPT"], id="no-ept"),
        pytest.param("corei5_lynnfield_750", "live", ["lacks unrestricted guest"], id="no-ug"),
        pytest.param("corei3_cnl", "record", ["not in the table"], id="unknown-counter"),
    ],
)
def test_unusable_cpu_is_named(tmp_path: Path, model: str, mode: str, messages: list[str]) -> None:
    emulator = dataclasses.replace(BOARD.emulator, cpu_model=model)
    result = run_hello(dataclasses.replace(BOARD, emulator=emulator), mode, tmp_path)
    lines = "\n".join(result.report.lines)
    assert result.error is None, lines
    assert result.report.reason == "error", lines
    assert not result.report.running
    for message in messages:
        assert message in lines


def test_log_region_without_ram_is_named(tmp_path: Path) -> None:
    memory = dataclasses.replace(BOARD.memory, total_mib=1200)
    assert BOARD.memory.log_base < memory.total_bytes < BOARD.memory.log_base + memory.log_bytes
    result = run_hello(dataclasses.replace(BOARD, memory=memory), "record", tmp_path)
    lines = "\n".join(result.report.lines)
    assert result.error is None, lines
    assert result.report.reason == "error", lines
    assert not result.report.running
    region = f"{memory.log_base:x}-{memory.log_base + memory.log_bytes - 1:x}"
    found = re.search(rf"the log region is to be at {region}, .*no RAM at (\w+)", lines)
    assert found is not None, lines
    # The firmware keeps a little at the end of memory for itself.
    assert memory.total_bytes - (1 << 20) < int(found[1], 16) <= memory.total_bytes


def test_counter_is_tested_under_interrupts(tmp_path: Path) -> None:
    lines = run_hello(BOARD, "record", tmp_path).report.lines
    (said,) = [line for line in lines if "counter of conditional branches exact" in line]
    found = re.search(r"also in (\d+) interrupts", said)
    assert found is not None, said
    assert int(found[1]) >= 200


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        pytest.param(
            {"counter_fault": "start"},
            "a loop of 1 conditional branches counted 2: this machine's counter is not exact",
            id="loops",
        ),
        pytest.param(
            {"counter_fault": "interrupts"},
            "this machine's counter is not exact under interrupts",
            id="interrupts",
        ),
        pytest.param({"skid_margin": 100_000}, "instead of one within 100 branches", id="skid"),
    ],
)
def test_inexact_counter_is_refused(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    emulator = dataclasses.replace(BOARD.emulator, **changes)
    result = run_hello(dataclasses.replace(BOARD, emulator=emulator), "record", tmp_path)
    lines = "\n".join(result.report.lines)
    assert result.error is None, lines
    assert result.report.reason == "error", lines
    assert not result.report.running
    assert message in lines


def instructions_before(image: Path, folder: Path) -> int:
    """Retired until the boot loader enters the monitor, which is HALTING."""
    with Emulator(BOARD, iso=image, run_dir=folder) as emulator:
        emulator.monitor.settimeout(RECORD_TIMEOUT_S)
        assert emulator.monitor.recv(1)
        before = emulator.stats()
        after = before
        while after.ticks < before.ticks + BOARD.emulator.ips:
            time.sleep(0.05)
            after = emulator.stats()
        return after.instructions


def test_what_a_start_costs(tmp_path: Path) -> None:
    """From the monitor's entry to the end of a guest that does nearly nothing."""
    guest = Guest("multiboot", tiny("hello").kernel, "", BOARD.memory.guest_default_mib)
    elf, halting = monitor_elf(BOARD.name), tmp_path / "halting.elf"
    with elf.open("rb") as file:
        at = ELFFile(file)
        (offset,) = at.address_offsets(at["e_entry"])
    data = bytearray(elf.read_bytes())
    data[offset : offset + len(HALTING)] = HALTING
    halting.write_bytes(data)
    words = {"mode": "record", **guest.words()}
    images = {}
    for monitor in (halting, elf):
        images[monitor] = tmp_path / f"{monitor.stem}.iso"
        build_image(BootImage(monitor, words, guest.boot_files()), images[monitor])
    before = instructions_before(images[halting], tmp_path / "halting")
    options = RunOptions(deadline_s=RECORD_TIMEOUT_S)
    result = run_machine(BOARD, images[elf], tmp_path / "run", options)
    assert result.report.reason == "halt"
    assert result.stats is not None
    assert 0 < result.stats.host_instructions - before < START_LIMIT


def test_guest_finds_the_interrupt_controllers_as_the_firmware_left_them(tmp_path: Path) -> None:
    """Live mode does not touch them; to record, the counter's self-test uses the LAPIC."""
    recording = record_tiny("firmware", tmp_path / "recording")
    live = bytearray()
    settings = RunSettings(timeout_s=RECORD_TIMEOUT_S, console=live.extend)
    session.live(BOARD, tiny("firmware"), settings)
    assert b"lint0" in live
    assert (recording / "console.log").read_bytes() == live
