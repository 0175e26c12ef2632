"""Compile DMA profiles (boards/profiles/*.toml) to the C tables of hypervisor/dma/profile.h.

    python3 tools/lvmm/profile_compiler.py boards/profiles/*.toml -o build/gen/dma_profiles.c

docs/adding-a-device.md explains the keys. Exit codes: 0 done, 1 a profile is wrong or cannot be
read, or the output cannot be written, 2 usage. Only the standard library is needed.
"""

from __future__ import annotations

import argparse
import re
import sys
import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

MAX_RINGS = 8  # DMA_MAX_RINGS
MAX_DESCRIPTOR_SIZE = 64  # bytes, DMA_MAX_DESCRIPTOR_SIZE
MAX_COUNT = 65536  # descriptors of one ring
MAX_BUFFER_SIZE = 1 << 20  # bytes
MAX_SELECTOR_BITS = 8  # bits of a register that choose a buffer size
U32 = 0xFFFF_FFFF


class ProfileError(Exception):
    """A profile that cannot be compiled; the message names the file and the key."""


class Table:
    """A TOML table whose keys are taken one by one; close() refuses what nobody took."""

    def __init__(self, source: str, path: str, values: dict[str, Any]) -> None:
        self._source = source
        self._path = path
        self._values = dict(values)

    def error(self, key: str, problem: str) -> ProfileError:
        """Return the error that says what is wrong with a key."""
        return ProfileError(f"{self._source}: {self._path}{key}: {problem}")

    def _take(self, key: str) -> Any:
        if key not in self._values:
            raise self.error(key, "missing")
        return self._values.pop(key)

    def has(self, key: str) -> bool:
        """Tell whether an optional key is there and not taken yet."""
        return key in self._values

    def text(self, key: str, pattern: str) -> str:
        """Take a string that matches the pattern in full."""
        value = self._take(key)
        if not isinstance(value, str) or not re.fullmatch(pattern, value):
            raise self.error(key, f"not a string of the form {pattern}")
        return value

    def number(self, key: str, low: int, high: int, *, default: int | None = None) -> int:
        """Take an integer in [low, high]."""
        if default is not None and key not in self._values:
            return default
        return self.check_number(key, self._take(key), low, high)

    def check_number(self, key: str, value: object, low: int, high: int) -> int:
        """Return value if it is an integer in [low, high]."""
        if not isinstance(value, int) or isinstance(value, bool):
            raise self.error(key, "not an integer")
        if not low <= value <= high:
            raise self.error(key, f"{value:#x} is outside {low:#x} to {high:#x}")
        return value

    def power_of_two(self, key: str, low: int, high: int) -> int:
        """Take an integer in [low, high] that is a power of two."""
        value = self.number(key, low, high)
        if value & (value - 1):
            raise self.error(key, f"{value:#x} is not a power of two")
        return value

    def flag(self, key: str) -> bool:
        """Take a boolean; false when it is not there."""
        value = self._values.pop(key, False)
        if not isinstance(value, bool):
            raise self.error(key, "not true or false")
        return value

    def numbers(self, key: str, low: int, high: int) -> list[int]:
        """Take a list of at least one integer in [low, high]."""
        values = self._take(key)
        if not isinstance(values, list) or not values:
            raise self.error(key, "not a list of integers")
        return [self.check_number(f"{key}[{i}]", v, low, high) for i, v in enumerate(values)]

    def table(self, key: str) -> Table:
        """Take a table."""
        value = self._take(key)
        if not isinstance(value, dict):
            raise self.error(key, "not a table")
        return Table(self._source, f"{self._path}{key}.", value)

    def tables(self, key: str) -> list[Table]:
        """Take a list of at least one table."""
        values = self._take(key)
        if not isinstance(values, list) or not values:
            raise self.error(key, "not a list of tables")
        if not all(isinstance(value, dict) for value in values):
            raise self.error(key, "not a list of tables")
        return [Table(self._source, f"{self._path}{key}[{i}].", v) for i, v in enumerate(values)]

    def close(self) -> None:
        """Refuse the keys that are left."""
        for key in self._values:
            raise self.error(key, "unknown key")


def _register(table: Table, key: str, register_size: int) -> int:
    """Take the offset of a 32-bit register."""
    register = table.number(key, 0, register_size - 4)
    if register % 4:
        raise table.error(key, f"{register:#x} is not a multiple of 4")
    return register


