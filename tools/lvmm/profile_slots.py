"""The `[[slots]]` tables of a DMA profile: lists of commands in memory."""

from __future__ import annotations

from lvmm.profile_lists import compile_entries
from lvmm.profile_table import (
    Table,
    take_bit,
    take_field,
    take_register,
    take_register_bits,
)

MAX_SLOTS = 32  # DMA_MAX_SLOTS
MAX_HEADER_SIZE = 128  # bytes
MAX_AREA = 4096  # bytes
MAX_TRANSFER = 1 << 24  # bytes
_REGISTERS = ("base_lo", "base_hi", "area_lo", "area_hi", "issue", "busy")


def compile_slots(slots: Table, register_size: int) -> list[tuple[str, list[str]]]:
    """Take one [[slots]]: the name and the members of each list that it describes."""
    name = slots.text("name", "[a-z][a-z0-9]*")
    count, stride = 1, 0
    if slots.has("repeat"):
        repeat = slots.table("repeat")
        count = repeat.number("count", 2, MAX_SLOTS)
        stride = repeat.number("stride", 4, register_size)
        if stride % 4:
            raise repeat.error("stride", f"{stride:#x} is not a multiple of 4")
        repeat.close()
    room = register_size - (count - 1) * stride
    if room < 4:
        raise slots.error("repeat", "goes beyond the registers")
    registers = {key: take_register(slots, key, room) for key in _REGISTERS}
    start = take_register_bits(slots, "start", room)
    header = slots.number("header_size", 1, MAX_HEADER_SIZE)
    table = take_field(slots, "table", header, (4, 8))
    write_back = take_field(slots, "write_back", header, range(1, header + 1))
    if write_back.offset < table.offset + table.width and table.offset < (
        write_back.offset + write_back.width
    ):
        raise slots.error("write_back", "has bytes of the table's address")
    members = [
        f".base_align = {slots.power_of_two('base_align', 1, 4096)},",
        f".area_align = {slots.power_of_two('area_align', 1, 4096)},",
        f".area_size = {slots.number('area_size', 1, MAX_AREA)},",
        f".slot_count = {slots.number('slot_count', 1, MAX_SLOTS)},",
        f".header_size = {header},",
        f".table = {table},",
        f".table_align = {slots.power_of_two('table_align', 1, 4096)},",
        f".entry_count = {take_field(slots, 'entry_count', header, (1, 2, 4))},",
        f".from_memory = {take_bit(slots, 'from_memory', header)},",
        f".write_back = {write_back},",
        f".max_transfer = {slots.number('max_transfer', 4096, MAX_TRANSFER):#x},",
        ".entries = {",
        *(f"    {member}" for member in compile_entries(slots)),
        "},",
    ]
    slots.close()
    return [
        (
            f"{name}{number}" if count > 1 else name,
            [
                f'.name = "{name}{number if count > 1 else ""}",',
                *(f".{key} = {offset + number * stride:#x}," for key, offset in registers.items()),
                f".start = {_shifted(start, number * stride)},",
                *members,
            ],
        )
        for number in range(count)
    ]


def _shifted(bits: str, by: int) -> str:
    """The C initialiser of register bits, of a register so far behind."""
    register, mask = bits.strip("{}").split(", ")
    return f"{{{int(register, 0) + by:#x}, {mask}}}"
