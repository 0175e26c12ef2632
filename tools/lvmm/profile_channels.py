"""The `[[channel]]` tables of a DMA profile: commands with lists of buffers."""

from __future__ import annotations

from lvmm.profile_lists import compile_entries
from lvmm.profile_table import Table, take_register


def _byte_register(table: Table, key: str, register_size: int, taken: dict[int, str]) -> int:
    """Take the offset of an 8-bit register that no other is at."""
    register = table.number(key, 0, register_size - 1)
    return _claim(table, key, register, 1, taken)


def _claim(table: Table, key: str, register: int, size: int, taken: dict[int, str]) -> int:
    for byte in range(register, register + size):
        if byte in taken:
            raise table.error(key, f"{byte:#x} is already the {taken[byte]}")
        taken[byte] = key
    return register


def _masks(table: Table, key: str, names: tuple[str, ...]) -> tuple[str, ...]:
    """Take a table of masks of an 8-bit register that have no bit in common."""
    masks = table.table(key)
    values = [masks.number(name, 1, 0xFF) for name in names]
    if sum(values) != _union(values):
        raise masks.error(names[-1], "has bits of another mask")
    masks.close()
    return tuple(f"{value:#x}" for value in values)


def _union(values: list[int]) -> int:
    union = 0
    for value in values:
        union |= value
    return union


def compile_channel(
    channel: Table, register_size: int, taken: dict[int, str]
) -> tuple[str, list[str]]:
    """Take one [[channel]]: its name and its members.

    taken: the bytes of the channels' registers before it, to which this one's are added.
    """
    name = channel.text("name", "[a-z][a-z0-9]*")
    command = _byte_register(channel, "command", register_size, taken)
    status = _byte_register(channel, "status", register_size, taken)
    list_register = _claim(channel, "list", take_register(channel, "list", register_size), 4, taken)
    start, to_memory = _masks(channel, "command_bits", ("start", "to_memory"))
    active, finished = _masks(channel, "status_bits", ("active", "finished"))
    members = [
        f'.name = "{name}",',
        f".command = {command:#x},",
        f".status = {status:#x},",
        f".list = {list_register:#x},",
        f".start_mask = {start},",
        f".to_memory_mask = {to_memory},",
        f".active_mask = {active},",
        f".finished_mask = {finished},",
        f".list_align = {channel.power_of_two('list_align', 1, 4096)},",
        ".entries = {",
        *(f"    {member}" for member in compile_entries(channel)),
        "},",
    ]
    channel.close()
    return name, members


def compile_progress_ports(profile: Table) -> list[str]:
    """Take the optional list `progress_ports`: initialisers of struct dma_ports."""
    if not profile.has("progress_ports"):
        return []
    rows = []
    for ports in profile.tables("progress_ports"):
        first = ports.number("first", 0, 0xFFFF)
        count = ports.number("count", 1, 0x10000 - first)
        rows.append(f"{{{first:#x}, {count}}}")
        ports.close()
    return rows