def _register_bits(table: Table, key: str, register_size: int) -> str:
    """Take { register, mask } and return the C initialiser of a struct dma_register_bits."""
    bits = table.table(key)
    register = _register(bits, "register", register_size)
    mask = bits.number("mask", 1, U32)
    bits.close()
    return f"{{{register:#x}, {mask:#x}}}"


class Bit(NamedTuple):
    """Bits of one byte of a descriptor."""

    offset: int
    mask: int

    def __str__(self) -> str:
        """Return the C initialiser of a struct dma_bit."""
        return f"{{{self.offset}, {self.mask:#x}}}"


class Field(NamedTuple):
    """Some bytes of a descriptor."""

    offset: int
    width: int

    def __str__(self) -> str:
        """Return the C initialiser of a struct dma_field."""
        return f"{{{self.offset}, {self.width}}}"


def _bit(table: Table, key: str, descriptor_size: int) -> Bit:
    """Take { offset, mask } of a byte."""
    bit = table.table(key)
    offset = bit.number("offset", 0, descriptor_size - 1)
    mask = bit.number("mask", 1, 0xFF)
    bit.close()
    return Bit(offset, mask)


def _field(table: Table, key: str, descriptor_size: int, widths: Iterable[int]) -> Field:
    """Take { offset, width } in bytes."""
    field = table.table(key)
    offset = field.number("offset", 0, descriptor_size - 1)
    width = field.number("width", 1, descriptor_size)
    if width not in widths:
        raise field.error("width", f"{width} is none of {', '.join(map(str, widths))}")
    if offset + width > descriptor_size:
        raise field.error("width", f"ends after the descriptor's {descriptor_size} bytes")
    field.close()
    return Field(offset, width)


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
    register = _register(rule, "register", register_size)
    mask = rule.number("mask", 1, U32)
    if mask.bit_count() > MAX_SELECTOR_BITS:
        raise rule.error("mask", f"more than {MAX_SELECTOR_BITS} bits")
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


