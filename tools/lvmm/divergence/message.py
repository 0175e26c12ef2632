"""The monitor's message of a divergence (hypervisor/replay/divergence.c)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from lvmm.logs import Registers
from lvmm.logs.codec import GPR_NAMES
from lvmm.logs.header import enum_name
from lvmm.logs.layout import EndReason


@dataclass(frozen=True)
class Input:
    """What identifies an input in the monitor's message; what a kind does not have is None."""

    kind: str
    address: int | None
    size: int | None
    vector: int | None
    reason: int | None

    @classmethod
    def of(cls, message: dict[str, Any], name: str) -> Input | None:
        """The input that the message calls `name`, "actual" or "expected"."""
        if name not in message:
            return None
        numbers = (message.get(f"{name}_{key}") for key in ("address", "size", "vector", "reason"))
        return cls(str(message[name]), *numbers)

    def __str__(self) -> str:
        words = [self.kind]
        if self.address is not None:
            words.append(("port " if self.kind == "IN" else "") + f"{self.address:#x}")
        if self.size is not None:
            words.append(f"{self.size} byte" + ("" if self.size == 1 else "s"))
        if self.vector is not None:
            words.append(f"vector {self.vector:#x}")
        if self.reason is not None:
            words.append(enum_name(EndReason, self.reason))
        return ", ".join([" ".join(words[:2]), *words[2:]])


@dataclass(frozen=True)
class Divergence:
    """The monitor's message. `check` and `recorded_check` are None when nothing was expected."""

    why: str
    event: int
    branches: int
    registers: Registers
    cr3: int
    code: bytes
    actual: Input | None
    expected: Input | None
    expected_branches: int
    expected_rip: int
    expected_async: bool
    check: int | None
    recorded_check: int | None
    expected_registers: Registers | None

    @classmethod
    def parse(cls, message: dict[str, Any]) -> Divergence:
        """Read the message; raises KeyError, TypeError or ValueError when it is malformed."""
        stored = message.get("expected_regs")
        return cls(
            why=str(message["why"]),
            event=int(message["event"]),
            branches=int(message["branches"]),
            registers=_registers(message["regs"]),
            cr3=int(message["cr3"]),
            code=bytes.fromhex(message["code"]),
            actual=Input.of(message, "actual"),
            expected=Input.of(message, "expected"),
            expected_branches=int(message.get("expected_branches", 0)),
            expected_rip=int(message.get("expected_rip", 0)),
            expected_async=bool(message.get("expected_async", 0)),
            check=message.get("check"),
            recorded_check=message.get("expected_check"),
            expected_registers=_registers(stored) if stored is not None else None,
        )

    @property
    def same_position(self) -> bool:
        """Whether the replay is at the position of the expected event."""
        return (
            self.expected is not None
            and self.branches == self.expected_branches
            and self.registers.rip == self.expected_rip
        )


def _registers(numbers: list[int]) -> Registers:
    *gpr, rip, rflags = (int(number) for number in numbers)
    if len(gpr) != len(GPR_NAMES):
        raise ValueError("not the registers")
    return Registers(tuple(gpr), rip, rflags)
