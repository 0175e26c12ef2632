"""The arguments of a function that has just been called (System V ABI: AMD64 and i386)."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Sequence
from dataclasses import dataclass

from lvmm.queries.data_types import DataType, Form, Parameter
from lvmm.queries.guest import Look

_IN_REGISTERS = ("rdi", "rsi", "rdx", "rcx", "r8", "r9")
_TEXT_MAX = 64
_WORDS = 6  # that are shown of a function whose parameters are not known


@dataclass(frozen=True)
class Argument:
    """`name` and `type` are empty where they are not known; `text` is what people read."""

    name: str
    type: str
    value: int
    text: str


def arguments(look: Look, parameters: Sequence[Parameter] | None) -> list[Argument]:
    """At the first instruction of a function. Those that are in one word each: the list ends
    before one that is larger.
    """
    wide = look.bits == 64
    words = _words(look, wide, _WORDS if parameters is None else len(parameters))
    if parameters is None:
        return [Argument("", "", word, f"{word:#x}") for word in words]
    found = []
    for parameter, word in zip(parameters, words, strict=False):
        kind = parameter.type
        if kind.form is Form.OTHER or kind.size > (8 if wide else 4):
            break
        value = word & ((1 << 8 * kind.size) - 1)
        found.append(Argument(parameter.name, kind.name, value, _text(look, kind, value)))
    return found


def caller(look: Look) -> int | None:
    """The return address."""
    size = look.bits // 8
    at = look.registers["rsp"] + (0 if size == 8 else look.registers["ss_base"])
    data = look.space.read(at, size)
    return int.from_bytes(data, "little") if len(data) == size else None


def _words(look: Look, wide: bool, count: int) -> list[int]:
    if wide:
        return [look.registers[name] for name in _IN_REGISTERS[:count]]
    size = look.bits // 8
    at = look.registers["ss_base"] + look.registers["rsp"] + size
    data = look.space.read(at, size * count)
    ends = range(0, len(data) - size + 1, size)
    return [int.from_bytes(data[end : end + size], "little") for end in ends]


def _text(look: Look, kind: DataType, value: int) -> str:
    if kind.form is Form.SIGNED:
        sign = 1 << (8 * kind.size - 1)
        return str((value ^ sign) - sign)
    if kind.form is Form.TEXT and value:
        data = look.space.read(value, _TEXT_MAX)
        if b"\0" in data:
            with contextlib.suppress(UnicodeDecodeError):
                text = data[: data.index(0)].decode()
                return f"{value:#x} {json.dumps(text, ensure_ascii=False)}"
    return f"{value:#x}"
