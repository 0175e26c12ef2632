"""The check of the monitor's memory reports what is planted, wherever that is."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from elftools.elf.elffile import ELFFile
from tests.emulated.hostile.machine import boot
from tests.emulated.hostile.monitor_state import EPT_ADDRESS, EPT_ANY, EPT_LARGE, check_monitor

from lvmm.emulator import Emulator
from lvmm.monitor_build import monitor_elf

GIB = 1 << 30


@contextmanager
def planted(emulator: Emulator, address: int, data: bytes) -> Iterator[None]:
    """While active, these bytes are in the machine's memory."""
    before = emulator.read_ram(address, len(data))
    assert before != data
    with emulator.ram_path.open("r+b") as file:
        os.pwrite(file.fileno(), data, address)
        try:
            yield
        finally:
            os.pwrite(file.fileno(), before, address)


def flipped(emulator: Emulator, address: int) -> bytes:
    """The byte that is there with one bit changed."""
    return bytes((emulator.read_ram(address, 1)[0] ^ 1,))


def test_damage_is_reported(tmp_path: Path) -> None:
    with boot("live", "mode=spin", tmp_path) as machine:
        machine.run(seconds=1)
        machine.check()
        emulator = machine.emulator
        with monitor_elf(emulator.board.name).open("rb") as file:
            elf = ELFFile(file)
            table = elf.get_section_by_name(".symtab")
            at = {symbol.name: int(symbol["st_value"]) for symbol in table.iter_symbols()}
            constants = elf.get_section_by_name(".rodata")
            last_constant = int(constants["sh_addr"] + constants["sh_size"] - 1)
        # Code that ran when the machine started, and will not again.
        bytes_that_stay = {
            at["entry32"]: ".text of the monitor",
            last_constant: ".rodata of the monitor",
            at["canary_first"]: "canary_first",
            at["canary_last"] + 7: "canary_last",
            at["monitor_stack_guard"]: "monitor_stack_guard",
            at["nmi_stack_guard"] + 4095: "nmi_stack_guard",
            at["fault_stack_guard"] + 2048: "fault_stack_guard",
        }
        for address, what in bytes_that_stay.items():
            with (
                planted(emulator, address, flipped(emulator, address)),
                pytest.raises(AssertionError, match=what),
            ):
                check_monitor(emulator)
            check_monitor(emulator)
        # An EPT entry through which the guest would see the monitor: a page of 1 GiB.
        (root,) = struct.unpack("<Q", emulator.read_ram(at["root"], 8))
        monitor = emulator.board.memory.monitor_base // GIB * GIB
        entry = struct.pack("<Q", monitor | EPT_LARGE | EPT_ANY)
        unused = (root & EPT_ADDRESS) + 8 * 511
        with (
            planted(emulator, unused, entry),
            pytest.raises(AssertionError, match="the guest reaches"),
        ):
            check_monitor(emulator)
        machine.check()
