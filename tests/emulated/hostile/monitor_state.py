"""Whether the monitor's own memory is as it should be, seen from outside of the machine.

The emulated machine's memory file shows every physical address; the monitor's ELF file says what
should be there.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterator

from elftools.elf.elffile import ELFFile

from lvmm.emulator import Emulator
from lvmm.monitor_build import monitor_elf

PAGE = 4096
GUARDS = ("monitor_stack_guard", "nmi_stack_guard", "fault_stack_guard")
CANARIES = {"canary_first": b"1-canary", "canary_last": b"2-canary"}

# An EPT entry (SDM vol. 3, tables 29-1 to 29-7).
EPT_WRITE, EPT_ANY, EPT_LARGE = 1 << 1, 7, 1 << 7
EPT_ADDRESS = 0x000FFFFFFFFFF000

# The pages of the monitor that the guest is given: copies of the firmware's.
SHARED = "firmware_data"


def check_monitor(emulator: Emulator) -> None:
    """Asserts that nothing of the monitor's was changed, and that the guest cannot reach it."""
    with monitor_elf(emulator.board.name).open("rb") as file:
        elf = ELFFile(file)
        table = elf.get_section_by_name(".symtab")
        symbols = {symbol.name: symbol for symbol in table.iter_symbols()}
        at = {name: int(symbol["st_value"]) for name, symbol in symbols.items()}
        for name in (".text", ".rodata"):
            section = elf.get_section_by_name(name)
            there = emulator.read_ram(section["sh_addr"], section["sh_size"])
            assert _digest(there) == _digest(section.data()), f"{name} of the monitor was changed"
        shared = symbols[SHARED]
    for name, value in CANARIES.items():
        assert emulator.read_ram(at[name], 8) == value, name
    for name in GUARDS:
        assert emulator.read_ram(at[name], PAGE) == bytes(PAGE), name
    first = int(shared["st_value"])
    _check_ept(emulator, at["root"], range(first, first + int(shared["st_size"])))


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _check_ept(emulator: Emulator, root: int, shared: range) -> None:
    memory = emulator.board.memory
    own = range(memory.monitor_base, memory.log_base + memory.log_bytes)
    pages = list(_leaves(emulator, root, 4))
    assert pages
    for address, size in pages:
        reached = range(max(address, own.start), min(address + size, own.stop))
        assert not reached or reached.start in shared, f"the guest reaches {reached.start:#x}"


def _leaves(emulator: Emulator, table: int, level: int) -> Iterator[tuple[int, int]]:
    """Host-physical address and size of all that is mapped below a table."""
    size = PAGE << 9 * (level - 1)
    for entry in struct.unpack("<512Q", emulator.read_ram(table, PAGE)):
        if not entry & EPT_ANY:
            continue
        if level == 1 or entry & EPT_LARGE:
            yield entry & EPT_ADDRESS & ~(size - 1), size
        else:
            yield from _leaves(emulator, entry & EPT_ADDRESS, level - 1)
