"""The table `entries` of a DMA profile: a command's list of buffers."""

from __future__ import annotations

from lvmm.profile_table import U32, Table, take_bit, take_field

MAX_ENTRY_SIZE = 64  # bytes
MAX_ENTRIES = 8192  # of one list
MAX_LENGTH = 1 << 22  # bytes of one buffer
MAX_PREFIX = 4096  # bytes


def compile_entries(owner: Table) -> list[str]:
    """Take the table `entries`: members of a struct dma_list_profile."""
    entries = owner.table("entries")
    size = entries.number("size", 1, MAX_ENTRY_SIZE)
    address = take_field(entries, "address", size, (4, 8))
    length = take_field(entries, "length", size, (1, 2, 4))
    mask = entries.number("length_mask", 1, U32)
    if mask >> 8 * length.width:
        raise entries.error("length_mask", f"{mask:#x} has bits outside the length")
    add = entries.number("length_add", 0, MAX_LENGTH, default=0)
    zero = entries.number("length_of_zero", 1, MAX_LENGTH, default=0)
    if (add == 0) == (zero == 0):
        raise entries.error("length_of_zero", "either this or length_add must be there")
    if mask + add > MAX_LENGTH:
        raise entries.error("length_mask", f"a buffer may have more than {MAX_LENGTH:#x} bytes")
    prefix = entries.number("prefix", 0, MAX_PREFIX, default=0)
    count = entries.number("max_entries", 1, MAX_ENTRIES)
    members = [
        f".prefix = {prefix},",
        f".entry_size = {size},",
        f".address = {address},",
        f".address_align = {entries.power_of_two('address_align', 1, 4096)},",
        f".length = {length},",
        f".length_mask = {mask:#x},",
        f".length_add = {add},",
        f".length_of_zero = {zero:#x},",
        f".max_entries = {count},",
    ]
    if entries.has("last"):
        last = take_bit(entries, "last", size)
        if address.offset <= last.offset < address.offset + address.width:
            raise entries.error("last", "is in the address")
        members.append(f".last = {last},")
    if entries.has("boundary"):
        boundary = entries.power_of_two("boundary", 4096, 1 << 20)
        if prefix + count * size > boundary:
            raise entries.error("max_entries", f"the list would cross the boundary {boundary:#x}")
        if max(mask + add, zero) > boundary:
            raise entries.error("boundary", "is less than the longest buffer")
        members.append(f".boundary = {boundary:#x},")
    entries.close()
    return members
