"""Events, and the registers at them."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import NamedTuple

from lvmm.logs.crc import crc32c
from lvmm.logs.layout import RFLAGS_UNCHECKED, EventKind, Payload

GPR_NAMES = (
    *("rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi"),
    *("r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15"),
)

_CHECKED = struct.Struct("<18QI")


@dataclass(frozen=True, slots=True)
class Registers:
    """The registers at a position; `gpr` in the order of GPR_NAMES."""

    gpr: tuple[int, ...]
    rip: int
    rflags: int

    def check(self, out_crc: int) -> int:
        """The position check, given the CRC-32C of all output so far."""
        rflags = self.rflags & ~RFLAGS_UNCHECKED
        return crc32c(_CHECKED.pack(*self.gpr, self.rip, rflags, out_crc)) & 0xFFFF


class Place(NamedTuple):
    """What is needed beside branches and RIP to find a position again."""

    resume: bool  # RFLAGS.RF
    rcx: int


@dataclass(slots=True)
class Event:
    """One event at a position: after `branches` conditional branches, at `rip`.

    `check`, `registers` and `place` are None where they were not stored: never at the position of
    the event before. `place` may be at an asynchronous event, instead of all registers. `index`
    counts from 0; `offset` and `size` tell where its bytes are in the recording's file. The last
    three are not compared.
    """

    payload: Payload
    branches: int
    rip: int
    asynchronous: bool = False
    same_position: bool = False
    check: int | None = None
    registers: Registers | None = None
    place: Place | None = None
    index: int = 0
    offset: int = 0
    size: int = 0

    @property
    def kind(self) -> EventKind:
        """The kind of the payload."""
        return self.payload.KIND

    @property
    def name(self) -> str:
        """The kind's name as in the description."""
        return self.payload.KIND.name
