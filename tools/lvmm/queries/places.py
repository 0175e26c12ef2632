"""Places in a guest's memory as the user names them.

0xffff888003a41000      an address; +NUMBER may follow, here and below
jiffies_64              a symbol of the guest's program, the Linux kernel or one of its modules
init_task.comm          a field, where the program's types are known; [NUMBER] for arrays
task_struct@0xffff888003a41000.comm    a field of a structure at an address
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from lvmm.errors import UsageError
from lvmm.queries.data_types import DataType, Types

_NUMBER = r"(?:0[xX][0-9a-fA-F]+|\d+)"
_PLACE = re.compile(
    rf"(?:(?P<structure>\w+)@)?(?P<base>{_NUMBER}|[A-Za-z_$][\w$]*(?:\.[\w$]+)*?)"
    rf"(?P<path>(?:\.[A-Za-z_]\w*|\[\d+\])*)(?:\+(?P<offset>{_NUMBER}))?"
)
_STEP = re.compile(r"\.(?P<field>\w+)|\[(?P<index>\d+)\]")
_WORD_BYTES = 8


class UnknownName(Exception):
    """There is no such symbol (yet); str() is the symbol."""


@dataclass(frozen=True)
class Range:
    """Bytes at a linear address."""

    address: int
    length: int

    def has(self, address: int) -> bool:
        """Whether a byte is in it."""
        return self.address <= address < self.address + self.length


def check_place(text: str) -> None:
    """Raises UsageError for what can be no place."""
    if _PLACE.fullmatch(text) is None:
        raise UsageError(f"{text!r} is no address, symbol, SYMBOL+OFFSET or SYMBOL.FIELD")


def resolve(
    text: str, length: int | None, address_of: Callable[[str], int | None], types: Types
) -> Range:
    """The range at a place; `length` None is that of what is there, or 8 bytes.

    Raises UnknownName, and UsageError for a field that is not there.
    """
    match = _PLACE.fullmatch(text)
    if match is None:
        raise UsageError(f"{text!r} is no place")
    offset = _value(match["offset"] or "0")
    if match["base"][0].isdigit():
        address, path = _value(match["base"]), match["path"]
        kind = None
        if match["structure"]:
            kind = types.structure(match["structure"])
            if kind is None:
                raise UsageError(f"{text}: no structure {match['structure']} is known")
    else:
        address, name, path = _symbol(match["base"] + match["path"], address_of)
        kind = types.variable(name) or (types.structure(match["structure"] or ""))
    if path:
        inner, kind = _walk(text, path, kind)
        address += inner
    if length is None:
        length = kind.size if kind is not None and kind.size and not offset else _WORD_BYTES
    return Range((address + offset) % (1 << 64), length)


def closest(name: str, names: Iterable[str]) -> str:
    """Words that name symbols like an unknown one; empty without any."""
    found = difflib.get_close_matches(name, list(names), 3, 0.75)
    return f" (there are {', '.join(found)})" if found else ""


def _value(text: str) -> int:
    return int(text, 16 if text[:2] in ("0x", "0X") else 10)


def _symbol(text: str, address_of: Callable[[str], int | None]) -> tuple[int, str, str]:
    """The longest symbol with which the text begins (some have dots): address, name, and rest."""
    ends = [len(text), *(step.start() for step in reversed(list(_STEP.finditer(text))))]
    for end in ends:
        address = address_of(text[:end])
        if address is not None:
            return address, text[:end], text[end:]
    raise UnknownName(text[: ends[-1]])


def _walk(text: str, path: str, kind: DataType | None) -> tuple[int, DataType]:
    """The offset and type of what a path leads to."""
    offset = 0
    for step in _STEP.finditer(path):
        if kind is None:
            raise UsageError(
                f"{text}: the type is not known: give SYMBOL+OFFSET, or STRUCTURE@ADDRESS.FIELD"
            )
        if step["field"]:
            members = kind.members()
            if step["field"] not in members:
                hint = closest(step["field"], members)
                raise UsageError(f"{text}: {kind.name} has no field {step['field']}{hint}")
            inner, kind = members[step["field"]]
            offset += inner
        else:
            if kind.element is None:
                raise UsageError(f"{text}: {kind.name} is no array")
            kind = kind.element()
            offset += int(step["index"]) * kind.size
    assert kind is not None
    return offset, kind
