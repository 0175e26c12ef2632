"""The table `[queues]` of a DMA profile: queues of commands with lists of pages."""

from __future__ import annotations

from lvmm.profile_table import U32, Field, Table, take_field, take_register

COMMAND_SIZE = 64  # bytes: DMA_COMMAND_SIZE
PAGE_SIZE = 4096  # bytes
REPLY_SIZE = 4096  # bytes that a command returns of which some are cleared
MAX_TRANSFER = 1 << 21  # bytes: the shadow's list of pages has one page
MAX_ADD, MAX_UNIT = 0xFFFF, 0xFFFF
DOORBELLS = 16  # two for each of DMA_MAX_QUEUES
_REGISTERS = {
    "capabilities": 8,
    "configuration": 4,
    "admin_attributes": 4,
    "admin_submission": 8,
    "admin_completion": 8,
    "doorbells": 4 * DOORBELLS,
}


def compile_queues(queues: Table, symbol: str, register_size: int) -> tuple[list[str], list[str]]:
    """Take [queues]: C definitions, and members of the profile."""
    members = []
    for key, size in _REGISTERS.items():
        register = take_register(queues, key, register_size)
        if register + size > register_size:
            raise queues.error(key, "goes beyond the registers")
        members.append(f".{key} = {register:#x},")
    transfer = queues.number("max_transfer", 2 * PAGE_SIZE, MAX_TRANSFER)
    if transfer % PAGE_SIZE:
        raise queues.error("max_transfer", f"{transfer:#x} is not a multiple of {PAGE_SIZE:#x}")
    members += [
        f".max_transfer = {transfer:#x},",
        ".pages = {",
        f"    .entry_size = 8, .address = {Field(0, 8)}, .address_align = {PAGE_SIZE},",
        f"    .length_of_zero = {PAGE_SIZE}, .max_entries = {transfer // PAGE_SIZE + 1},",
        "},",
    ]
    definitions = []
    for key in ("admin", "io"):
        rows = _commands(queues, key)
        definitions += _array("command_profile", f"{symbol}_{key}", rows)
        members += [f".{key} = {symbol}_{key},", f".{key}_count = {len(rows)},"]
    for key, kind, rows in (
        ("refused", "command_selector", _refused(queues)),
        ("cleared", "reply_bits", _cleared(queues)),
    ):
        if rows:
            definitions += _array(kind, f"{symbol}_{key}", rows)
            members += [f".{key} = {symbol}_{key},", f".{key}_count = {len(rows)},"]
    queues.close()
    definitions += [
        f"static const struct dma_queues_profile {symbol}_queues = {{",
        *(f"    {member}" for member in members),
        "};",
        "",
    ]
    return definitions, [f".queues = &{symbol}_queues,"]


def _array(kind: str, symbol: str, rows: list[str]) -> list[str]:
    """A C definition of an array of structs."""
    return [
        f"static const struct dma_{kind} {symbol}[] = {{",
        *(f"    {r}" for r in rows),
        "};",
        "",
    ]


def _commands(queues: Table, key: str) -> list[str]:
    """Take the commands of one kind of queue."""
    rows = []
    opcodes: set[int] = set()
    for command in queues.tables(key):
        opcode = command.number("opcode", 0, 0xFF)
        if opcode in opcodes:
            raise command.error("opcode", f"{opcode:#x} is given twice")
        opcodes.add(opcode)
        rows.append(_command(command, opcode))
        command.close()
    return rows


def _command(command: Table, opcode: int) -> str:
    """The C initialiser of a struct dma_command_profile: (count + add) * unit bytes."""
    if command.has("bytes"):
        size = command.number("bytes", 1, PAGE_SIZE)
        return f"{{{opcode:#04x}, {{0, 0}}, 1, {size}}},"
    for key in ("count", "blocks"):
        if command.has(key):
            field = take_field(command, key, COMMAND_SIZE, (1, 2, 4))
            add = command.number("add", 0, MAX_ADD, default=0)
            unit = command.number("unit", 1, MAX_UNIT) if key == "count" else 0
            return f"{{{opcode:#04x}, {field}, {add}, {unit}}},"
    return f"{{{opcode:#04x}, {{0, 0}}, 0, 1}},"


def _selector(table: Table) -> str:
    """Take a command by its opcode and what it is about: a struct dma_command_selector."""
    return f"{{{table.number('opcode', 0, 0xFF):#04x}, {table.number('selected', 0, 0xFF):#04x}}}"


def _refused(queues: Table) -> list[str]:
    """Take the commands that the device is not given."""
    rows = []
    for refused in queues.tables("refused") if queues.has("refused") else []:
        rows.append(f"{_selector(refused)},")
        refused.close()
    return rows


def _cleared(queues: Table) -> list[str]:
    """Take what the guest does not see of replies."""
    rows = []
    for cleared in queues.tables("cleared") if queues.has("cleared") else []:
        selector = _selector(cleared)
        offset = cleared.number("offset", 0, REPLY_SIZE - 4)
        rows.append(f"{{{selector}, {offset}, {cleared.number('mask', 1, U32):#x}}},")
        cleared.close()
    return rows