def _ring(
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
        register = _register(ring, key, register_size)
        if register in taken:
            raise ring.error(key, f"{register:#x} is already the {taken[register]}")
        taken[register] = f"{key} of ring {name}"
        members.append(f".{key} = {register:#x},")
    done = _bit(ring, "done", size)
    write_back = _field(ring, "write_back", size, range(1, size + 1))
    if not 0 <= done.offset - write_back.offset < write_back.width:
        raise ring.error("done", "is not in the bytes of write_back")
    members += [
        f".base_align = {ring.power_of_two('base_align', 1, 4096)},",
        f".length_mask = {ring.number('length_mask', 1, U32):#x},",
        f".max_count = {ring.number('max_count', 1, MAX_COUNT)},",
        f".enable = {_register_bits(ring, 'enable', register_size)},",
        f".head_tells_progress = {str(ring.flag('head_tells_progress')).lower()},",
        f".descriptor_size = {size},",
        f".address = {_field(ring, 'address', size, (4, 8))},",
        f".done = {done},",
        f".write_back = {write_back},",
    ]
    if ring.has("report"):
        members.append(f".report = {_bit(ring, 'report', size)},")
    if ring.has("end_of_packet"):
        members.append(f".end_of_packet = {_bit(ring, 'end_of_packet', size)},")
    if direction == "rx":
        if ring.has("strip_crc"):
            members.append(f".strip_crc = {_register_bits(ring, 'strip_crc', register_size)},")
        members += [
            f".payload_length = {_field(ring, 'payload_length', size, (1, 2, 4, 8))},",
            f".null_address_is_skipped = {str(ring.flag('null_address_is_skipped')).lower()},",
        ]
        definitions, more = _buffer_size(ring, symbol, register_size)
    else:
        definitions, more = _forms(ring, symbol, size)
    ring.close()
    return name, definitions, members + more


def _aliases(profile: Table, symbol: str, register_size: int) -> tuple[list[str], list[str]]:
    """Take the second addresses of registers: C definitions, and members of the profile."""
    if not profile.has("aliases"):
        return [], []
    rows = []
    for alias in profile.tables("aliases"):
        other = _register(alias, "alias", register_size)
        rows.append(f"    {{{other:#x}, {_register(alias, 'register', register_size):#x}}},")
        alias.close()
    return (
        [f"static const struct dma_alias {symbol}_aliases[] = {{", *rows, "};", ""],
        [f".aliases = {symbol}_aliases,", f".alias_count = {len(rows)},"],
    )


def compile_profile(source: str, values: dict[str, Any]) -> tuple[str, list[str], list[str]]:
    """Compile one parsed profile.

    Returns its name, the C definitions it needs and the members of its struct dma_profile.
    Raises ProfileError, whose message starts with source.
    """
    profile = Table(source, "", values)
    name = profile.text("name", "[a-z][a-z0-9_]*")
    devices = profile.numbers("devices", 0, 0xFFFF)
    register_size = profile.power_of_two("register_size", 16, 1 << 28)
    definitions = [
        f"static const u16 {name}_devices[] = {{{', '.join(f'{d:#06x}' for d in devices)}}};",
        "",
    ]
    members = [
        f'.name = "{name}",',
        f".vendor = {profile.number('vendor', 0, 0xFFFF):#06x},",
        f".devices = {name}_devices,",
        f".device_count = {len(devices)},",
        f".bar = {profile.number('bar', 0, 5)},",
        f".register_size = {register_size:#x},",
        f".reset = {_register_bits(profile, 'reset', register_size)},",
    ]
    alias_definitions, alias_members = _aliases(profile, name, register_size)
    definitions += alias_definitions
    members += alias_members
    if profile.has("io_window"):
        window = profile.table("io_window")
        members += [
            ".has_io_window = true,",
            f".io_address = {window.number('address', 0, 0xFF):#x},",
            f".io_data = {window.number('data', 0, 0xFF):#x},",
        ]
        window.close()
    ring_names: set[str] = set()
    registers: dict[int, str] = {}
    ring_rows: list[str] = []
    rings = profile.tables("ring")
    if len(rings) > MAX_RINGS:
        raise profile.error("ring", f"more than {MAX_RINGS} rings")
    for ring in rings:
        ring_name, ring_definitions, ring_members = _ring(ring, name, register_size, registers)
        if ring_name in ring_names:
            raise ring.error("name", f"two rings are called {ring_name}")
        ring_names.add(ring_name)
        definitions += ring_definitions
        ring_rows += ["    {", *(f"        {member}" for member in ring_members), "    },"]
    definitions += [
        f"static const struct dma_ring_profile {name}_rings[] = {{",
        *ring_rows,
        "};",
        "",
    ]
    members += [f".rings = {name}_rings,", f".ring_count = {len(rings)},"]
    profile.close()
    return name, definitions, members


def compile_files(paths: Iterable[Path]) -> str:
    """Return the C source with the tables of all the profiles. Raises ProfileError."""
    compiled: dict[str, tuple[list[str], list[str]]] = {}
    for path in paths:
        try:
            values = tomllib.loads(path.read_text(encoding="utf-8"))
        except OSError as error:
            raise ProfileError(f"{path}: {error.strerror}") from None
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise ProfileError(f"{path}: not TOML: {error}") from None
        name, definitions, members = compile_profile(str(path), values)
        if name in compiled:
            raise ProfileError(f"{path}: name: another profile is called {name}, too")
        compiled[name] = (definitions, members)

    lines = [
        "/* Generated by tools/lvmm/profile_compiler.py from boards/profiles: do not edit. */",
        '#include "dma/profile.h"',
        "",
    ]
    for _, (definitions, _) in sorted(compiled.items()):
        lines += definitions
    lines.append("const struct dma_profile dma_profiles[] = {")
    for _, (_, members) in sorted(compiled.items()):
        lines += ["    {", *(f"        {member}" for member in members), "    },"]
    lines += ["};", f"const u32 dma_profile_count = {len(compiled)};", ""]
    return "\n".join(lines)


def main(argv: list[str] | None = None) -> int:
    """Run the command line; return the exit code."""
    parser = argparse.ArgumentParser(description="Compile DMA profiles to C tables.")
    parser.add_argument("profiles", nargs="+", type=Path, metavar="PROFILE.toml")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="FILE.c")
    arguments = parser.parse_args(argv)
    try:
        text = compile_files(arguments.profiles)
        arguments.output.parent.mkdir(parents=True, exist_ok=True)
        arguments.output.write_text(text, encoding="utf-8")
    except ProfileError as error:
        print(f"profile_compiler: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"profile_compiler: {arguments.output}: {error.strerror}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
