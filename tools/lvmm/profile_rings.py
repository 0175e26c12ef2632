"""The `[[ring]]` tables of a DMA profile: rings of descriptors."""

from __future__ import annotations

from lvmm.profile_table import (
    U32,
    Table,
    c_flag,
    take_bit,
    take_field,
    take_register,
    take_register_bits,
)

MAX_DESCRIPTOR_SIZE = 64  # bytes, DMA_MAX_DESCRIPTOR_SIZE
MAX_COUNT = 65536  # descriptors of one ring
MAX_BUFFER_SIZE = 1 << 20  # bytes
MAX_SELECTOR_BITS = 8  # bits of a register that choose a buffer size


def _selector_values(mask: int) -> set[int]:
    """Return every value that the bits of a mask can have."""
    values = {0}
    for bit in range(32):
        if mask >> bit & 1:
            values |= {value | 1 << bit for value in values}
    return values


def _buffer_size(ring: Table, symbol: str, register_size: int) -> tuple[list[str], list[str]]:
    """Take the rule for the size of receive buffers: C definitions, and members of the ring."""
    rule = ring.table("buffer_size")
    register = take_register(rule, "register", register_size)
    mask = rule.number("mask", 1, U32)
    if mask.bit_count() > MAX_SELECTOR_BITS:
        raise rule.error("mask", f"more than {MAX_SELECTOR_BITS} bits")
    if rule.has("unit"):
        unit = rule.number("unit", 16, MAX_BUFFER_SIZE)
        largest = mask // (mask & -mask) * unit
        if largest > MAX_BUFFER_SIZE:
            raise rule.error("unit", f"a buffer may have more than {MAX_BUFFER_SIZE:#x} bytes")
        rule.close()
        return [], [
            f".buffer_size = {{{register:#x}, {mask:#x}}},",
            f".buffer_unit = {unit},",
            f".buffer_size_max = {largest},",
        ]
    missing = _selector_values(mask)
    sizes: list[tuple[int, int]] = []
    for row in rule.tables("sizes"):
        value = row.number("value", 0, U32)
        if value not in missing:
            raise row.error("value", f"{value:#x} is given twice or has bits outside the mask")
        missing.remove(value)
        sizes.append((value, row.number("bytes", 16, MAX_BUFFER_SIZE)))
        row.close()
    if missing:
        raise rule.error("sizes", f"no size for the value {min(missing):#x}")
    rule.close()
    rows = [f"    {{{value:#x}, {size}}}," for value, size in sizes]
    return (
        [f"static const struct dma_buffer_size {symbol}_sizes[] = {{", *rows, "};", ""],
        [
            f".buffer_size = {{{register:#x}, {mask:#x}}},",
            f".buffer_sizes = {symbol}_sizes,",
            f".buffer_size_count = {len(sizes)},",
            f".buffer_size_max = {max(size for _, size in sizes)},",
        ],
    )


def _forms(ring: Table, symbol: str, descriptor_size: int) -> tuple[list[str], list[str]]:
    """Take the kinds of transmit descriptors: C definitions, and members of the ring."""
    offset = ring.number("form_offset", 0, descriptor_size - 4)
    rows = []
    for form in ring.tables("forms"):
        mask = form.number("mask", 0, U32)
        value = form.number("value", 0, U32)
        if value & ~mask:
            raise form.error("value", f"{value:#x} has bits outside the mask")
        length = form.number("length_mask", 0, U32)
        segment = form.number("segment_mask", 0, U32, default=0)
        rows.append(f"    {{{mask:#x}, {value:#x}, {length:#x}, {segment:#x}}},")
        form.close()
    return (
        [f"static const struct dma_form {symbol}_forms[] = {{", *rows, "};", ""],
        [
            f".form_offset = {offset},",
            f".forms = {symbol}_forms,",
            f".form_count = {len(rows)},",
        ],
    )


def _requirements(ring: Table, symbol: str, register_size: int) -> tuple[list[str], list[str]]:
    """Take what the ring requires of registers: C definitions, and members of the ring."""
    if not ring.has("requires"):
        return [], []
    rows = []
    for requirement in ring.tables("requires"):
        register = take_register(requirement, "register", register_size)
        mask = requirement.number("mask", 1, U32)
        value = requirement.number("value", 0, U32)
        if value & ~mask:
            raise requirement.error("value", f"{value:#x} has bits outside the mask")
        rows.append(f"    {{{register:#x}, {mask:#x}, {value:#x}}},")
        requirement.close()
    return (
        [f"static const struct dma_requirement {symbol}_requires[] = {{", *rows, "};", ""],
        [f".requirements = {symbol}_requires,", f".requirement_count = {len(rows)},"],
    )


def compile_ring(
    ring: Table, symbol: str, register_size: int, taken: dict[int, str]
) -> tuple[str, list[str], list[str]]:
    """Take one [[ring]]: its name, the C definitions it needs, and its members.

    taken: the registers of the rings before it, to which this ring's are added.
    """
    name = ring.text("name", "[a-z][a-z0-9]*")
    symbol = f"{symbol}_{name}"
    direction = ring.text("direction", "rx|tx")
    size = ring.number("descriptor_size", 1, MAX_DESCRIPTOR_SIZE)
    members = [f'.name = "{name}",', f".direction = DMA_{direction.upper()},"]
    for key in ("base_lo", "base_hi", "length", "head", "tail"):
        register = take_register(ring, key, register_size)
        if register in taken:
            raise ring.error(key, f"{register:#x} is already the {taken[register]}")
        taken[register] = f"{key} of ring {name}"
        members.append(f".{key} = {register:#x},")
    done = take_bit(ring, "done", size)
    write_back = take_field(ring, "write_back", size, range(1, size + 1))
    if not 0 <= done.offset - write_back.offset < write_back.width:
        raise ring.error("done", "is not in the bytes of write_back")
    members += [
        f".base_align = {ring.power_of_two('base_align', 1, 4096)},",
        f".length_mask = {ring.number('length_mask', 1, U32):#x},",
        f".max_count = {ring.number('max_count', 1, MAX_COUNT)},",
        f".enable = {take_register_bits(ring, 'enable', register_size)},",
        f".head_tells_progress = {c_flag(ring.flag('head_tells_progress'))},",
        f".descriptor_size = {size},",
        f".address = {take_field(ring, 'address', size, (4, 8))},",
        f".done = {done},",
        f".write_back = {write_back},",
    ]
    if ring.has("report"):
        members.append(f".report = {take_bit(ring, 'report', size)},")
    if ring.has("end_of_packet"):
        members.append(f".end_of_packet = {take_bit(ring, 'end_of_packet', size)},")
    if direction == "rx":
        if ring.has("strip_crc"):
            members.append(f".strip_crc = {take_register_bits(ring, 'strip_crc', register_size)},")
        if ring.has("long_frames"):
            members += [
                f".long_frames = {take_register_bits(ring, 'long_frames', register_size)},",
                f".short_frame_max = {ring.number('short_frame_max', 64, 0xFFFF)},",
            ]
        members += [
            f".payload_length = {take_field(ring, 'payload_length', size, (1, 2, 4, 8))},",
            f".null_address_is_skipped = {c_flag(ring.flag('null_address_is_skipped'))},",
        ]
        definitions, more = _buffer_size(ring, symbol, register_size)
    else:
        definitions, more = _forms(ring, symbol, size)
    required, requirements = _requirements(ring, symbol, register_size)
    ring.close()
    return name, definitions + required, members + more + requirements
