"""The machines of tests/host/c/dma_ahci_driver.c, and what a driver of AHCI does."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path

from tests.host.dma_world import DiskWorld, Reply, build_driver
from tests.host.ide_machine import Piece

GHC, GHC_RESET = 0x4, 1
CLB, CLBU, FB, FBU, CMD, SACT, CI = 0x00, 0x04, 0x08, 0x0C, 0x18, 0x34, 0x38
CMD_START, CMD_RECEIVE = 0x01, 0x10
WRITE = 0x40
SHADOW_PHYS = 0x1_4030_0000


def build_ahci_machine() -> Path:
    """Build the C driver with the AHCI controllers; return the program."""
    return build_driver("dma_ahci_driver", ("dma_ahci_driver.c", "dma_ahci.c", "dma_pair.c"))


class AhciMachine(DiskWorld):
    """The three machines with AHCI. Ports are 0 and 1."""

    drives = 2

    def start(self, *, shadow: int = 8 << 20, shadow_phys: int = SHADOW_PHYS) -> Reply:
        """Begin anew; `status` is dma_device_init's, `a` dma_shadow_minimum's."""
        return self.call("I", value=shadow, payload=shadow_phys.to_bytes(8, "little"))

    def write(self, reg: int, value: int, size: int = 4) -> bool:
        """Write a register in both machines; was it forwarded?"""
        return bool(self.call("w", reg=reg, value=value, size=size).a)

    def read(self, reg: int) -> tuple[int, int]:
        """Read a register: what the guest gets in the direct and in the recorded machine."""
        reply = self.call("r", reg=reg, size=4)
        return reply.a, reply.b

    def give(self, data: bytes) -> None:
        """What the drives give from now on, from the beginning at each command."""
        self.call("a", payload=data)

    def run(self, port: int, slot: int, length: int = 1 << 30) -> None:
        """Let the controllers carry out the command in a slot: up to `length` bytes."""
        self.call("t", port=port, reg=slot, value=length)


@dataclass
class AhciDriver:
    """A driver of one port, in the order of Linux's libahci."""

    machine: AhciMachine
    port: int = 0
    list: int = 0x4000
    area: int = 0x5000
    tables: int = 0x10000

    def register(self, offset: int) -> int:
        """A register of the port."""
        return 0x100 + 0x80 * self.port + offset

    def up(self) -> None:
        """Set up the memory of the port and start it."""
        m = self.machine
        m.write(self.register(CLBU), 0)
        m.write(self.register(CLB), self.list)
        m.write(self.register(FBU), 0)
        m.write(self.register(FB), self.area)
        m.write(self.register(CMD), CMD_RECEIVE)
        m.write(self.register(CMD), CMD_RECEIVE | CMD_START)

    def prepare(self, slot: int, pieces: list[Piece], *, to_memory: bool) -> None:
        """Write the header and the table of a slot."""
        table = self.tables + 0x1000 * slot
        entries = b"".join(struct.pack("<QII", p.address, 0, p.length - 1) for p in pieces)
        command = bytes([0x27, 0x80, slot]) * 21 + b"\0"
        self.machine.store(table, command + bytes(64) + entries)
        flags = 5 | (0 if to_memory else WRITE)
        header = struct.pack("<HHIQ16x", flags, len(pieces), 0, table)
        self.machine.store(self.list + 32 * slot, header)

    def issue(self, slots: int, *, queued: bool = False) -> None:
        """Issue prepared slots, a bit each; queued: as NCQ does."""
        if queued:
            self.machine.write(self.register(SACT), slots)
        self.machine.write(self.register(CI), slots)

    def busy(self) -> int:
        """Slots that are not done, the same in both machines."""
        direct, recorded = self.machine.read(self.register(CI))
        assert direct == recorded
        return recorded
