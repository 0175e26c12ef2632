"""The machines of tests/host/c/dma_ide_driver.c, and what a driver of bus-master IDE does."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from tests.host.dma_world import DiskWorld, Reply, build_driver

START, TO_MEMORY = 0x01, 0x08
ACTIVE, INTERRUPT = 0x01, 0x04
LAST = 0x8000
SHADOW_PHYS = 0x4030_0000


def build_ide_machine() -> Path:
    """Build the C driver with the IDE controllers; return the program."""
    return build_driver("dma_ide_driver", ("dma_ide_driver.c", "dma_ide.c", "dma_pair.c"))


class IdeMachine(DiskWorld):
    """The three machines with bus-master IDE. Channels are 0 and 1."""

    drives = 2

    def start(self, *, shadow: int = 4 << 20, shadow_phys: int = SHADOW_PHYS) -> Reply:
        """Begin anew; `status` is dma_device_init's, `a` dma_shadow_minimum's."""
        return self.call("I", value=shadow, payload=shadow_phys.to_bytes(8, "little"))

    def write(self, reg: int, value: int, size: int = 1) -> None:
        """Write a register in both machines."""
        self.call("w", reg=reg, value=value, size=size)

    def read(self, reg: int, size: int = 1) -> tuple[int, int]:
        """Read a register: what the guest gets in the direct and in the recorded machine."""
        reply = self.call("r", reg=reg, size=size)
        return reply.a, reply.b

    def ask(self, channel: int, data: bytes) -> None:
        """Give the drive a command: it reads this, or is given as many bytes."""
        self.call("a", reg=channel, payload=data)

    def run(self, channel: int, count: int = 1 << 30) -> None:
        """Let the controllers transfer up to `count` bytes."""
        self.call("t", reg=channel, value=count)


class Piece(NamedTuple):
    """One buffer of a command."""

    address: int
    length: int


@dataclass
class IdeDriver:
    """A driver of one channel, in the order of Linux's libata."""

    machine: IdeMachine
    channel: int = 0
    table: int = 0x1000

    def register(self, offset: int) -> int:
        """A register of the channel."""
        return 8 * self.channel + offset

    def begin(self, pieces: list[Piece], *, to_memory: bool, last: bool = True) -> None:
        """Write the table and start the controller. Without `last` the table has no end."""
        table = b""
        for number, piece in enumerate(pieces, 1):
            flags = LAST if last and number == len(pieces) else 0
            table += struct.pack("<IHH", piece.address, piece.length & 0xFFFF, flags)
        m, direction = self.machine, TO_MEMORY if to_memory else 0
        m.store(self.table, table)
        m.write(self.register(4), self.table, size=4)
        m.write(self.register(0), direction)
        m.write(self.register(0), direction | START)

    def status(self) -> int:
        """The status register, the same in both machines."""
        direct, recorded = self.machine.read(self.register(2))
        assert direct == recorded
        return recorded

    def end(self) -> None:
        """Stop the controller and acknowledge."""
        m = self.machine
        command = m.read(self.register(0))[1]
        m.write(self.register(0), command & ~START)
        m.write(self.register(2), self.status() | INTERRUPT)
