"""The table `[schedule]` of a DMA profile: a list of frames that the device walks by itself."""

from __future__ import annotations

from lvmm.profile_table import U32, Table, take_register

PAGE = 4096  # bytes
MAX_STRUCTURE = 16  # bytes: DMA_ITEM_WORDS
MAX_ITEMS = 1 << 15
MAX_LENGTH = 0xFFFF  # bytes of a transfer
U16 = 0xFFFF


def compile_schedule(profile: Table, register_size: int) -> list[str]:
    """Take the table `schedule`: members of a struct dma_schedule_profile."""
    schedule = profile.table("schedule")
    list_register = take_register(schedule, "list", register_size)
    list_align = schedule.power_of_two("list_align", 4, PAGE)
    members = [
        f'.name = "{schedule.text("name", "[a-z][a-z0-9]*")}",',
        f".list = {list_register:#x},",
        f".list_align = {list_align},",
        f".list_count = {schedule.number('list_count', 1, PAGE // 4)},",
        *_command(schedule, list_register, register_size),
        f".halted = {_bits(schedule, 'halted', register_size)},",
        f".frame = {_bits(schedule, 'frame', register_size)},",
        *_link(schedule),
        *_transfer(schedule.table("transfer")),
        *_queue(schedule.table("queue")),
        f".max_items = {schedule.number('max_items', 1, MAX_ITEMS)},",
    ]
    schedule.close()
    return members


def _register(table: Table, key: str, register_size: int) -> int:
    """Take the offset of a 16-bit register."""
    register = table.number(key, 0, register_size - 2)
    if register % 2:
        raise table.error(key, f"{register:#x} is not a multiple of 2")
    return register


def _bits(table: Table, key: str, register_size: int) -> str:
    """Take { register, mask } of a 16-bit register: initialiser of a struct dma_register_bits."""
    bits = table.table(key)
    register = _register(bits, "register", register_size)
    mask = bits.number("mask", 1, U16)
    bits.close()
    return f"{{{register:#x}, {mask:#x}}}"


def _command(schedule: Table, list_register: int, register_size: int) -> list[str]:
    command = _register(schedule, "command", register_size)
    if list_register <= command < list_register + 4:
        raise schedule.error("command", f"{command:#x} is already the list")
    bits = schedule.table("command_bits")
    start = bits.number("start", 1, U16)
    reset = bits.number("reset", 1, U16)
    if start & reset:
        raise bits.error("reset", "has bits of another mask")
    bits.close()
    return [
        f".command = {command:#x},",
        f".start_mask = {start:#x},",
        f".reset_mask = {reset:#x},",
    ]


def _link(schedule: Table) -> list[str]:
    """Take the bits of a link, which must leave room for a structure's address."""
    link = schedule.table("link")
    none = link.number("none", 1, U32)
    queue = link.number("queue", 1, U32)
    address = link.number("address", 1, U32)
    if none & queue or address & (none | queue):
        raise link.error("address", "has bits of another mask")
    if address != U32 ^ (MAX_STRUCTURE - 1):
        raise link.error("address", f"structures must be at multiples of {MAX_STRUCTURE} bytes")
    link.close()
    return [
        f".link_none = {none:#x},",
        f".link_queue = {queue:#x},",
        f".link_address = {address:#x},",
    ]


def _word(table: Table, key: str, size: int) -> int:
    """Take the offset of a 32-bit word of a structure; return its index."""
    offset = table.number(key, 0, size - 4)
    if offset % 4:
        raise table.error(key, f"{offset:#x} is not a multiple of 4")
    return offset // 4


def _size(table: Table) -> int:
    size = table.number("size", 4, MAX_STRUCTURE)
    if size % 4:
        raise table.error("size", f"{size} is not a multiple of 4")
    return size


def _transfer(transfer: Table) -> list[str]:
    size = _size(transfer)
    link = _word(transfer, "link", size)
    status, length, kind = (transfer.table(key) for key in ("status", "length", "kind"))
    buffer = _word(transfer, "buffer", size)
    own = [link, _word(status, "offset", size), buffer]
    if len(set(own)) != len(own):
        raise transfer.error("buffer", "two of link, status and buffer are at one place")
    mask = length.number("mask", 1, U32)
    field = mask // (mask & -mask)
    if field & (field + 1) or field > MAX_LENGTH:
        raise length.error("mask", f"{mask:#x} is no field of at most 16 bits")
    members = [
        f".transfer_size = {size},",
        f".transfer_link = {link},",
        f".status = {own[1]},",
        f".active_mask = {status.number('active', 1, U32):#x},",
        f".length = {_word(length, 'offset', size)},",
        f".length_mask = {mask:#x},",
        f".length_add = {length.number('add', 0, 1, default=0)},",
        f".kind = {_word(kind, 'offset', size)},",
        f".kind_mask = {kind.number('mask', 1, U32):#x},",
        f".kind_to_memory = {kind.number('to_memory', 0, U32):#x},",
        f".buffer = {buffer},",
    ]
    for table in (status, length, kind, transfer):
        table.close()
    return members


def _queue(queue: Table) -> list[str]:
    size = _size(queue)
    link = _word(queue, "link", size)
    element = _word(queue, "element", size)
    if link == element:
        raise queue.error("element", "is the link to the next queue")
    queue.close()
    return [f".queue_size = {size},", f".queue_link = {link},", f".element = {element},"]
