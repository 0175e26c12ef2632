"""What can be said about registers when an event stores only a 16-bit check of them.

The check is a part of a CRC over registers and output (docs/log-format.md). Because a CRC is
linear, the XOR of two checks depends only on what differs, not on the output, which is unknown
here: whether one changed register alone would explain a difference can be computed.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, replace

from lvmm.logs.codec import GPR_NAMES, Registers
from lvmm.logs.layout import RFLAGS_UNCHECKED

NAMES = (*GPR_NAMES, "rflags")

# RFLAGS (SDM volume 1, 3.4.3).
FLAGS = {
    "CF": 0,
    "PF": 2,
    "AF": 4,
    "ZF": 6,
    "SF": 7,
    "TF": 8,
    "IF": 9,
    "DF": 10,
    "OF": 11,
    "NT": 14,
    "AC": 18,
    "ID": 21,
}
_STATUS = ("CF", "PF", "AF", "ZF", "SF", "OF")


@dataclass(frozen=True)
class Difference:
    """A register with the value in the recording and that in the replay."""

    name: str
    recorded: int
    replayed: int


@dataclass(frozen=True)
class Explanation:
    """One register that alone would explain the checks, with the value it would have had."""

    difference: Difference
    why: str


def values(registers: Registers) -> tuple[int, ...]:
    """The values in the order of NAMES."""
    return (*registers.gpr, registers.rflags)


def differences(recorded: Registers, replayed: Registers) -> list[Difference]:
    """The registers that differ, RIP and RFLAGS bits that are not checked aside."""
    pairs = zip(NAMES, _checked(recorded), _checked(replayed), strict=True)
    return [Difference(name, then, now) for name, then, now in pairs if then != now]


def _checked(registers: Registers) -> tuple[int, ...]:
    return (*registers.gpr, registers.rflags & ~RFLAGS_UNCHECKED)


def flag_names(difference: Difference) -> list[str]:
    """Of a difference of RFLAGS, the flags that differ."""
    changed = difference.recorded ^ difference.replayed
    return [name for name, bit in FLAGS.items() if changed >> bit & 1]


def explanations(
    replayed: Registers, checks: int, snapshots: list[tuple[str, Registers]], bits: int = 64
) -> list[Explanation]:
    """What single difference gives `checks`, the XOR of the recorded and the replayed check.

    Tried are: the register's value in one of the named `snapshots`, each single bit that code of
    `bits` bits can change, and each combination of status flags. The output is taken to be the
    same. Of 65536 checks about 1100 are explained by chance.
    """
    own = replayed.check(0)
    found: list[Explanation] = []
    known = set()
    for index, value, why in _guesses(replayed, snapshots, bits):
        if (index, value) in known:
            continue
        known.add((index, value))
        if _with(replayed, index, value).check(0) ^ own == checks:
            now = values(replayed)[index]
            found.append(Explanation(Difference(NAMES[index], value, now), why))
    return found


def _guesses(
    replayed: Registers, snapshots: list[tuple[str, Registers]], bits: int
) -> Iterator[tuple[int, int, str]]:
    now = values(replayed)
    for name, registers in snapshots:
        for index, value in enumerate(values(registers)):
            if value != now[index]:
                yield index, value, f"its value at {name}"
    flags = len(NAMES) - 1
    for count in range(1, len(_STATUS) + 1):
        for chosen in itertools.combinations(_STATUS, count):
            yield flags, now[flags] ^ sum(1 << FLAGS[name] for name in chosen), "status flags"
    for flag in ("IF", "DF", "TF"):
        yield flags, now[flags] ^ 1 << FLAGS[flag], "one flag"
    for index in range(16 if bits == 64 else 8):
        for bit in range(64 if bits == 64 else 32):
            yield index, now[index] ^ 1 << bit, f"bit {bit} alone"


def _with(registers: Registers, index: int, value: int) -> Registers:
    if index == len(GPR_NAMES):
        return replace(registers, rflags=value)
    gpr = (*registers.gpr[:index], value, *registers.gpr[index + 1 :])
    return replace(registers, gpr=gpr)
