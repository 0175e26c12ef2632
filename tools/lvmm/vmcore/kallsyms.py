"""The symbol table that a Linux kernel has in its memory, by the addresses in its VMCOREINFO.

Since Linux 6.0, where VMCOREINFO has them. kernel/kallsyms.c describes the tables.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from lvmm.guest_view import AddressSpace
from lvmm.vmcore.vmcoreinfo import VmcoreInfo

_SYMBOLS_MAX = 1 << 21
_TOKENS = 256
_TOKEN_TABLE = 8192  # bytes, more than any kernel's
_NAME_BYTES = 64  # of a compressed name, more than the mean


@dataclass(frozen=True)
class Kallsyms:
    """The kernel's symbols as (address, name), ascending; those of per-CPU memory are offsets."""

    symbols: list[tuple[int, str]]

    def named(self) -> dict[str, int]:
        """The address of every name, the first of several."""
        found: dict[str, int] = {}
        for address, name in self.symbols:
            found.setdefault(name, address)
        return found


def read_kallsyms(space: AddressSpace, info: VmcoreInfo) -> Kallsyms | None:
    """The table; None when the kernel does not say where it is, or when it is damaged."""
    places = [
        info.symbol(f"kallsyms_{name}")
        for name in ("num_syms", "offsets", "relative_base", "names", "token_table", "token_index")
    ]
    if None in places:
        return None
    count_at, offsets_at, base_at, names_at, tokens_at, index_at = (p or 0 for p in places)
    count = int.from_bytes(space.read(count_at, 4), "little")
    base = space.read_u64(base_at)
    if base is None or not 0 < count <= _SYMBOLS_MAX:
        return None
    offsets = space.read(offsets_at, 4 * count)
    index = space.read(index_at, 2 * _TOKENS)
    if len(offsets) < 4 * count or len(index) < 2 * _TOKENS:
        return None
    table = space.read(tokens_at, _TOKEN_TABLE)
    tokens = [
        table[at : table.find(b"\0", at)].decode("ascii", "replace")
        for at in struct.unpack(f"<{_TOKENS}H", index)
    ]
    names = _names(space.read(names_at, count * _NAME_BYTES), count, tokens)
    if names is None:
        return None
    addresses = (_address(offset, base) for (offset,) in struct.iter_unpack("<i", offsets))
    return Kallsyms(sorted(zip(addresses, names, strict=True)))


def _address(offset: int, base: int) -> int:
    """CONFIG_KALLSYMS_ABSOLUTE_PERCPU: what is not negative is absolute."""
    return offset if offset >= 0 else base - 1 - offset


def _names(data: bytes, count: int, tokens: list[str]) -> list[str] | None:
    """The names without the letter of their kind, with which each begins."""
    names = []
    at = 0
    for _ in range(count):
        if at + 2 > len(data):
            return None
        length = data[at]
        at += 1
        if length & 0x80:
            length = length & 0x7F | data[at] << 7
            at += 1
        names.append("".join([tokens[token] for token in data[at : at + length]])[1:])
        at += length
    return names
